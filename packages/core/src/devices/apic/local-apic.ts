/**
 * Local APIC of one vCPU (Intel SDM vol. 3, chapter 11): xAPIC registers in memory and x2APIC registers as MSRs,
 * priorities, EOI with broadcast to the IO-APICs, local vector table, timer with TSC-deadline mode, interprocessor
 * interrupts. The 8259A's INTR arrives on LINT0 and passes as ExtINT; while the APIC is off it reaches the processor
 * directly.
 * Its parts: apic-base.ts (mode), local-vector-table.ts (own events), interrupt-command.ts (IPIs), apic-timer.ts.
 *
 * Left out: CMCI, suppression of EOI broadcasts, arbitration priority and remote reads (both read zero), thermal and
 * performance interrupts (the entries exist, nothing raises them), SMI delivery (dropped).
 */
import type { AccessSize, IoHandler } from "../../bus/io.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "../device.ts";
import { ApicBase, type ApicBaseOptions } from "./apic-base.ts";
import { type ApicBus, type ApicBusMember, type ApicMessage, DELIVERY } from "./apic-bus.ts";
import { ApicTimer, type TscClock } from "./apic-timer.ts";
import { hasVector, ICR, sendCommand } from "./interrupt-command.ts";
import { InterruptPriority } from "./interrupt-priority.ts";
import { LocalVectorTable, LVT_INDEX } from "./local-vector-table.ts";
import { ESR, LVT, LVT_ENTRIES, MSR, REGISTER, SVR } from "./registers.ts";

/** Version 0x14, six local vector table entries, no suppression of EOI broadcasts. */
const VERSION = 0x0005_0014;
const FIRST_LEGAL_VECTOR = 16;
const BROADCAST = 0xff;
const X2APIC_BROADCAST = 0xffff_ffff;
const DFR_FLAT = 0xf;

