/**
 * A vCPU's architectural state, out of KVM and into it: registers, segments, control registers, XSAVE area, MSRs, debug
 * registers, pending events. Preconditions of both: no thread is in KVM_RUN, the last exit is completed, no event is on
 * its way to the guest.
 *
 * Not in here: the time-stamp counter and the local APIC, which are devices, and the MSRs that KVM hands to this side.
 * Left out: system management mode, nested virtualisation, AVX and later XSAVE components, which the CPU model has not.
 */
import type { DescriptorTable, SegmentRegister, VcpuState } from "@twinmetal/core";
import * as A from "./abi.ts";
import type { VcpuHandle } from "./vcpu-handle.ts";

/** The order of VcpuState.gpr in struct kvm_regs. */
const GPR_OFFSETS = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"].map(
  (name) => A.REGS.indexOf(name as (typeof A.REGS)[number]) * 8,
);
const SEGMENTS = [
  ["es", A.SREGS.es],
  ["cs", A.SREGS.cs],
  ["ss", A.SREGS.ss],
  ["ds", A.SREGS.ds],
  ["fs", A.SREGS.fs],
  ["gs", A.SREGS.gs],
  ["ldtr", A.SREGS.ldt],
  ["tr", A.SREGS.tr],
] as const;
const TABLES = [
  ["gdtr", A.SREGS.gdt],
  ["idtr", A.SREGS.idt],
] as const;
const CONTROL = ["cr0", "cr2", "cr3", "cr4", "cr8"] as const;
const EFER = 0xc000_0080;
const UNUSABLE = 0x1_0000;
const XSTATE_X87_SSE = 3n;
const LEGACY_BYTES = 512;
/** In the legacy area: MXCSR_MASK, the registers' unused halves, and what software may use behind XMM15. */
const MXCSR_MASK_AT = 28;
const MXCSR_MASK = 0xffff;
const ST0_AT = 32;
const XMM_END = 416;

/** MSRs that KVM keeps and a guest reaches without an exit; EFER and the bases of FS and GS are elsewhere. */
export const KVM_MSRS: readonly number[] = [
  0x174, 0x175, 0x176, 0x277, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0102, 0xc000_0103,
];
/** The same and those that are elsewhere: for the filter. */
export const DIRECT_MSRS: readonly number[] = [...KVM_MSRS, EFER, 0xc000_0100, 0xc000_0101];

export class VcpuRegisters {
  readonly #vm: VcpuHandle;
  readonly #regs = area(A.REGS_BYTES);
  readonly #sregs = area(A.SREGS2_BYTES);
  readonly #xsave = area(A.XSAVE_BYTES);
  readonly #xcrs = area(A.XCRS_BYTES);
  readonly #events = area(A.VCPU_EVENTS_BYTES);
  readonly #debug = area(A.DEBUGREGS_BYTES);

  /** As it was written, until the guest runs. */
  #shadow: VcpuState["interruptShadow"] = "none";

  constructor(vm: VcpuHandle) {
    this.#vm = vm;
  }

