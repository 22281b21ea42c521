/**
 * 16550A UART (National Semiconductor PC16550D data sheet, 1995): FIFOs, prioritised interrupts with the character
 * time-out, modem control with loopback, divisor latch, break.
 *
 * The line has no speed: a byte written leaves at once, and the transmitter is always empty. Received bytes wait in a
 * bounded queue behind the receive FIFO, which refills as the guest reads: the FIFO never overruns unless the outside
 * ignores `inputRoom`. The divisor only times the character time-out. A call on the channel "NAME.break" is a break
 * condition. Left out: parity and framing errors (the outside sends bytes, not bits), the modem's lines (always
 * connected and ready), DMA mode, OUT2 as the gate of the interrupt.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import type { Timer } from "../machine/clock.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "./device.ts";

const IER = { ERBFI: 0x01, ETBEI: 0x02, ELSI: 0x04, EDSSI: 0x08, WRITABLE: 0x0f } as const;
const IIR = { NONE: 0x01, MODEM: 0x00, THRE: 0x02, RDA: 0x04, LINE_STATUS: 0x06, TIMEOUT: 0x0c, FIFOS: 0xc0 } as const;
const FCR = { ENABLE: 0x01, CLEAR_RX: 0x02, CLEAR_TX: 0x04, TRIGGER: 0xc0, KEPT: 0xc9 } as const;
const LCR = { WORD_LENGTH: 0x03, STOP: 0x04, PARITY: 0x08, DLAB: 0x80 } as const;
const MCR = { DTR: 0x01, RTS: 0x02, OUT1: 0x04, OUT2: 0x08, LOOP: 0x10, WRITABLE: 0x1f } as const;
const LSR = { DR: 0x01, OE: 0x02, BI: 0x10, THRE: 0x20, TEMT: 0x40, RX_FIFO_ERROR: 0x80, ERRORS: 0x1e } as const;
const MSR = { DELTAS: 0x0f, TERI: 0x04, CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80 } as const;

const FIFO_BYTES = 16;
const TRIGGERS = [1, 4, 8, 14] as const;
const QUEUE_BYTES = 16 * 1024;
/** Received characters are kept as numbers; this bit marks a break. */
const BREAK = 0x100;
const CLOCK_HZ = 1_843_200;
const TIMEOUT_CHARACTERS = 4;

export interface UartOptions {
  readonly name: string;
  /** Input and output channel, e.g. "serial0". */
  readonly channel: string;
  readonly irq: IrqLine;
}

export class Uart16550 implements Device, IoHandler {
  readonly name: string;
  readonly schema = { id: "uart-16550", version: 1 } as const;
  readonly #context: DeviceContext;
  readonly #channel: string;
  readonly #irq: IrqLine;
  readonly #timeout: Timer;
  #ier = 0;
  #fcr = 0;
  #lcr = 0;
  #mcr = 0;
  #lsrErrors = 0;
  #msr = 0;
  #scr = 0;
  #divisor = 0;
  #thrPending = false;
  #timeoutPending = false;
  /** The receive FIFO, or the one-character buffer while FIFOs are off. */
  #fifo: number[] = [];
  #queue: number[] = [];
  #level = false;

