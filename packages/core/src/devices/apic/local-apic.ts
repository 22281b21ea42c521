/**
 * Local APIC of one vCPU (Intel SDM vol. 3, chapter 11): xAPIC registers in memory and x2APIC registers as MSRs,
 * priorities, EOI with broadcast to the IO-APICs, local vector table, timer with TSC-deadline mode, interprocessor
 * interrupts. The 8259A's INTR arrives on LINT0 and passes as ExtINT; while the APIC is off it reaches the processor
 * directly.
 *
 *   IA32_APIC_BASE:  off <-> xAPIC -> x2APIC -> off      (EXTD without EN, x2APIC -> xAPIC and off -> x2APIC: #GP)
 *
 * Left out: CMCI, suppression of EOI broadcasts, arbitration priority and remote reads (both read zero), thermal and
 * performance interrupts (the entries exist, nothing raises them), SMI delivery (dropped).
 */
import type { AccessSize, IoHandler } from "../../bus/io.ts";
import { MEMORY_MAP } from "../../machine/board-map.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "../device.ts";
import { type ApicBus, type ApicBusMember, type ApicMessage, DELIVERY } from "./apic-bus.ts";
import { ApicTimer, type TscClock } from "./apic-timer.ts";
import { APIC_BASE, ESR, ICR, LVT, LVT_ENTRIES, MSR, REGISTER, SHORTHAND, SVR } from "./registers.ts";
import { VectorSet } from "./vector-set.ts";

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

export interface LocalApicOptions {
  /** Index of the vCPU and initial APIC identifier. */
  readonly id: number;
  readonly isBootstrapProcessor: boolean;
  readonly cpu: ApicCpu;
  readonly bus: ApicBus;
  readonly tsc: TscClock;
  /** The 8259A pair behind LINT0. */
  readonly pic?: { readonly isPending: boolean; acknowledge(): number };
  /** MAXPHYADDR of the CPU model, for the reserved bits of IA32_APIC_BASE. */
  readonly physicalAddressBits: number;
  /** The CPU model has CPUID.01H:ECX.x2APIC. */
  readonly hasX2apic: boolean;
  /** Reset leaves virtual wire mode behind, as firmware does: for direct boots. */
  readonly virtualWire?: boolean;
}

export class LocalApic implements Device, ApicBusMember {
  readonly name: string;
  readonly schema = { id: "local-apic", version: 1 } as const;
  readonly #options: LocalApicOptions;
  readonly #timer: ApicTimer;
  readonly #irr = new VectorSet();
  readonly #isr = new VectorSet();
  readonly #tmr = new VectorSet();
  readonly #lvt = new Uint32Array(LVT_ENTRIES.length);
  #base = 0;
  #xapicId = 0;
  #tpr = 0;
  #ldr = 0;
  #dfr = 0;
  #svr = 0;
  #esr = 0;
  #errors = 0;
  #icrLow = 0;
  #icrHigh = 0;
  #lint = [false, false];
  /** An ExtINT message of an IO-APIC or another processor waits. */
  #extIntMessage = false;
  #requested = false;

  constructor(context: DeviceContext, options: LocalApicOptions) {
    this.name = `local-apic${options.id}`;
    this.#options = options;
    this.#timer = new ApicTimer(context.clock, options.tsc, () => {
      this.#deliverLocal(0);
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
    return this.#isX2apic ? this.#options.id : this.#xapicId;
  }

  /** Where `registers` are in guest-physical memory now; undefined while they are not. */
  get mmioBase(): number | undefined {
    return this.#isEnabled && !this.#isX2apic ? Math.floor(this.#base / 0x1000) * 0x1000 : undefined;
  }

  /** Bits 7:4 of the task priority: CR8 of the vCPU. */
  get cr8(): number {
    return this.#tpr >>> 4;
  }

  set cr8(priority: number) {
    this.#tpr = (priority & 0xf) << 4;
    this.#update();
  }

  /** `acknowledge` has an interrupt to deliver. */
  get isPending(): boolean {
    return this.#extIntPending || (this.#isEnabled && this.#deliverable() >= 0);
  }

  /** The processor takes an interrupt. Returns its vector: the spurious one if the request has gone meanwhile. */
  acknowledge(): number {
    const vector = this.#acknowledge();
    this.#update();
    return vector;
  }

