// The fixed machine of subject.ts inside a core's memory: page tables, descriptor tables and exception handlers, so
// that what follows an instruction is found where a kernel would find it: in the frame on the handler's stack.
//
// Physical pages of the window are out of order on purpose: an access that runs over a page's end must be translated
// for both pages.

import * as L from "../../packages/core/src/cpu/layout.ts";
import { CODE_BASE, DATA_BASE, DATA_SIZE, FS_BASE, GS_BASE, PAGE_SIZE, SELECTORS } from "./subject.ts";

/** What a tier offers to be driven: the core's memory and the routines it exports. */
export interface Tier {
  readonly view: DataView;
  readonly map: L.MemoryMap;
  readonly exports: {
    run(budget: number): number;
    update_mode(): void;
    update_events(): void;
    read_flags(): number;
    write_arithmetic_flags(image: number): void;
    code_written(host: number, bytes: number): void;
  };
}

export const RAM_BYTES = 16 << 20;

const KERNEL_BASE = 0xffff_c000_0000_0000n;
const PML4 = 0x1000;
const GDT = 0x10_000;
const TSS = 0x11_000;
const IDT = 0x12_000;
const LDT = 0x13_000;
const STACK = 0x14_000;
/** One HLT for each vector: its address names the vector. */
const HANDLERS = 0x16_000;
const CODE_PAGE = 0x20_000;
const DATA_PAGES = [0x25_000, 0x23_000, 0x28_000] as const;
const KERNEL_CS = 0x10;

const HLT = 0xf4;

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const ACCESSED_DIRTY = 0x60n;
const NO_EXECUTE = 1n << 63n;

const CODE_64_DPL3 = 0xa0fb;
const CODE_32_DPL3 = 0xc0fb;
const CODE_32_SELECTOR = 0x23;
const DATA_DPL3 = 0xc0f3;
/** The GDT's flat segments that Linux gives user programs: 32-bit code, data, 64-bit code. */
export const USER_DESCRIPTORS: ReadonlyMap<number, bigint> = new Map([
  [0x23, 0x00cf_fb00_0000_ffffn],
  [0x2b, 0x00cf_f300_0000_ffffn],
  [0x33, 0x00af_fb00_0000_ffffn],
]);
const UNUSABLE = 0x10000;
const TSS_BUSY = 0x008b;
const LDT_SELECTOR = 0x50;
const LDT_ATTRIBUTES = 0x0082;
const CR0_PE_MP_ET_NE_WP_AM_PG = 0x8005_0033n;
const CR4_PAE_OSFXSR_OSXMMEXCPT_OSXSAVE = 0x4_0620n;
const EFER_SCE_LME_LMA_NXE = 0xd01n;

/** What an exception's frame says, read from the handler's stack. */
export interface ExceptionFrame {
  readonly vector: number;
  readonly errorCode: number;
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly rsp: bigint;
  readonly cs: number;
  readonly ss: number;
}

const VECTORS_WITH_ERROR_CODE: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17]);

export class UserMachine {
  readonly tier: Tier;
  readonly ram: Uint8Array;
  readonly #view: DataView;
  #nextTable = PML4 + PAGE_SIZE;

