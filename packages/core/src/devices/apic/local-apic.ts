/**
 * Local APIC of one vCPU (Intel SDM vol. 3, chapter 11): xAPIC registers in memory and x2APIC registers as MSRs,
 * priorities, EOI with broadcast to the IO-APICs, local vector table, timer with TSC-deadline mode, interprocessor
 * interrupts. The 8259A's INTR arrives on LINT0 and passes as ExtINT; while the APIC is off it reaches the processor
 * directly.
 * Its parts: apic-base.ts (mode), register-file.ts (what software reads and writes), destination.ts (addressing),
 * interrupt-priority.ts, local-vector-table.ts (own events), interrupt-command.ts (IPIs), error-status.ts, apic-timer.ts.
 *
 * Left out: CMCI, remote reads, thermal and performance interrupts (the entries exist, nothing raises them), SMI
 * (dropped: there is no system management mode).
 */
import type { IoHandler } from "../../bus/io.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "../device.ts";
import { ApicBase, type ApicBaseOptions } from "./apic-base.ts";
import { type ApicBus, type ApicBusMember, type ApicMessage, DELIVERY } from "./apic-bus.ts";
import { ApicTimer, type TscClock } from "./apic-timer.ts";
import { isAddressed } from "./destination.ts";
import { ErrorStatus } from "./error-status.ts";
import { commandError, sendCommand } from "./interrupt-command.ts";
import { InterruptPriority } from "./interrupt-priority.ts";
import { LocalVectorTable, LVT_INDEX } from "./local-vector-table.ts";
import { RegisterFile } from "./register-file.ts";
import { ESR, FIRST_LEGAL_VECTOR, MSR } from "./registers.ts";

/** The processor's side: how the local APIC reaches its vCPU. */
export interface ApicCpu {
  /** Whether `acknowledge` has an interrupt to deliver; called when that changes. */
  requestInterrupt(pending: boolean): void;
  /** CR8, bits 7:4 of the task priority, has changed: by the register, by INIT, or by a restore. */
  taskPriority(cr8: number): void;
  nmi(): void;
  /** INIT: the machine resets the vCPU and calls `initReset`; an application processor then waits for a start-up. */
  init(): void;
  startup(vector: number): void;
}

export interface LocalApicOptions extends ApicBaseOptions {
  /** Index of the vCPU and initial APIC identifier. */
  readonly id: number;
  readonly cpu: ApicCpu;
  readonly bus: ApicBus;
  readonly tsc: TscClock;
  /** The 8259A pair behind LINT0. */
  readonly pic?: { readonly isPending: boolean; acknowledge(): number };
  /** Reset leaves virtual wire mode behind, as firmware does: for direct boots. */
  readonly virtualWire?: boolean;
}

export class LocalApic implements Device, ApicBusMember {
  readonly name: string;
  readonly schema = { id: "local-apic", version: 1 } as const;
  readonly #options: LocalApicOptions;
  readonly #base: ApicBase;
  readonly #lvt: LocalVectorTable;
  readonly #timer: ApicTimer;
  readonly #priority = new InterruptPriority();
  readonly #errors = new ErrorStatus();
  readonly #registers: RegisterFile;
  /** An ExtINT message of an IO-APIC waits. */
  #extIntMessage = false;
  #requested = false;
  /** What the vCPU was told last. */
  #cr8 = 0;

