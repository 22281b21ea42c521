/**
 * The pair of 8237A DMA controllers of a PC (Intel 8237A data sheet, 1993; ICH9 data sheet 316972, 13.2): channels 0 to 3 move bytes,
 * 5 to 7 words, within 64 KiB or 128 KiB that the page registers choose (system-control.ts). A device moves its bytes all at once,
 * as many as its channel's count has room for.
 *
 *   ports 00H-0FH: channels 0-3    ports C0H-DFH, every second one: channels 4-7, of which 4 is the cascade
 *
 * Left out: memory to memory, software requests (the bits are kept), addresses that count down, priorities, timing.
 */
import type { IoBus, IoHandler } from "../bus/io.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, StateValue } from "./device.ts";

export type DmaWay = "to-memory" | "from-memory";

/** A device's end of its channel. */
export interface DmaChannel {
  /** Bytes that may be moved before the terminal count; 0: the channel is masked, or set up for something else. */
  room(way: DmaWay): number;
  /** Moves at most `room` bytes. Where no RAM is, they are lost. True: that was the terminal count. */
  toMemory(bytes: Uint8Array): boolean;
  /** Where no RAM is, ones come. */
  fromMemory(into: Uint8Array): boolean;
}

interface Counter {
  baseAddress: number;
  baseCount: number;
  address: number;
  count: number;
  mode: number;
}

interface Chip {
  command: number;
  mask: number;
  /** Channels that have reached their terminal count, until the status is read. */
  ended: number;
  requests: number;
  /** The next access to an address or a count is of its high byte. */
  isHigh: boolean;
  readonly counters: readonly Counter[];
}

const CHANNELS = 4;
const REGISTERS = 16;
const REGISTER = {
  STATUS: 8,
  REQUEST: 9,
  MASK: 10,
  MODE: 11,
  CLEAR_BYTE: 12,
  CLEAR: 13,
  UNMASK: 14,
  MASKS: 15,
} as const;
const DISABLED = 0x04;
const MODE = { WAY: 0x0c, AUTO: 0x10, DOWN: 0x20, CASCADE: 0xc0 } as const;
/** Of a device that only wants to be counted, the way is VERIFY: nothing is moved. */
const WAY = { VERIFY: 0x00, TO_MEMORY: 0x04, FROM_MEMORY: 0x08 } as const;
/** By channel: the page register's port, from 80H. */
const PAGE_REGISTERS = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa] as const;

export interface DmaOptions {
  readonly memory: GuestMemory;
  /** The page register at port 80H + `register`. */
  readonly page: (register: number) => number;
}

export class DmaController implements Device {
  readonly name = "dma";
  readonly schema = { id: "dma-8237-pair", version: 1 } as const;
  /** Sixteen registers each. */
  readonly chips: readonly [IoHandler, IoHandler];
  readonly #chips: readonly [Chip, Chip] = [blankChip(), blankChip()];
  readonly #options: DmaOptions;