  constructor(tier: Tier) {
    this.tier = tier;
    this.#view = tier.view;
    this.ram = new Uint8Array(tier.view.buffer, tier.map.ram, RAM_BYTES);
    this.#map(CODE_BASE, CODE_PAGE, USER);
    for (const [i, page] of DATA_PAGES.entries())
      this.#map(DATA_BASE + BigInt(i * PAGE_SIZE), page, USER | WRITABLE | NO_EXECUTE);
    for (const page of [GDT, TSS, IDT, LDT, STACK, HANDLERS]) this.#map(KERNEL_BASE + BigInt(page), page, WRITABLE);
    this.ram.fill(HLT, HANDLERS, HANDLERS + PAGE_SIZE);
    this.#ram64(GDT + KERNEL_CS, 0x00af_9b00_0000_ffffn);
    for (const [selector, descriptor] of USER_DESCRIPTORS) this.#ram64(GDT + (selector & ~7), descriptor);
    this.#ram64(TSS + 4, KERNEL_BASE + BigInt(STACK + PAGE_SIZE));
    // The I/O bitmap begins beyond the TSS: no port is user mode's.
    this.#view.setUint16(this.tier.map.ram + TSS + 0x66, 0xffff, true);
    for (let vector = 0; vector < 32; vector++) {
      const target = KERNEL_BASE + BigInt(HANDLERS + vector * 16);
      const type = vector === 3 || vector === 4 ? 0xeen : 0x8en;
      const low = (target & 0xffffn) | (BigInt(KERNEL_CS) << 16n) | (type << 40n);
      this.#ram64(IDT + vector * 16, low | (((target >> 16n) & 0xffffn) << 48n));
      this.#ram64(IDT + vector * 16 + 8, target >> 32n);
    }
  }