  /** `outside`: what KVM does not keep. Throws LinuxError. */
  read(outside: Pick<VcpuState, "halted" | "retired">): VcpuState {
    const vm = this.#vm;
    const regs = this.#get("KVM_GET_REGS", A.KVM.GET_REGS, this.#regs);
    const sregs = this.#get("KVM_GET_SREGS2", A.KVM.GET_SREGS2, this.#sregs);
    const xcrs = this.#get("KVM_GET_XCRS", A.KVM.GET_XCRS, this.#xcrs);
    const events = this.#get("KVM_GET_VCPU_EVENTS", A.KVM.GET_VCPU_EVENTS, this.#events);
    const debug = this.#get("KVM_GET_DEBUGREGS", A.KVM.GET_DEBUGREGS, this.#debug);
    this.#get("KVM_GET_XSAVE", A.KVM.GET_XSAVE, this.#xsave);
    const word = (view: DataView, at: number): bigint => view.getBigUint64(at, true);
    const hasPdptes = (word(sregs, A.SREGS.flags) & A.SREGS2_FLAGS_PDPTRS_VALID) !== 0n;
    return {
      gpr: Array.from({ length: 16 }, (_, i) => word(regs, GPR_OFFSETS[i] ?? A.REGS_R8 + (i - 8) * 8)),
      rip: word(regs, A.REGS_RIP),
      rflags: word(regs, A.REGS_RFLAGS),
      ...(Object.fromEntries(SEGMENTS.map(([name, at]) => [name, readSegment(sregs, at)])) as Segments),
      ...(Object.fromEntries(TABLES.map(([name, at]) => [name, readTable(sregs, at)])) as Tables),
      ...(Object.fromEntries(CONTROL.map((name) => [name, word(sregs, A.SREGS[name])])) as Control),
      xcr0: xcrs.getUint32(A.XCRS.nr_xcrs, true) > 0 ? word(xcrs, A.XCRS.value) : 1n,
      pdptes: Array.from({ length: 4 }, (_, i) => (hasPdptes ? word(sregs, A.SREGS.pdptrs + 8 * i) : 0n)),
      dr: [
        ...Array.from({ length: 4 }, (_, i) => word(debug, A.DEBUGREGS.db + 8 * i)),
        word(debug, A.DEBUGREGS.dr6),
        word(debug, A.DEBUGREGS.dr7),
      ],
      fxsave: this.#fxsave(),
      msrs: { [String(EFER)]: word(sregs, A.SREGS.efer), ...readMsrs(vm, KVM_MSRS) },
      halted: outside.halted,
      interruptShadow: this.#shadowOf(events.getUint8(A.EVENTS.interrupt_shadow)),
      nmiPending: events.getUint8(A.EVENTS.nmi_pending) !== 0 || events.getUint8(A.EVENTS.nmi_injected) !== 0,
      nmiMasked: events.getUint8(A.EVENTS.nmi_masked) !== 0 && events.getUint8(A.EVENTS.nmi_injected) === 0,
      retired: outside.retired,
    };
  }

