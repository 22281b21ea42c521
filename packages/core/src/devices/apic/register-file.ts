/**
 * The registers of a local APIC as software sees them (Intel SDM vol. 3, 11.4.1 and 11.12.1): a page of memory in xAPIC
 * mode, MSRs in x2APIC mode. registers.ts says who may do what.
 *
 * In memory, registers are 32 bits wide and 16 bytes apart; what lies between reads as zero, and stores that are not
 * of 32 bits at a multiple of 16 do nothing (the manual leaves both undefined). The arbitration priority and remote read
 * registers read as zero, as in all processors since the P6 family.
 */
import type { AccessSize, IoHandler } from "../../bus/io.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import type { ApicBase } from "./apic-base.ts";
import type { ApicTimer } from "./apic-timer.ts";
import { type ApicAddress, x2apicLogicalId } from "./destination.ts";
import type { ErrorStatus } from "./error-status.ts";
import type { InterruptPriority } from "./interrupt-priority.ts";
import { type LocalVectorTable, LVT_INDEX } from "./local-vector-table.ts";
import { ESR, ICR, MSR, REGISTER, SVR, VERSION, X2APIC_ACCESS, XAPIC_OFFSETS } from "./registers.ts";

/** What the registers belong to, and what writing some of them does. */
export interface RegisterSide {
  /** The initial identifier, which x2APIC mode keeps. */
  readonly id: number;
  readonly base: ApicBase;
  readonly lvt: LocalVectorTable;
  readonly timer: ApicTimer;
  readonly priority: InterruptPriority;
  readonly errors: ErrorStatus;
  endOfInterrupt(): void;
  /** Sends what the low half of an interrupt command says. */
  send(icrLow: number, destination: number): void;
  raiseError(error: number): void;
  /** A write is done: what is pending, and the task priority, may have changed. */
  written(): void;
}

const SELF = 0x4_0000;

export class RegisterFile implements ApicAddress {
  readonly #side: RegisterSide;
  #xapicId = 0;
  #ldr = 0;
  #dfr = 0;
  #svr = 0;
  #icrLow = 0;
  #icrHigh = 0;

  constructor(side: RegisterSide) {
    this.#side = side;
  }

  get isX2apic(): boolean {
    return this.#side.base.isX2apic;
  }

  get id(): number {
    return this.isX2apic ? this.#side.id : this.#xapicId;
  }

