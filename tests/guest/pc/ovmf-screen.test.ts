// OVMF with a VGA: its driver for QEMU's standard VGA sets the mode that EDID names, its shell draws on the linear frame
// buffer and reads the PS/2 keyboard.

import { expect, test } from "vitest";
import { renderScreen } from "../../../packages/core/src/devices/vga/render.ts";
import { debianFile } from "./debian-files.ts";
import { createPc } from "./pc.ts";

const code = await debianFile({ packageName: "ovmf", path: "usr/share/OVMF/OVMF_CODE_4M.fd" });
const variables = await debianFile({ packageName: "ovmf", path: "usr/share/OVMF/OVMF_VARS_4M.fd" });
if (typeof code === "string") console.warn(`OVMF on a screen skipped: ${code}`);

test.skipIf(typeof code === "string")(
  "OVMF's shell is on the screen, and reads the keyboard",
  () => {
    const pc = createPc({
      memoryMib: 256,
      clock: "wall",
      firmware: code as Uint8Array,
      variables: variables as Uint8Array,
      vga: true,
    });
    pc.start();
    const shows = (text: string): boolean => pc.runUntil(() => pc.serial().includes(text), 120);
    expect(shows("Press"), pc.serial()).toBe(true);
    pc.press("esc");
    expect(shows("Shell> "), pc.serial()).toBe(true);
    const lit = (): number => {
      const { rgba } = renderScreen(pc.vga!.view);
      return new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4).filter((pixel) => pixel !== 0xff000000)
        .length;
    };
    expect(pc.vga!.view.dispi).toMatchObject({ width: 1024, height: 768, bpp: 32 });
    const before = lit();
    expect(before).toBeGreaterThan(1000);
    pc.type("echo typed\n");
    expect(shows("typed"), pc.serial()).toBe(true);
    expect(pc.runUntil(() => lit() > before + 100, 60)).toBe(true);
  },
  200_000,
);
