/**
 * One vCPU that the processor itself runs: a synchronous KVM_RUN in the machine's thread, or in one of its own (parallel/).
 * What leaves the guest is answered here, by the same devices as on the jit engine; `retired` is guest time in nanoseconds
 * (turn-time.ts).
 *
 * A run ends by a timer at the end of its budget, or by a kick (kick-cells.ts); both are one signal. KVM completes a port,
 * MMIO or MSR access at the next entry only: before state is read it is entered once with immediate_exit.
 *
 * The local APIC and everything behind it are devices, so interrupts go in one at a time, by KVM_INTERRUPT when KVM
 * says that the guest can take one. Left out: FERR# (CR0.NE = 0), which processors with virtualisation do not forward.
 */
import type { DebugRequest, GuestMemory, KeptMsrs, Vcpu, VcpuBus, VcpuExit, VcpuState } from "@twinmetal/core";
import { refuseInParallel, resetState } from "@twinmetal/core/vcpu";
import * as abi from "./abi.ts";
import type { KvmCounters } from "./counters.ts";
import { GuestTsc } from "./guest-tsc.ts";
import type { VcpuCells } from "./kick-cells.ts";
import { KvmDebugger } from "./kvm-debugger.ts";
import { ERRNO as ERRNOS, type LinuxCalls, LinuxError } from "./linux-calls.ts";
import { leastRunNs, type RunTimer } from "./run-timer.ts";
import type { TurnTime } from "./turn-time.ts";
import { DEBUG, HALT, IA32_APIC_BASE, IA32_TSC_ADJUST, SHUTDOWN, VcpuExits } from "./vcpu-exits.ts";
import { KICK_SIGNAL, type VcpuHandle } from "./vcpu-handle.ts";
import { VcpuRegisters, writeMsrs } from "./vcpu-registers.ts";

export interface KvmVcpuOptions {
  /** Whose time of TurnTime's it counts by: its own, or the first one's where vCPUs run in parallel. */
  readonly index: number;
  readonly handle: VcpuHandle;
  /** The kvm_run that kicks set immediate_exit in: the first vCPU's. */
  readonly kickedRun: DataView;
  readonly cells: VcpuCells;
  /** Undefined: a run goes on until a kick, whatever its budget. */
  readonly timer: RunTimer | undefined;
  readonly time: TurnTime;
  readonly bus: VcpuBus;
  readonly memory: GuestMemory;
  readonly features: ReadonlySet<string>;
  readonly tscFrequencyHz: number;
  /** Memory that does not move, 8 bytes. */
  readonly scratch: Uint8Array;
  /** The bytes at a linear address, as far as they are there: for messages. */
  readonly codeAt: (linear: bigint) => string;
  /** A shorter run is not worth the way in and out. */
  readonly minRunNs: number;
  /** Of the first of vCPUs in parallel: answers what the others ask of devices. False: nothing was asked. */
  readonly serve?: () => boolean;
}

/**
 * As this module's own constants they become part of the compiled run loop. What is imported is loaded at each exit, from
 * objects here and there: 3 us more where the processor forgets its address translations at each exit, as QEMU's does.
 */
const { KVM, RUN } = abi;
const ERRNO = ERRNOS;

const BUDGET: VcpuExit = { reason: "budget" };
const KICK: VcpuExit = { reason: "kick" };
const WINDOW: VcpuExit = { reason: "interrupt-window" };

const RFLAGS_IF = 0x200n;
const TSC_CHECK_NS = 1e9;
/** How often a kick is put off while an event is on its way to the guest, which one entry nearly always ends. */
const MAX_FLUSHES = 100;

export class KvmVcpu implements Vcpu {
  readonly #options: KvmVcpuOptions;
  readonly #handle: VcpuHandle;
  readonly #index: number;
  readonly #calls: LinuxCalls;
  /** KVM_RUN: the call's result, or -errno. */
  readonly #enterGuest: () => number;
  readonly #run: DataView;
  readonly #bus: VcpuBus;
  readonly #cells: VcpuCells;
  readonly #time: TurnTime;
  readonly #timer: RunTimer | undefined;
  readonly #registers: VcpuRegisters;
  readonly #tsc: GuestTsc;
  readonly #exits: VcpuExits;
  readonly #vector = new Uint8Array(4);
  #isPending = false;
  #isHalted = false;
  #isShutdown = false;
  #isKicked = false;
  #isApicBaseStale = false;
  readonly #minRunNs: number;
  #debugger: KvmDebugger | undefined;

