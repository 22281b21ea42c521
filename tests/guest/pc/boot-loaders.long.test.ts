// Real boot loaders: their 16-bit and 32-bit code, over a BIOS whose services are the test's.

import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { debianFile } from "./debian-files.ts";
import { type BiosPc, createBiosPc } from "./test-bios.ts";

const GRUB = await debianFile({ packageName: "grub-rescue-pc", path: "usr/lib/grub-rescue/grub-rescue-floppy.img" });
const IPXE = await debianFile({ packageName: "ipxe", path: "boot/ipxe.lkrn" });
const BOOT_SECTOR = 0x7c00;
const SETUP_SEGMENT = 0x9000;
/** mov ax, SETUP_SEGMENT; DS, ES, SS := AX; mov sp, E000H; jmp SETUP_SEGMENT + 20H:0 (Linux's 16-bit boot protocol) */
const STARTER = [0xb8, 0x00, 0x90, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0xe0, 0xea, 0x00, 0x00, 0x20, 0x90];
const SECTOR_BYTES = 512;

function missing(file: Uint8Array | string): boolean {
  if (typeof file === "string") console.warn(`skipped: ${file}`);
  try {
    execFileSync("nasm", ["-v"], { stdio: "ignore" });
  } catch {
    console.warn("skipped: nasm is not installed");
    return true;
  }
  return typeof file === "string";
}

const shows = (pc: BiosPc, text: string): boolean => pc.runUntil(() => pc.screen().join("\n").includes(text), 40);

test.skipIf(missing(GRUB))("GRUB's rescue floppy comes to its prompt and answers", { timeout: 120_000 }, () => {
  const image = GRUB as Uint8Array;
  const pc = createBiosPc({
    memoryMib: 64,
    clock: "wall",
    floppy: { image, cylinders: 80, heads: 2, sectors: 18 },
    load: (machine) => {
      machine.write(BOOT_SECTOR, image.subarray(0, SECTOR_BYTES));
      return { segment: 0, offset: BOOT_SECTOR };
    },
  });
  expect(shows(pc, "GNU GRUB"), pc.screen().join("\n")).toBe(true);
  pc.type("c");
  expect(shows(pc, "grub> "), pc.screen().join("\n")).toBe(true);
  pc.type("answer=42\recho the answer: $answer\r");
  expect(shows(pc, "the answer: 42"), pc.screen().join("\n")).toBe(true);
});

test.skipIf(missing(IPXE))("iPXE comes to its prompt and answers", { timeout: 120_000 }, () => {
  const file = IPXE as Uint8Array;
  const pc = createBiosPc({
    memoryMib: 64,
    clock: "wall",
    load: (machine) => {
      const setupSectors = (file[0x1f1] ?? 0) + 1;
      machine.write(SETUP_SEGMENT * 16, file.subarray(0, setupSectors * SECTOR_BYTES));
      machine.write(0x100000, file.subarray(setupSectors * SECTOR_BYTES));
      machine.write(SETUP_SEGMENT * 16 + 0x210, Uint8Array.of(0xff));
      machine.write(BOOT_SECTOR, Uint8Array.from(STARTER));
      return { segment: 0, offset: BOOT_SECTOR };
    },
  });
  expect(shows(pc, "Ctrl-B"), pc.screen().join("\n")).toBe(true);
  pc.type("\x02");
  expect(shows(pc, "iPXE>"), pc.screen().join("\n")).toBe(true);
  pc.type("set answer:int32 42\rshow answer\r");
  expect(shows(pc, "answer:int32 = 42"), pc.screen().join("\n")).toBe(true);
});