  constructor(context: DeviceContext, options: LocalApicOptions) {
    this.name = `local-apic${options.id}`;
    this.#options = options;
    this.#base = new ApicBase(options);
    this.#lvt = new LocalVectorTable({
      fixed: (vector, isLevelTriggered) => this.#receive(vector, isLevelTriggered),
      nmi: () => options.cpu.nmi(),
      init: () => options.cpu.init(),
    });
    this.#timer = new ApicTimer(context.clock, options.tsc, () => {
      this.#lvt.raise(LVT_INDEX.TIMER);
      this.#update();
    });
    this.#registers = new RegisterFile({
      id: options.id,
      base: this.#base,
      lvt: this.#lvt,
      timer: this.#timer,
      priority: this.#priority,
      errors: this.#errors,
      endOfInterrupt: () => this.#endOfInterrupt(),
      send: (icrLow, destination) => this.#send(icrLow, destination),
      raiseError: (error) => this.#raiseError(error),
      written: () => this.#update(),
    });
    this.reset();
  }

  /** The wires LINT0 (8259A) and LINT1 (NMI). */
  readonly lint: readonly [IrqLine, IrqLine] = [
    { set: (level) => this.#setLint(0, level) },
    { set: (level) => this.#setLint(1, level) },
  ];

  /** In x2APIC mode the identifier cannot be changed. */
  get id(): number {
    return this.#registers.id;
  }

  /** Where `registers` are in guest-physical memory now; undefined while they are not. */
  get mmioBase(): number | undefined {
    return this.#base.mmioBase;
  }

  /** The 4 KiB page of xAPIC registers. */
  get registers(): IoHandler {
    return this.#registers.page;
  }

  /** Bits 7:4 of the task priority: CR8 of the vCPU. */
  get cr8(): number {
    return this.#priority.taskPriority >>> 4;
  }

  /** The guest's write to CR8. */
  set cr8(priority: number) {
    this.#priority.taskPriority = (priority & 0xf) << 4;
    this.#cr8 = this.cr8;
    this.#update();
  }

  /** `acknowledge` has an interrupt to deliver. */
  get isPending(): boolean {
    return this.#extIntPending || (this.#base.isEnabled && this.#priority.deliverable() >= 0);
  }

  /** The processor takes an interrupt. Returns its vector: the spurious one if the request has gone meanwhile. */
  acknowledge(): number {
    const vector = this.#acknowledge();
    this.#update();
    return vector;
  }

  get processorPriority(): number {
    return this.#priority.processorPriority;
  }

  isDestination(message: ApicMessage): boolean {
    return isAddressed(this.#registers, message);
  }

  /** While software has it disabled, an APIC takes only what concerns the processor: NMI, INIT and start-up. */
  accept(message: ApicMessage): boolean {
    if (!this.#base.isEnabled) return false;
    switch (message.deliveryMode) {
      case DELIVERY.FIXED:
      case DELIVERY.LOWEST_PRIORITY:
        if (!this.#registers.isSoftwareEnabled) return false;
        this.#receive(message.vector, message.isLevelTriggered);
        break;
      case DELIVERY.NMI:
        this.#options.cpu.nmi();
        break;
      case DELIVERY.INIT:
        this.#options.cpu.init();
        break;
      case DELIVERY.STARTUP:
        this.#options.cpu.startup(message.vector);
        break;
      case DELIVERY.EXTINT:
        if (!this.#registers.isSoftwareEnabled) return false;
        this.#extIntMessage = true;
        break;
      default:
        return false;
    }
    this.#update();
    return true;
  }

  /** Whether RDMSR and WRMSR of `index` belong here. */
  static ownsMsr(index: number): boolean {
    if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST) return true;
    return index === MSR.IA32_APIC_BASE || index === MSR.IA32_TSC_DEADLINE;
  }

  /** Undefined: #GP(0). */
  readMsr(index: number): bigint | undefined {
    if (index === MSR.IA32_APIC_BASE) return this.#base.value;
    if (index === MSR.IA32_TSC_DEADLINE) return this.#timer.tscDeadline;
    return LocalApic.ownsMsr(index) ? this.#registers.readMsr(index) : undefined;
  }

  /** False: #GP(0). */
  writeMsr(index: number, value: bigint): boolean {
    if (index === MSR.IA32_APIC_BASE) return this.#writeBase(value);
    if (index === MSR.IA32_TSC_DEADLINE) {
      this.#timer.tscDeadline = value;
      return true;
    }
    return LocalApic.ownsMsr(index) && this.#registers.writeMsr(index, value);
  }

  /** The guest has changed its time-stamp counter. */
  tscChanged(): void {
    this.#timer.tscChanged();
  }

  reset(): void {
    const { isBootstrapProcessor, virtualWire } = this.#options;
    this.#base.reset();
    this.#lvt.reset();
    this.#registers.reset();
    this.initReset();
    if (!virtualWire || !isBootstrapProcessor) return;
    this.#registers.softwareEnable();
    this.#lvt.setVirtualWire();
    this.#update();
  }

  /** What INIT does: as reset, but mode, base, identifier and the levels of the pins stay. */
  initReset(): void {
    this.#priority.reset();
    this.#lvt.initReset();
    this.#errors.reset();
    this.#registers.initReset();
    this.#extIntMessage = false;
    this.#timer.reset();
    this.#update();
  }

  save(): StateValue {
    return {
      base: this.#base.value,
      priority: this.#priority.save(),
      lvt: this.#lvt.save(),
      ...this.#registers.save(),
      ...this.#errors.save(),
      extIntMessage: this.#extIntMessage,
      timer: this.#timer.save(),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    try {
      this.#restore(new StateReader(state, this.name));
    } catch (error) {
      this.reset();
      throw error;
    }
    // Whatever the vCPU was told before belongs to another past.
    this.#requested = !this.isPending;
    this.#cr8 = -1;
    this.#update();
  }

  #restore(reader: StateReader): void {
    if (!this.#base.restore(reader.u64("base"))) throw reader.invalid("base", "is no legal value of IA32_APIC_BASE");
    this.#priority.restore(reader.object("priority"));
    this.#lvt.restore(reader.object("lvt"));
    this.#registers.restore(reader);
    this.#errors.restore(reader);
    this.#extIntMessage = reader.bool("extIntMessage");
    this.#timer.restore(reader.object("timer"), this.#lvt.timerMode);
    reader.end();
  }

  get #extIntPending(): boolean {
    return this.#extIntMessage || this.#lvt.isExtIntPending(this.#base.isEnabled);
  }

  #acknowledge(): number {
    const { spuriousVector } = this.#registers;
    if (this.#extIntPending) {
      this.#extIntMessage = false;
      return this.#options.pic?.acknowledge() ?? spuriousVector;
    }
    const vector = this.#base.isEnabled ? this.#priority.take() : -1;
    return vector >= 0 ? vector : spuriousVector;
  }

  #receive(vector: number, isLevelTriggered: boolean): boolean {
    const isLegal = vector >= FIRST_LEGAL_VECTOR;
    if (isLegal) this.#priority.request(vector, isLevelTriggered);
    else this.#raiseError(ESR.RECEIVE_ILLEGAL_VECTOR);
    return isLegal;
  }

  #endOfInterrupt(): void {
    const vector = this.#priority.end();
    if (vector === undefined) return;
    this.#lvt.endOfInterrupt(vector);
    if (!this.#registers.suppressesEoiBroadcast) this.#options.bus.endOfInterrupt(vector);
  }

  #setLint(pin: 0 | 1, level: boolean): void {
    this.#lvt.setPin(pin, level, this.#base.isEnabled);
    this.#update();
  }

  #send(icrLow: number, destination: number): void {
    const error = commandError(icrLow);
    if (error !== 0) this.#raiseError(error);
    sendCommand(this.#options.bus, this, icrLow, { destination, isWide: this.#registers.isX2apic });
  }

  #raiseError(error: number): void {
    if (this.#errors.add(error)) this.#lvt.raise(LVT_INDEX.ERROR);
    this.#update();
  }

  #writeBase(value: bigint): boolean {
    const wasEnabled = this.#base.isEnabled;
    if (!this.#base.write(value)) return false;
    if (wasEnabled && !this.#base.isEnabled) {
      this.#registers.reset();
      this.initReset();
    }
    this.#update();
    return true;
  }

  #update(): void {
    const { cr8, isPending } = this;
    if (cr8 !== this.#cr8) {
      this.#cr8 = cr8;
      this.#options.cpu.taskPriority(cr8);
    }
    if (isPending === this.#requested) return;
    this.#requested = isPending;
    this.#options.cpu.requestInterrupt(isPending);
  }
}

export function createLocalApic(context: DeviceContext, options: LocalApicOptions): LocalApic {
  return new LocalApic(context, options);
}
