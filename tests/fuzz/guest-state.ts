// Random processor states, tables and contents of RAM for the isolation fuzzer: about half of them sane enough to run on.

import type { SegmentRegister, VcpuState } from "../../packages/core/src/cpu/state.ts";
import type { Ram } from "../../packages/core/src/memory/ram.ts";
import type { Random } from "../cpu/random.ts";
import { randomCode } from "./guest-code.ts";

/** Not a multiple of 64 KiB, so that the memory has a tail of nobody's bytes. */
export const RAM_BYTES = 0x10_1000;
export const ROM_BYTES = 0x3000;
const FOUR_GIB = 0x1_0000_0000;

const IDT = 0x2000;
const GDT = 0x4000;
const TSS = 0x5000;
const TSS_64 = 0x5800;
const IDT_64 = 0x6000;
/** Tables that work, then those of chance. */
const GOOD_TABLES = {
  legacy: 0x8000,
  pages32: 0x9000,
  romPages32: 0xa000,
  pml4: 0xb000,
  pdpt: 0xc000,
  pd: 0xd000,
} as const;
const GOOD_PAGES = { pages: 0xe000, romPd: 0xf000, romPages: 0x1_0000 } as const;
const TABLES = 0x1_1000;
const TABLE_PAGES = 24;
const CODE_PAGES = { from: 0x40, to: 0x60 } as const;
const STACK_PAGE = 0x70;
const GDT_ENTRIES = 32;
const SELECTOR = {
  code32: 0x08,
  data: 0x10,
  code64: 0x18,
  code16: 0x20,
  user32: 0x28,
  userData: 0x30,
  user64: 0x38,
} as const;
/** From SELECTOR.code32 on; then an LDT, a TSS of 64 bits and one of 32. */
const GOOD_DESCRIPTORS: readonly bigint[] = [
  ...[0x00cf_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x00af_9b00_0000_ffffn, 0x000f_9b00_0000_ffffn],
  ...[0x00cf_fb00_0000_ffffn, 0x00cf_f300_0000_ffffn, 0x00af_fb00_0000_ffffn, 0x0000_8200_4000_00ffn],
  ...[0x0000_8900_5800_0067n, 0n, 0x0000_8900_5000_0067n],
];
const MSR_EFER = 0xc000_0080;

const P = 1n;
const FRAMES: readonly bigint[] = [
  0n,
  BigInt(RAM_BYTES - 4096),
  BigInt(RAM_BYTES),
  0xfffff000n,
  0xffffd000n,
  0xffffc000n,
];
const FAR_FRAMES: readonly bigint[] = [0x1_0000_0000n, 0x1_0000_1000n, 0xf_ffff_f000n, 0xff_ffff_f000n, 0xb000_0000n];
/** Access bytes of code, data, system descriptors. */
const ACCESS = [
  0x9a, 0x9b, 0x9e, 0xfa, 0xfb, 0x92, 0x93, 0x96, 0xf2, 0xf3, 0x82, 0x89, 0x8b, 0x81, 0x84, 0x8c, 0xec, 0x85,
];

const hex = (value: number): bigint => BigInt(value);

/** Fills RAM with code and tables. */
export function fillMemory(random: Random, memory: Ram): void {
  for (let page = 0; page < RAM_BYTES / 4096; page++)
    if (random.oneIn(2)) memory.write(page * 4096, randomCode(random, 256));
  for (let i = 1; i < GDT_ENTRIES; i++) memory.write64(GDT + i * 8, GOOD_DESCRIPTORS[i - 1] ?? descriptor(random));
  for (let i = 0; i < 256; i++) {
    memory.write32(i * 4, ((CODE_PAGES.from << 24) | (random.below(128) * 512)) >>> 0);
    memory.write64(IDT + i * 8, gate(random, SELECTOR.code32));
    memory.write64(IDT_64 + i * 16, gate(random, SELECTOR.code64));
    memory.write64(IDT_64 + i * 16 + 8, random.oneIn(32) ? random.uint64() : 0n);
  }
  const stack = (): number => STACK_PAGE * 4096 + random.below(1024) * 4;
  for (let at = 0; at < 0x68; at += 4) {
    memory.write32(TSS + at, at % 8 === 0 && at < 0x20 ? SELECTOR.data : stack());
    memory.write32(TSS_64 + at, at % 8 === 4 ? stack() : 0);
  }
  for (let page = CODE_PAGES.from; page < CODE_PAGES.to; page++)
    for (let at = 0; at < 4096; at += 512) memory.write(page * 4096 + at, randomCode(random, 512));
  for (let page = 0; page < TABLE_PAGES; page++) fillTable(random, memory, page);
  fillGoodTables(random, memory);
}

