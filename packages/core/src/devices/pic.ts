/**
 * The pair of 8259A interrupt controllers of a PC, cascaded through input 2 of the first, with the edge/level control
 * registers of the ICH9 (Intel 8259A data sheet, 1988; ICH9 data sheet 13.4). Fixed and rotating priorities, specific
 * and automatic EOI, special mask, special fully nested and poll mode, spurious interrupts 7 and 15.
 *
 *   ICW1 -> ICW2 -> [ICW3 unless single] -> [ICW4 if announced] -> ready; before that a chip raises nothing.
 *
 * An edge stays latched until it is acknowledged, also if the input falls earlier (the chip would turn that into a
 * spurious interrupt): virtual devices pulse faster than a guest can answer. Left out: MCS-80 mode, buffered mode.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, IrqLine, StateValue } from "./device.ts";

const ICW1 = { IC4: 0x01, SINGLE: 0x02, LEVEL: 0x08, INIT: 0x10 } as const;
const ICW4 = { AUTO_EOI: 0x02, SPECIAL_FULLY_NESTED: 0x10 } as const;
const OCW3 = {
  SELECT: 0x08,
  READ_ISR: 0x01,
  READ: 0x02,
  POLL: 0x04,
  SPECIAL_MASK: 0x20,
  SET_SPECIAL_MASK: 0x40,
} as const;
const POLL_PENDING = 0x80;
const SPURIOUS = 7;
const CASCADE = 2;
/** Inputs 0, 1, 2, 8 and 13 are always edge-triggered. */
const ELCR_WRITABLE = [0xf8, 0xde] as const;
const INIT_STEPS = ["none", "icw2", "icw3", "icw4"] as const;

class Chip8259 implements IoHandler {
  readonly #changed: () => void;
  readonly #acknowledged: () => void;
  /** The first chip's input 2 follows the second chip's output. */
  readonly #cascadeMask: number;
  #levels = 0;
  #irr = 0;
  #isr = 0;
  #imr = 0;
  #elcr = 0;
  #icw1 = 0;
  #icw4 = 0;
  #vectorBase = 0;
  #lowestPriority = 7;
  #initStep: (typeof INIT_STEPS)[number] = "none";
  #ready = false;
  #readIsr = false;
  #poll = false;
  #specialMask = false;
  #rotateOnAutoEoi = false;

  constructor(options: { cascadeMask: number; changed: () => void; acknowledged: () => void }) {
    this.#cascadeMask = options.cascadeMask;
    this.#changed = options.changed;
    this.#acknowledged = options.acknowledged;
  }

