// The little system around a program: page tables, descriptor tables, handlers, and the state it begins in. Four kinds:
// 64-bit mode, compatibility mode, 32-bit protected mode with 4-byte and with PAE page tables.
//
// Handlers leave a trace that depends on where they came in. That of #PF makes the page present and writable again, those
// of #DE and #UD step over two bytes, that of NMI takes away from the program's pages' entries what the host asked for. All
// others, and vector VECTOR.end, end the guest.

import { resetState } from "../../packages/core/src/cpu/reset-state.ts";
import type { SegmentRegister, VcpuState } from "../../packages/core/src/cpu/state.ts";
import type { Random } from "../cpu/random.ts";
import { Assembler, type CodeMode } from "./assembler.ts";
import * as G from "./guest-layout.ts";

export type GuestKind = "long" | "compatibility" | "legacy" | "pae";
export const GUEST_KINDS: readonly GuestKind[] = ["long", "compatibility", "legacy", "pae"];

export interface GuestEnvironment {
  readonly kind: GuestKind;
  readonly ring: 0 | 3;
}

export function codeMode({ kind }: GuestEnvironment): CodeMode {
  return kind === "long" ? 64 : 32;
}

interface Tables {
  /** Levels from the root down, and bytes of an entry. */
  readonly levels: number;
  readonly entryBytes: 4 | 8;
}
const TABLES: Readonly<Record<GuestKind, Tables>> = {
  long: { levels: 4, entryBytes: 8 },
  compatibility: { levels: 4, entryBytes: 8 },
  pae: { levels: 3, entryBytes: 8 },
  legacy: { levels: 2, entryBytes: 4 },
};
const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED_DIRTY = 0x60;

const isLong = (kind: GuestKind): boolean => kind === "long" || kind === "compatibility";

function pageTable(kind: GuestKind): number {
  return G.TABLES + (TABLES[kind].levels - 1) * 4096;
}

/** Where the entry of a page lies, by the page's address. */
export function entryAddress(kind: GuestKind, linear: number): number {
  return pageTable(kind) + (linear / 4096) * TABLES[kind].entryBytes;
}

/** Writes all tables and handlers. */
export function writeKernel(ram: Uint8Array, environment: GuestEnvironment, random: Random): void {
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  writePageTables(view, environment.kind, random);
  writeDescriptors(view, environment.kind);
  const { code, entries } = handlers(environment);
  ram.set(code, G.HANDLERS);
  for (let vector = 0; vector < 256; vector++) {
    const handler = entries.get(vector) ?? entries.get(G.VECTOR.end)!;
    const isOpen = vector === 3 || vector === 4 || vector >= G.VECTOR.interrupt;
    writeGate(view, environment.kind, vector, handler, isOpen ? 3 : 0);
  }
  view.setUint32(G.ENTRY_MASK, 0xffff_ffff, true);
}

function writePageTables(view: DataView, kind: GuestKind, random: Random): void {
  const { levels, entryBytes } = TABLES[kind];
  const put = (table: number, index: number, entry: number): void => {
    view.setUint32(table + index * entryBytes, entry, true);
  };
  const upper = PRESENT | WRITABLE | USER;
  for (let level = 0; level < levels - 1; level++) {
    const table = G.TABLES + level * 4096;
    // The PDPT of PAE paging has other flags.
    const flags = kind === "pae" && level === 0 ? PRESENT : upper;
    put(table, 0, (table + 4096) | flags);
  }
  if (isLong(kind)) put(G.TABLES, 256, (G.TABLES + 4096) | upper);
  // Accessed and dirty flags are set by the run, or are there from the start.
  const flags = PRESENT | WRITABLE | (random.oneIn(2) ? ACCESSED_DIRTY : 0);
  for (let page = 0; page < G.RAM_PAGES; page++) {
    const linear = page * 4096;
    const isUser = linear >= G.CODE;
    const physical =
      linear === G.DEVICE
        ? G.DEVICE_PHYSICAL
        : linear >= G.CODE_ALIAS && linear < G.CODE_ALIAS + G.CODE_BYTES
          ? linear - G.CODE_ALIAS + G.CODE
          : linear;
    put(pageTable(kind), page, (physical | flags | (isUser ? USER : 0)) >>> 0);
  }
}

const SELECTOR = { code64: 0x08, data: 0x10, code32: 0x18, user32: 0x20, userData: 0x28, user64: 0x30, task: 0x40 };
const DESCRIPTORS: readonly (readonly [number, bigint])[] = [
  [SELECTOR.code64, 0x00af_9b00_0000_ffffn],
  [SELECTOR.data, 0x00cf_9300_0000_ffffn],
  [SELECTOR.code32, 0x00cf_9b00_0000_ffffn],
  [SELECTOR.user64, 0x00af_fb00_0000_ffffn],
  [SELECTOR.userData, 0x00cf_f300_0000_ffffn],
  [SELECTOR.user32, 0x00cf_fb00_0000_ffffn],
];

