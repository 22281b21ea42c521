/**
 * What PVH and Multiboot have in common: where a kernel's parts and its modules go, and the structures beside them.
 *
 *   0x7000..   information, memory map, module list, in base memory; command lines from 0x2_0000 up
 *   1 MiB..    the kernel, where it wants to be; then the modules, page by page
 */
import { MEMORY_MAP } from "../machine/board-map.ts";
import type { Gpa } from "../memory/guest-memory.ts";
import type { RamSize } from "./e820.ts";
import { LOW_MEMORY } from "./e820.ts";
import type { BootModule, LoadedPart } from "./kernel-boot.ts";
import type { GuestCopy } from "./linux-boot.ts";
import { LinuxBootError } from "./linux-boot-error.ts";

export const KERNEL_LAYOUT = {
  info: 0x7000,
  loaderName: 0x7800,
  memoryMap: 0x1_1000,
  modules: 0x1_3000,
  commandLine: 0x2_0000,
  moduleTexts: 0x3_0000,
  end: 0x9_0000,
} as const;

const PAGE_BYTES = 4096;
const MIB = 2 ** 20;
const MAX_TEXT_BYTES = 0xffff;
const MAX_MODULES = 64;

export interface Loading {
  readonly copies: readonly GuestCopy[];
  readonly zeroes: readonly { readonly gpa: Gpa; readonly length: number }[];
  readonly end: Gpa;
}

/** Throws LinuxBootError unless all of it is RAM from 1 MiB up, without overlaps. */
export function planLoading(parts: readonly LoadedPart[], ram: RamSize): Loading {
  const sorted = parts.toSorted((a, b) => a.gpa - b.gpa);
  let end: number = LOW_MEMORY.end;
  for (const { gpa, memoryBytes } of sorted) {
    if (gpa < end || gpa + memoryBytes > MEMORY_MAP.lowRamEnd)
      throw new LinuxBootError(
        "kernel-malformed",
        `The kernel wants ${memoryBytes} bytes at 0x${gpa.toString(16)}, where another part of it is or no RAM can be. The file is damaged or built for another machine.`,
      );
    end = gpa + memoryBytes;
  }
  if (end > ram.lowRamBytes) throw tooSmall("The kernel", end);
  return {
    copies: sorted
      .filter(({ length }) => length > 0)
      .map(({ gpa, file, start, length }) => ({ gpa, file, start, length })),
    zeroes: sorted
      .filter(({ length, memoryBytes }) => memoryBytes > length)
      .map(({ gpa, length, memoryBytes }) => ({ gpa: gpa + length, length: memoryBytes - length })),
    end,
  };
}

export interface PlacedModule {
  readonly start: Gpa;
  readonly end: Gpa;
  readonly textAt: Gpa;
  readonly text: Uint8Array;
  readonly copy: GuestCopy;
}

/** Throws LinuxBootError. */
export function placeModules(modules: readonly BootModule[], from: Gpa, ram: RamSize): PlacedModule[] {
  if (modules.length > MAX_MODULES)
    throw new LinuxBootError(
      "initrd-too-large",
      `${modules.length} modules are too many: give at most ${MAX_MODULES}.`,
    );
  let free = alignUp(from);
  let textAt: number = KERNEL_LAYOUT.moduleTexts;
  const placed = modules.map(({ file, commandLine }) => {
    if (file.length === 0)
      throw new LinuxBootError("initrd-empty", "A module's file is empty. Give another, or leave it out.");
    const text = textBytes(commandLine);
    const module = {
      start: free,
      end: free + file.length,
      textAt,
      text,
      copy: { gpa: free, file, start: 0, length: file.length },
    };
    free = alignUp(module.end);
    textAt += text.length;
    return module;
  });
  if (textAt > KERNEL_LAYOUT.end)
    throw new LinuxBootError("command-line-too-long", "The modules' command lines are too long. Shorten them.");
  if (free > ram.lowRamBytes) throw tooSmall("The kernel with its modules", free);
  return placed;
}

/** With the terminating zero. Throws LinuxBootError. */
export function textBytes(text: string): Uint8Array {
  if (text.includes("\0"))
    throw new LinuxBootError("command-line-invalid", "A command line contains a zero byte, which would end it early.");
  const bytes = new TextEncoder().encode(`${text}\0`);
  if (bytes.length <= MAX_TEXT_BYTES) return bytes;
  throw new LinuxBootError(
    "command-line-too-long",
    `A command line has ${bytes.length - 1} bytes; at most ${MAX_TEXT_BYTES - 1} fit. Shorten it.`,
    { roomBytes: MAX_TEXT_BYTES - 1 },
  );
}

function tooSmall(what: string, end: number): LinuxBootError {
  const neededBytes = Math.ceil(end / MIB) * MIB;
  return new LinuxBootError(
    "memory-too-small",
    `${what} takes at least ${neededBytes / MIB} MiB of memory. Raise the memory size.`,
    { neededBytes },
  );
}

const alignUp = (value: number): number => Math.ceil(value / PAGE_BYTES) * PAGE_BYTES;