  /** `apicBase`: IA32_APIC_BASE, which a device keeps. Throws LinuxError where KVM finds the state impossible. */
  write(state: VcpuState, apicBase: bigint): void {
    this.#writeSregs(state, apicBase);
    const regs = this.#regs;
    for (let i = 0; i < 16; i++) regs.setBigUint64(GPR_OFFSETS[i] ?? A.REGS_R8 + (i - 8) * 8, state.gpr[i] ?? 0n, true);
    regs.setBigUint64(A.REGS_RIP, state.rip, true);
    regs.setBigUint64(A.REGS_RFLAGS, state.rflags, true);
    this.#set("KVM_SET_REGS", A.KVM.SET_REGS, regs);
    const xcrs = clear(this.#xcrs);
    xcrs.setUint32(A.XCRS.nr_xcrs, 1, true);
    xcrs.setBigUint64(A.XCRS.value, state.xcr0, true);
    this.#set("KVM_SET_XCRS", A.KVM.SET_XCRS, xcrs);
    const xsave = clear(this.#xsave);
    bytesOf(xsave).set(state.fxsave.subarray(0, LEGACY_BYTES), A.XSAVE.legacy);
    xsave.setBigUint64(A.XSAVE.xstate_bv, XSTATE_X87_SSE, true);
    this.#set("KVM_SET_XSAVE", A.KVM.SET_XSAVE, xsave);
    writeMsrs(
      this.#vm,
      KVM_MSRS.map((index) => [index, state.msrs[String(index)] ?? 0n]),
    );
    const debug = clear(this.#debug);
    for (let i = 0; i < 4; i++) debug.setBigUint64(A.DEBUGREGS.db + 8 * i, state.dr[i] ?? 0n, true);
    debug.setBigUint64(A.DEBUGREGS.dr6, state.dr[4] ?? 0n, true);
    debug.setBigUint64(A.DEBUGREGS.dr7, state.dr[5] ?? 0n, true);
    this.#set("KVM_SET_DEBUGREGS", A.KVM.SET_DEBUGREGS, debug);
    const events = clear(this.#events);
    const { interruptShadow } = state;
    this.#shadow = interruptShadow;
    const shadow = { none: 0, sti: A.SHADOW_INT_STI, "mov-ss": A.SHADOW_INT_MOV_SS }[interruptShadow];
    events.setUint8(A.EVENTS.interrupt_shadow, shadow);
    events.setUint8(A.EVENTS.nmi_pending, state.nmiPending ? 1 : 0);
    events.setUint8(A.EVENTS.nmi_masked, state.nmiMasked ? 1 : 0);
    events.setUint32(A.EVENTS.flags, A.EVENTS_VALID_NMI_PENDING | A.EVENTS_VALID_SHADOW, true);
    this.#set("KVM_SET_VCPU_EVENTS", A.KVM.SET_VCPU_EVENTS, events);
  }

  /** The guest runs: what it leaves behind is not what was written. */
  entered(): void {
    this.#shadow = "none";
  }

  /** An exception or interrupt is on its way: delivered by KVM's next entry, and part of no saved state. */
  get hasEventInFlight(): boolean {
    const events = this.#get("KVM_GET_VCPU_EVENTS", A.KVM.GET_VCPU_EVENTS, this.#events);
    return (
      events.getUint8(A.EVENTS.exception_injected) !== 0 ||
      events.getUint8(A.EVENTS.exception_pending) !== 0 ||
      events.getUint8(A.EVENTS.interrupt_injected) !== 0
    );
  }

  /** NMIs wait for the end of one that is handled. */
  get isNmiMasked(): boolean {
    const events = this.#get("KVM_GET_VCPU_EVENTS", A.KVM.GET_VCPU_EVENTS, this.#events);
    return events.getUint8(A.EVENTS.nmi_masked) !== 0;
  }

  /** AMD's processors have one shadow for both, which KVM tells as both. */
  #shadowOf(bits: number): VcpuState["interruptShadow"] {
    if (bits === 0) return "none";
    if (this.#shadow !== "none") return this.#shadow;
    return (bits & A.SHADOW_INT_STI) !== 0 ? "sti" : "mov-ss";
  }

  #writeSregs(state: VcpuState, apicBase: bigint): void {
    const sregs = clear(this.#sregs);
    for (const [name, at] of SEGMENTS) writeSegment(sregs, at, state[name]);
    for (const [name, at] of TABLES) {
      sregs.setBigUint64(at + A.DTABLE.base, state[name].base, true);
      sregs.setUint16(at + A.DTABLE.limit, state[name].limit, true);
    }
    for (const name of CONTROL) sregs.setBigUint64(A.SREGS[name], state[name], true);
    sregs.setBigUint64(A.SREGS.efer, state.msrs[String(EFER)] ?? 0n, true);
    sregs.setBigUint64(A.SREGS.apic_base, apicBase, true);
    if (usesPdptes(state)) {
      for (let i = 0; i < 4; i++) sregs.setBigUint64(A.SREGS.pdptrs + 8 * i, state.pdptes[i] ?? 0n, true);
      sregs.setBigUint64(A.SREGS.flags, A.SREGS2_FLAGS_PDPTRS_VALID, true);
    }
    this.#set("KVM_SET_SREGS2", A.KVM.SET_SREGS2, sregs);
  }

  /** Without what says more about the processor than about the guest. */
  #fxsave(): Uint8Array {
    const image = bytesOf(this.#xsave).slice(0, LEGACY_BYTES);
    new DataView(image.buffer).setUint32(MXCSR_MASK_AT, MXCSR_MASK, true);
    for (let i = 0; i < 8; i++) image.fill(0, ST0_AT + 16 * i + 10, ST0_AT + 16 * i + 16);
    return image.fill(0, XMM_END);
  }

  #get(name: string, request: number, view: DataView): DataView {
    this.#vm.onVcpu(name, request, bytesOf(view));
    return view;
  }

  #set(name: string, request: number, view: DataView): void {
    this.#vm.onVcpu(name, request, bytesOf(view));
  }
}

/** Throws LinuxError; with EINVAL where KVM knows one of them not, or not this value. */
export function writeMsrs(vm: VcpuHandle, msrs: readonly (readonly [index: number, value: bigint])[]): void {
  const view = msrArea(msrs.map(([index]) => index));
  for (const [i, [, value]] of msrs.entries()) view.setBigUint64(entryAt(i) + A.MSRS.data, value, true);
  const done = vm.onVcpu("KVM_SET_MSRS", A.KVM.SET_MSRS, bytesOf(view));
  if (done !== msrs.length)
    throw new RangeError(`KVM does not take the value of MSR 0x${msrs[done]?.[0].toString(16)}`);
}

export function readMsrs(vm: VcpuHandle, indices: readonly number[]): Record<string, bigint> {
  const view = msrArea(indices);
  const done = vm.onVcpu("KVM_GET_MSRS", A.KVM.GET_MSRS, bytesOf(view));
  if (done !== indices.length) throw new RangeError(`KVM has no MSR 0x${indices[done]?.toString(16)}`);
  return Object.fromEntries(
    indices.map((index, i) => [String(index), view.getBigUint64(entryAt(i) + A.MSRS.data, true)]),
  );
}

type Segments = Pick<VcpuState, (typeof SEGMENTS)[number][0]>;
type Tables = Pick<VcpuState, (typeof TABLES)[number][0]>;
type Control = Pick<VcpuState, (typeof CONTROL)[number]>;

const entryAt = (i: number): number => A.MSRS.entries + i * A.MSRS.entryBytes;

function msrArea(indices: readonly number[]): DataView {
  const view = area(entryAt(indices.length));
  view.setUint32(A.MSRS.nmsrs, indices.length, true);
  for (const [i, index] of indices.entries()) view.setUint32(entryAt(i) + A.MSRS.index, index, true);
  return view;
}

/** PAE paging outside of long mode. */
function usesPdptes({ cr0, cr4, msrs }: VcpuState): boolean {
  const isLong = ((msrs[String(EFER)] ?? 0n) & 0x400n) !== 0n;
  return (cr0 & 0x8000_0000n) !== 0n && (cr4 & 0x20n) !== 0n && !isLong;
}

function readSegment(view: DataView, at: number): SegmentRegister {
  const flag = (field: number, bit: number): number => (view.getUint8(at + field) & 1) << bit;
  const { type, dpl, present, s, avl, l, db, g, unusable } = A.SEGMENT;
  const attributes =
    (view.getUint8(at + type) & 0xf) |
    flag(s, 4) |
    ((view.getUint8(at + dpl) & 3) << 5) |
    flag(present, 7) |
    flag(avl, 12) |
    flag(l, 13) |
    flag(db, 14) |
    flag(g, 15) |
    (view.getUint8(at + unusable) !== 0 ? UNUSABLE : 0);
  return {
    selector: view.getUint16(at + A.SEGMENT.selector, true),
    base: view.getBigUint64(at + A.SEGMENT.base, true),
    limit: view.getUint32(at + A.SEGMENT.limit, true),
    attributes,
  };
}

function writeSegment(view: DataView, at: number, { selector, base, limit, attributes }: SegmentRegister): void {
  const { type, dpl, present, s, avl, l, db, g, unusable } = A.SEGMENT;
  view.setUint16(at + A.SEGMENT.selector, selector, true);
  view.setBigUint64(at + A.SEGMENT.base, base, true);
  view.setUint32(at + A.SEGMENT.limit, limit, true);
  view.setUint8(at + type, attributes & 0xf);
  view.setUint8(at + dpl, (attributes >> 5) & 3);
  for (const [field, bit] of [
    [s, 4],
    [present, 7],
    [avl, 12],
    [l, 13],
    [db, 14],
    [g, 15],
    [unusable, 16],
  ] as const)
    view.setUint8(at + field, (attributes >> bit) & 1);
}

function readTable(view: DataView, at: number): DescriptorTable {
  return {
    base: view.getBigUint64(at + A.DTABLE.base, true),
    limit: view.getUint16(at + A.DTABLE.limit, true),
  };
}

const area = (bytes: number): DataView => new DataView(new ArrayBuffer(bytes));
const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
function clear(view: DataView): DataView {
  bytesOf(view).fill(0);
  return view;
}