function writeDescriptors(view: DataView, kind: GuestKind): void {
  for (const [selector, descriptor] of DESCRIPTORS) view.setBigUint64(G.GDT + selector, descriptor, true);
  view.setUint32(G.TSS + 4, G.KERNEL_STACK_TOP, true);
  if (isLong(kind)) {
    view.setUint32(G.TSS + 0x24, G.PAGE_FAULT_STACK_TOP, true);
    view.setUint32(G.TSS + 0x2c, G.NMI_STACK_TOP, true);
  } else view.setUint32(G.TSS + 8, SELECTOR.data, true);
  view.setUint16(G.TSS + 0x66, 0xffff, true);
}

function writeGate(view: DataView, kind: GuestKind, vector: number, handler: number, dpl: number): void {
  const selector = isLong(kind) ? SELECTOR.code64 : SELECTOR.code32;
  const stack = isLong(kind) ? (vector === 14 ? 1 : vector === 2 ? 2 : 0) : 0;
  const at = G.IDT + vector * (isLong(kind) ? 16 : 8);
  view.setUint32(at, (selector << 16) | (handler & 0xffff), true);
  view.setUint32(at + 4, (handler & 0xffff_0000) | ((0x8e | (dpl << 5)) << 8) | stack, true);
}

const RAX = 0;
const RCX = 1;

function handlers(environment: GuestEnvironment): { code: Uint8Array; entries: Map<number, number> } {
  const { kind } = environment;
  const code = new Assembler(isLong(kind) ? 64 : 32, G.HANDLERS);
  const word = code.mode / 8;
  const entries = new Map<number, number>();
  const [end, systemCall] = [code.label(), code.label()];
  // At the very beginning, where the initial state finds it.
  code.jump(systemCall);
  const handler = (vector: number, body: () => void): void => {
    entries.set(vector, code.here);
    body();
  };
  /** Counts, and mixes what the accumulator holds. */
  const log = (vector: number): void => {
    const at = G.LOG + (vector & 0x1f) * 32;
    code.absolute([...wide(code), 0x83], 0, at);
    code.emit(1);
    code.absolute([...wide(code), 0xc1], 0, at + 16);
    code.emit(5);
    code.absolute([...wide(code), 0x01], RAX, at + 16);
  };
  const loadFromStack = (words: number): void => code.wide(0x8b, 0x44, 0x24, words * word);
  const interruptReturn = (): void => code.wide(0xcf);
  /** Logs where it came in, and returns `skip` bytes further. */
  const simple = (vector: number, skip: number): void =>
    handler(vector, () => {
      code.emit(0x50);
      loadFromStack(1);
      log(vector);
      if (skip) code.wide(0x83, 0x44, 0x24, word, skip);
      code.emit(0x58);
      interruptReturn();
    });
  simple(0, 2);
  simple(6, 2);
  simple(3, 0);
  simple(G.VECTOR.interrupt, 0);
  simple(G.VECTOR.call, 0);
  // #DB and #AC: TF and AC off in the saved flags; #AC has an error code.
  handler(1, () => {
    code.emit(0x50);
    loadFromStack(1);
    log(1);
    code.wide(0x81, 0x64, 0x24, 3 * word);
    code.u32(~0x100);
    code.emit(0x58);
    interruptReturn();
  });
  handler(17, () => {
    code.wide(0x81, 0x64, 0x24, 3 * word);
    code.u32(~0x4_0000);
    code.emit(0x50);
    loadFromStack(2);
    log(17);
    code.emit(0x58);
    code.wide(0x8d, 0x64, 0x24, word);
    interruptReturn();
  });
  handler(2, () => {
    code.emit(0x50);
    loadFromStack(1);
    log(2);
    code.absolute([0x8b], RAX, G.ENTRY_MASK);
    const pages: number[] = [];
    for (const [from, bytes] of [
      [G.CODE, G.CODE_BYTES],
      [G.DATA, G.DATA_BYTES],
    ] as const)
      for (let page = from; page < from + bytes; page += 4096) pages.push(page);
    // Where an exception would be pushed onto the program's stack, that one stays.
    if (isLong(kind) || environment.ring === 3) pages.push(G.STACK, G.STACK + 4096);
    for (const page of pages) code.absolute([0x21], RAX, entryAddress(kind, page));
    code.emit(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);
    code.emit(0x58);
    interruptReturn();
  });
  handler(14, () => {
    code.emit(0x50, 0x51);
    code.emit(0x0f, 0x20, 0xd0);
    // Bits 18 to 31 of the address: not one of the pages.
    code.emit(0xa9);
    code.u32(~(G.RAM_BYTES - 1));
    code.jumpIf(5, end);
    code.emit(0x89, 0xc1, 0xc1, 0xe9, 12, 0x83, 0xf9, G.CODE / 4096);
    code.jumpIf(2, end);
    // or dword [table + rcx * entry], 7; invlpg [rax]
    const { entryBytes } = TABLES[kind];
    code.emit(0x83, 0x0c, ((entryBytes === 8 ? 3 : 2) << 6) | (RCX << 3) | 5);
    code.u32(pageTable(kind));
    code.emit(7, 0x0f, 0x01, 0x38);
    log(14);
    loadFromStack(2);
    log(15);
    loadFromStack(3);
    log(15);
    code.emit(0x59, 0x58);
    code.wide(0x8d, 0x64, 0x24, word);
    interruptReturn();
  });
  code.place(systemCall);
  code.absolute([...wide(code), 0x01], RCX, G.LOG + 20 * 32);
  code.absolute([...wide(code), 0xc1], 0, G.LOG + 20 * 32);
  code.emit(5, ...wide(code), 0x0f, 0x07);
  entries.set(G.VECTOR.end, code.here);
  code.place(end);
  const again = code.mark();
  code.emit(0xfa, 0xf4);
  code.jump(again);
  return { code: code.finish(), entries };
}

