/**
 * What answers between 0xC0000 and 1 MiB: RAM, or firmware's ROM behind the bridges, in 16 parts of 16 KiB, as the chipset's PAM
 * registers say for reads and for stores apart (bus/pci/host-bridge.ts; Q35 MCH, data sheet 316966, 5.1.18). The last 128 KiB of the ROM
 * are there, and ones where there is none. So firmware copies itself: it reads the ROM and stores to the RAM at the same address.
 *
 * What a part reads as lies in the machine's memory, where the processors read and run it without a look. Of a part that reads as
 * ROM the RAM's own bytes are kept here, and come into memory when it reads as RAM again. Stores to all parts that are not RAM for both
 * come here by the bus (engine.ts, `protectShadow`). Bus masters read what processors do, and write to no such part
 * (memory/dma-memory.ts): the data sheet asks software to leave that. A reset clears the RAM behind the ROM.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, StateValue } from "./device.ts";

const START = 0xc_0000;
const SIZE_BYTES = 0x4_0000;
const PART_BYTES = 0x4000;
const PARTS: number = SIZE_BYTES / PART_BYTES;
const ALL: number = 2 ** PARTS - 1;
/** Of the ROM. */
const ROM_SHOWN_BYTES = 0x2_0000;

export interface ShadowRamOptions {
  readonly memory: GuestMemory;
  /** Of the firmware, which ends at 4 GiB; 0: there is none. */
  readonly romBytes: number;
  /** At reset all is RAM. */
  readonly startsOpen: boolean;
  /** Bit n: stores to the nth part do not reach memory from here on. */
  readonly protect: (parts: number) => void;
}

export class ShadowRam implements Device, IoHandler {
  readonly name = "shadow-ram";
  readonly schema = { id: "shadow-ram", version: 1 } as const;
  readonly isNewerThanStates = true;
  readonly #options: ShadowRamOptions;
  #readable: number;
  #writable: number;
  /** RAM's bytes of parts that read as ROM; of those that are not here they are zeros. */
  readonly #behind = new Map<number, Uint8Array>();
  /** Memory holds what the parts read as: not before power-on, or a restored state. */
  #isOn = false;

  constructor(options: ShadowRamOptions) {
    this.#options = options;
    this.#readable = options.startsOpen ? ALL : 0;
    this.#writable = this.#readable;
    this.#protect();
  }

  /** Power-on; from a later time on nothing. Throws RangeError if memory is without the ROM. */
  start(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#eachPart(ALL & ~this.#readable, (part) => this.#showRom(part));
  }

  /** Bit n, of each: reads, and stores, of the nth part go to RAM. */
  route(readable: number, writable: number): void {
    const before = this.#readable;
    this.#readable = readable;
    this.#writable = writable;
    if (this.#isOn) {
      this.#eachPart(before & ~readable, (part) => this.#showRom(part));
      this.#eachPart(readable & ~before, (part) => this.#showRam(part));
    }
    this.#protect();
  }

  reset(): void {
    const open = this.#options.startsOpen ? ALL : 0;
    this.route(open, open);
    this.#behind.clear();
  }

  /** Of a machine whose state is older than this model. */
  resume(): void {
    this.#isOn = true;
  }

  save(): StateValue {
    const behind = [...this.#behind].filter(([, bytes]) => bytes.some((byte) => byte !== 0)).sort(([a], [b]) => a - b);
    return {
      readable: this.#readable,
      writable: this.#writable,
      behind: behind.map(([part, bytes]) => ({ part, bytes: bytes.slice() })),
    };
  }

  /** Memory holds already what the parts read as. */
  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const readable = reader.int("readable", 0, ALL);
    const writable = reader.int("writable", 0, ALL);
    const behind = new Map<number, Uint8Array>();
    for (const entry of reader.array("behind", PARTS)) {
      const part = entry.int("part", 0, PARTS - 1);
      if (behind.has(part) || readable & (1 << part)) throw entry.invalid("part", "has nothing behind it");
      behind.set(part, entry.bytesExact("bytes", PART_BYTES));
      entry.end();
    }
    reader.end();
    this.#readable = readable;
    this.#writable = writable;
    for (const [part, bytes] of behind) this.#behind.set(part, bytes);
    this.#isOn = true;
    this.#protect();
  }

  /** An engine that has no memory there for a moment asks. */
  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.#options.memory.read8(START + offset + i) ?? 0xff) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#store(offset + i, (value >>> (8 * i)) & 0xff);
  }

  #store(offset: number, value: number): void {
    const part = Math.floor(offset / PART_BYTES);
    if ((this.#writable & (1 << part)) === 0) return;
    if (this.#readable & (1 << part)) {
      this.#options.memory.write8(START + offset, value);
      return;
    }
    const bytes = this.#behind.get(part) ?? new Uint8Array(PART_BYTES);
    bytes[offset % PART_BYTES] = value;
    this.#behind.set(part, bytes);
  }

  #protect(): void {
    this.#options.protect(ALL & ~(this.#readable & this.#writable));
  }

  #showRom(part: number): void {
    const { memory, romBytes } = this.#options;
    const bytes = new Uint8Array(PART_BYTES);
    if (memory.read(START + part * PART_BYTES, bytes) && bytes.some((byte) => byte !== 0))
      this.#behind.set(part, bytes);
    const shown = Math.min(romBytes, ROM_SHOWN_BYTES);
    const rom = new Uint8Array(PART_BYTES).fill(0xff);
    const intoRom = part * PART_BYTES - (SIZE_BYTES - shown);
    if (intoRom >= 0 && !memory.read(MEMORY_MAP.highRamStart - shown + intoRom, rom))
      throw new RangeError("the engine has no ROM for this machine's firmware");
    memory.write(START + part * PART_BYTES, rom);
  }

  #showRam(part: number): void {
    const bytes = this.#behind.get(part) ?? new Uint8Array(PART_BYTES);
    this.#behind.delete(part);
    this.#options.memory.write(START + part * PART_BYTES, bytes);
  }

  #eachPart(parts: number, action: (part: number) => void): void {
    for (let part = 0; part < PARTS; part++) if (parts & (1 << part)) action(part);
  }
}

export function attachShadowRam(device: ShadowRam, memory: IoBus): void {
  memory.claim(START, SIZE_BYTES, device, { name: device.name });
}
