// SeaBIOS as Debian ships it, from the reset vector until it finds nothing to boot from: it has taken memory sizes, tables and
// settings from fw_cfg, and prints on the serial port, as there is no display.

import { expect, test } from "vitest";
import { debianFile } from "./debian-files.ts";
import { createPc } from "./pc.ts";

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
