/** Architectural state in and out of the jit engine's state block (cpu/layout.ts). */
import { CR0_NE } from "../cpu/control-bits.ts";
import { RF_IF } from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { MSR_EFER, STATE_MSRS } from "../cpu/msr.ts";
import { resetState } from "../cpu/reset-state.ts";
import type { SegmentRegister, VcpuState } from "../cpu/state.ts";
import { MXCSR_VALID } from "../cpu/state.ts";
import { FSW_ES } from "../cpu/x87.ts";
import type { CoreExports } from "../interp/core.ts";
import type { Field } from "../ir/builder.ts";
import type { TscLine } from "./engine.ts";

const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"] as const;
const CONTROL = { cr0: L.CR0, cr2: L.CR2, cr3: L.CR3, cr4: L.CR4, cr8: L.CR8, xcr0: L.XCR0, rip: L.RIP } as const;
const SHADOWS = ["none", "sti", "mov-ss"] as const;
const ARITHMETIC_FLAGS = 0x8d5;
const V86_FLAG = 0x20000n;
/** CD and NW. */
const CR0_CACHE = 0x6000_0000n;

export class StateBlock {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  /** Its address: CPU_BASE while this vCPU is the one that runs. */
  base: number;

  constructor(view: DataView, base: number = L.CPU_BASE) {
    this.#view = view;
    this.#bytes = new Uint8Array(view.buffer);
    this.base = base;
  }

  get(field: Field): number {
    const at = this.base + field.offset;
    if (field.bits === 8) return this.#view.getUint8(at);
    return field.bits === 16 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }
  get64(field: Field): bigint {
    return this.#view.getBigUint64(this.base + field.offset, true);
  }
  put(field: Field, value: number): void {
    const at = this.base + field.offset;
    if (field.bits === 8) this.#view.setUint8(at, value);
    else if (field.bits === 16) this.#view.setUint16(at, value, true);
    else this.#view.setUint32(at, value, true);
  }
  put64(field: Field, value: bigint): void {
    this.#view.setBigUint64(this.base + field.offset, value, true);
  }

  /** The low half of a field of 64 bits; the high one becomes 0. */
  putLow(field: Field, value: number): void {
    const at = this.base + field.offset;
    this.#view.setUint32(at, value, true);
    this.#view.setUint32(at + 4, 0, true);
  }

  /** A maskable interrupt is pending, and IF is set. */
  get canInterrupt(): boolean {
    return this.get(L.INTR_PENDING) !== 0 && (this.get(L.SYSTEM_FLAGS) & RF_IF) !== 0;
  }
  /** In HLT, and nothing ends it. */
  get isWaiting(): boolean {
    if (!this.get(L.HALTED) || this.canInterrupt) return false;
    return !this.get(L.NMI_PENDING) || this.get(L.NMI_MASKED) !== 0;
  }

