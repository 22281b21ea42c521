/**
 * Breakpoints and steps of a debugger outside the guest (core's debugging.ts) on kvm: KVM_SET_GUEST_DEBUG (Linux, api.rst).
 * KVM puts the processor's debug registers and TF in place and hides them from the guest, with three gaps: a step over an
 * instruction that stores RFLAGS (PUSHF, SYSCALL) stores TF, too; an event that is on its way when a step begins is
 * delivered within the step; accesses that KVM itself carries out (MMIO) hit no watchpoint.
 *
 *   run    begin -> KVM_RUN ... exit DEBUG -> stopped -> (begin again, or the run's end) -> end
 *
 * An instruction with a breakpoint is gone past by a step with only the watchpoints in place. Software breakpoints are
 * written in `begin` and taken out in `end`: between two runs memory is the guest's own.
 */
import type { Breakpoint, DebugPlan, DebugRequest, DebugStop, GuestMemory } from "@twinmetal/core";
import { debugControl, debugPlan, debugStopOf } from "@twinmetal/core/vcpu";
import * as A from "./abi.ts";
import { translate } from "./guest-address.ts";
import type { VcpuHandle } from "./vcpu-handle.ts";

const INT3 = 0xcc;
const VECTOR_BP = 3;
const HITS = 0xf;
const DR6_BS = 0x4000;
/** DR6's bits that say what happened: B0 to B3, BD, BS, BT. */
const DR6_CAUSES = 0xe00f;
const EFER_LMA = 0x400n;
const LOW_32 = 0xffff_ffffn;

export class KvmDebugger {
  readonly #vm: VcpuHandle;
  readonly #memory: GuestMemory;
  readonly #plan: DebugPlan;
  readonly #request = new DataView(new ArrayBuffer(A.GUEST_DEBUG_BYTES));
  readonly #regs = new DataView(new ArrayBuffer(A.REGS_BYTES));
  readonly #sregs = new DataView(new ArrayBuffer(A.SREGS_BYTES));
  readonly #patched: { gpa: number; byte: number }[] = [];
  #armed: readonly Breakpoint[] = [];
  #isSingle = false;
  #hasStepped = false;
  #passing: bigint | undefined;

  /** Throws RangeError. */
  constructor(vm: VcpuHandle, memory: GuestMemory, request: DebugRequest) {
    this.#plan = debugPlan(request);
    this.#vm = vm;
    this.#memory = memory;
  }

  get isStepping(): boolean {
    return this.#plan.isStepping;
  }

  /** The next entry is for one instruction: nothing else may end it. */
  get isSingle(): boolean {
    return this.#isSingle;
  }

