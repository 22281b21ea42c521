/**
 * The keyboard controller, Intel's 8042 as the PC/AT and the PS/2 use it (IBM PS/2 Hardware Interface Technical Reference,
 * "Keyboard and auxiliary device controller"): ports 60H and 64H, one byte of output, translation of scan code set 2 into
 * set 1, output port with reset, interrupts 1 and 12. A keyboard is plugged in; the auxiliary port works and is empty, so
 * that whoever looks for a mouse is told of a time-out.
 *
 * Keys arrive on a channel, two bytes each: usage (scan-codes.ts), 1 pressed or 0 released. They are sent one at a time, a
 * few milliseconds of guest time apart, so that a guest that reads slowly loses none.
 * Left out: gate A20 (always open; the bit is kept), the password commands, the test inputs.
 */
import type { IoBus, IoHandler } from "../../bus/io.ts";
import type { Timer } from "../../machine/clock.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "../device.ts";
import { Keyboard } from "./keyboard.ts";
import { translated } from "./scan-codes.ts";

/** Between two keys. */
const KEY_INTERVAL_NS = 4_000_000;
const STATUS = { OBF: 0x01, SYS: 0x04, COMMAND: 0x08, UNLOCKED: 0x10, AUX: 0x20, TIMEOUT: 0x40 } as const;
const MODE = {
  KEYBOARD_INT: 0x01,
  AUX_INT: 0x02,
  SYS: 0x04,
  KEYBOARD_OFF: 0x10,
  AUX_OFF: 0x20,
  TRANSLATE: 0x40,
} as const;
const OUTPUT_PORT = { NOT_RESET: 0x01, A20: 0x02, IRQ1: 0x10, IRQ12: 0x20, RESET_VALUE: 0xcf } as const;
const COMMAND = {
  READ_RAM: 0x20,
  WRITE_RAM: 0x60,
  RAM_BYTES: 0x20,
  AUX_OFF: 0xa7,
  AUX_ON: 0xa8,
  AUX_TEST: 0xa9,
  SELF_TEST: 0xaa,
  KEYBOARD_TEST: 0xab,
  KEYBOARD_OFF: 0xad,
  KEYBOARD_ON: 0xae,
  READ_INPUT_PORT: 0xc0,
  READ_OUTPUT_PORT: 0xd0,
  WRITE_OUTPUT_PORT: 0xd1,
  WRITE_KEYBOARD_OUTPUT: 0xd2,
  WRITE_AUX_OUTPUT: 0xd3,
  WRITE_AUX: 0xd4,
  PULSE: 0xf0,
} as const;
const SELF_TEST_OK = 0x55;
const TEST_OK = 0x00;
/** Not inhibited, a colour display. */
const INPUT_PORT = 0x80;
const RELEASE_PREFIX = 0xf0;
const AUX_NO_ANSWER = 0xfe;

/** Who has put the byte into the output buffer. */
const SOURCE = { none: 0, controller: 1, keyboard: 2, aux: 3, auxTimeout: 4 } as const;
type Source = (typeof SOURCE)[keyof typeof SOURCE];

export interface I8042Options {
  readonly name: string;
  /** Where keys come from. */
  readonly channel: string;
  readonly keyboardIrq: IrqLine;
  readonly auxIrq: IrqLine;
}

export class I8042 implements Device {
  readonly name: string;
  readonly schema = { id: "i8042", version: 1 } as const;
  readonly keyboard: Keyboard = new Keyboard();
  readonly #context: DeviceContext;
  readonly #options: I8042Options;
  readonly #timer: Timer;
  readonly #ram = new Uint8Array(COMMAND.RAM_BYTES);
  #outputPort: number = OUTPUT_PORT.RESET_VALUE;
  #output = 0;
  #source: Source = SOURCE.none;
  #wasCommand = false;
  /** A command that waits for its operand at port 60H; 0 for none. */
  #pending = 0;
  /** The next translated byte is a key's release. */
  #isRelease = false;
  /** Before that, no key is sent. */
  #nextKeyNs = 0;
  /** A byte has come since the interrupts were driven last: it is an edge of its own. */
  #isFresh = false;

