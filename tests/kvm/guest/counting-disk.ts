/**
 * A disk whose boot sector counts in its second sector: reads it by INT 13H AH=42H, adds one, writes it back by AH=43H, without
 * end. It prints BEGIN, a point after each 16 rounds, and an X, and halts, where what it reads is not what it has written. While
 * a request is under way SeaBIOS spins on the queue in memory, so that the guest does not halt.
 */
import { closeSync, mkdtempSync, openSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createVm, type Vm } from "@twinmetal/host";
import { expect } from "vitest";

const SECTOR_BYTES = 512;
/**
 * xor ax, ax; mov ds, ax; mov es, ax; mov ss, ax; mov sp, 7000H; cld; sti; mov [drive], dl; mov si, begin; call print;
 * mov ah, 42H; call access; mov eax, [8000H]; mov [expected], eax; next: mov ah, 42H; call access; mov eax, [8000H];
 * cmp eax, [expected]; jne wrong; inc eax; mov [8000H], eax; mov [expected], eax; mov ah, 43H; call access;
 * test byte [8000H], 15; jnz next; mov si, dot; call print; jmp next; access: mov al, 0; mov dl, [drive]; mov si, packet;
 * int 13H; jc wrong; ret; wrong: mov si, fail; call print; stop: hlt; jmp stop; print: lodsb; test al, al; jz end;
 * mov ah, 0EH; mov bx, 7; int 10H; jmp print; end: ret; the texts, the packet of sector 1 at 0:8000H, expected, drive
 */
const COUNTING =
  "31c08ed88ec08ed0bc0070fcfb8816987cbe787ce85200b442e8360066a1008066a3947cb442e8290066a10080663b06947c752c664066a3008066a3" +
  "947cb443e80f00f60600800f75dabe7e7ce81900ebd2b0008a16987cbe847ccd137201c3be807ce80300f4ebfdac84c07409b40ebb0700cd10ebf2c3" +
  "424547494e002e0058009090100001000080000001000000000000000000000000";

/** For what the guest has to do: a processor in software may be shared with much else. */
export const WAIT_MS = 200_000;
const directory = mkdtempSync("/tmp/disk-");

export const pathOf = (name: string): string => join(directory, name);

/** The path of a new image. */
export function countingDisk(name: string): string {
  const image = new Uint8Array(2048 * SECTOR_BYTES);
  image.set(Buffer.from(COUNTING, "hex"));
  image.set([0x55, 0xaa], SECTOR_BYTES - 2);
  writeFileSync(pathOf(name), image);
  return pathOf(name);
}

/** As the image has it now. */
export function countOf(path: string): number {
  const file = openSync(path, "r");
  const bytes = Buffer.alloc(4);
  readSync(file, bytes, 0, 4, SECTOR_BYTES);
  closeSync(file);
  return bytes.readUInt32LE();
}

/** In SeaBIOS on kvm, with a screen; without XSAVE, which nothing here needs. */
export function firmwareVm(...paths: string[]): Promise<Vm> {
  return createVm({
    engine: "kvm",
    firmware: "bios",
    vga: "std",
    memoryBytes: 32 * 2 ** 20,
    cpuFeatures: ["-xsave", "-xsaveopt"],
    disks: paths.map((path) => ({ path, format: "raw" })),
  });
}

/** It counts on by so many: it stops where it does not read what it has written. */
export async function countsOn(path: string, rounds = 32): Promise<void> {
  const from = countOf(path);
  for (const endMs = performance.now() + WAIT_MS; countOf(path) < from + rounds && performance.now() < endMs; )
    await new Promise((resolve) => setTimeout(resolve, 100));
  expect(countOf(path)).toBeGreaterThanOrEqual(from + rounds);
}
