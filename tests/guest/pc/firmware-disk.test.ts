// SeaBIOS starts the boot sector of a virtio-blk or SATA disk, the first of two, and its boot menu starts the second.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, type DiskBus, type VmOptions } from "../../../packages/host/src/index.ts";
import { debianFile } from "./debian-files.ts";

const TIMEOUT_MS = 60_000;
const BIOS = { packageName: "seabios", path: "usr/share/seabios/bios-256k.bin" };
/** xor ax, ax; mov ds, ax; mov si, 7C1AH; cld; print: lodsb; test al, al; jz end; mov ah, 0EH; mov bx, 7; int 10H; jmp print; end: hlt; jmp end */
const PRINTER = [
  ...[0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x1a, 0x7c, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x09],
  ...[0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, 0xeb, 0xf2, 0xf4, 0xeb, 0xfd, 0x90],
];

function bootDisk(text: string): Uint8Array {
  const disk = new Uint8Array(1024 * 1024);
  disk.set(PRINTER);
  disk.set(new TextEncoder().encode(`${text}\r\n\0`), PRINTER.length);
  disk.set([0x55, 0xaa], 510);
  return disk;
}

const bios = await debianFile(BIOS);
if (typeof bios === "string") console.warn(`SeaBIOS skipped: ${bios}`);

/** A VM in SeaBIOS with two disks. */
async function withDisks(more: VmOptions, bootIndexOfSecond?: number) {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-firmware-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [firmware, first, second] = ["bios.bin", "first.img", "second.img"].map((name) => join(folder, name));
  writeFileSync(firmware!, bios as Uint8Array);
  writeFileSync(first!, bootDisk("from the first disk"));
  writeFileSync(second!, bootDisk("from the second disk"));
  return await createVm({
    firmware: firmware!,
    memoryBytes: 64 * 2 ** 20,
    engine: "jit",
    disks: [
      { path: first! },
      { path: second!, ...(bootIndexOfSecond === undefined ? {} : { bootIndex: bootIndexOfSecond }) },
    ],
    ...more,
  });
}

test.skipIf(typeof bios === "string")("SeaBIOS starts from the first disk", { timeout: 2 * TIMEOUT_MS }, async () => {
  await using vm = await withDisks({});
  await vm.start();
  await vm.serial.waitFor("from the first disk", { timeoutMs: TIMEOUT_MS });
  await vm.reset();
  await vm.serial.waitFor("from the first disk", { timeoutMs: TIMEOUT_MS });
});

test.skipIf(typeof bios === "string")("its menu starts another", { timeout: 2 * TIMEOUT_MS }, async () => {
  await using vm = await withDisks({ hasBootMenu: true });
  await vm.start();
  await vm.serial.waitFor("Press ESC for boot menu", { timeoutMs: TIMEOUT_MS });
  await vm.serial.write("\x1b");
  const menu = await vm.serial.waitFor(/2\. [^\n]*/, { timeoutMs: TIMEOUT_MS });
  expect(menu).toContain("1. ");
  await vm.serial.write("2");
  await vm.serial.waitFor("from the second disk", { timeoutMs: TIMEOUT_MS });
});

test.skipIf(typeof bios === "string").each<DiskBus>(["ahci", "nvme", "ide"])(
  "it starts from a disk on %s, before a virtio-blk one",
  { timeout: 2 * TIMEOUT_MS },
  async (bus) => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-firmware-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [firmware, empty, other] = ["bios.bin", "empty.img", "other.img"].map((name) => join(folder, name));
    writeFileSync(firmware!, bios as Uint8Array);
    writeFileSync(empty!, new Uint8Array(1024 * 1024));
    writeFileSync(other!, bootDisk(`from the disk on ${bus}`));
    await using vm = await createVm({
      firmware: firmware!,
      memoryBytes: 64 * 2 ** 20,
      engine: "jit",
      disks: [
        { path: other!, format: "raw", bus },
        { path: empty!, format: "raw" },
      ],
    });
    await vm.start();
    await vm.serial.waitFor(`from the disk on ${bus}`, { timeoutMs: TIMEOUT_MS });
  },
);

test.skipIf(typeof bios === "string")(
  "it starts from a floppy disk before a disk, if that is asked for, and from another one after a reset",
  { timeout: 2 * TIMEOUT_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-firmware-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [firmware, disk, first, second] = ["bios.bin", "disk.img", "a.img", "b.img"].map((name) =>
      join(folder, name),
    );
    writeFileSync(firmware!, bios as Uint8Array);
    writeFileSync(disk!, bootDisk("from the disk"));
    writeFileSync(first!, Buffer.concat([bootDisk("from the floppy disk")], 1440 * 1024));
    writeFileSync(second!, Buffer.concat([bootDisk("from another one").subarray(0, 512)], 720 * 1024));
    await using vm = await createVm({
      firmware: firmware!,
      memoryBytes: 64 * 2 ** 20,
      engine: "jit",
      bootOrder: ["floppy", "disk"],
      disks: [
        { path: disk!, format: "raw" },
        { path: first!, format: "raw", bus: "floppy" },
      ],
    });
    await vm.start();
    await vm.serial.waitFor("from the floppy disk", { timeoutMs: TIMEOUT_MS });
    await vm.insert("disk1", second!);
    await vm.reset();
    await vm.serial.waitFor("from another one", { timeoutMs: TIMEOUT_MS });
  },
);