  /** Before a run's first entry, and after a `stopped` that goes on. `hasEvent`: an event is on its way to the guest. */
  begin(hasEvent: boolean): DebugStop | undefined {
    const at = this.#codeAddress();
    const isBreakpoint = this.#plan.instructions.has(at) && !hasEvent;
    const isPassing = isBreakpoint && this.#passing === at;
    if (isBreakpoint && !isPassing) {
      this.#passing = at;
      return { kind: "breakpoint", address: at };
    }
    if (!isPassing) this.#passing = undefined;
    this.#isSingle = this.isStepping || isPassing;
    this.#armed = this.#isSingle ? this.#plan.watchpoints : this.#plan.hardware;
    if (!this.#isSingle) this.#patch();
    const control = A.GUEST_DEBUG.ENABLE | (this.#isSingle ? A.GUEST_DEBUG.SINGLESTEP : A.GUEST_DEBUG.USE_SW_BP);
    this.#set(control | (this.#armed.length > 0 ? A.GUEST_DEBUG.USE_HW_BP : 0));
    return undefined;
  }

  /** The step has ended behind a store to a device, for which KVM does not always stop. Instead of KVM_EXIT_DEBUG. */
  stepped(): void {
    this.#hasStepped = true;
  }

  /** After KVM_EXIT_DEBUG. Undefined: it was not for the debugger, or only the way past a breakpoint. */
  stopped(run: DataView): DebugStop | undefined {
    const vector = run.getUint32(A.RUN.debug_exception, true);
    const at = run.getBigUint64(A.RUN.debug_pc, true);
    const dr6 = run.getUint32(A.RUN.debug_dr6, true);
    this.#unpatch();
    this.#passing = undefined;
    if (this.#hasStepped) {
      this.#hasStepped = false;
      return this.isStepping ? { kind: "step" } : undefined;
    }
    if (vector === VECTOR_BP) {
      if (this.#plan.software.has(at)) return this.#stoppedAt({ kind: "breakpoint", address: at });
      this.#set(A.GUEST_DEBUG.ENABLE | A.GUEST_DEBUG.INJECT_BP);
      return undefined;
    }
    const stop = debugStopOf(dr6 & HITS, this.#armed);
    if (stop) return this.#stoppedAt(stop);
    if (this.#isSingle && (dr6 & DR6_BS) !== 0) return this.isStepping ? { kind: "step" } : undefined;
    this.#tellGuest(dr6 & DR6_CAUSES);
    return undefined;
  }

  /** After a run, however it ended. */
  end(): void {
    this.#unpatch();
    if (this.#isSingle) this.#set(A.GUEST_DEBUG.ENABLE);
    this.#isSingle = false;
  }

  /** Another state is there: nothing has been stopped for in it. */
  forget(): void {
    this.#passing = undefined;
  }

  /** The guest's own debug registers act again. */
  off(): void {
    this.#set(0);
  }

  #stoppedAt(stop: DebugStop): DebugStop {
    if (stop.kind === "breakpoint") this.#passing = stop.address;
    return stop;
  }

  /** A debug exception of the guest's own making. */
  #tellGuest(causes: number): void {
    const registers = new DataView(new ArrayBuffer(A.DEBUGREGS_BYTES));
    const bytes = new Uint8Array(registers.buffer);
    this.#vm.onVcpu("KVM_GET_DEBUGREGS", A.KVM.GET_DEBUGREGS, bytes);
    const dr6 = registers.getBigUint64(A.DEBUGREGS.dr6, true);
    registers.setBigUint64(A.DEBUGREGS.dr6, (dr6 & ~BigInt(HITS)) | BigInt(causes), true);
    this.#vm.onVcpu("KVM_SET_DEBUGREGS", A.KVM.SET_DEBUGREGS, bytes);
    this.#set(A.GUEST_DEBUG.ENABLE | A.GUEST_DEBUG.INJECT_DB);
  }

  #set(control: number): void {
    const request = this.#request;
    request.setUint32(A.GUEST_DEBUG.control, control, true);
    for (let i = 0; i < 4; i++)
      request.setBigUint64(A.GUEST_DEBUG.debugreg + 8 * i, this.#armed[i]?.address ?? 0n, true);
    request.setBigUint64(A.GUEST_DEBUG.debugreg + 8 * 7, debugControl(this.#armed), true);
    this.#vm.onVcpu("KVM_SET_GUEST_DEBUG", A.KVM.SET_GUEST_DEBUG, new Uint8Array(request.buffer));
  }

  #patch(): void {
    for (const address of this.#plan.software) {
      const gpa = translate(this.#vm, address);
      const byte = gpa === undefined ? undefined : this.#memory.read8(gpa);
      if (gpa !== undefined && byte !== undefined && this.#memory.write8(gpa, INT3)) this.#patched.push({ gpa, byte });
    }
  }

  /** What the guest has written there itself meanwhile stays. */
  #unpatch(): void {
    for (const { gpa, byte } of this.#patched.reverse())
      if (this.#memory.read8(gpa) === INT3) this.#memory.write8(gpa, byte);
    this.#patched.length = 0;
  }

  #codeAddress(): bigint {
    this.#vm.onVcpu("KVM_GET_REGS", A.KVM.GET_REGS, new Uint8Array(this.#regs.buffer));
    this.#vm.onVcpu("KVM_GET_SREGS", A.KVM.GET_SREGS, new Uint8Array(this.#sregs.buffer));
    const rip = this.#regs.getBigUint64(A.REGS_RIP, true);
    const isLong = (this.#sregs.getBigUint64(A.SREGS.efer, true) & EFER_LMA) !== 0n;
    if (isLong && this.#sregs.getUint8(A.SREGS.cs + A.SEGMENT.l) !== 0) return rip;
    return (this.#sregs.getBigUint64(A.SREGS.cs + A.SEGMENT.base, true) + rip) & LOW_32;
  }
}