  #ram64(at: number, value: bigint): void {
    this.#view.setBigUint64(this.tier.map.ram + at, BigInt.asUintN(64, value), true);
  }

  #map(linear: bigint, physical: number, rights: bigint): void {
    let table = PML4;
    for (const shift of [39n, 30n, 21n]) {
      const slot = table + Number((linear >> shift) & 0x1ffn) * 8;
      let entry = this.#view.getBigUint64(this.tier.map.ram + slot, true);
      if (entry === 0n) {
        entry = BigInt(this.#nextTable) | PRESENT | WRITABLE | USER | ACCESSED_DIRTY;
        this.#nextTable += PAGE_SIZE;
        this.#ram64(slot, entry);
      }
      table = Number(entry & 0xff_ffff_f000n);
    }
    const leaf = table + Number((linear >> 12n) & 0x1ffn) * 8;
    this.#ram64(leaf, BigInt(physical) | rights | PRESENT | ACCESSED_DIRTY);
  }

  put(field: { offset: number; type: string; bits: number }, value: bigint | number): void {
    const at = L.CPU_BASE + field.offset;
    const bits = BigInt.asUintN(64, BigInt(value));
    if (field.bits === 64) this.#view.setBigUint64(at, bits, true);
    else if (field.bits === 16) this.#view.setUint16(at, Number(bits & 0xffffn), true);
    else if (field.bits === 8) this.#view.setUint8(at, Number(bits & 0xffn));
    else this.#view.setUint32(at, Number(bits & 0xffff_ffffn), true);
  }

  get(field: { offset: number; bits: number }): bigint {
    const at = L.CPU_BASE + field.offset;
    if (field.bits === 64) return this.#view.getBigUint64(at, true);
    if (field.bits === 16) return BigInt(this.#view.getUint16(at, true));
    if (field.bits === 8) return BigInt(this.#view.getUint8(at));
    return BigInt(this.#view.getUint32(at, true));
  }

  #segment(index: number, selector: number, attributes: number, base = 0n, limit = 0xffff_ffff): void {
    this.put(L.segSelector(index), selector);
    this.put(L.segAttributes(index), attributes);
    this.put(L.segBase(index), base);
    this.put(L.segLimit(index), limit);
  }

  /** Everything but the registers that a case sets, as a user program's thread has it; 32: compatibility mode. */
  reset(codeSize: 16 | 32 | 64 = 64): void {
    if (codeSize === 64) this.#segment(L.CS, SELECTORS.cs, CODE_64_DPL3);
    else this.#segment(L.CS, CODE_32_SELECTOR, CODE_32_DPL3);
    this.#segment(L.SS, SELECTORS.ss, DATA_DPL3);
    for (const segment of [L.DS, L.ES])
      if (codeSize === 64) this.#segment(segment, 0, UNUSABLE);
      else this.#segment(segment, SELECTORS.ss, DATA_DPL3);
    this.#segment(L.FS, 0, UNUSABLE, FS_BASE);
    this.#segment(L.GS, 0, UNUSABLE, GS_BASE);
    this.#segment(L.LDTR, 0, UNUSABLE);
    this.#segment(L.TR, 0x40, TSS_BUSY, KERNEL_BASE + BigInt(TSS), 0x67);
    this.put(L.GDTR_BASE, KERNEL_BASE + BigInt(GDT));
    this.put(L.GDTR_LIMIT, 0x7f);
    this.put(L.IDTR_BASE, KERNEL_BASE + BigInt(IDT));
    this.put(L.IDTR_LIMIT, 0x1ff);
    this.put(L.CR0, CR0_PE_MP_ET_NE_WP_AM_PG);
    this.put(L.CR2, 0);
    this.put(L.CR3, PML4);
    this.put(L.CR4, CR4_PAE_OSFXSR_OSXMMEXCPT_OSXSAVE);
    this.put(L.EFER, EFER_SCE_LME_LMA_NXE);
    this.put(L.XCR0, 3);
    this.put(L.DR6, 0xffff_0ff0n);
    this.put(L.DR7, 0x400);
    this.put(L.CPL, 3);
    this.put(L.FPU_BLOCKED, 0);
    for (const field of [L.SHADOW, L.STEP_ARMED, L.HALTED, L.DELIVERING, L.INTR_PENDING, L.NMI_PENDING, L.NMI_MASKED])
      this.put(field, 0);
  }

  /** Fills the LDT, and LDTR after a reset. */
  setLdt(descriptors: readonly bigint[]): void {
    for (const [i, descriptor] of descriptors.entries()) this.#ram64(LDT + 8 * i, descriptor);
    this.#segment(L.LDTR, LDT_SELECTOR, LDT_ATTRIBUTES, KERNEL_BASE + BigInt(LDT), 8 * descriptors.length - 1);
  }

  /** A segment register as a load of the descriptor leaves it; 0: a null selector. */
  setSegment(index: number, selector: number, descriptor: bigint): void {
    if (descriptor === 0n) {
      this.#segment(index, selector, UNUSABLE);
      return;
    }
    const attributes = Number((descriptor >> 40n) & 0xf0ffn);
    const base = ((descriptor >> 16n) & 0xff_ffffn) | ((descriptor >> 32n) & 0xff00_0000n);
    const limit = Number((descriptor & 0xffffn) | ((descriptor >> 32n) & 0xf_0000n));
    this.#segment(index, selector, attributes, base, attributes & 0x8000 ? limit * 4096 + 4095 : limit);
  }

  /** The frame on the handler's stack; null while no exception was delivered. */
  frame(): ExceptionFrame | null {
    const handler = this.get(L.RIP) - KERNEL_BASE - BigInt(HANDLERS);
    if (this.get(L.CPL) !== 0n || handler < 0n || handler >= 512n) return null;
    const vector = Number(handler) >> 4;
    const hasError = VECTORS_WITH_ERROR_CODE.has(vector);
    const top = this.tier.map.ram + STACK + PAGE_SIZE;
    const word = (index: number): bigint => this.#view.getBigUint64(top - 8 * index, true);
    return {
      vector,
      errorCode: hasError ? Number(word(6)) : 0,
      rip: word(5),
      rflags: word(3),
      rsp: word(2),
      cs: Number(word(4)),
      ss: Number(word(1)),
    };
  }

  /** Puts code at the end of the code page, after `fill`; decoded code in the page is dropped. */
  loadCode(code: Uint8Array, fill: number): void {
    const end = CODE_PAGE + PAGE_SIZE;
    this.ram.fill(fill, CODE_PAGE, end);
    this.ram.set(code, end - code.length);
    this.tier.exports.code_written(this.tier.map.ram + CODE_PAGE, PAGE_SIZE);
  }

  loadWindow(window: Uint8Array): void {
    for (const [i, page] of DATA_PAGES.entries())
      this.ram.set(window.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE), page);
  }

  window(): Uint8Array {
    const window = new Uint8Array(DATA_SIZE);
    for (const [i, page] of DATA_PAGES.entries()) window.set(this.ram.subarray(page, page + PAGE_SIZE), i * PAGE_SIZE);
    return window;
  }
}
