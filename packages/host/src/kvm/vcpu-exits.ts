/**
 * What leaves a guest, answered: ports, memory of devices and MSRs by the board's bus, CR8 by its local APIC; what ends a run
 * is told. The instruction that has left completes at KVM's next entry only: until then `isIncomplete` is set.
 */
import type { VcpuBus, VcpuExit } from "@twinmetal/core";
import * as abi from "./abi.ts";
import { answerMmio, answerPort, isLocalApic } from "./bus-accesses.ts";
import { type KvmCounters, newCounters } from "./counters.ts";
import { describeError, describeRunFailure } from "./internal-error.ts";
import { isLocalApicMsr, MsrExits } from "./msr-exits.ts";
import type { VcpuHandle } from "./vcpu-handle.ts";
import { type VcpuRegisters, writeMsrs } from "./vcpu-registers.ts";

export interface VcpuExitsOptions {
  readonly handle: VcpuHandle;
  readonly bus: VcpuBus;
  readonly features: ReadonlySet<string>;
  readonly registers: VcpuRegisters;
  /** The bytes at a linear address, as far as they are there: for messages. */
  readonly codeAt: (linear: bigint) => string;
  /** The guest has written its time-stamp counter. */
  readonly onTscWritten: () => void;
}

/** As kvm-vcpu.ts says: constants of this module. */
const { EXIT, IO_DIRECTION_OUT, RUN } = abi;

export const HALT: VcpuExit = { reason: "halt" };
export const SHUTDOWN: VcpuExit = { reason: "shutdown" };
/** What has stopped it, kvm-debugger.ts finds out. */
export const DEBUG: VcpuExit = { reason: "debug", stop: { kind: "step" } };

export const IA32_APIC_BASE = 0x1b;
export const IA32_TSC_ADJUST = 0x3b;
export const IA32_TSC = 0x10;
/** The pseudo-MSR by which the board hears of writes to CR8. */
const TASK_PRIORITY = 0xffff_0008;

export class VcpuExits {
  readonly counters: KvmCounters = newCounters();
  readonly msrs: MsrExits;
  /** As the board and KVM both know it. */
  cr8 = 0;
  isIncomplete = false;
  readonly #options: VcpuExitsOptions;
  readonly #run: DataView;
  readonly #bus: VcpuBus;

  constructor(options: VcpuExitsOptions) {
    this.#options = options;
    this.#run = options.handle.run;
    this.#bus = options.bus;
    this.msrs = new MsrExits(options.bus, options.features);
  }

  /** `result`: KVM_RUN's, no EINTR. Undefined: answered, and the guest can go on. */
  answer(result: number): VcpuExit | undefined {
    const run = this.#run;
    if (result < 0) return this.#failed(describeRunFailure(-result));
    this.noticeTaskPriority();
    this.isIncomplete = false;
    switch (run.getUint32(RUN.exit_reason, true)) {
      case EXIT.IO:
        this.counters.portExits++;
        this.isIncomplete = true;
        answerPort(run, this.#bus);
        return undefined;
      case EXIT.MMIO:
        this.counters.mmioExits++;
        this.isIncomplete = true;
        if (isLocalApic(run)) this.counters.localApicExits++;
        answerMmio(run, this.#bus);
        return undefined;
      case EXIT.X86_RDMSR:
        this.#countMsr();
        this.isIncomplete = true;
        this.msrs.read(run);
        return undefined;
      case EXIT.X86_WRMSR:
        this.#countMsr();
        this.isIncomplete = true;
        this.#writeMsr();
        return undefined;
      case EXIT.HLT:
        this.counters.haltExits++;
        return HALT;
      case EXIT.IRQ_WINDOW_OPEN:
        this.counters.windowExits++;
        return undefined;
      case EXIT.SET_TPR:
      case EXIT.INTR:
        this.counters.otherExits++;
        return undefined;
      case EXIT.SHUTDOWN:
        return SHUTDOWN;
      case EXIT.DEBUG:
        return DEBUG;
      default:
        return this.#failed(describeError(run));
    }
  }

  /** A guest raises its priority without an exit: looked at behind each entry, however that has ended. */
  noticeTaskPriority(): void {
    const cr8 = this.#run.getUint8(RUN.cr8);
    if (cr8 === this.cr8) return;
    this.cr8 = cr8;
    this.#bus.writeMsr(TASK_PRIORITY, BigInt(cr8));
  }

  /** The last exit was a store to MMIO or to a port. */
  get isStore(): boolean {
    const run = this.#run;
    const reason = run.getUint32(RUN.exit_reason, true);
    if (reason === EXIT.MMIO) return run.getUint8(RUN.mmio_is_write) !== 0;
    return reason === EXIT.IO && run.getUint8(RUN.io_direction) === IO_DIRECTION_OUT;
  }

  #failed(what: string): VcpuExit {
    const { rip, cs } = this.#options.registers.read({ halted: false, retired: 0 });
    const code = this.#options.codeAt(cs.base + rip);
    return {
      reason: "error",
      message: `The processor could not go on with the guest: ${what}. At ${cs.selector.toString(16)}:${rip.toString(16)} there is ${code}.`,
    };
  }

  #countMsr(): void {
    this.counters.msrExits++;
    if (isLocalApicMsr(this.#run)) this.counters.localApicExits++;
  }

  #writeMsr(): void {
    const index = this.msrs.write(this.#run);
    if (index === IA32_APIC_BASE)
      writeMsrs(this.#options.handle, [[index, this.#run.getBigUint64(RUN.msr_data, true)]]);
    if (index === IA32_TSC || index === IA32_TSC_ADJUST) this.#options.onTscWritten();
  }
}