/** The processor's side: how the local APIC reaches its vCPU. */
export interface ApicCpu {
  /** Whether `acknowledge` has an interrupt to deliver; called when that changes. */
  requestInterrupt(pending: boolean): void;
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
  #xapicId = 0;
  #ldr = 0;
  #dfr = 0;
  #svr = 0;
  #esr = 0;
  #errors = 0;
  #icrLow = 0;
  #icrHigh = 0;
  /** An ExtINT message of an IO-APIC or another processor waits. */
  #extIntMessage = false;
  #requested = false;

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
    this.reset();
  }

  /** The wires LINT0 (8259A) and LINT1 (NMI). */
  readonly lint: readonly [IrqLine, IrqLine] = [
    { set: (level) => this.#setLint(0, level) },
    { set: (level) => this.#setLint(1, level) },
  ];

  /** In x2APIC mode the identifier cannot be changed. */
  get id(): number {
    return this.#base.isX2apic ? this.#options.id : this.#xapicId;
  }

  /** Where `registers` are in guest-physical memory now; undefined while they are not. */
  get mmioBase(): number | undefined {
    return this.#base.mmioBase;
  }

  /** Bits 7:4 of the task priority: CR8 of the vCPU. */
  get cr8(): number {
    return this.#priority.taskPriority >>> 4;
  }

  set cr8(priority: number) {
    this.#priority.taskPriority = (priority & 0xf) << 4;
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

  isDestination(destination: number, isLogical: boolean): boolean {
    if (destination === BROADCAST || destination === X2APIC_BROADCAST) return true;
    if (!isLogical) return destination === this.id;
    if (this.#base.isX2apic) {
      const ldr = this.#logicalId;
      return destination >>> 16 === ldr >>> 16 && (destination & ldr & 0xffff) !== 0;
    }
    const ldr = this.#ldr >>> 24;
    if (this.#dfr >>> 28 === DFR_FLAT) return (destination & ldr) !== 0;
    return destination >>> 4 === ldr >>> 4 && (destination & ldr & 0xf) !== 0;
  }

  accept(message: ApicMessage): boolean {
    if (!this.#base.isEnabled) return false;
    switch (message.deliveryMode) {
      case DELIVERY.FIXED:
      case DELIVERY.LOWEST_PRIORITY:
        if ((this.#svr & SVR.ENABLE) === 0) return false;
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
        this.#extIntMessage = true;
        break;
      default:
        return false;
    }
    this.#update();
    return true;
  }

  /** The 4 KiB page of xAPIC registers: 32 bits wide, one at each multiple of 16. */
  readonly registers: IoHandler = {
    read: (offset: number, size: AccessSize) => {
      const value = (offset & 0xc) === 0 ? this.#readXapic(offset & 0xff0) : 0;
      return size === 4 ? value : value >>> (8 * (offset & 3));
    },
    write: (offset: number, size: AccessSize, value: number) => {
      if (size !== 4 || (offset & 0xf) !== 0) return;
      this.#writeXapic(offset & 0xff0, value >>> 0);
      this.#update();
    },
  };

  /** Whether RDMSR and WRMSR of `index` belong here. */
  static ownsMsr(index: number): boolean {
    if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST) return true;
    return index === MSR.IA32_APIC_BASE || index === MSR.IA32_TSC_DEADLINE;
  }

  /** Undefined: #GP(0). */
  readMsr(index: number): bigint | undefined {
    if (index === MSR.IA32_APIC_BASE) return this.#base.value;
    if (index === MSR.IA32_TSC_DEADLINE) return this.#timer.tscDeadline;
    if (!this.#base.isX2apic || !LocalApic.ownsMsr(index)) return undefined;
    const offset = (index - MSR.X2APIC_FIRST) << 4;
    switch (offset) {
      case REGISTER.LDR:
        return BigInt(this.#logicalId);
      case REGISTER.ICR_LOW:
        return (BigInt(this.#icrHigh) << 32n) | BigInt(this.#icrLow);
      case REGISTER.ID:
        return BigInt(this.id);
      case REGISTER.DFR:
      case REGISTER.ICR_HIGH:
      case REGISTER.EOI:
      case REGISTER.SELF_IPI:
      case REGISTER.APR:
      case REGISTER.RRD:
        return undefined;
      default: {
        const value = this.#readRegister(offset);
        return value === undefined ? undefined : BigInt(value);
      }
    }
  }

  /** False: #GP(0). */
  writeMsr(index: number, value: bigint): boolean {
    let done = true;
    if (index === MSR.IA32_APIC_BASE) done = this.#writeBase(value);
    else if (index === MSR.IA32_TSC_DEADLINE) this.#timer.tscDeadline = value;
    else
      done =
        this.#base.isX2apic && LocalApic.ownsMsr(index) && this.#writeX2apic((index - MSR.X2APIC_FIRST) << 4, value);
    this.#update();
    return done;
  }

  /** The guest has changed its time-stamp counter. */
  tscChanged(): void {
    this.#timer.tscChanged();
  }

  reset(): void {
    const { id, isBootstrapProcessor, virtualWire } = this.#options;
    this.#base.reset();
    this.#lvt.reset();
    this.#xapicId = id;
    this.initReset();
    if (!virtualWire || !isBootstrapProcessor) return;
    this.#svr |= SVR.ENABLE;
    this.#lvt.setVirtualWire();
    this.#update();
  }

  /** What INIT does: as reset, but the base and the identifier stay. */
  initReset(): void {
    this.#priority.reset();
    this.#lvt.initReset();
    this.#ldr = 0;
    this.#dfr = 0xffff_ffff;
    this.#svr = 0xff;
    this.#esr = 0;
    this.#errors = 0;
    this.#icrLow = 0;
    this.#icrHigh = 0;
    this.#extIntMessage = false;
    this.#timer.reset();
    this.#update();
  }

  save(): StateValue {
    return {
      base: this.#base.value,
      xapicId: this.#xapicId,
      priority: this.#priority.save(),
      lvt: this.#lvt.save(),
      ldr: this.#ldr,
      dfr: this.#dfr,
      svr: this.#svr,
      esr: this.#esr,
      errors: this.#errors,
      icrLow: this.#icrLow,
      icrHigh: this.#icrHigh,
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
    this.#update();
  }

  #restore(reader: StateReader): void {
    if (!this.#base.restore(reader.u64("base"))) throw reader.invalid("base", "is no legal value of IA32_APIC_BASE");
    this.#xapicId = reader.u8("xapicId");
    this.#priority.restore(reader.object("priority"));
    this.#lvt.restore(reader.object("lvt"));
    this.#ldr = reader.u32("ldr");
    this.#dfr = reader.u32("dfr");
    this.#svr = reader.int("svr", 0, SVR.VECTOR | SVR.ENABLE | SVR.FOCUS_DISABLE);
    this.#esr = reader.u8("esr");
    this.#errors = reader.u8("errors");
    this.#icrLow = reader.u32("icrLow");
    this.#icrHigh = reader.u32("icrHigh");
    this.#extIntMessage = reader.bool("extIntMessage");
    this.#timer.restore(reader.object("timer"), this.#lvt.timerMode);
    reader.end();
  }

  get #logicalId(): number {
    const id = this.#options.id;
    return (((id >>> 4) << 16) | (1 << (id & 0xf))) >>> 0;
  }

  get #extIntPending(): boolean {
    return this.#extIntMessage || this.#lvt.isExtIntPending(this.#base.isEnabled);
  }

  #acknowledge(): number {
    if (this.#extIntPending) {
      this.#extIntMessage = false;
      return this.#options.pic?.acknowledge() ?? this.#svr & SVR.VECTOR;
    }
    const vector = this.#base.isEnabled ? this.#priority.take() : -1;
    return vector >= 0 ? vector : this.#svr & SVR.VECTOR;
  }

  #receive(vector: number, isLevelTriggered: boolean): void {
    if (vector < FIRST_LEGAL_VECTOR) this.#raiseError(ESR.RECEIVE_ILLEGAL_VECTOR);
    else this.#priority.request(vector, isLevelTriggered);
  }

  #endOfInterrupt(): void {
    const vector = this.#priority.end();
    if (vector === undefined) return;
    this.#lvt.endOfInterrupt(vector);
    this.#options.bus.endOfInterrupt(vector);
  }

  #setLint(pin: 0 | 1, level: boolean): void {
    this.#lvt.setPin(pin, level, this.#base.isEnabled);
    this.#update();
  }

  #raiseError(error: number): void {
    const isNew = (this.#errors & error) === 0;
    this.#errors |= error;
    // An illegal vector in the error entry itself must not raise errors for ever.
    const isLegal = (this.#lvt.read(LVT_INDEX.ERROR) & LVT.VECTOR) >= FIRST_LEGAL_VECTOR;
    if (isNew && isLegal) this.#lvt.raise(LVT_INDEX.ERROR);
    this.#update();
  }

  #readXapic(offset: number): number {
    if (offset === REGISTER.LDR) return this.#ldr;
    if (offset === REGISTER.DFR) return this.#dfr;
    if (offset === REGISTER.ID) return (this.#xapicId << 24) >>> 0;
    if (offset === REGISTER.EOI || offset === REGISTER.APR || offset === REGISTER.RRD) return 0;
    const value = this.#readRegister(offset);
    if (value === undefined) this.#raiseError(ESR.ILLEGAL_REGISTER);
    return value ?? 0;
  }

  /** The registers that both modes have. */
  #readRegister(offset: number): number | undefined {
    if (offset >= REGISTER.ISR && offset < REGISTER.ESR) return this.#priority.read(offset);
    switch (offset) {
      case REGISTER.VERSION:
        return VERSION;
      case REGISTER.TPR:
        return this.#priority.taskPriority;
      case REGISTER.PPR:
        return this.processorPriority;
      case REGISTER.SVR:
        return this.#svr;
      case REGISTER.ESR:
        return this.#esr;
      case REGISTER.ICR_LOW:
        return this.#icrLow;
      case REGISTER.ICR_HIGH:
        return this.#icrHigh;
      case REGISTER.TIMER_INITIAL:
        return this.#timer.initialCount;
      case REGISTER.TIMER_CURRENT:
        return this.#timer.currentCount;
      case REGISTER.TIMER_DIVIDE:
        return this.#timer.divideConfig;
      default: {
        const entry = this.#lvt.indexOf(offset);
        return entry === undefined ? undefined : this.#lvt.read(entry);
      }
    }
  }

  #writeXapic(offset: number, value: number): void {
    switch (offset) {
      case REGISTER.ID:
        this.#xapicId = value >>> 24;
        break;
      case REGISTER.LDR:
        this.#ldr = (value & 0xff00_0000) >>> 0;
        break;
      case REGISTER.DFR:
        this.#dfr = (value | 0x0fff_ffff) >>> 0;
        break;
      case REGISTER.ICR_LOW:
        this.#icrLow = value & ICR.WRITABLE;
        this.#sendIpi(this.#icrHigh >>> 24);
        break;
      case REGISTER.ICR_HIGH:
        this.#icrHigh = (value & 0xff00_0000) >>> 0;
        break;
      case REGISTER.TPR:
        this.#priority.taskPriority = value & 0xff;
        break;
      case REGISTER.SVR:
        this.#writeSvr(value & (SVR.VECTOR | SVR.ENABLE | SVR.FOCUS_DISABLE));
        break;
      default:
        if (!this.#writeRegister(offset, value) && this.#readRegister(offset) === undefined) {
          this.#raiseError(ESR.ILLEGAL_REGISTER);
        }
    }
  }

  #writeX2apic(offset: number, wide: bigint): boolean {
    if (offset === REGISTER.ICR_LOW) {
      const low = Number(wide & 0xffff_ffffn);
      if (low & ~ICR.WRITABLE) return false;
      this.#icrLow = low;
      this.#icrHigh = Number((wide >> 32n) & 0xffff_ffffn);
      this.#sendIpi(this.#icrHigh);
      return true;
    }
    if (wide > 0xffff_ffffn) return false;
    const value = Number(wide);
    switch (offset) {
      case REGISTER.TPR:
        if (value > 0xff) return false;
        this.#priority.taskPriority = value;
        return true;
      case REGISTER.SVR:
        if (value & ~(SVR.VECTOR | SVR.ENABLE | SVR.FOCUS_DISABLE)) return false;
        this.#writeSvr(value);
        return true;
      case REGISTER.EOI:
      case REGISTER.ESR:
        return value === 0 && this.#writeRegister(offset, value);
      case REGISTER.SELF_IPI:
        if (value > 0xff) return false;
        if (value < FIRST_LEGAL_VECTOR) this.#raiseError(ESR.SEND_ILLEGAL_VECTOR);
        else this.#receive(value, false);
        return true;
      case REGISTER.TIMER_DIVIDE:
        return (value & ~0b1011) === 0 && this.#writeRegister(offset, value);
      default: {
        const entry = this.#lvt.indexOf(offset);
        if (entry !== undefined && value & ~(LVT_ENTRIES[entry]!.writable | LVT.READ_ONLY)) return false;
        return this.#writeRegister(offset, value);
      }
    }
  }

  /** The registers that both modes have. False for any other. */
  #writeRegister(offset: number, value: number): boolean {
    switch (offset) {
      case REGISTER.EOI:
        this.#endOfInterrupt();
        return true;
      case REGISTER.ESR:
        this.#esr = this.#errors;
        this.#errors = 0;
        return true;
      case REGISTER.TIMER_INITIAL:
        this.#timer.initialCount = value;
        return true;
      case REGISTER.TIMER_DIVIDE:
        this.#timer.divideConfig = value;
        return true;
      default: {
        const entry = this.#lvt.indexOf(offset);
        if (entry === undefined) return false;
        this.#lvt.write(entry, value, (this.#svr & SVR.ENABLE) !== 0);
        if (entry === LVT_INDEX.TIMER) this.#timer.mode = this.#lvt.timerMode;
        return true;
      }
    }
  }

  #writeSvr(value: number): void {
    this.#svr = value;
    if ((value & SVR.ENABLE) === 0) this.#lvt.maskAll();
  }

  #sendIpi(destination: number): void {
    if (hasVector(this.#icrLow) && (this.#icrLow & ICR.VECTOR) < FIRST_LEGAL_VECTOR) {
      this.#raiseError(ESR.SEND_ILLEGAL_VECTOR);
    } else {
      sendCommand(this.#options.bus, this, this.#icrLow, destination);
    }
  }

  #writeBase(value: bigint): boolean {
    const wasEnabled = this.#base.isEnabled;
    if (!this.#base.write(value)) return false;
    if (wasEnabled && !this.#base.isEnabled) {
      this.initReset();
      this.#xapicId = this.#options.id;
    }
    return true;
  }

  #update(): void {
    const pending = this.isPending;
    if (pending === this.#requested) return;
    this.#requested = pending;
    this.#options.cpu.requestInterrupt(pending);
  }
}

export function createLocalApic(context: DeviceContext, options: LocalApicOptions): LocalApic {
  return new LocalApic(context, options);
}