  constructor(context: DeviceContext, options: UartOptions) {
    this.name = options.name;
    this.#context = context;
    this.#channel = options.channel;
    this.#irq = options.irq;
    this.#timeout = context.clock.timer(() => {
      this.#timeoutPending = this.#fifo.length > 0;
      this.#update();
    });
    context.onInput(options.channel, (bytes) => this.#enqueue(bytes));
    context.onInput(`${options.channel}.break`, () => this.#enqueue([BREAK]));
    this.reset();
  }

  /** How many bytes the outside may send now; more are lost as overruns. */
  get inputRoom(): number {
    return QUEUE_BYTES - this.#queue.length;
  }

  read(offset: number, _size: AccessSize): number {
    const dlab = (this.#lcr & LCR.DLAB) !== 0;
    switch (offset & 7) {
      case 0:
        return dlab ? this.#divisor & 0xff : this.#readBuffer();
      case 1:
        return dlab ? this.#divisor >>> 8 : this.#ier;
      case 2:
        return this.#readIir();
      case 3:
        return this.#lcr;
      case 4:
        return this.#mcr;
      case 5:
        return this.#readLsr();
      case 6:
        return this.#readMsr();
      default:
        return this.#scr;
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const dlab = (this.#lcr & LCR.DLAB) !== 0;
    switch (offset & 7) {
      case 0:
        if (dlab) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#transmit(value);
        break;
      case 1:
        if (dlab) this.#divisor = (this.#divisor & 0xff) | (value << 8);
        else this.#writeIer(value & IER.WRITABLE);
        break;
      case 2:
        this.#writeFcr(value);
        break;
      case 3:
        this.#lcr = value;
        break;
      case 4:
        this.#mcr = value & MCR.WRITABLE;
        this.#modemChanged();
        break;
      case 7:
        this.#scr = value;
        break;
      default:
        // LSR and MSR are read-only outside of factory tests.
        break;
    }
    this.#update();
  }

  reset(): void {
    this.#ier = 0;
    this.#fcr = 0;
    this.#lcr = 0;
    this.#mcr = 0;
    this.#lsrErrors = 0;
    this.#msr = MSR.CTS | MSR.DSR | MSR.DCD;
    this.#scr = 0;
    this.#divisor = 12; // 9600 baud; undefined on the chip.
    this.#thrPending = false;
    this.#timeoutPending = false;
    this.#fifo = [];
    this.#queue = [];
    this.#timeout.disarm();
    this.#update();
  }

  save(): StateValue {
    return {
      ier: this.#ier,
      fcr: this.#fcr,
      lcr: this.#lcr,
      mcr: this.#mcr,
      lsrErrors: this.#lsrErrors,
      msr: this.#msr,
      scr: this.#scr,
      divisor: this.#divisor,
      thrPending: this.#thrPending,
      timeoutPending: this.#timeoutPending,
      timeoutNs: this.#timeout.deadlineNs ?? null,
      fifo: characterBytes(this.#fifo),
      queue: characterBytes(this.#queue),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const ier = reader.int("ier", 0, IER.WRITABLE);
    const fcr = reader.u8("fcr");
    const lcr = reader.u8("lcr");
    const mcr = reader.int("mcr", 0, MCR.WRITABLE);
    const lsrErrors = reader.u8("lsrErrors");
    const msr = reader.u8("msr");
    const scr = reader.u8("scr");
    const divisor = reader.u16("divisor");
    const thrPending = reader.bool("thrPending");
    const timeoutPending = reader.bool("timeoutPending");
    const timeoutNs = reader.optionalNs("timeoutNs");
    const fifo = charactersOf(reader, "fifo", FIFO_BYTES);
    const queue = charactersOf(reader, "queue", QUEUE_BYTES);
    if ((fcr & ~FCR.KEPT) !== 0) throw reader.invalid("fcr", "has bits that the register does not keep");
    if ((lsrErrors & ~LSR.ERRORS) !== 0) throw reader.invalid("lsrErrors", "has bits that are not errors");
    reader.end();

    this.#ier = ier;
    this.#fcr = fcr;
    this.#lcr = lcr;
    this.#mcr = mcr;
    this.#lsrErrors = lsrErrors;
    this.#msr = msr;
    this.#scr = scr;
    this.#divisor = divisor;
    this.#thrPending = thrPending;
    this.#timeoutPending = timeoutPending;
    this.#fifo = fifo;
    this.#queue = queue;
    if (timeoutNs !== undefined) this.#timeout.arm(timeoutNs);
    this.#update();
  }

  #enqueue(bytes: Iterable<number>): void {
    for (const byte of bytes) {
      if (this.#queue.length >= QUEUE_BYTES) {
        this.#lsrErrors |= LSR.OE;
        break;
      }
      this.#queue.push(byte);
    }
    if ((this.#mcr & MCR.LOOP) === 0) this.#refill();
    this.#update();
  }

  /** Moves characters from the queue into the FIFO while both allow it. */
  #refill(): void {
    const room = ((this.#fcr & FCR.ENABLE) !== 0 ? FIFO_BYTES : 1) - this.#fifo.length;
    for (const character of this.#queue.splice(0, Math.max(0, room))) this.#receive(character);
  }

  #receive(character: number): void {
    this.#fifo.push(character);
    // A break shows in the LSR once its character is the next one to be read.
    if (this.#fifo.length === 1) this.#showErrors();
    this.#armTimeout();
  }

  #showErrors(): void {
    if ((this.#fifo[0] ?? 0) & BREAK) this.#lsrErrors |= LSR.BI;
  }

  #readBuffer(): number {
    const character = this.#fifo.shift();
    this.#timeoutPending = false;
    this.#armTimeout();
    this.#showErrors();
    // The line falls before the next character arrives: edge-triggered controllers must see a new edge.
    this.#update();
    if ((this.#mcr & MCR.LOOP) === 0) this.#refill();
    this.#update();
    return (character ?? 0) & 0xff;
  }

  #armTimeout(): void {
    if (this.#fifo.length === 0 || (this.#fcr & FCR.ENABLE) === 0) {
      this.#timeout.disarm();
      return;
    }
    const dataBits = 5 + (this.#lcr & LCR.WORD_LENGTH);
    const bits = 1 + dataBits + (this.#lcr & LCR.PARITY ? 1 : 0) + (this.#lcr & LCR.STOP ? 2 : 1);
    const characterNs = (bits * 16 * Math.max(1, this.#divisor) * 1e9) / CLOCK_HZ;
    this.#timeout.arm(this.#context.clock.nowNs() + Math.ceil(TIMEOUT_CHARACTERS * characterNs));
  }

  #transmit(value: number): void {
    this.#thrPending = false;
    this.#update();
    if (this.#mcr & MCR.LOOP) {
      const capacity = this.#fcr & FCR.ENABLE ? FIFO_BYTES : 1;
      if (this.#fifo.length < capacity) this.#receive(value);
      else this.#lsrErrors |= LSR.OE;
    } else {
      this.#context.output(this.#channel, Uint8Array.of(value));
    }
    this.#thrPending = true;
  }

  #writeIer(value: number): void {
    // The transmitter is always empty: enabling its interrupt raises it.
    if (value & ~this.#ier & IER.ETBEI) this.#thrPending = true;
    this.#ier = value;
  }

  #writeFcr(value: number): void {
    const toggled = ((value ^ this.#fcr) & FCR.ENABLE) !== 0;
    this.#fcr = value & FCR.ENABLE ? value & FCR.KEPT : 0;
    if (toggled || value & FCR.CLEAR_RX) {
      this.#fifo = [];
      this.#timeoutPending = false;
      this.#timeout.disarm();
      this.#update();
      if ((this.#mcr & MCR.LOOP) === 0) this.#refill();
    }
    if (value & FCR.CLEAR_TX) this.#thrPending = true;
  }

  #readIir(): number {
    const source = this.#source();
    if (source === IIR.THRE) {
      this.#thrPending = false;
      this.#update();
    }
    return source | (this.#fcr & FCR.ENABLE ? IIR.FIFOS : 0);
  }

  #readLsr(): number {
    let lsr = LSR.THRE | LSR.TEMT | this.#lsrErrors;
    if (this.#fifo.length > 0) lsr |= LSR.DR;
    if (this.#fcr & FCR.ENABLE && this.#fifo.some((character) => character & BREAK)) lsr |= LSR.RX_FIFO_ERROR;
    this.#lsrErrors = 0;
    this.#update();
    return lsr;
  }

  #readMsr(): number {
    const msr = this.#msr;
    this.#msr &= ~MSR.DELTAS;
    this.#update();
    return msr;
  }

  /** In loopback the modem control outputs drive the modem status inputs; otherwise the other end is always ready. */
  #modemChanged(): void {
    const mcr = this.#mcr;
    let lines: number = MSR.CTS | MSR.DSR | MSR.DCD;
    if (mcr & MCR.LOOP) {
      lines = (mcr & MCR.RTS ? MSR.CTS : 0) | (mcr & MCR.DTR ? MSR.DSR : 0);
      lines |= (mcr & MCR.OUT1 ? MSR.RI : 0) | (mcr & MCR.OUT2 ? MSR.DCD : 0);
    } else {
      this.#refill();
    }
    let deltas = ((lines ^ this.#msr) >>> 4) & MSR.DELTAS;
    // TERI tells only the trailing edge of the ring indicator.
    if (lines & MSR.RI) deltas &= ~MSR.TERI;
    this.#msr = lines | (this.#msr & MSR.DELTAS) | deltas;
  }

  #source(): number {
    if (this.#ier & IER.ELSI && this.#lsrErrors !== 0) return IIR.LINE_STATUS;
    if (this.#ier & IER.ERBFI) {
      const trigger = this.#fcr & FCR.ENABLE ? TRIGGERS[((this.#fcr & FCR.TRIGGER) >>> 6) as 0 | 1 | 2 | 3] : 1;
      if (this.#fifo.length >= trigger) return IIR.RDA;
      if (this.#timeoutPending) return IIR.TIMEOUT;
    }
    if (this.#ier & IER.ETBEI && this.#thrPending) return IIR.THRE;
    if (this.#ier & IER.EDSSI && this.#msr & MSR.DELTAS) return IIR.MODEM;
    return IIR.NONE;
  }

  #update(): void {
    const level = this.#source() !== IIR.NONE;
    if (level === this.#level) return;
    this.#level = level;
    this.#irq.set(level);
  }
}

export function createUart16550(context: DeviceContext, options: UartOptions): Uart16550 {
  return new Uart16550(context, options);
}

/** Puts the eight registers at `base`. */
export function attachUart16550(uart: Uart16550, ports: IoBus, base: number): void {
  ports.claim(base, 8, uart, { maxSize: 1, name: uart.name });
}

/** Two bytes for each character, low byte first: its value and its flags. */
function characterBytes(characters: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(characters.length * 2);
  for (const [i, character] of characters.entries()) {
    bytes[2 * i] = character;
    bytes[2 * i + 1] = character >>> 8;
  }
  return bytes;
}

function charactersOf(reader: StateReader, key: string, max: number): number[] {
  const bytes = reader.bytes(key, max * 2);
  const characters: number[] = [];
  for (let i = 0; i < bytes.length; i += 2) characters.push(bytes[i]! | ((bytes[i + 1] ?? 0xff) << 8));
  if (characters.some((character) => character > (BREAK | 0xff))) throw reader.invalid(key, "has unknown flags");
  return characters;
}