  /** The highest pending input that may interrupt now, or undefined. */
  pending(): number | undefined {
    if (!this.#ready) return undefined;
    let inService = this.#isr;
    if (this.#specialMask) inService &= ~this.#imr;
    if (this.#icw4 & ICW4.SPECIAL_FULLY_NESTED) inService &= ~this.#cascadeMask;
    const request = this.#first(this.#irr & ~this.#imr);
    return request < this.#first(inService) ? this.#inputOf(request) : undefined;
  }

  /** The acknowledge cycle: takes the pending input into service. Returns the input, or 7 for a spurious interrupt. */
  acknowledge(): number {
    const input = this.pending();
    if (input === undefined) return SPURIOUS;
    const bit = 1 << input;
    if (!this.#isLevel(bit)) this.#irr &= ~bit;
    if ((this.#icw4 & ICW4.AUTO_EOI) === 0) this.#isr |= bit;
    else if (this.#rotateOnAutoEoi) this.#lowestPriority = input;
    return input;
  }

  vectorOf(input: number): number {
    return this.#vectorBase | input;
  }

  setInput(input: number, level: boolean): void {
    const bit = 1 << input;
    const rises = level && (this.#levels & bit) === 0;
    this.#levels = level ? this.#levels | bit : this.#levels & ~bit;
    if (this.#isLevel(bit)) this.#irr = level ? this.#irr | bit : this.#irr & ~bit;
    else if (rises) this.#irr |= bit;
    this.#changed();
  }

  get elcr(): number {
    return this.#elcr;
  }

  set elcr(value: number) {
    this.#elcr = value;
    this.#followLevels();
    this.#changed();
  }

  read(offset: number, _size: AccessSize): number {
    if (this.#poll) {
      this.#poll = false;
      const input = this.pending();
      if (input === undefined) return 0;
      this.acknowledge();
      if ((1 << input) & this.#cascadeMask) this.#acknowledged();
      this.#changed();
      return POLL_PENDING | input;
    }
    if (offset & 1) return this.#imr;
    return this.#readIsr ? this.#isr : this.#irr;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if (offset & 1) this.#writeData(value);
    else if (value & ICW1.INIT) this.#beginInit(value);
    else if (value & OCW3.SELECT) this.#writeOcw3(value);
    else this.#writeOcw2(value);
    this.#changed();
  }

  reset(): void {
    this.#levels = 0;
    this.#irr = 0;
    this.#elcr = 0;
    this.#vectorBase = 0;
    this.#icw1 = 0;
    this.#clearForInit();
    this.#initStep = "none";
  }

  save(): StateValue {
    return {
      levels: this.#levels,
      irr: this.#irr,
      isr: this.#isr,
      imr: this.#imr,
      elcr: this.#elcr,
      icw1: this.#icw1,
      icw4: this.#icw4,
      vectorBase: this.#vectorBase,
      lowestPriority: this.#lowestPriority,
      initStep: this.#initStep,
      ready: this.#ready,
      readIsr: this.#readIsr,
      poll: this.#poll,
      specialMask: this.#specialMask,
      rotateOnAutoEoi: this.#rotateOnAutoEoi,
    };
  }

  restore(reader: StateReader, elcrWritable: number): void {
    this.#levels = reader.u8("levels");
    this.#irr = reader.u8("irr");
    this.#isr = reader.u8("isr");
    this.#imr = reader.u8("imr");
    this.#elcr = reader.u8("elcr");
    this.#icw1 = reader.u8("icw1");
    this.#icw4 = reader.u8("icw4");
    this.#vectorBase = reader.u8("vectorBase");
    this.#lowestPriority = reader.int("lowestPriority", 0, 7);
    this.#initStep = reader.oneOf("initStep", INIT_STEPS);
    this.#ready = reader.bool("ready");
    this.#readIsr = reader.bool("readIsr");
    this.#poll = reader.bool("poll");
    this.#specialMask = reader.bool("specialMask");
    this.#rotateOnAutoEoi = reader.bool("rotateOnAutoEoi");
    if (this.#elcr & ~elcrWritable) throw reader.invalid("elcr", "has bits that are fixed at zero");
    if (this.#vectorBase & 7) throw reader.invalid("vectorBase", "is not a multiple of 8");
    reader.end();
  }

  #beginInit(icw1: number): void {
    this.#icw1 = icw1;
    this.#irr = 0;
    this.#clearForInit();
    this.#initStep = "icw2";
    this.#followLevels();
  }

  #clearForInit(): void {
    this.#isr = 0;
    this.#imr = 0;
    this.#icw4 = 0;
    this.#lowestPriority = 7;
    this.#ready = false;
    this.#readIsr = false;
    this.#poll = false;
    this.#specialMask = false;
    this.#rotateOnAutoEoi = false;
  }

  #writeData(value: number): void {
    switch (this.#initStep) {
      case "none":
        this.#imr = value;
        return;
      case "icw2":
        this.#vectorBase = value & 0xf8;
        this.#initStep = this.#icw1 & ICW1.SINGLE ? this.#afterIcw3() : "icw3";
        break;
      case "icw3":
        // The wiring is the board's: what the guest says about it changes nothing.
        this.#initStep = this.#afterIcw3();
        break;
      case "icw4":
        this.#icw4 = value;
        this.#initStep = "none";
        break;
    }
    if (this.#initStep === "none") this.#ready = true;
  }

  #afterIcw3(): "icw4" | "none" {
    return this.#icw1 & ICW1.IC4 ? "icw4" : "none";
  }

  #writeOcw2(value: number): void {
    const input = value & 7;
    switch (value >>> 5) {
      case 0b000:
      case 0b100:
        this.#rotateOnAutoEoi = (value & 0x80) !== 0;
        break;
      case 0b001:
      case 0b101: {
        const priority = this.#first(this.#specialMask ? this.#isr & ~this.#imr : this.#isr);
        if (priority > 7) break;
        const ended = this.#inputOf(priority);
        this.#isr &= ~(1 << ended);
        if (value & 0x80) this.#lowestPriority = ended;
        break;
      }
      case 0b011:
      case 0b111:
        this.#isr &= ~(1 << input);
        if (value & 0x80) this.#lowestPriority = input;
        break;
      case 0b110:
        this.#lowestPriority = input;
        break;
    }
  }

  #writeOcw3(value: number): void {
    if (value & OCW3.POLL) this.#poll = true;
    if (value & OCW3.READ) this.#readIsr = (value & OCW3.READ_ISR) !== 0;
    if (value & OCW3.SET_SPECIAL_MASK) this.#specialMask = (value & OCW3.SPECIAL_MASK) !== 0;
  }

  #isLevel(bit: number): boolean {
    return (bit & (this.#elcr | this.#cascadeMask)) !== 0 || (this.#icw1 & ICW1.LEVEL) !== 0;
  }

  /** Requests of level-triggered inputs are the levels themselves. */
  #followLevels(): void {
    const level = this.#icw1 & ICW1.LEVEL ? 0xff : this.#elcr | this.#cascadeMask;
    this.#irr = (this.#irr & ~level) | (this.#levels & level);
  }

  /** Priority (0 = highest) of the first set bit, 8 if there is none. */
  #first(bits: number): number {
    if ((bits & 0xff) === 0) return 8;
    let priority = 0;
    while ((bits & (1 << this.#inputOf(priority))) === 0) priority++;
    return priority;
  }

  #inputOf(priority: number): number {
    return (this.#lowestPriority + 1 + priority) & 7;
  }
}

export interface PicOptions {
  /** The INTR wire to the processor, or to its local APIC's LINT0. */
  readonly intr: IrqLine;
}

export class PicPair implements Device {
  readonly name = "pic";
  readonly schema = { id: "pic-8259a-pair", version: 1 } as const;
  /** Ports 0x20-0x21 and 0xA0-0xA1. */
  readonly chips: readonly [Chip8259, Chip8259];
  /** Interrupt inputs 0 to 15; 2 is the cascade and stays unconnected. */
  readonly inputs: readonly IrqLine[];
  readonly #intr: IrqLine;
  #level = false;
  #cascadeLevel = false;

  constructor(options: PicOptions) {
    this.#intr = options.intr;
    const changed = (): void => this.#update();
    this.chips = [
      new Chip8259({ cascadeMask: 1 << CASCADE, changed, acknowledged: () => this.chips[1].acknowledge() }),
      new Chip8259({ cascadeMask: 0, changed, acknowledged: () => {} }),
    ];
    this.inputs = Array.from({ length: 16 }, (_, input) => ({
      set: (level: boolean) => {
        if (input !== CASCADE) this.chips[input < 8 ? 0 : 1].setInput(input & 7, level);
      },
    }));
    this.reset();
  }

  /** An interrupt waits for the processor. */
  get isPending(): boolean {
    return this.#level;
  }

  /** The processor's interrupt acknowledge cycle. Returns the vector; 7 or 15 of the chip's base if nothing is pending. */
  acknowledge(): number {
    const [first, second] = this.chips;
    const input = first.acknowledge();
    const vector =
      input === CASCADE && this.#cascadeLevel ? second.vectorOf(second.acknowledge()) : first.vectorOf(input);
    this.#update();
    return vector;
  }

  /** Ports 0x4D0 and 0x4D1. */
  readonly elcr: IoHandler = {
    read: (offset) => this.chips[offset & 1 ? 1 : 0].elcr,
    write: (offset, _size, value) => {
      const chip = offset & 1 ? 1 : 0;
      this.chips[chip].elcr = value & ELCR_WRITABLE[chip];
    },
  };

  reset(): void {
    for (const chip of this.chips) chip.reset();
    this.#cascadeLevel = false;
    this.#update();
  }

  save(): StateValue {
    return { first: this.chips[0].save(), second: this.chips[1].save() };
  }

  restore(state: StateValue): void {
    this.reset();
    try {
      const reader = new StateReader(state, this.name);
      this.chips[0].restore(reader.object("first"), ELCR_WRITABLE[0]);
      this.chips[1].restore(reader.object("second"), ELCR_WRITABLE[1]);
      reader.end();
    } catch (error) {
      this.reset();
      throw error;
    }
    this.#cascadeLevel = this.chips[1].pending() !== undefined;
    this.chips[0].setInput(CASCADE, this.#cascadeLevel);
  }

  #update(): void {
    const cascade = this.chips[1].pending() !== undefined;
    if (cascade !== this.#cascadeLevel) {
      this.#cascadeLevel = cascade;
      // Comes back here through `changed`.
      this.chips[0].setInput(CASCADE, cascade);
      return;
    }
    const level = this.chips[0].pending() !== undefined;
    if (level === this.#level) return;
    this.#level = level;
    this.#intr.set(level);
  }
}

export function createPic(options: PicOptions): PicPair {
  return new PicPair(options);
}

export function attachPic(pic: PicPair, ports: IoBus, base: { pic0: number; pic1: number; elcr: number }): void {
  ports.claim(base.pic0, 2, pic.chips[0], { maxSize: 1, name: "pic0" });
  ports.claim(base.pic1, 2, pic.chips[1], { maxSize: 1, name: "pic1" });
  ports.claim(base.elcr, 2, pic.elcr, { maxSize: 1, name: "elcr" });
}