  constructor(context: DeviceContext, options: I8042Options) {
    this.name = options.name;
    this.#context = context;
    this.#options = options;
    this.#timer = context.clock.timer(() => this.#update());
    context.onInput(options.channel, (bytes) => this.#keys(bytes));
    this.reset();
  }

  /** Port 60H. */
  readonly data: IoHandler = {
    read: () => {
      const value = this.#output;
      this.#source = SOURCE.none;
      this.#update();
      return value;
    },
    write: (_offset, _size, value) => {
      this.#wasCommand = false;
      const pending = this.#pending;
      this.#pending = 0;
      if (pending === 0) {
        this.#ram[0]! &= ~MODE.KEYBOARD_OFF;
        this.keyboard.receive(value & 0xff);
      } else this.#operand(pending, value & 0xff);
      this.#update();
    },
  };

  /** Port 64H. */
  readonly command: IoHandler = {
    read: () => {
      const isAux = this.#source >= SOURCE.aux;
      return (
        STATUS.UNLOCKED |
        (this.#source === SOURCE.none ? 0 : STATUS.OBF) |
        (this.#mode & MODE.SYS ? STATUS.SYS : 0) |
        (this.#wasCommand ? STATUS.COMMAND : 0) |
        (isAux ? STATUS.AUX : 0) |
        (this.#source === SOURCE.auxTimeout ? STATUS.TIMEOUT : 0)
      );
    },
    write: (_offset, _size, value) => {
      this.#wasCommand = true;
      this.#pending = 0;
      this.#execute(value & 0xff);
      this.#update();
    },
  };

  reset(): void {
    this.keyboard.reset();
    this.#ram.fill(0);
    this.#ram[0] = MODE.KEYBOARD_OFF | MODE.AUX_OFF;
    this.#outputPort = OUTPUT_PORT.RESET_VALUE;
    this.#output = 0;
    this.#source = SOURCE.none;
    this.#wasCommand = false;
    this.#pending = 0;
    this.#isRelease = false;
    this.#nextKeyNs = 0;
    this.#update();
  }

  save(): StateValue {
    return {
      keyboard: this.keyboard.save(),
      ram: this.#ram.slice(),
      outputPort: this.#outputPort,
      output: this.#output,
      source: this.#source,
      wasCommand: this.#wasCommand,
      pending: this.#pending,
      isRelease: this.#isRelease,
      nextKeyNs: this.#nextKeyNs,
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const putKeyboard = this.keyboard.parse(reader.object("keyboard"));
    const ram = reader.bytesExact("ram", COMMAND.RAM_BYTES);
    const outputPort = reader.u8("outputPort");
    const output = reader.u8("output");
    const source = reader.int("source", SOURCE.none, SOURCE.auxTimeout) as Source;
    const wasCommand = reader.bool("wasCommand");
    const pending = reader.u8("pending");
    const isRelease = reader.bool("isRelease");
    const nextKeyNs = reader.int("nextKeyNs", 0, this.#context.clock.nowNs() + KEY_INTERVAL_NS);
    reader.end();
    putKeyboard();
    this.#ram.set(ram);
    this.#outputPort = outputPort;
    this.#output = output;
    this.#source = source;
    this.#wasCommand = wasCommand;
    this.#pending = pending;
    this.#isRelease = isRelease;
    this.#nextKeyNs = nextKeyNs;
    this.#update();
  }

  get #mode(): number {
    return this.#ram[0]!;
  }

  #keys(bytes: Uint8Array): void {
    for (let i = 0; i + 1 < bytes.length; i += 2) this.keyboard.key(bytes[i]!, (bytes[i + 1]! & 1) !== 0);
    this.#update();
  }

  #execute(command: number): void {
    switch (command) {
      case COMMAND.AUX_OFF:
        this.#ram[0]! |= MODE.AUX_OFF;
        return;
      case COMMAND.AUX_ON:
        this.#ram[0]! &= ~MODE.AUX_OFF;
        return;
      case COMMAND.SELF_TEST:
        this.#ram[0]! |= MODE.SYS;
        this.#put(SELF_TEST_OK);
        return;
      case COMMAND.AUX_TEST:
      case COMMAND.KEYBOARD_TEST:
        this.#put(TEST_OK);
        return;
      case COMMAND.KEYBOARD_OFF:
        this.#ram[0]! |= MODE.KEYBOARD_OFF;
        return;
      case COMMAND.KEYBOARD_ON:
        this.#ram[0]! &= ~MODE.KEYBOARD_OFF;
        return;
      case COMMAND.READ_INPUT_PORT:
        this.#put(INPUT_PORT);
        return;
      case COMMAND.READ_OUTPUT_PORT:
        this.#put(this.#outputPortNow);
        return;
      case COMMAND.WRITE_OUTPUT_PORT:
      case COMMAND.WRITE_KEYBOARD_OUTPUT:
      case COMMAND.WRITE_AUX_OUTPUT:
      case COMMAND.WRITE_AUX:
        this.#pending = command;
        return;
      default:
    }
    if (command >= COMMAND.READ_RAM && command < COMMAND.READ_RAM + COMMAND.RAM_BYTES)
      this.#put(this.#ram[command - COMMAND.READ_RAM]!);
    else if (command >= COMMAND.WRITE_RAM && command < COMMAND.WRITE_RAM + COMMAND.RAM_BYTES) this.#pending = command;
    else if (command >= COMMAND.PULSE && (command & OUTPUT_PORT.NOT_RESET) === 0)
      this.#context.power("reset", "the guest pulsed the keyboard controller's reset line");
  }

  #operand(command: number, value: number): void {
    switch (command) {
      case COMMAND.WRITE_OUTPUT_PORT:
        this.#outputPort = value;
        if ((value & OUTPUT_PORT.NOT_RESET) === 0)
          this.#context.power("reset", "the guest wrote the keyboard controller's output port");
        return;
      case COMMAND.WRITE_KEYBOARD_OUTPUT:
        this.#put(value);
        return;
      case COMMAND.WRITE_AUX_OUTPUT:
        this.#put(value, SOURCE.aux);
        return;
      case COMMAND.WRITE_AUX:
        this.#put(AUX_NO_ANSWER, SOURCE.auxTimeout);
        return;
      default:
        this.#ram[command - COMMAND.WRITE_RAM] = value;
    }
  }

  /** A byte that takes the output buffer's place, whatever was there. */
  #put(value: number, source: Source = SOURCE.controller): void {
    this.#output = value;
    this.#source = source;
    this.#isFresh = true;
  }

  get #outputPortNow(): number {
    const isAux = this.#source >= SOURCE.aux;
    const kept = this.#outputPort & ~(OUTPUT_PORT.IRQ1 | OUTPUT_PORT.IRQ12);
    return kept | (this.#source === SOURCE.none ? 0 : isAux ? OUTPUT_PORT.IRQ12 : OUTPUT_PORT.IRQ1);
  }

  /** Fills the output buffer if it is empty, drives the interrupts, and waits for the time of the next key. */
  #update(): void {
    this.#sendKey();
    this.#fill();
    this.#drive();
    if (this.keyboard.canSendKey && (this.#mode & MODE.KEYBOARD_OFF) === 0) this.#timer.arm(this.#nextKeyNs);
    else this.#timer.disarm();
  }

  #sendKey(): void {
    const nowNs = this.#context.clock.nowNs();
    if (this.#mode & MODE.KEYBOARD_OFF || nowNs < this.#nextKeyNs || !this.keyboard.canSendKey) return;
    this.keyboard.sendKey();
    this.#nextKeyNs = nowNs + KEY_INTERVAL_NS;
  }

  #fill(): void {
    while (this.#source === SOURCE.none && this.keyboard.hasBytes && (this.#mode & MODE.KEYBOARD_OFF) === 0) {
      const byte = this.keyboard.takeByte();
      if ((this.#mode & MODE.TRANSLATE) === 0) {
        this.#isRelease = false;
        this.#put(byte, SOURCE.keyboard);
      } else if (byte === RELEASE_PREFIX) this.#isRelease = true;
      else {
        this.#put(translated(byte) | (this.#isRelease ? 0x80 : 0), SOURCE.keyboard);
        this.#isRelease = false;
      }
    }
  }

  #drive(): void {
    const isAux = this.#source >= SOURCE.aux;
    const isFull = this.#source !== SOURCE.none;
    const { keyboardIrq, auxIrq } = this.#options;
    if (this.#isFresh) {
      keyboardIrq.set(false);
      auxIrq.set(false);
    }
    this.#isFresh = false;
    keyboardIrq.set(isFull && !isAux && (this.#mode & MODE.KEYBOARD_INT) !== 0);
    auxIrq.set(isAux && (this.#mode & MODE.AUX_INT) !== 0);
  }
}

export function createI8042(context: DeviceContext, options: I8042Options): I8042 {
  return new I8042(context, options);
}

/** What firmware leaves behind, for boots without it: keys arrive, translated into set 1, with their interrupt. */
export function startKeyboard({ command, data }: I8042): void {
  command.write(0, 1, COMMAND.WRITE_RAM);
  data.write(0, 1, MODE.TRANSLATE | MODE.AUX_OFF | MODE.SYS | MODE.KEYBOARD_INT);
}

export function attachI8042(i8042: I8042, ports: IoBus, base: { i8042Data: number; i8042Command: number }): void {
  ports.claim(base.i8042Data, 1, i8042.data, { name: `${i8042.name} data` });
  ports.claim(base.i8042Command, 1, i8042.command, { name: `${i8042.name} command` });
}