/** The first 2 MiB: tables, code and stack where they are, the rest anywhere; the ROM at its place. */
function fillGoodTables(random: Random, memory: Ram): void {
  const { legacy, pages32, romPages32, pml4, pdpt, pd } = GOOD_TABLES;
  const { pages, romPd, romPages } = GOOD_PAGES;
  const table = (address: number): bigint => BigInt(address) | 7n;
  memory.write32(legacy, pages32 | 7);
  memory.write32(legacy + 0xffc, romPages32 | 7);
  memory.write64(pml4, table(pdpt));
  memory.write64(pdpt, table(pd));
  memory.write64(pdpt + 3 * 8, table(romPd));
  memory.write64(pd, table(pages));
  memory.write64(romPd + 511 * 8, table(romPages));
  for (let page = 0; page < 512; page++) {
    const isCode = page >= CODE_PAGES.from && page < CODE_PAGES.to;
    const stays = page < 0x11 || isCode || page === STACK_PAGE;
    const found = stays ? BigInt(page * 4096) | 7n : entry(random);
    memory.write64(pages + page * 8, found);
    memory.write32(pages32 + page * 4, Number(found & 0xffff_ffffn));
  }
  for (let page = 512 - ROM_BYTES / 4096; page < 512; page++) {
    const frame = FOUR_GIB - (512 - page) * 4096;
    memory.write64(romPages + page * 8, BigInt(frame) | 7n);
    memory.write32(romPages32 + (page + 512) * 4, (frame | 7) >>> 0);
  }
}

function fillTable(random: Random, memory: Ram, page: number): void {
  for (let i = 0; i < 512; i++)
    if (i < 8 || i > 504 || random.oneIn(8)) memory.write64(TABLES + page * 4096 + i * 8, entry(random));
}

function entry(random: Random): bigint {
  const table = BigInt(TABLES + random.below(TABLE_PAGES) * 4096);
  const page = BigInt(random.below(RAM_BYTES / 4096) * 4096);
  const frame = random.pick([table, table, page, page, page, random.pick(FRAMES), random.pick(FAR_FRAMES)]);
  const flags = random.oneIn(8) ? hex(random.below(4096)) : random.pick([7n, 0x67n, 3n, 0x63n, 0x87n, 0x1e7n, 5n]);
  const noExecute = random.oneIn(16) ? 1n << 63n : 0n;
  return frame | flags | noExecute;
}

function descriptor(random: Random): bigint {
  const access = hex(random.oneIn(8) ? random.below(256) : random.pick(ACCESS));
  const flags = hex(random.below(16));
  const limit = hex(random.pick([0xfffff, 0xffff, 0xfff, 0x100, 0, random.below(0x100000)]));
  const base = hex(random.oneIn(2) ? 0 : linear(random));
  return (
    (limit & 0xffffn) |
    ((base & 0xffffffn) << 16n) |
    (access << 40n) |
    ((limit >> 16n) << 48n) |
    (flags << 52n) |
    (((base >> 24n) & 0xffn) << 56n)
  );
}

function gate(random: Random, code: number): bigint {
  if (random.oneIn(32)) return random.uint64();
  const offset = hex(codeAddress(random));
  const access = hex(random.oneIn(8) ? random.pick([0x85, 0x86, 0x87]) : random.pick([0x8e, 0xee, 0x8f, 0xef]));
  const to = hex(random.oneIn(16) ? selector(random) : code);
  return (offset & 0xffffn) | (to << 16n) | (access << 40n) | ((offset >> 16n) << 48n);
}