const BLOCK_BYTES = 2048;

/** A disc with nothing but a boot record, its catalog and the sector it starts (El Torito 1.0; ECMA-119 for the descriptors). */
function bootDisc(text: string): Uint8Array {
  const disc = new Uint8Array(32 * BLOCK_BYTES);
  const catalogBlock = 19;
  const imageBlock = 20;
  const descriptor = (block: number, type: number, name = ""): void => {
    disc.set([type, ...new TextEncoder().encode("CD001"), 1], block * BLOCK_BYTES);
    disc.set(new TextEncoder().encode(name), block * BLOCK_BYTES + 7);
  };
  descriptor(16, 1);
  descriptor(17, 0, "EL TORITO SPECIFICATION");
  descriptor(18, 255);
  const view = new DataView(disc.buffer);
  view.setUint32(17 * BLOCK_BYTES + 0x47, catalogBlock, true);
  const catalog = catalogBlock * BLOCK_BYTES;
  // Validation entry, whose words add up to 0, and the default entry: no emulation, four sectors.
  disc.set([1], catalog);
  view.setUint16(catalog + 28, 0x1_0000 - 0x0001 - 0xaa55, true);
  disc.set([0x55, 0xaa], catalog + 30);
  disc.set([0x88], catalog + 32);
  view.setUint16(catalog + 38, 4, true);
  view.setUint32(catalog + 40, imageBlock, true);
  disc.set(bootDisk(text).subarray(0, 512), imageBlock * BLOCK_BYTES);
  return disc;
}

test.skipIf(typeof bios === "string").each<"ahci" | "ide">(["ahci", "ide"])(
  "it starts from a CD on %s where the disk holds nothing",
  { timeout: 2 * TIMEOUT_MS },
  async (bus) => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-firmware-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [firmware, empty, disc] = ["bios.bin", "empty.img", "disc.iso"].map((name) => join(folder, name));
    writeFileSync(firmware!, bios as Uint8Array);
    writeFileSync(empty!, new Uint8Array(1024 * 1024));
    writeFileSync(disc!, bootDisc("from the CD"));
    await using vm = await createVm({
      firmware: firmware!,
      memoryBytes: 64 * 2 ** 20,
      engine: "jit",
      disks: [
        { path: empty!, format: "raw", bus },
        { path: disc!, isCdrom: true, ...(bus === "ide" && { bus }) },
      ],
    });
    await vm.start();
    await vm.serial.waitFor("from the CD", { timeoutMs: TIMEOUT_MS });
  },
);

test.skipIf(typeof bios === "string")(
  "a boot index goes before the order of the disks",
  { timeout: 120_000 },
  async () => {
    await using vm = await withDisks({}, 0);
    await vm.start();
    await vm.serial.waitFor("from the second disk", { timeoutMs: TIMEOUT_MS });
  },
);

test.skipIf(typeof bios === "string")(
  "it starts from a CD before a disk, if that is asked for",
  { timeout: 2 * TIMEOUT_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-firmware-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [firmware, disk, disc] = ["bios.bin", "disk.img", "disc.iso"].map((name) => join(folder, name));
    writeFileSync(firmware!, bios as Uint8Array);
    writeFileSync(disk!, bootDisk("from the disk"));
    writeFileSync(disc!, bootDisc("from the CD"));
    await using vm = await createVm({
      firmware: firmware!,
      memoryBytes: 64 * 2 ** 20,
      engine: "jit",
      bootOrder: ["cdrom", "disk"],
      disks: [
        { path: disk!, format: "raw" },
        { path: disc!, isCdrom: true },
      ],
    });
    await vm.start();
    await vm.serial.waitFor("from the CD", { timeoutMs: TIMEOUT_MS });
  },
);

test.skipIf(typeof bios === "string").each<"ahci" | "ide">(["ahci", "ide"])(
  "another disc in a drive on %s is started after a reset, and none from an empty one",
  { timeout: 3 * TIMEOUT_MS },
  async (bus) => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-firmware-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [firmware, first, second] = ["bios.bin", "first.iso", "second.iso"].map((name) => join(folder, name));
    writeFileSync(firmware!, bios as Uint8Array);
    writeFileSync(first!, bootDisc("from the first disc"));
    writeFileSync(second!, Buffer.concat([bootDisc("from the second disc"), Buffer.alloc(BLOCK_BYTES)]));
    await using vm = await createVm({
      firmware: firmware!,
      memoryBytes: 64 * 2 ** 20,
      engine: "jit",
      disks: [{ path: first!, isCdrom: true, ...(bus === "ide" && { bus }) }],
    });
    await vm.start();
    await vm.serial.waitFor("from the first disc", { timeoutMs: TIMEOUT_MS });
    await vm.insert("disk0", second!);
    await vm.reset();
    await vm.serial.waitFor("from the second disc", { timeoutMs: TIMEOUT_MS });
    await vm.eject("disk0");
    await vm.reset();
    await vm.serial.waitFor("No bootable device", { timeoutMs: TIMEOUT_MS });
    await expect(vm.eject("disk7")).rejects.toMatchObject({ code: "bad-option" });
    await expect(vm.insert("disk0", join(folder, "none.iso"))).rejects.toMatchObject({ code: "disk-not-found" });
  },
);