  constructor(options: DmaOptions) {
    this.#options = options;
    const handler = (chip: Chip): IoHandler => ({
      read: (offset) => readRegister(chip, offset),
      write: (offset, _size, value) => writeRegister(chip, offset, value & 0xff),
    });
    this.chips = [handler(this.#chips[0]), handler(this.#chips[1])];
  }

  /** 0 to 7. */
  channel(index: number): DmaChannel {
    const chip = this.#chips[index >> 2]!;
    const counter = chip.counters[index & 3]!;
    const unitBytes = index < CHANNELS ? 1 : 2;
    const room = (way: DmaWay): number => {
      const isOff = (chip.command & DISABLED) !== 0 || (chip.mask & (1 << (index & 3))) !== 0;
      if (isOff || (counter.mode & MODE.CASCADE) === MODE.CASCADE || counter.mode & MODE.DOWN) return 0;
      const set = counter.mode & MODE.WAY;
      const isMine = set === WAY.VERIFY || set === (way === "to-memory" ? WAY.TO_MEMORY : WAY.FROM_MEMORY);
      return isMine ? (counter.count + 1) * unitBytes : 0;
    };
    const pageBytes = 0x1_0000 * unitBytes;
    const move = (bytes: Uint8Array, piece: (gpa: number, part: Uint8Array) => void): boolean => {
      const pageNumber = this.#options.page(PAGE_REGISTERS[index]!);
      const page = unitBytes === 1 ? pageNumber * pageBytes : (pageNumber >> 1) * pageBytes;
      for (let at = 0, address = counter.address * unitBytes; at < bytes.length; address = 0) {
        const part = bytes.subarray(at, at + pageBytes - address);
        if (counter.mode & MODE.WAY) piece(page + address, part);
        at += part.length;
      }
      return advance(chip, index & 3, Math.ceil(bytes.length / unitBytes));
    };
    const { memory } = this.#options;
    return {
      room,
      toMemory: (bytes) => move(bytes, (gpa, part) => memory.write(gpa, part)),
      fromMemory: (into) => move(into.fill(0xff), (gpa, part) => memory.read(gpa, part)),
    };
  }

  reset(): void {
    for (const chip of this.#chips) {
      clear(chip);
      for (const counter of chip.counters) Object.assign(counter, blankCounter());
    }
  }

  save(): StateValue {
    return {
      chips: this.#chips.map(({ counters, ...chip }) => ({ ...chip, counters: counters.map((one) => ({ ...one })) })),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    try {
      const reader = new StateReader(state, this.name);
      for (const [i, saved] of reader.arrayExact("chips", 2).entries()) restoreChip(this.#chips[i]!, saved);
      reader.end();
    } catch (error) {
      this.reset();
      throw error;
    }
  }
}

function blankCounter(): Counter {
  return { baseAddress: 0, baseCount: 0, address: 0, count: 0, mode: 0 };
}

function blankChip(): Chip {
  const counters = Array.from({ length: CHANNELS }, blankCounter);
  return { command: 0, mask: 0xf, ended: 0, requests: 0, isHigh: false, counters };
}

/** Master clear, which leaves addresses, counts and modes. */
function clear(chip: Chip): void {
  chip.command = 0;
  chip.mask = 0xf;
  chip.ended = 0;
  chip.requests = 0;
  chip.isHigh = false;
}

function restoreChip(chip: Chip, reader: StateReader): void {
  chip.command = reader.u8("command");
  chip.mask = reader.int("mask", 0, 0xf);
  chip.ended = reader.int("ended", 0, 0xf);
  chip.requests = reader.int("requests", 0, 0xf);
  chip.isHigh = reader.bool("isHigh");
  for (const [i, saved] of reader.arrayExact("counters", CHANNELS).entries()) {
    const counter = chip.counters[i]!;
    counter.baseAddress = saved.u16("baseAddress");
    counter.baseCount = saved.u16("baseCount");
    counter.address = saved.u16("address");
    counter.count = saved.u16("count");
    counter.mode = saved.u8("mode") & ~3;
    saved.end();
  }
  reader.end();
}

function readRegister(chip: Chip, register: number): number {
  if (register < REGISTER.STATUS) {
    const { address, count } = chip.counters[register >> 1]!;
    const value = register & 1 ? count : address;
    chip.isHigh = !chip.isHigh;
    return chip.isHigh ? value & 0xff : value >> 8;
  }
  if (register !== REGISTER.STATUS) return register === REGISTER.MASKS ? chip.mask | 0xf0 : 0;
  const status = chip.ended | (chip.requests << 4);
  chip.ended = 0;
  return status;
}

function writeRegister(chip: Chip, register: number, value: number): void {
  const channel = value & 3;
  const bit = 1 << channel;
  switch (register) {
    case REGISTER.STATUS:
      chip.command = value;
      return;
    case REGISTER.REQUEST:
      chip.requests = value & 4 ? chip.requests | bit : chip.requests & ~bit;
      return;
    case REGISTER.MASK:
      chip.mask = value & 4 ? chip.mask | bit : chip.mask & ~bit;
      return;
    case REGISTER.MODE:
      chip.counters[channel]!.mode = value & ~3;
      return;
    case REGISTER.CLEAR_BYTE:
      chip.isHigh = false;
      return;
    case REGISTER.CLEAR:
      clear(chip);
      return;
    case REGISTER.UNMASK:
      chip.mask = 0;
      return;
    case REGISTER.MASKS:
      chip.mask = value & 0xf;
      return;
  }
  const counter = chip.counters[register >> 1]!;
  const put = (old: number): number => (chip.isHigh ? (old & 0xff) | (value << 8) : (old & 0xff00) | value);
  if (register & 1) {
    counter.baseCount = put(counter.baseCount);
    counter.count = counter.baseCount;
  } else {
    counter.baseAddress = put(counter.baseAddress);
    counter.address = counter.baseAddress;
  }
  chip.isHigh = !chip.isHigh;
}

/** After a transfer of so many bytes or words. True: the count is over. */
function advance(chip: Chip, channel: number, units: number): boolean {
  const counter = chip.counters[channel]!;
  const isOver = units > counter.count;
  counter.address = (counter.address + units) & 0xffff;
  counter.count = (counter.count - units) & 0xffff;
  if (!isOver) return false;
  chip.ended |= 1 << channel;
  chip.requests &= ~(1 << channel);
  if (counter.mode & MODE.AUTO) {
    counter.address = counter.baseAddress;
    counter.count = counter.baseCount;
  } else chip.mask |= 1 << channel;
  return true;
}

export function createDma(options: DmaOptions): DmaController {
  return new DmaController(options);
}

/** `ports`: of the first registers of both. */
export function attachDma({ chips }: DmaController, bus: IoBus, ports: readonly [number, number]): void {
  bus.claim(ports[0], REGISTERS, chips[0], { maxSize: 1, name: "DMA channels 0 to 3" });
  const everySecond: IoHandler = {
    read: (offset, size) => chips[1].read(offset >> 1, size),
    write: (offset, size, value) => chips[1].write(offset >> 1, size, value),
  };
  bus.claim(ports[1], 2 * REGISTERS, everySecond, { maxSize: 1, name: "DMA channels 4 to 7" });
}