  get processorPriority(): number {
    const inService = Math.max(0, this.#isr.highest());
    return this.#tpr >>> 4 >= inService >>> 4 ? this.#tpr : inService & 0xf0;
  }

  isDestination(destination: number, isLogical: boolean): boolean {
    if (destination === BROADCAST || destination === X2APIC_BROADCAST) return true;
    if (!isLogical) return destination === this.id;
    if (this.#isX2apic) {
      const ldr = this.#logicalId;
      return destination >>> 16 === ldr >>> 16 && (destination & ldr & 0xffff) !== 0;
    }
    const ldr = this.#ldr >>> 24;
    if (this.#dfr >>> 28 === DFR_FLAT) return (destination & ldr) !== 0;
    return destination >>> 4 === ldr >>> 4 && (destination & ldr & 0xf) !== 0;
  }

  accept(message: ApicMessage): boolean {
    if (!this.#isEnabled) return false;
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
    if (index === MSR.IA32_APIC_BASE) return BigInt(this.#base);
    if (index === MSR.IA32_TSC_DEADLINE) return this.#timer.tscDeadline;
    if (!this.#isX2apic || !LocalApic.ownsMsr(index)) return undefined;
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
    else done = this.#isX2apic && LocalApic.ownsMsr(index) && this.#writeX2apic((index - MSR.X2APIC_FIRST) << 4, value);
    this.#update();
    return done;
  }

  /** The guest has changed its time-stamp counter. */
  tscChanged(): void {
    this.#timer.tscChanged();
  }

  reset(): void {
    const { id, isBootstrapProcessor, virtualWire } = this.#options;
    this.#base = MEMORY_MAP.localApicStart + APIC_BASE.EN + (isBootstrapProcessor ? APIC_BASE.BSP : 0);
    this.#xapicId = id;
    this.#lint = [false, false];
    this.initReset();
    if (!virtualWire || !isBootstrapProcessor) return;
    this.#svr |= SVR.ENABLE;
    this.#lvt[3] = DELIVERY.EXTINT << 8;
    this.#lvt[4] = DELIVERY.NMI << 8;
    this.#update();
  }

  /** What INIT does: as reset, but the base and the identifier stay. */
  initReset(): void {
    this.#irr.clear();
    this.#isr.clear();
    this.#tmr.clear();
    this.#lvt.fill(LVT.MASKED);
    this.#tpr = 0;
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
      base: BigInt(this.#base),
      xapicId: this.#xapicId,
      irr: [...this.#irr.words],
      isr: [...this.#isr.words],
      tmr: [...this.#tmr.words],
      lvt: [...this.#lvt],
      tpr: this.#tpr,
      ldr: this.#ldr,
      dfr: this.#dfr,
      svr: this.#svr,
      esr: this.#esr,
      errors: this.#errors,
      icrLow: this.#icrLow,
      icrHigh: this.#icrHigh,
      lint: [...this.#lint],
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
    const base = reader.u64("base");
    if (!this.#isLegalBase(base)) throw reader.invalid("base", "is no legal value of IA32_APIC_BASE");
    this.#base = Number(base);
    this.#xapicId = reader.u8("xapicId");
    this.#irr.words.set(reader.ints("irr", 8, 0, 0xffff_ffff));
    this.#isr.words.set(reader.ints("isr", 8, 0, 0xffff_ffff));
    this.#tmr.words.set(reader.ints("tmr", 8, 0, 0xffff_ffff));
    const lvt = reader.ints("lvt", LVT_ENTRIES.length, 0, 0x7_ffff);
    for (const [i, { writable }] of LVT_ENTRIES.entries()) {
      if (lvt[i]! & ~(writable | LVT.REMOTE_IRR)) throw reader.invalid("lvt", `has reserved bits in entry ${i}`);
    }
    this.#lvt.set(lvt);
    this.#tpr = reader.u8("tpr");
    this.#ldr = reader.u32("ldr");
    this.#dfr = reader.u32("dfr");
    this.#svr = reader.int("svr", 0, SVR.VECTOR | SVR.ENABLE | SVR.FOCUS_DISABLE);
    this.#esr = reader.u8("esr");
    this.#errors = reader.u8("errors");
    this.#icrLow = reader.u32("icrLow");
    this.#icrHigh = reader.u32("icrHigh");
    const lint = reader.values("lint", 2);
    if (lint.length !== 2 || lint.some((level) => typeof level !== "boolean")) {
      throw reader.invalid("lint", "is not the level of two wires");
    }
    this.#lint = lint.map((level) => level === true);
    this.#extIntMessage = reader.bool("extIntMessage");
    this.#timer.restore(reader.object("timer"), timerMode(this.#lvt[0]!));
    reader.end();
  }

  get #isEnabled(): boolean {
    return (this.#base & APIC_BASE.EN) !== 0;
  }

  get #isX2apic(): boolean {
    return (this.#base & APIC_BASE.EXTD) !== 0;
  }

  get #logicalId(): number {
    const id = this.#options.id;
    return (((id >>> 4) << 16) | (1 << (id & 0xf))) >>> 0;
  }

  get #extIntPending(): boolean {
    if (this.#extIntMessage) return true;
    if (!this.#lint[0]) return false;
    const lint0 = this.#lvt[3]!;
    return !this.#isEnabled || ((lint0 & LVT.MASKED) === 0 && deliveryOf(lint0) === DELIVERY.EXTINT);
  }

  /** The vector that may interrupt the processor now, or -1. */
  #deliverable(): number {
    const vector = this.#irr.highest();
    return vector >>> 4 > this.processorPriority >>> 4 ? vector : -1;
  }

  #acknowledge(): number {
    if (this.#extIntPending) {
      this.#extIntMessage = false;
      return this.#options.pic?.acknowledge() ?? this.#svr & SVR.VECTOR;
    }
    const vector = this.#isEnabled ? this.#deliverable() : -1;
    if (vector < 0) return this.#svr & SVR.VECTOR;
    this.#irr.delete(vector);
    this.#isr.add(vector);
    return vector;
  }

  #receive(vector: number, isLevelTriggered: boolean): void {
    if (vector < FIRST_LEGAL_VECTOR) {
      this.#raiseError(ESR.RECEIVE_ILLEGAL_VECTOR);
      return;
    }
    this.#irr.add(vector);
    if (isLevelTriggered) this.#tmr.add(vector);
    else this.#tmr.delete(vector);
  }

  #endOfInterrupt(): void {
    const vector = this.#isr.highest();
    if (vector < 0) return;
    this.#isr.delete(vector);
    if (!this.#tmr.has(vector)) return;
    for (const entry of [3, 4] as const) {
      if ((this.#lvt[entry]! & LVT.VECTOR) !== vector) continue;
      this.#lvt[entry]! &= ~LVT.REMOTE_IRR;
      if (this.#lint[entry - 3]) this.#deliverLocal(entry);
    }
    this.#options.bus.endOfInterrupt(vector);
  }

  #setLint(pin: 0 | 1, level: boolean): void {
    const rises = level && !this.#lint[pin];
    this.#lint[pin] = level;
    if (rises && this.#isEnabled) this.#deliverLocal(pin === 0 ? 3 : 4);
    this.#update();
  }

  /** An event of the local vector table; ExtINT is not one, it is read off the wire. */
  #deliverLocal(entry: number): void {
    const lvt = this.#lvt[entry]!;
    if (lvt & LVT.MASKED) return;
    switch (entry === 0 || entry === 5 ? DELIVERY.FIXED : deliveryOf(lvt)) {
      case DELIVERY.FIXED: {
        const isLevel = entry >= 3 && entry <= 4 && (lvt & LVT.LEVEL_TRIGGERED) !== 0;
        if (isLevel && lvt & LVT.REMOTE_IRR) return;
        if (isLevel) this.#lvt[entry]! |= LVT.REMOTE_IRR;
        this.#receive(lvt & LVT.VECTOR, isLevel);
        break;
      }
      case DELIVERY.NMI:
        this.#options.cpu.nmi();
        break;
      case DELIVERY.INIT:
        this.#options.cpu.init();
        break;
    }
  }

  #raiseError(error: number): void {
    const isNew = (this.#errors & error) === 0;
    this.#errors |= error;
    const lvt = this.#lvt[5]!;
    // An illegal vector in the error entry itself must not raise errors for ever.
    if (isNew && (lvt & LVT.MASKED) === 0 && (lvt & LVT.VECTOR) >= FIRST_LEGAL_VECTOR) this.#deliverLocal(5);
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
    if (offset >= REGISTER.ISR && offset < REGISTER.ESR) {
      const set = offset >= REGISTER.IRR ? this.#irr : offset >= REGISTER.TMR ? this.#tmr : this.#isr;
      return set.words[(offset >>> 4) & 7]!;
    }
    switch (offset) {
      case REGISTER.VERSION:
        return VERSION;
      case REGISTER.TPR:
        return this.#tpr;
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
        const entry = LVT_ENTRIES.findIndex((lvt) => lvt.offset === offset);
        return entry < 0 ? undefined : this.#lvt[entry];
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
        this.#tpr = value & 0xff;
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
        this.#tpr = value;
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
        this.#sendFixed(value, () => this.#receive(value, false));
        return true;
      case REGISTER.TIMER_DIVIDE:
        return (value & ~0b1011) === 0 && this.#writeRegister(offset, value);
      default: {
        const entry = LVT_ENTRIES.find((lvt) => lvt.offset === offset);
        if (entry && value & ~(entry.writable | LVT.REMOTE_IRR | 0x1000)) return false;
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
        const entry = LVT_ENTRIES.findIndex((lvt) => lvt.offset === offset);
        if (entry < 0) return false;
        this.#writeLvt(entry, value);
        return true;
      }
    }
  }

  #writeLvt(entry: number, value: number): void {
    let lvt = (value & LVT_ENTRIES[entry]!.writable) | (this.#lvt[entry]! & LVT.REMOTE_IRR);
    if ((this.#svr & SVR.ENABLE) === 0) lvt |= LVT.MASKED;
    if ((lvt & LVT.LEVEL_TRIGGERED) === 0) lvt &= ~LVT.REMOTE_IRR;
    this.#lvt[entry] = lvt;
    if (entry === 0) this.#timer.mode = timerMode(lvt);
    else if (lvt & LVT.LEVEL_TRIGGERED && this.#lint[entry - 3]) this.#deliverLocal(entry);
  }

  #writeSvr(value: number): void {
    this.#svr = value;
    if ((value & SVR.ENABLE) === 0) for (const entry of this.#lvt.keys()) this.#lvt[entry]! |= LVT.MASKED;
  }

  #sendIpi(destination: number): void {
    const icr = this.#icrLow;
    const deliveryMode = (icr & ICR.DELIVERY_MODE) >>> 8;
    const vector = icr & 0xff;
    // INIT level de-assert only synchronised the arbitration of old bus APICs.
    if (deliveryMode === DELIVERY.INIT && (icr & (ICR.LEVEL_TRIGGERED | ICR.ASSERT)) === ICR.LEVEL_TRIGGERED) return;
    const isLogical = (icr & ICR.LOGICAL) !== 0;
    const message: ApicMessage = { destination, isLogical, deliveryMode, vector, isLevelTriggered: false };
    const send = (): void => {
      switch ((icr & ICR.SHORTHAND) >>> 18) {
        case SHORTHAND.SELF:
          if (deliveryMode === DELIVERY.FIXED) this.accept(message);
          break;
        case SHORTHAND.ALL:
          this.#options.bus.broadcast(message);
          break;
        case SHORTHAND.OTHERS:
          this.#options.bus.broadcast(message, this);
          break;
        default:
          this.#options.bus.deliver(message);
      }
    };
    if (deliveryMode === DELIVERY.FIXED || deliveryMode === DELIVERY.LOWEST_PRIORITY) this.#sendFixed(vector, send);
    else send();
  }

  #sendFixed(vector: number, send: () => void): void {
    if (vector < FIRST_LEGAL_VECTOR) this.#raiseError(ESR.SEND_ILLEGAL_VECTOR);
    else send();
  }

  #isLegalBase(value: bigint): boolean {
    const { physicalAddressBits, hasX2apic } = this.#options;
    if (value >> BigInt(physicalAddressBits) !== 0n || (value & 0x2ffn) !== 0n) return false;
    const x2apic = (value & BigInt(APIC_BASE.EXTD)) !== 0n;
    return !x2apic || (hasX2apic && (value & BigInt(APIC_BASE.EN)) !== 0n);
  }

  #writeBase(value: bigint): boolean {
    if (!this.#isLegalBase(value)) return false;
    const base = Number(value);
    const [wasOn, wasX2] = [this.#isEnabled, this.#isX2apic];
    const [isOn, isX2] = [(base & APIC_BASE.EN) !== 0, (base & APIC_BASE.EXTD) !== 0];
    if ((wasX2 && isOn && !isX2) || (!wasOn && isX2)) return false;
    this.#base = base;
    if (wasOn && !isOn) {
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

function deliveryOf(lvt: number): number {
  return (lvt & LVT.DELIVERY_MODE) >>> 8;
}

function timerMode(lvt: number): "one-shot" | "periodic" | "tsc-deadline" {
  if (lvt & LVT.TIMER_TSC_DEADLINE) return "tsc-deadline";
  return lvt & LVT.TIMER_PERIODIC ? "periodic" : "one-shot";
}