const codeAddress = (random: Random): number =>
  CODE_PAGES.from * 4096 + random.below((CODE_PAGES.to - CODE_PAGES.from) * 8) * 512;
const selector = (random: Random): number => random.below(GDT_ENTRIES) * 8 + random.pick([0, 0, 3]);

/** Where something may go wrong: ends of RAM and ROM, of pages, of the address space. */
function linear(random: Random): number {
  const near = random.pick([
    0,
    0x1000,
    0x7_f000,
    0x10_0000,
    RAM_BYTES,
    FOUR_GIB - ROM_BYTES,
    FOUR_GIB - 0x1000,
    FOUR_GIB,
  ]);
  return random.oneIn(3) ? random.below(RAM_BYTES) : Math.abs(near - 16 + random.below(32)) % FOUR_GIB;
}

function register(random: Random): bigint {
  if (random.oneIn(8)) return random.uint64();
  if (random.oneIn(8))
    return random.pick([1n << 47n, -(1n << 47n), -1n, -16n, 1n << 32n, (1n << 40n) - 8n]) & ((1n << 64n) - 1n);
  if (random.oneIn(6)) return hex(random.below(64));
  return hex(linear(random));
}

export type GuestMode = "real" | "unreal" | "protected16" | "protected32" | "v86" | "pae" | "compatibility" | "long";
export const GUEST_MODES: readonly GuestMode[] = [
  ...(["real", "unreal", "protected16", "protected32", "v86", "pae", "compatibility", "long"] as const),
];