  get ldr(): number {
    return this.isX2apic ? x2apicLogicalId(this.#side.id) : this.#ldr;
  }

  get dfr(): number {
    return this.#dfr;
  }

  get isSoftwareEnabled(): boolean {
    return (this.#svr & SVR.ENABLE) !== 0;
  }

  get spuriousVector(): number {
    return this.#svr & SVR.VECTOR;
  }

  get suppressesEoiBroadcast(): boolean {
    return (this.#svr & SVR.SUPPRESS_EOI_BROADCAST) !== 0;
  }

  softwareEnable(): void {
    this.#svr |= SVR.ENABLE;
  }

  /** The 4 KiB page. */
  readonly page: IoHandler = {
    read: (offset: number, size: AccessSize) => {
      const value = (offset & 0xc) === 0 ? this.#readXapic(offset & 0xff0) : 0;
      return size === 4 ? value : value >>> (8 * (offset & 3));
    },
    write: (offset: number, size: AccessSize, value: number) => {
      if (size !== 4 || (offset & 0xf) !== 0) return;
      this.#writeXapic(offset & 0xff0, value >>> 0);
      this.#side.written();
    },
  };

  /** Precondition: an MSR of X2APIC_FIRST to X2APIC_LAST. Undefined: #GP(0). */
  readMsr(index: number): bigint | undefined {
    const offset = (index - MSR.X2APIC_FIRST) << 4;
    if (!this.isX2apic || !X2APIC_ACCESS.get(offset)?.isReadable) return undefined;
    const low = BigInt(this.#read(offset));
    return offset === REGISTER.ICR_LOW ? (BigInt(this.#icrHigh) << 32n) | low : low;
  }

  /** Precondition: as of `readMsr`. False: #GP(0), nothing done. */
  writeMsr(index: number, value: bigint): boolean {
    const offset = (index - MSR.X2APIC_FIRST) << 4;
    const writable = this.isX2apic ? X2APIC_ACCESS.get(offset)?.writable : undefined;
    if (writable === undefined || (value & ~writable) !== 0n) return false;
    if (offset === REGISTER.ICR_LOW) this.#icrHigh = Number(value >> 32n);
    this.#write(offset, Number(value & 0xffff_ffffn));
    this.#side.written();
    return true;
  }

  /** Power-on: what INIT leaves alone. */
  reset(): void {
    this.#xapicId = this.#side.id;
    this.initReset();
  }

  initReset(): void {
    this.#ldr = 0;
    this.#dfr = 0xffff_ffff;
    this.#svr = 0xff;
    this.#icrLow = 0;
    this.#icrHigh = 0;
  }

  save(): Record<"xapicId" | "ldr" | "dfr" | "svr" | "icrLow" | "icrHigh", StateValue> {
    return {
      xapicId: this.#xapicId,
      ldr: this.#ldr,
      dfr: this.#dfr,
      svr: this.#svr,
      icrLow: this.#icrLow,
      icrHigh: this.#icrHigh,
    };
  }

  restore(reader: StateReader): void {
    this.#xapicId = reader.u8("xapicId");
    this.#ldr = reader.u32("ldr");
    this.#dfr = reader.u32("dfr");
    this.#svr = reader.int("svr", 0, SVR.WRITABLE) & SVR.WRITABLE;
    this.#icrLow = reader.u32("icrLow");
    this.#icrHigh = reader.u32("icrHigh");
  }

  #readXapic(offset: number): number {
    if (!XAPIC_OFFSETS.has(offset)) {
      this.#side.raiseError(ESR.ILLEGAL_REGISTER);
      return 0;
    }
    return offset === REGISTER.ID ? (this.#xapicId << 24) >>> 0 : this.#read(offset);
  }

  #writeXapic(offset: number, value: number): void {
    if (!XAPIC_OFFSETS.has(offset)) this.#side.raiseError(ESR.ILLEGAL_REGISTER);
    else this.#write(offset, value);
  }

  /** Registers that cannot be read are zero. */
  #read(offset: number): number {
    const { lvt, timer, priority, errors } = this.#side;
    if (offset >= REGISTER.ISR && offset < REGISTER.ESR) return priority.read(offset);
    switch (offset) {
      case REGISTER.ID:
        return this.id;
      case REGISTER.VERSION:
        return VERSION;
      case REGISTER.TPR:
        return priority.taskPriority;
      case REGISTER.PPR:
        return priority.processorPriority;
      case REGISTER.LDR:
        return this.ldr;
      case REGISTER.DFR:
        return this.#dfr;
      case REGISTER.SVR:
        return this.#svr;
      case REGISTER.ESR:
        return errors.value;
      case REGISTER.ICR_LOW:
        return this.#icrLow;
      case REGISTER.ICR_HIGH:
        return this.#icrHigh;
      case REGISTER.TIMER_INITIAL:
        return timer.initialCount;
      case REGISTER.TIMER_CURRENT:
        return timer.currentCount;
      case REGISTER.TIMER_DIVIDE:
        return timer.divideConfig;
      default: {
        const entry = lvt.indexOf(offset);
        return entry === undefined ? 0 : lvt.read(entry);
      }
    }
  }

  /** Writes to read-only registers do nothing. */
  #write(offset: number, value: number): void {
    const { lvt, timer, priority, errors } = this.#side;
    switch (offset) {
      case REGISTER.ID:
        this.#xapicId = value >>> 24;
        break;
      case REGISTER.TPR:
        priority.taskPriority = value & 0xff;
        break;
      case REGISTER.EOI:
        this.#side.endOfInterrupt();
        break;
      case REGISTER.LDR:
        this.#ldr = (value & 0xff00_0000) >>> 0;
        break;
      case REGISTER.DFR:
        this.#dfr = (value | 0x0fff_ffff) >>> 0;
        break;
      case REGISTER.SVR:
        this.#svr = value & SVR.WRITABLE;
        if (!this.isSoftwareEnabled) lvt.maskAll();
        break;
      case REGISTER.ESR:
        errors.latch();
        break;
      case REGISTER.ICR_LOW:
        this.#icrLow = value & ICR.WRITABLE;
        this.#side.send(this.#icrLow, this.isX2apic ? this.#icrHigh : this.#icrHigh >>> 24);
        break;
      case REGISTER.ICR_HIGH:
        this.#icrHigh = (value & 0xff00_0000) >>> 0;
        break;
      case REGISTER.TIMER_INITIAL:
        timer.initialCount = value;
        break;
      case REGISTER.TIMER_DIVIDE:
        timer.divideConfig = value;
        break;
      case REGISTER.SELF_IPI:
        this.#side.send(SELF | (value & ICR.VECTOR), 0);
        break;
      default: {
        const entry = lvt.indexOf(offset);
        if (entry === undefined) break;
        lvt.write(entry, value, this.isSoftwareEnabled);
        if (entry === LVT_INDEX.TIMER) timer.mode = lvt.timerMode;
      }
    }
  }
}
