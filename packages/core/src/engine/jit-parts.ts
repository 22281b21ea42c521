/** What the jit engine has in common, whether its vCPUs take turns in one thread or run in parallel. */
import type { AccessSize } from "../bus/io.ts";
import { CR4_OSXSAVE } from "../cpu/control-bits.ts";
import type { CpuidCache } from "../cpu/cpuid.ts";
import * as L from "../cpu/layout.ts";
import type { Core, CoreExports } from "../interp/core.ts";
import type { Field } from "../ir/builder.ts";
import type { RegionTier } from "../jit/tier.ts";
import { MAX_ROM_BYTES, PAGE_BYTES } from "../memory/ram.ts";
import type { VcpuExit } from "./engine.ts";
import type { StateBlock } from "./vcpu-state-block.ts";

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

export const IA32_APIC_BASE = 0x1b;
const APIC_BASE_EN = 0x800n;

export function checkCpus(cpus = 1): number {
  if (Number.isInteger(cpus) && cpus >= 1 && cpus <= L.MAX_VCPUS) return cpus;
  throw new RangeError(`${cpus} vCPUs; possible are 1 to ${L.MAX_VCPUS}`);
}

export function checkRom(rom: Uint8Array | undefined): number {
  const sizeBytes = rom?.length ?? 0;
  if (sizeBytes % PAGE_BYTES === 0 && sizeBytes <= MAX_ROM_BYTES) return sizeBytes;
  throw new RangeError(`a ROM of ${sizeBytes} bytes; possible are whole pages up to ${MAX_ROM_BYTES}`);
}

/** Code made from [from, from + length) of the memory is stale. Page by page: translated code lives in single pages. */
export function codeWritten(exports: Pick<CoreExports, "code_written">, from: number, length: number): void {
  for (let at = from; at < from + length; ) {
    const bytes = Math.min(PAGE_BYTES - (at % PAGE_BYTES), from + length - at);
    exports.code_written(at, bytes);
    at += bytes;
  }
}

/** CPUID, for the vCPU of `block`. */
export function executeCpuid(block: StateBlock, cpuid: CpuidCache, apicBase: bigint | undefined): void {
  const [eax, ebx, ecx, edx] = cpuid.leaf(
    block.get(L.RAX),
    block.get(L.RCX),
    (block.get(L.CR4) & CR4_OSXSAVE) !== 0,
    block.get(L.XCR0),
    ((apicBase ?? 0n) & APIC_BASE_EN) !== 0n,
  );
  block.putLow(L.RAX, eax);
  block.putLow(L.RBX, ebx);
  block.putLow(L.RCX, ecx);
  block.putLow(L.RDX, edx);
}

/** What the processors of `blocks`, the decoder and the tiers have counted. */
export function tierCounters(
  blocks: readonly StateBlock[],
  decoder: Core["decoder"],
  tier: RegionTier | undefined,
): Readonly<Record<string, number>> {
  const sum = (field: Field): number => blocks.reduce((all, block) => all + Number(block.get64(field)), 0);
  return {
    blocksDecoded: decoder.blocks,
    blockFlushes: decoder.flushes,
    instructionsInRegions: sum(L.REGION_RETIRED),
    regionEntries: sum(L.REGION_ENTRIES),
    tlbMisses: sum(L.TLB_MISSES),
    tlbFlushes: sum(L.TLB_FLUSHES),
    tlbPageFlushes: sum(L.TLB_PAGE_FLUSHES),
    codeDrops: sum(L.CODE_DROPS),
    ...(tier && {
      ...tier.counters,
      translatorMs: Math.round(tier.counters.translatorMs),
      regionsQueued: tier.queued,
    }),
  };
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