export function randomState(random: Random, mode: GuestMode, base: VcpuState): VcpuState {
  // Tables, code and stack segment that work, for three of four.
  const sane = !random.oneIn(4);
  const isReal = mode === "real" || mode === "unreal" || mode === "v86";
  const isLong = mode === "long" || mode === "compatibility";
  const pages = isLong || mode === "pae" || (mode !== "real" && mode !== "unreal" && random.oneIn(2));
  const at = codeAddress(random);
  const cpl = mode === "unreal" || random.oneIn(2) ? 0 : 3;
  const segment = (isCode: boolean): SegmentRegister => randomSegment(random, mode, isCode, cpl);
  const table = (): { base: bigint; limit: number } => ({ base: register(random), limit: random.below(0x10000) });
  const cs = segment(true);
  const ss = segment(false);
  if (sane && !isReal) {
    const selector = cpl ? SELECTOR.userData : SELECTOR.data;
    Object.assign(ss, { selector: selector | cpl, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 | (cpl << 5) });
  }
  if (mode === "real" || mode === "v86") Object.assign(ss, { selector: STACK_PAGE << 8, base: hex(STACK_PAGE << 12) });
  if (isReal) Object.assign(cs, { selector: at >> 4, base: hex(at & ~15) });
  const cr0 =
    (mode === "real" || mode === "unreal" ? 0n : 1n) | (pages ? 1n << 31n : 0n) | bits(random, [1, 2, 3, 5, 16, 18]);
  const cr4 =
    (isLong || mode === "pae" ? 0x20n : 0n) |
    bits(random, sane ? [2, 3, 4, 7, 8, 9, 10] : [2, 3, 4, 7, 8, 9, 10, 11, 20, 21]) |
    (random.oneIn(8) ? 0n : 0x200n);
  const goodCr3 = isLong ? GOOD_TABLES.pml4 : (cr4 & 0x20n) !== 0n ? GOOD_TABLES.pdpt : GOOD_TABLES.legacy;
  const cr3 = BigInt(sane ? goodCr3 : TABLES + random.below(TABLE_PAGES) * 4096);
  const efer = (isLong ? 0x500n : 0n) | bits(random, [0, 11]);
  const flags = bits(random, [0, 2, 4, 6, 7, 9, 10, 11, 12, 13, 14, 18, 21]) | (random.oneIn(24) ? 0x100n : 0n);
  const fxsave = random.oneIn(4) ? Uint8Array.from(random.bytes(512)) : base.fxsave;
  return {
    ...base,
    gpr: Array.from({ length: 16 }, (_, i) =>
      i === 4 && !random.oneIn(4) ? hex(STACK_PAGE * 4096 + 0x800) : register(random),
    ),
    rip: isReal ? hex(at & 15) : hex(at) - (isLong && mode === "long" ? 0n : cs.base),
    rflags: flags | 2n | (mode === "v86" ? 0x20000n : 0n),
    ...{ cr0, cr4, cr2: register(random), cr3, cr8: 0n },
    ...{ cs, ss, ds: segment(false), es: segment(false), fs: segment(false), gs: segment(false) },
    ldtr: { selector: 0x40, base: hex(GDT), limit: 0xff, attributes: random.oneIn(4) ? 0x10000 : 0x82 },
    tr: {
      selector: isLong ? 0x48 : 0x58,
      base: hex(random.oneIn(8) ? linear(random) : isLong ? TSS_64 : TSS),
      limit: random.pick([0x67, 0xfff, 0x20]),
      attributes: isLong || random.oneIn(2) ? 0x8b : 0x83,
    },
    gdtr: random.oneIn(8) ? table() : { base: hex(GDT), limit: GDT_ENTRIES * 8 - 1 },
    idtr: random.oneIn(8)
      ? table()
      : { base: hex(mode === "real" || mode === "unreal" ? 0 : isLong ? IDT_64 : IDT), limit: 0xfff },
    pdptes: Array.from({ length: 4 }, (_, i) => {
      if (sane) return [BigInt(GOOD_TABLES.pd) | P, 0n, 0n, BigInt(GOOD_PAGES.romPd) | P][i] ?? 0n;
      return (entry(random) & ~0x1e6n & ((1n << 40n) - 1n)) | P;
    }),
    dr: [
      register(random),
      register(random),
      register(random),
      register(random),
      0xffff0ff0n,
      random.oneIn(8) ? hex(random.uint32()) : 0x400n,
    ],
    fxsave,
    msrs: { ...base.msrs, [String(MSR_EFER)]: efer },
    interruptShadow: random.pick(["none", "none", "sti", "mov-ss"] as const),
    nmiPending: random.oneIn(16),
    halted: false,
  };
}

function randomSegment(random: Random, mode: GuestMode, isCode: boolean, rpl: number): SegmentRegister {
  if (mode === "real" || mode === "v86") {
    const selector = random.pick([0, 0x7000, 0xffff, random.below(0x10000)]);
    return { selector, base: hex(selector * 16), limit: 0xffff, attributes: mode === "v86" ? 0xf3 : 0x93 };
  }
  const type = isCode ? random.pick([0x9b, 0x9b, 0x9f]) : random.pick([0x93, 0x93, 0x93, 0x97, 0x91]);
  const wide = mode === "protected16" ? 0 : isCode && mode === "long" ? 0x2000 : 0x4000;
  const isFlat = isCode || random.oneIn(2);
  const granular = isFlat ? 0x8000 : 0;
  const attributes = type | (rpl << 5) | wide | granular | (!isCode && random.oneIn(16) ? 0x10000 : 0);
  const limit = isFlat ? 0xffff_ffff : random.pick([0xffff, 0xfff, 0, RAM_BYTES - 1, random.uint32()]);
  const code = mode === "long" ? SELECTOR.code64 : mode === "protected16" ? SELECTOR.code16 : SELECTOR.code32;
  const named = isCode ? (rpl && mode !== "protected16" ? code + 0x20 : code) : selector(random) & ~3;
  return { selector: named | rpl, base: isFlat ? 0n : hex(linear(random)), limit, attributes };
}

/** Each of the bits with one chance in two. */
function bits(random: Random, positions: readonly number[]): bigint {
  return positions.reduce((all, bit) => (random.oneIn(2) ? all | (1n << BigInt(bit)) : all), 0n);
}
