/**
 * The processor state and tables a 64-bit Linux kernel is entered with (Linux, Documentation/arch/x86/boot.rst,
 * "64-bit Boot Protocol"): long mode, the first 4 GiB mapped to themselves with 2 MiB pages, flat segments with
 * selectors __BOOT_CS and __BOOT_DS, interrupts off, RSI at the boot parameters. The task register holds a busy 64-bit
 * TSS, because hardware virtualisation refuses to enter a guest without one.
 */
import type { SegmentRegister, VcpuState } from "../cpu/state.ts";
import type { GuestWrite } from "./guest-write.ts";
import { firmwareMemoryTypes } from "./memory-types.ts";

export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;
const BOOT_TSS = 0x20;

/** Where the boot's own structures lie: base memory, which the kernel leaves alone until it has its own tables. */
export const BOOT_LAYOUT = {
  stackTop: 0x7000,
  bootParams: 0x7000,
  gdt: 0x8000,
  pml4: 0x9000,
  pdpt: 0xa000,
  /** Four page directories. */
  pageDirectories: 0xb000,
  commandLine: 0x2_0000,
  commandLineMaxBytes: 0xffff,
} as const;

const PAGE_BYTES = 0x1000;
const LARGE_PAGE_BYTES = 0x20_0000;
const MAPPED_GIB = 4;
const PTE_PRESENT = 1;
const PTE_WRITABLE = 2;
const PDE_LARGE = 0x80;

const CR0_PE = 1n << 0n;
const CR0_ET = 1n << 4n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const MSR_EFER = 0xc000_0080;
const MSR_PAT = 0x277;
const PAT_AT_RESET = 0x0007_0406_0007_0406n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
const RFLAGS_FIXED = 2n;
const GPR_RSP = 4;
const GPR_RSI = 6;

interface FlatSegment {
  readonly selector: number;
  readonly limit: number;
  readonly attributes: number;
}

/** Execute and read, accessed; L, G. */
const CODE: FlatSegment = { selector: BOOT_CS, limit: 0xffff_ffff, attributes: 0xa09b };
/** The same with D instead of L. */
const CODE_32 = 0xc09b;
/** Read and write, accessed; B, G. */
const DATA: FlatSegment = { selector: BOOT_DS, limit: 0xffff_ffff, attributes: 0xc093 };
const TASK: FlatSegment = { selector: BOOT_TSS, limit: 0x67, attributes: 0x008b };
/** Null, unused, CS, DS and the 16-byte TSS descriptor. */
const GDT_BYTES = 6 * 8;
const UNUSABLE = 1 << 16;

/** The global descriptor table and the page tables. */
export function entryTables(): GuestWrite[] {
  const gdt = new DataView(new ArrayBuffer(GDT_BYTES));
  for (const segment of [CODE, DATA, TASK]) gdt.setBigUint64(segment.selector, descriptorOf(segment), true);
  return [
    { gpa: BOOT_LAYOUT.gdt, bytes: new Uint8Array(gdt.buffer) },
    { gpa: BOOT_LAYOUT.pml4, bytes: identityMap() },
  ];
}

/** PML4, PDPT and page directories, one after the other. */
function identityMap(): Uint8Array {
  const tables = new DataView(new ArrayBuffer((2 + MAPPED_GIB) * PAGE_BYTES));
  const set = (table: number, index: number, entry: number): void =>
    tables.setBigUint64(table - BOOT_LAYOUT.pml4 + index * 8, BigInt(entry), true);
  const table = PTE_PRESENT | PTE_WRITABLE;
  set(BOOT_LAYOUT.pml4, 0, BOOT_LAYOUT.pdpt + table);
  for (let gib = 0; gib < MAPPED_GIB; gib++) {
    set(BOOT_LAYOUT.pdpt, gib, BOOT_LAYOUT.pageDirectories + gib * PAGE_BYTES + table);
  }
  for (let page = 0; page < MAPPED_GIB * 512; page++) {
    set(BOOT_LAYOUT.pageDirectories, page, page * LARGE_PAGE_BYTES + table + PDE_LARGE);
  }
  return new Uint8Array(tables.buffer);
}

/** A segment descriptor with base 0 (SDM vol. 3, 3.4.5). */
function descriptorOf({ limit, attributes }: FlatSegment): bigint {
  const isPageGranular = (attributes & 0x8000) !== 0;
  const raw = isPageGranular ? Math.floor(limit / PAGE_BYTES) : limit;
  return (
    BigInt(raw & 0xffff) |
    (BigInt(attributes & 0xff) << 40n) |
    (BigInt((raw >> 16) & 0xf) << 48n) |
    (BigInt((attributes >> 12) & 0xf) << 52n)
  );
}

export function entryState(rip: number): VcpuState {
  const gpr = new Array<bigint>(16).fill(0n);
  gpr[GPR_RSP] = BigInt(BOOT_LAYOUT.stackTop);
  gpr[GPR_RSI] = BigInt(BOOT_LAYOUT.bootParams);
  const fxsave = new Uint8Array(512);
  const fx = new DataView(fxsave.buffer);
  fx.setUint16(0, 0x037f, true); // FCW
  fx.setUint32(24, 0x1f80, true); // MXCSR
  fx.setUint32(28, 0xffff, true); // MXCSR_MASK
  return {
    gpr,
    rip: BigInt(rip),
    rflags: RFLAGS_FIXED,
    es: loaded(DATA),
    cs: loaded(CODE),
    ss: loaded(DATA),
    ds: loaded(DATA),
    fs: loaded(DATA),
    gs: loaded(DATA),
    // As by LLDT with a null selector: where the present bit is the only one (SVM), an unusable segment keeps no other.
    ldtr: { selector: 0, base: 0n, limit: 0xffff, attributes: UNUSABLE | 0x02 },
    tr: loaded(TASK),
    gdtr: { base: BigInt(BOOT_LAYOUT.gdt), limit: GDT_BYTES - 1 },
    idtr: { base: 0n, limit: 0 },
    cr0: CR0_PG | CR0_ET | CR0_PE,
    cr2: 0n,
    cr3: BigInt(BOOT_LAYOUT.pml4),
    cr4: CR4_PAE,
    cr8: 0n,
    xcr0: 1n,
    pdptes: [0n, 0n, 0n, 0n],
    dr: [0n, 0n, 0n, 0n, 0xffff_0ff0n, 0x400n],
    fxsave,
    msrs: { [MSR_EFER]: EFER_LME | EFER_LMA, [MSR_PAT]: PAT_AT_RESET, ...firmwareMemoryTypes() },
    halted: false,
    interruptShadow: "none",
    nmiPending: false,
    nmiMasked: false,
    retired: 0,
  };
}

/**
 * Protected mode without paging, for a 32-bit kernel ("32-bit Boot Protocol"): flat segments with the same selectors,
 * interrupts off, ESI at the boot parameters, EBP, EDI and EBX zero.
 */
export function entryState32(rip: number): VcpuState {
  const state = entryState(rip);
  return {
    ...state,
    cs: loaded({ ...CODE, attributes: CODE_32 }),
    cr0: CR0_ET | CR0_PE,
    cr3: 0n,
    cr4: 0n,
    msrs: { ...state.msrs, [MSR_EFER]: 0n },
  };
}

function loaded({ selector, limit, attributes }: FlatSegment): SegmentRegister {
  return { selector, base: 0n, limit, attributes };
}
