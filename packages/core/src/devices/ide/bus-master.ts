/**
 * The bus master of one IDE channel (Programming Interface for Bus Master IDE Controller 1.0): its registers, and the table of
 * physical regions, which stays in guest memory and is read as far as a transfer needs. A region has two bytes at least and a
 * table 8192 entries at most.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { BM_COMMAND, BM_STATUS, BUS_MASTER } from "./registers.ts";

const ENTRY_BYTES = 8;
const MAX_ENTRIES = 8192;
const END_OF_TABLE = 0x8000_0000;

export class BusMaster {
  readonly #memory: GuestMemory;
  /** The engine was started. */
  readonly #started: () => void;
  #command = 0;
  #status = 0;
  #table = 0;
  /** The next region, and the place in it. */
  #entry = 0;
  #offset = 0;

  constructor(memory: GuestMemory, started: () => void) {
    this.#memory = memory;
    this.#started = started;
  }

  get isActive(): boolean {
    return (this.#status & BM_STATUS.ACTIVE) !== 0;
  }

  readByte(register: number): number {
    if (register === BUS_MASTER.COMMAND) return this.#command;
    if (register === BUS_MASTER.STATUS) return this.#status;
    return register >= BUS_MASTER.TABLE ? (this.#table >>> (8 * (register - BUS_MASTER.TABLE))) & 0xff : 0;
  }

  writeByte(register: number, value: number): void {
    if (register === BUS_MASTER.COMMAND) this.#writeCommand(value);
    else if (register === BUS_MASTER.STATUS) {
      const kept = this.#status & ~(value & (BM_STATUS.ERROR | BM_STATUS.INTERRUPT)) & ~BM_STATUS.CAPABLE;
      this.#status = kept | (value & BM_STATUS.CAPABLE);
    } else if (register >= BUS_MASTER.TABLE) {
      const shift = 8 * (register - BUS_MASTER.TABLE);
      this.#table = ((this.#table & ~(0xff << shift)) | (value << shift)) & ~3;
    }
  }

  /** The channel's interrupt has risen. */
  interrupted(): void {
    this.#status |= BM_STATUS.INTERRUPT;
  }

  /** The table or its regions are no memory, or too short. */
  failed(): void {
    this.#status = (this.#status & ~BM_STATUS.ACTIVE) | BM_STATUS.ERROR;
  }

  /** Copies `bytes` to the next regions, or fills it from them. False: they are too short, or no memory. */
  transfer(bytes: Uint8Array, isToMemory: boolean): boolean {
    for (let at = 0; at < bytes.length; ) {
      const gpa = (this.#table >>> 0) + this.#entry * ENTRY_BYTES;
      const base = this.#memory.read32(gpa);
      const word = this.#memory.read32(gpa + 4);
      if (base === undefined || word === undefined || this.#entry >= MAX_ENTRIES || !this.isActive) return false;
      const regionBytes = word & 0xfffe || 0x1_0000;
      if (this.#offset >= regionBytes) return false;
      const length = Math.min(regionBytes - this.#offset, bytes.length - at);
      const part = bytes.subarray(at, at + length);
      const start = ((base & ~1) >>> 0) + this.#offset;
      if (!(isToMemory ? this.#memory.write(start, part) : this.#memory.read(start, part))) return false;
      at += length;
      this.#offset += length;
      if (this.#offset < regionBytes) continue;
      this.#entry++;
      this.#offset = 0;
      if (word & END_OF_TABLE) this.#status &= ~BM_STATUS.ACTIVE;
    }
    return true;
  }

  reset(): void {
    this.#command = 0;
    this.#status = 0;
    this.#table = 0;
    this.#entry = 0;
    this.#offset = 0;
  }

  save(): StateValue {
    return {
      command: this.#command,
      status: this.#status,
      table: this.#table >>> 0,
      entry: this.#entry,
      offset: this.#offset,
    };
  }

  /** Throws StateError. */
  restore(reader: StateReader): void {
    this.#command = reader.u8("command") & (BM_COMMAND.START | BM_COMMAND.TO_MEMORY);
    this.#status = reader.u8("status") & (BM_STATUS.CAPABLE | 7);
    this.#table = reader.u32("table") & ~3;
    this.#entry = reader.int("entry", 0, MAX_ENTRIES);
    this.#offset = reader.int("offset", 0, 0xffff);
    reader.end();
  }

  #writeCommand(value: number): void {
    const wasStarted = (this.#command & BM_COMMAND.START) !== 0;
    this.#command = value & (BM_COMMAND.START | BM_COMMAND.TO_MEMORY);
    const isStarted = (value & BM_COMMAND.START) !== 0;
    if (wasStarted === isStarted) return;
    if (!isStarted) {
      this.#status &= ~BM_STATUS.ACTIVE;
      return;
    }
    this.#status |= BM_STATUS.ACTIVE;
    this.#entry = 0;
    this.#offset = 0;
    this.#started();
  }
}
