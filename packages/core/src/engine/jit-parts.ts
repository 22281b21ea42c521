/** What the jit engine has in common, whether its vCPUs take turns in one thread or run in parallel. */
import type { AccessSize } from "../bus/io.ts";
import * as L from "../cpu/layout.ts";
import { MAX_ROM_BYTES, PAGE_BYTES } from "../memory/ram.ts";
import type { VcpuExit } from "./engine.ts";

export const EXITS: Readonly<Record<number, VcpuExit>> = {
  [L.EXIT_BUDGET]: { reason: "budget" },
  [L.EXIT_HALT]: { reason: "halt" },
  [L.EXIT_INTERRUPT]: { reason: "interrupt-window" },
  [L.EXIT_KICK]: { reason: "kick" },
  [L.EXIT_SHUTDOWN]: { reason: "shutdown" },
  [L.EXIT_YIELD]: { reason: "yield" },
  // What has stopped it, jit-debugger.ts finds out.
  [L.EXIT_DEBUG]: { reason: "debug", stop: { kind: "step" } },
};
/** To translate an instruction takes as long as to interpret it some thousand times. */
export const HEAT = 3000;

export function checkCpus(cpus = 1): number {
  if (Number.isInteger(cpus) && cpus >= 1 && cpus <= L.MAX_VCPUS) return cpus;
  throw new RangeError(`${cpus} vCPUs; possible are 1 to ${L.MAX_VCPUS}`);
}

export function checkRom(rom: Uint8Array | undefined): number {
  const sizeBytes = rom?.length ?? 0;
  if (sizeBytes % PAGE_BYTES === 0 && sizeBytes <= MAX_ROM_BYTES) return sizeBytes;
  throw new RangeError(`a ROM of ${sizeBytes} bytes; possible are whole pages up to ${MAX_ROM_BYTES}`);
}

/** An access of any size is made of accesses of 4, 2 and 1 bytes at natural addresses: how many the one at `offset` has. */
function partSize(gpa: number, bytes: number, offset: number): AccessSize {
  if (bytes === 4 || bytes === 2 || bytes === 1) return bytes;
  const left = bytes - offset;
  const beyond = (gpa + offset) % 4;
  return left >= 4 && beyond === 0 ? 4 : left >= 2 && beyond % 2 === 0 ? 2 : 1;
}

/** Reads what lies outside RAM, part by part, to `at` of the memory. */
export function readParts(
  view: DataView,
  gpa: number,
  bytes: number,
  at: number,
  read: (gpa: number, size: AccessSize) => number,
): void {
  for (let offset = 0; offset < bytes; ) {
    const size = partSize(gpa, bytes, offset);
    const value = read(gpa + offset, size);
    if (size === 4) view.setUint32(at + offset, value, true);
    else if (size === 2) view.setUint16(at + offset, value, true);
    else view.setUint8(at + offset, value);
    offset += size;
  }
}

/** Writes what is at `at` of the memory. */
export function writeParts(
  view: DataView,
  gpa: number,
  bytes: number,
  at: number,
  write: (gpa: number, size: AccessSize, value: number) => void,
): void {
  for (let offset = 0; offset < bytes; ) {
    const size = partSize(gpa, bytes, offset);
    const from = at + offset;
    if (size === 4) write(gpa + offset, size, view.getUint32(from, true));
    else if (size === 2) write(gpa + offset, size, view.getUint16(from, true));
    else write(gpa + offset, size, view.getUint8(from));
    offset += size;
  }
}
