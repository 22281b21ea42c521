// OVMF as Debian ships it, from its reset vector to the UEFI shell on the serial port, its variables in the flash chip.

import { expect, test } from "vitest";
import { FLASH_NAME, SERIAL_CHANNEL } from "../../../packages/core/src/index.ts";
import { debianFile } from "./debian-files.ts";
import { createPc } from "./pc.ts";

const code = await debianFile({ packageName: "ovmf", path: "usr/share/OVMF/OVMF_CODE_4M.fd" });
const variables = await debianFile({ packageName: "ovmf", path: "usr/share/OVMF/OVMF_VARS_4M.fd" });
if (typeof code === "string") console.warn(`OVMF skipped: ${code}`);

test.skipIf(typeof code === "string")(
  "OVMF comes to its shell, and keeps what is set there in flash",
  () => {
    const pc = createPc({
      memoryMib: 256,
      clock: "wall",
      firmware: code as Uint8Array,
      variables: variables as Uint8Array,
    });
    pc.start();
    const shows = (text: string): boolean => pc.runUntil(() => pc.serial().includes(text), 80);
    const type = (text: string): void => pc.machine.input(SERIAL_CHANNEL, new TextEncoder().encode(text));
    expect(shows("Press"), pc.serial()).toBe(true);
    type("\r");
    expect(shows("Shell> "), pc.serial()).toBe(true);
    type("set kept yes\r");
    const flash = pc.machine.board.devices.find(({ name }) => name === FLASH_NAME)!;
    const prompts = (): number => pc.serial().split("Shell> ").length - 1;
    expect(
      pc.runUntil(() => prompts() === 2, 30),
      pc.serial(),
    ).toBe(true);
    const { content } = flash.save() as { content: Uint8Array };
    expect(Buffer.from(content).includes(Buffer.from("kept", "utf16le"))).toBe(true);
  },
  120_000,
);