const wide = (code: Assembler): readonly number[] => (code.mode === 64 ? [0x48] : []);

const EFER = String(0xc000_0080);
/** What SYSCALL and SYSRET load, and the flags that SYSCALL clears. */
const SYSTEM_CALL_MSRS = {
  [String(0xc000_0081)]: (BigInt(SELECTOR.user32 | 3) << 48n) | (BigInt(SELECTOR.code64) << 32n),
  [String(0xc000_0082)]: BigInt(G.HANDLERS),
  [String(0xc000_0084)]: 0x4_0700n,
};
const EFER_LONG = 0xd01n;
const CR0 = 0x8005_0033n;
const CR4_OSFXSR_OSXMMEXCPT_PSE = 0x610n;
const CR4_PAE = 0x20n;
/** IOPL 3, IF, and the bit that is always set. */
const FLAGS = 0x3202n;

function segment(selector: number, descriptor: bigint): SegmentRegister {
  return { selector, base: 0n, limit: 0xffff_ffff, attributes: Number((descriptor >> 40n) & 0xf0ffn) };
}

/** At the program's first instruction, registers filled by chance. */
export function initialState(environment: GuestEnvironment, entry: number, random: Random): VcpuState {
  const { kind, ring } = environment;
  const mode = codeMode(environment);
  const state = resetState(0);
  const load = (selector: number): SegmentRegister =>
    segment(selector | ring, DESCRIPTORS.find(([number]) => number === selector)![1]);
  const codeSelector = ring
    ? mode === 64
      ? SELECTOR.user64
      : SELECTOR.user32
    : mode === 64
      ? SELECTOR.code64
      : SELECTOR.code32;
  const data = load(ring ? SELECTOR.userData : SELECTOR.data);
  // In 32-bit code a segment that is not flat makes every access another one.
  const hasBases = mode === 64 || random.oneIn(6);
  const high = kind === "long" && random.oneIn(2) ? G.HIGH_HALF : 0n;
  const fxsave = Uint8Array.from(state.fxsave);
  const fx = new DataView(fxsave.buffer);
  fx.setUint16(0, 0x037f, true);
  for (let at = 160; at < 416; at += 4)
    fx.setUint32(at, random.oneIn(2) ? random.uint32() : random.pick([0, 0x3f80_0000, 0x7f80_0000, 0x4048_0000]), true);
  const gpr = state.gpr.map(() =>
    random.oneIn(3) ? BigInt(random.below(256)) : BigInt.asUintN(mode === 64 ? 64 : 32, random.uint64()),
  );
  gpr[4] = BigInt(G.STACK_TOP - 256);
  gpr[5] = BigInt(G.DATA + G.DATA_POINTER_OFFSET) + high;
  if (mode === 32) gpr.fill(0n, 8);
  return {
    ...state,
    gpr,
    rip: BigInt(entry),
    rflags: FLAGS,
    cs: load(codeSelector),
    ss: data,
    ds: data,
    es: data,
    fs: { ...data, base: hasBases ? 16n : 0n },
    gs: { ...data, base: hasBases ? 32n : 0n },
    ldtr: { selector: 0, base: 0n, limit: 0xffff, attributes: 0x1_0082 },
    tr: { selector: SELECTOR.task, base: BigInt(G.TSS), limit: 0x67, attributes: 0x8b },
    gdtr: { base: BigInt(G.GDT), limit: 0x7f },
    idtr: { base: BigInt(G.IDT), limit: isLong(kind) ? 0xfff : 0x7ff },
    cr0: CR0,
    cr3: BigInt(G.TABLES),
    cr4: CR4_OSFXSR_OSXMMEXCPT_PSE | (kind === "legacy" ? 0n : CR4_PAE),
    pdptes: kind === "pae" ? [BigInt(G.TABLES + 4096) | 1n, 0n, 0n, 0n] : state.pdptes,
    fxsave,
    msrs: { ...state.msrs, ...SYSTEM_CALL_MSRS, [EFER]: isLong(kind) ? EFER_LONG : 0n },
  };
}