  constructor(options: KvmVcpuOptions) {
    const { handle, time } = options;
    this.#options = options;
    this.#handle = handle;
    this.#index = options.index;
    this.#calls = handle.calls;
    this.#enterGuest = handle.calls.bound(handle.vcpuFd, KVM.RUN);
    this.#run = handle.run;
    this.#bus = options.bus;
    this.#cells = options.cells;
    this.#time = time;
    this.#timer = options.timer;
    const registers = new VcpuRegisters(handle);
    this.#registers = registers;
    const { bus, features, codeAt } = options;
    this.#exits = new VcpuExits({
      ...{ handle, bus, features, registers, codeAt },
      onTscWritten: () => {
        // The counter is set at the next run's begin, which is now.
        this.#tsc.forget();
        this.kick();
      },
    });
    this.#tsc = new GuestTsc(handle, options.tscFrequencyHz, time.tsc, options.scratch);
    this.#minRunNs = options.timer ? leastRunNs(this.#run, this.#enterGuest, options.minRunNs) : 0;
  }

  get counters(): KvmCounters {
    return this.#exits.counters;
  }

  get keptMsrs(): KeptMsrs {
    return this.#exits.msrs.kept;
  }

  get retired(): number {
    return this.#time.countOf(this.#index);
  }

  run(budget: number): VcpuExit {
    this.#time.bring(this.#index);
    return this.#debugger ? this.#runDebugged(this.#debugger, budget) : this.#runOn(budget);
  }

  /** From here on the guest is stopped for what is asked. Throws RangeError. */
  debug(request: DebugRequest | undefined): void {
    if (this.#options.serve) refuseInParallel(request);
    const next = request && new KvmDebugger(this.#handle, this.#options.memory, request);
    this.#complete();
    if (!next) this.#debugger?.off();
    this.#debugger = next;
  }

  #runDebugged(debug: KvmDebugger, budget: number): VcpuExit {
    for (;;) {
      if (this.#isShutdown) return SHUTDOWN;
      this.#complete();
      if (!this.#isHalted) {
        const stop = debug.begin(this.#registers.hasEventInFlight);
        if (stop) return { reason: "debug", stop };
      }
      try {
        const exit = this.#runOn(budget);
        if (exit.reason !== "debug") return exit;
        const stop = debug.stopped(this.#run);
        if (stop) return { reason: "debug", stop };
      } finally {
        debug.end();
      }
    }
  }

  #runOn(budget: number): VcpuExit {
    if (this.#isShutdown) return SHUTDOWN;
    if (this.#canInterrupt) return WINDOW;
    this.#time.refresh();
    if (this.#isHalted) return HALT;
    this.settle();
    this.#registers.entered();
    this.#setTimer(budget);
    const exit = this.#runToExit(this.#time.whole.count + budget);
    this.#time.refresh();
    return exit;
  }

  #runToExit(end: number): VcpuExit {
    for (let flushes = 0; ; ) {
      const isWanted = this.#isPending && !this.#debugger?.isStepping;
      this.#run.setUint8(RUN.request_interrupt_window, isWanted ? 1 : 0);
      const result = this.#enterGuest();
      // Most exits are answered without the time, and to ask for it costs as much as to answer them.
      this.#time.isStale = true;
      if (result === -ERRNO.EINTR || result === -ERRNO.EAGAIN) {
        const wasKicked = this.#takeKick();
        if (flushes++ < MAX_FLUSHES && this.#registers.hasEventInFlight) {
          this.#isKicked ||= wasKicked;
          this.#setTimer(1);
          continue;
        }
        if (!wasKicked && !this.#isKicked) {
          if (!this.#options.serve?.()) return BUDGET;
          if (this.#canInterrupt) return WINDOW;
          this.#time.refresh();
          const left = end - this.#time.whole.count;
          if (left <= 0) return BUDGET;
          this.#setTimer(left);
          continue;
        }
        this.#isKicked = false;
        return KICK;
      }
      const exit = this.#left(result);
      if (exit) return exit;
      // An instruction that is stepped over ends in this run.
      if (this.#exits.isIncomplete && this.#debugger?.isSingle) {
        if (!this.#exits.isStore) continue;
        this.#complete();
        this.#debugger.stepped();
        return DEBUG;
      }
      if (this.#canInterrupt) return WINDOW;
      if (this.#isKicked) {
        this.#isKicked = false;
        return KICK;
      }
    }
  }

  requestInterrupt(pending: boolean): void {
    this.#isPending = pending;
  }

  setTaskPriority(cr8: number): void {
    this.#exits.cr8 = cr8;
    this.#run.setBigUint64(RUN.cr8, BigInt(cr8), true);
  }

  interrupt(vector: number): void {
    this.#vector[0] = vector;
    this.#handle.onVcpu("KVM_INTERRUPT", KVM.INTERRUPT, this.#vector);
    this.#run.setUint8(RUN.ready_for_interrupt_injection, 0);
    this.#isHalted = false;
    this.counters.interruptsInjected++;
  }

  nmi(): void {
    this.#handle.onVcpu("KVM_NMI", KVM.NMI, 0);
    if (this.#isHalted && !this.#registers.isNmiMasked) this.#isHalted = false;
  }

  kick(): void {
    this.#isKicked = true;
  }

  /** Time of the host has passed: `retired` follows it, or with `isAnchor` leaves it out. */
  followTime(isAnchor: boolean): void {
    this.#time.bring(this.#index);
    if (isAnchor) this.#time.anchor();
    else this.#time.refresh();
  }

  /** Between two runs: what another KvmVcpu of the same vCPU has to know to go on with it. */
  handOver(): boolean {
    this.#complete();
    return this.#isHalted;
  }
  /** Another one has run it, or set its state: `isHalted` is what that has handed over. */
  takeOver(isHalted: boolean): void {
    this.#isHalted = isHalted;
    this.#isShutdown = false;
    this.#exits.cr8 = this.#run.getUint8(RUN.cr8);
    this.#registers.entered();
  }
  /** The guest has written its time-stamp counter through another KvmVcpu. */
  forgetTsc(): void {
    this.#tsc.forget();
    this.settle();
  }

  getState(): VcpuState {
    this.#complete();
    const state = this.#registers.read({ halted: this.#isHalted, retired: this.retired });
    // KVM learns of a priority that the local APIC was given at the next entry only.
    return { ...state, cr8: BigInt(this.#exits.cr8), msrs: { ...state.msrs, ...this.keptMsrs.save() } };
  }

  /** Throws RangeError or LinuxError where KVM finds the state impossible. */
  setState(state: VcpuState): void {
    this.#complete();
    this.#debugger?.forget();
    this.#registers.write(state, this.#bus.readMsr(IA32_APIC_BASE) ?? 0xfee0_0900n);
    this.keptMsrs.load(state.msrs);
    this.#isShutdown = false;
    this.#isHalted = state.halted && !(state.nmiPending && !state.nmiMasked);
    this.#isKicked = false;
    this.#isApicBaseStale = true;
    this.setTaskPriority(Number(state.cr8));
    const canTake = (state.rflags & RFLAGS_IF) !== 0n && state.interruptShadow === "none";
    this.#run.setUint8(RUN.ready_for_interrupt_injection, canTake ? 1 : 0);
    this.#time.put(this.#index, state.retired);
    this.#tsc.forget();
  }

  reset(): void {
    this.setState(resetState(this.retired));
  }

  get isWaiting(): boolean {
    return this.#isHalted && !this.#canInterrupt;
  }

  get #canInterrupt(): boolean {
    if (this.#debugger?.isStepping) return false;
    return this.#isPending && this.#run.getUint8(RUN.ready_for_interrupt_injection) !== 0;
  }

  /** Before the first entry of a run: what the devices keep and KVM has to know. */
  settle(): void {
    if (this.#isApicBaseStale) {
      this.#isApicBaseStale = false;
      const base = this.#bus.readMsr(IA32_APIC_BASE);
      if (base !== undefined) writeMsrs(this.#handle, [[IA32_APIC_BASE, base]]);
    }
    const { whole } = this.#time;
    if (this.#tsc.isKnown && whole.sinceMeasuredNs <= TSC_CHECK_NS) return;
    const adjust = this.#bus.readMsr(IA32_TSC_ADJUST) ?? 0n;
    this.#tsc.follow(whole, () => this.#bus.readTsc(this.retired), adjust);
  }

  #setTimer(budget: number): void {
    if (this.#time.isStale) this.#time.refresh();
    this.#timer?.set(this.#time.whole.count, budget, this.#minRunNs);
  }

  /** After a signal: takes it away, and answers whether somebody has sent it on purpose. */
  #takeKick(): boolean {
    this.counters.signalExits++;
    this.#exits.isIncomplete = false;
    this.#exits.noticeTaskPriority();
    this.#timer?.taken();
    this.#calls.takeSignal(KICK_SIGNAL);
    this.#cells.waitWhileStopped();
    this.#run.setUint8(RUN.immediate_exit, 0);
    this.#options.kickedRun.setUint8(RUN.immediate_exit, 0);
    const wasKicked = this.#cells.clearKick();
    if (wasKicked) this.counters.kicks++;
    return wasKicked;
  }

  /** Undefined: answered, and the guest can go on. */
  #left(result: number): VcpuExit | undefined {
    const exit = this.#exits.answer(result);
    if (exit === undefined || exit === DEBUG) return exit;
    if (exit === HALT) {
      this.#isHalted = true;
      return this.#canInterrupt ? WINDOW : HALT;
    }
    this.#isShutdown = true;
    return exit;
  }

  /** Ends the instruction of the last exit. It may leave the guest again, for the next part of a wide access. */
  #complete(): void {
    while (this.#exits.isIncomplete) {
      this.#run.setUint8(RUN.immediate_exit, 1);
      const result = this.#enterGuest();
      if (result === -ERRNO.EINTR) this.#exits.isIncomplete = false;
      else if (result < 0) throw new LinuxError("KVM_RUN", -result);
      else if (this.#left(result)) break;
    }
    // A kick that has come meanwhile has its signal pending still.
    this.#run.setUint8(RUN.immediate_exit, this.#cells.isKicked ? 1 : 0);
  }
}
