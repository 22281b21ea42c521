// SeaBIOS as Debian ships it, from the reset vector until it finds nothing to boot from: it has taken memory sizes, tables and
// settings from fw_cfg, and prints on the serial port, as there is no display.

import { expect, test } from "vitest";
import { debianFile } from "./debian-files.ts";
import { createPc } from "./pc.ts";

const vgaBios = await debianFile({ packageName: "seabios", path: "usr/share/seabios/vgabios-stdvga.bin" });
const fullBios = await debianFile({ packageName: "seabios", path: "usr/share/seabios/bios-256k.bin" });
const areThere = typeof vgaBios !== "string" && typeof fullBios !== "string";

test.skipIf(!areThere)("SeaBIOS's VGA BIOS runs from the expansion ROM and shows what SeaBIOS prints", () => {
  const pc = createPc({
    memoryMib: 64,
    clock: "wall",
    firmware: fullBios as Uint8Array,
    vga: vgaBios as Uint8Array,
  });
  pc.start();
  const ended = pc.runUntil(() => pc.screen().some((line) => line.includes("No bootable device.")), 50);
  expect(ended, pc.debug() + pc.screen().join("\n")).toBe(true);
  expect(pc.screen()[0]).toMatch(/^SeaBIOS \(version/);
  expect(pc.debug()).toContain("PS2 keyboard initialized");
  expect(pc.debug()).toMatch(/VBE DISPI: lfb_addr=[0-9a-f]+, size 16 MB/);
});

for (const name of ["bios-256k.bin", "bios.bin"]) {
  const bios = await debianFile({ packageName: "seabios", path: `usr/share/seabios/${name}` });
  if (typeof bios === "string") console.warn(`SeaBIOS skipped: ${bios}`);

  test.skipIf(typeof bios === "string")(`SeaBIOS (${name}) starts and looks for something to boot`, () => {
    const pc = createPc({ memoryMib: 256, clock: "wall", firmware: bios as Uint8Array });
    pc.start();
    const ended = pc.runUntil(() => pc.debug().includes("No bootable device."), 50);
    expect(ended, pc.debug() + pc.serial()).toBe(true);
    expect(pc.debug()).toContain("addr 0x0000000000000000 len 0x0000000010000000");
    expect(pc.debug()).toContain("PCIe: using q35 mmconfig at 0xb0000000");
    expect(pc.serial()).toContain("Booting from Hard Disk");
    if (name === "bios.bin") return;
    expect(pc.debug()).toContain("ACPI: parse DSDT");
    expect(pc.debug()).not.toMatch(/WARNING|error|invalid|timeout/i);
  });
}