  /** Draws the line that RDTSC follows (cpu/time-stamp.ts), or none. */
  putTscLine(line: TscLine | undefined): void {
    this.put(L.TSC_KNOWN, line ? 1 : 0);
    if (!line) return;
    const { retired, ns, ps, psPerInstruction, frequencyHz, adjust } = line;
    const seconds = Math.floor(ns / 1e9);
    this.#putCount(L.TSC_RETIRED, retired);
    this.putLow(L.TSC_NS, ns - seconds * 1e9);
    this.#putCount(L.TSC_PS, ps);
    this.putLow(L.TSC_PS_PER_INSTRUCTION, psPerInstruction);
    this.putLow(L.TSC_KHZ, frequencyHz / 1000);
    this.put64(L.TSC_OFFSET, BigInt.asUintN(64, BigInt(seconds) * BigInt(frequencyHz) + adjust));
  }
  /** A whole number of up to 53 bits and a sign, in 64. */
  #putCount(field: Field, value: number): void {
    const at = this.base + field.offset;
    const high = Math.floor(value / 2 ** 32);
    this.#view.setUint32(at, value - high * 2 ** 32, true);
    this.#view.setInt32(at + 4, high, true);
  }

  /** Instructions of the running block behind the one that called out; 0 between runs. */
  #behind = 0;
  /** Retired instructions; inside a callback with the one that called out. */
  get retired(): number {
    const end = this.base + L.RETIRED_END.offset;
    const total = this.#view.getUint32(end, true) + this.#view.getInt32(end + 4, true) * 2 ** 32;
    return total - (this.get(L.REMAINING) | 0) - this.#behind;
  }
  /** Runs a device access of the micro-op CURRENT_UOP. */
  during(access: () => void): void {
    this.#behind = this.#view.getUint8(this.get(L.CURRENT_UOP) + L.UOP_LEFT);
    try {
      access();
    } finally {
      this.#behind = 0;
    }
  }

  #segment(index: number): SegmentRegister {
    return {
      selector: this.get(L.segSelector(index)),
      base: this.get64(L.segBase(index)),
      limit: this.get(L.segLimit(index)),
      attributes: this.get(L.segAttributes(index)),
    };
  }

  /** Precondition, also of `load`: it is at CPU_BASE, where the core module works on it. */
  save(exports: CoreExports): VcpuState {
    const segments = Object.fromEntries(SEGMENT_NAMES.map((name, i) => [name, this.#segment(i)])) as Record<
      (typeof SEGMENT_NAMES)[number],
      SegmentRegister
    >;
    const control = Object.fromEntries(
      Object.entries(CONTROL).map(([name, field]) => [name, this.get64(field)]),
    ) as Record<keyof typeof CONTROL, bigint>;
    const msrs: Record<string, bigint> = { [String(MSR_EFER >>> 0)]: this.get64(L.EFER) };
    for (const [index, field] of STATE_MSRS) if (!isSegmentBase(index)) msrs[String(index >>> 0)] = this.get64(field);
    return {
      gpr: Array.from({ length: 16 }, (_, i) => this.get64(L.gpr(i))),
      ...control,
      rflags: BigInt(exports.read_flags() >>> 0),
      ...segments,
      gdtr: { base: this.get64(L.GDTR_BASE), limit: this.get(L.GDTR_LIMIT) },
      idtr: { base: this.get64(L.IDTR_BASE), limit: this.get(L.IDTR_LIMIT) },
      pdptes: Array.from({ length: 4 }, (_, i) => this.get64(L.pdpte(i))),
      dr: Array.from({ length: 6 }, (_, i) => this.get64(L.dr(i))),
      fxsave: this.#fxsave(),
      msrs,
      halted: this.get(L.HALTED) !== 0,
      interruptShadow: SHADOWS[this.get(L.SHADOW)] ?? "none",
      nmiPending: this.get(L.NMI_PENDING) !== 0,
      nmiMasked: this.get(L.NMI_MASKED) !== 0,
      retired: this.retired,
    };
  }

  load(state: VcpuState, exports: CoreExports): void {
    for (let i = 0; i < 16; i++) this.put64(L.gpr(i), state.gpr[i] ?? 0n);
    for (const [name, field] of Object.entries(CONTROL)) this.put64(field, state[name as keyof typeof CONTROL]);
    exports.write_arithmetic_flags(Number(state.rflags & 0xffffffffn) | 0);
    this.put(L.SYSTEM_FLAGS, (Number(state.rflags & 0x3fffffn) & ~ARITHMETIC_FLAGS) | 2);
    for (const [i, name] of SEGMENT_NAMES.entries()) {
      const s = state[name];
      this.put(L.segSelector(i), s.selector);
      this.put64(L.segBase(i), s.base);
      this.put(L.segLimit(i), s.limit);
      this.put(L.segAttributes(i), s.attributes);
    }
    this.put64(L.GDTR_BASE, state.gdtr.base);
    this.put(L.GDTR_LIMIT, state.gdtr.limit);
    this.put64(L.IDTR_BASE, state.idtr.base);
    this.put(L.IDTR_LIMIT, state.idtr.limit);
    for (let i = 0; i < 4; i++) this.put64(L.pdpte(i), state.pdptes[i] ?? 0n);
    for (let i = 0; i < 6; i++) this.put64(L.dr(i), state.dr[i] ?? 0n);
    this.followDebugRegisters();
    for (const [index, field] of STATE_MSRS)
      if (!isSegmentBase(index)) this.put64(field, state.msrs[String(index >>> 0)] ?? 0n);
    this.put64(L.EFER, state.msrs[String(MSR_EFER >>> 0)] ?? 0n);
    this.#loadFxsave(state.fxsave);
    // As if the board had been told, so that it hears of the error's end.
    const isErrorOutside = (this.get(L.FSW) & FSW_ES) !== 0 && (state.cr0 & BigInt(CR0_NE)) === 0n;
    this.put(L.FERR, isErrorOutside ? 1 : 0);
    this.put(L.HALTED, state.halted ? 1 : 0);
    this.put(L.SHADOW, Math.max(0, SHADOWS.indexOf(state.interruptShadow)));
    this.put(L.NMI_PENDING, state.nmiPending ? 1 : 0);
    this.put(L.NMI_MASKED, state.nmiMasked ? 1 : 0);
    // CS.RPL, but 0 in real and 3 in virtual-8086 mode.
    const pe = (state.cr0 & 1n) !== 0n;
    const isV86 = (state.rflags & V86_FLAG) !== 0n;
    this.put(L.CPL, isV86 ? 3 : pe ? state.cs.selector & 3 : 0);
    this.put64(L.RETIRED_END, BigInt(state.retired));
    this.put(L.REMAINING, 0);
    this.put(L.STEP_ARMED, 0);
    this.put(L.WATCH_HITS, 0);
    this.put(L.ATTENTION, 0);
    exports.flush_tlb_all();
    exports.update_mode();
    exports.update_fpu_blocked();
    exports.update_events();
  }

  /** cpu/debug.ts: the same, from outside a run. */
  followDebugRegisters(): void {
    if (this.get(L.DEBUGGED)) return;
    for (let i = 0; i < 4; i++) this.put64(L.breakpoint(i), this.get64(L.dr(i)));
    this.put64(L.BREAKPOINT_CONTROL, this.get64(L.DR7));
  }

  #fxsave(): Uint8Array {
    const image = new Uint8Array(512);
    const v = new DataView(image.buffer);
    const top = this.get(L.FTOP) & 7;
    v.setUint16(0, this.get(L.FCW), true);
    v.setUint16(2, (this.get(L.FSW) & 0xc7ff) | (top << 11), true);
    v.setUint8(4, this.get(L.FTAG));
    v.setUint16(6, this.get(L.FOP), true);
    v.setBigUint64(8, this.get64(L.FIP), true);
    v.setBigUint64(16, this.get64(L.FDP), true);
    v.setUint32(24, this.get(L.MXCSR), true);
    v.setUint32(28, MXCSR_VALID, true);
    const base = this.base + L.X87;
    for (let i = 0; i < 8; i++)
      image.set(this.#bytes.subarray(base + ((top + i) & 7) * 16, base + ((top + i) & 7) * 16 + 10), 32 + i * 16);
    image.set(this.#bytes.subarray(this.base + L.XMM, this.base + L.XMM + 256), 160);
    return image;
  }

  #loadFxsave(image: Uint8Array): void {
    const v = new DataView(image.buffer, image.byteOffset, image.byteLength);
    const fsw = v.getUint16(2, true);
    const top = (fsw >> 11) & 7;
    this.put(L.FCW, v.getUint16(0, true));
    this.put(L.FSW, fsw & 0xc7ff);
    this.put(L.FTOP, top);
    this.put(L.FTAG, v.getUint8(4));
    this.put(L.FOP, v.getUint16(6, true));
    this.put64(L.FIP, v.getBigUint64(8, true));
    this.put64(L.FDP, v.getBigUint64(16, true));
    this.put(L.MXCSR, v.getUint32(24, true) & MXCSR_VALID);
    const base = this.base + L.X87;
    for (let i = 0; i < 8; i++) {
      const at = base + ((top + i) & 7) * 16;
      this.#bytes.set(image.subarray(32 + i * 16, 42 + i * 16), at);
      this.#bytes.fill(0, at + 10, at + 16);
    }
    this.#bytes.set(image.subarray(160, 416), this.base + L.XMM);
  }
}

const isSegmentBase = (index: number): boolean => index === 0xc0000100 || index === 0xc0000101;

/** The state after INIT (SDM vol. 3, table 9-1): unlike a reset it leaves x87, SSE and most MSRs alone. */
export function initState(before: VcpuState): VcpuState {
  const { fxsave, msrs, xcr0, retired } = before;
  const { [String(MSR_EFER >>> 0)]: _, ...kept } = msrs;
  const cacheControl = before.cr0 & CR0_CACHE;
  return { ...resetState(retired), cr0: 0x10n | cacheControl, fxsave, msrs: kept, xcr0 };
}

/** After a start-up message: real mode at the page that its vector names. */
export function startUpState(before: VcpuState, vector: number): VcpuState {
  const cs: SegmentRegister = {
    selector: (vector & 0xff) << 8,
    base: BigInt((vector & 0xff) << 12),
    limit: 0xffff,
    attributes: 0x9b,
  };
  return { ...before, cs, rip: 0n, halted: false };
}
