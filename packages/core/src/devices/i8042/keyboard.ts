/**
 * A PS/2 keyboard (IBM PS/2 Hardware Interface Technical Reference, "Keyboard"): commands, scan code sets 1 and 2, and a
 * buffer of 16 bytes. Keys come as usages (scan-codes.ts) and wait in a queue of their own; how fast they leave it is the
 * controller's business. Left out: typematic repeat (the rate is kept, keys that are held repeat nothing), set 3.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { scanCodes } from "./scan-codes.ts";

const BUFFER_BYTES = 16;
/** The longest sequence of one key, and the longest answer. */
const MAX_SEQUENCE = 8;
const MAX_WAITING = 8192;
const REPLY = { ACK: 0xfa, RESEND: 0xfe, BAT_OK: 0xaa, ECHO: 0xee, ID: [0xab, 0x83] } as const;
const COMMAND = {
  SET_LEDS: 0xed,
  ECHO: 0xee,
  SET: 0xf0,
  IDENTIFY: 0xf2,
  TYPEMATIC: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  DEFAULTS: 0xf6,
  ALL_FIRST: 0xf7,
  ALL_LAST: 0xfd,
  RESEND: 0xfe,
  RESET: 0xff,
} as const;
const TYPEMATIC_DEFAULT = 0x2b;

export class Keyboard {
  /** Bytes for the controller, oldest first. */
  readonly #out: number[] = [];
  /** Keys that nobody has sent yet: usage * 2 + pressed. */
  readonly #waiting: number[] = [];
  #set: 1 | 2 = 2;
  #isScanning = true;
  #leds = 0;
  #typematic: number = TYPEMATIC_DEFAULT;
  /** A command that waits for its operand; 0 for none. */
  #command = 0;
  #lastByte = 0;

  /** Scroll lock, num lock, caps lock in bits 0 to 2. */
  get leds(): number {
    return this.#leds;
  }

  get hasBytes(): boolean {
    return this.#out.length > 0;
  }

  /** A key waits, and there is room for it. */
  get canSendKey(): boolean {
    return this.#waiting.length > 0 && this.#out.length + MAX_SEQUENCE <= BUFFER_BYTES;
  }

  /** More than the queue holds is lost. */
  key(usage: number, isPressed: boolean): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(usage * 2 + (isPressed ? 1 : 0));
  }

  /** Precondition: `canSendKey`. */
  sendKey(): void {
    const event = this.#waiting.shift()!;
    if (this.#isScanning) this.#send(...scanCodes(event >> 1, (event & 1) !== 0, this.#set));
  }

  /** Precondition: `hasBytes`. */
  takeByte(): number {
    this.#lastByte = this.#out.shift()!;
    return this.#lastByte;
  }

  /** A byte from the controller: a command or its operand. */
  receive(byte: number): void {
    const command = this.#command;
    this.#command = 0;
    if (command !== 0 && byte < 0x80) this.#operand(command, byte);
    else this.#begin(byte);
  }

  reset(): void {
    this.#out.length = 0;
    this.#waiting.length = 0;
    this.#defaults();
    this.#isScanning = true;
    this.#leds = 0;
    this.#command = 0;
    this.#lastByte = 0;
  }

  save(): StateValue {
    return {
      out: Uint8Array.from(this.#out),
      waiting: Uint8Array.from(this.#waiting.flatMap((event) => [event >> 1, event & 1])),
      set: this.#set,
      isScanning: this.#isScanning,
      leds: this.#leds,
      typematic: this.#typematic,
      command: this.#command,
      lastByte: this.#lastByte,
    };
  }

  /** Checks only; what it returns puts the state there. */
  parse(reader: StateReader): () => void {
    const out = reader.bytes("out", BUFFER_BYTES);
    const waiting = reader.bytes("waiting", 2 * MAX_WAITING);
    const set = reader.int("set", 1, 2) as 1 | 2;
    const isScanning = reader.bool("isScanning");
    const leds = reader.int("leds", 0, 7);
    const typematic = reader.u8("typematic");
    const command = reader.u8("command");
    const lastByte = reader.u8("lastByte");
    reader.end();
    if (waiting.length % 2 !== 0 || waiting.some((byte, i) => i % 2 === 1 && byte > 1))
      throw reader.invalid("waiting", "is no list of keys");
    return () => {
      this.#out.splice(0, BUFFER_BYTES, ...out);
      this.#waiting.length = 0;
      for (let i = 0; i < waiting.length; i += 2) this.#waiting.push(waiting[i]! * 2 + waiting[i + 1]!);
      this.#set = set;
      this.#isScanning = isScanning;
      this.#leds = leds;
      this.#typematic = typematic;
      this.#command = command;
      this.#lastByte = lastByte;
    };
  }

  #begin(byte: number): void {
    switch (byte) {
      case COMMAND.SET_LEDS:
      case COMMAND.SET:
      case COMMAND.TYPEMATIC:
        this.#command = byte;
        this.#answer(REPLY.ACK);
        return;
      case COMMAND.ECHO:
        this.#answer(REPLY.ECHO);
        return;
      case COMMAND.IDENTIFY:
        this.#answer(REPLY.ACK, ...REPLY.ID);
        return;
      case COMMAND.ENABLE:
        this.#isScanning = true;
        this.#answer(REPLY.ACK);
        return;
      case COMMAND.DISABLE:
      case COMMAND.DEFAULTS:
        this.#defaults();
        this.#isScanning = byte === COMMAND.DEFAULTS;
        this.#answer(REPLY.ACK);
        return;
      case COMMAND.RESEND:
        this.#answer(this.#lastByte);
        return;
      case COMMAND.RESET:
        this.#defaults();
        this.#isScanning = true;
        this.#leds = 0;
        this.#answer(REPLY.ACK, REPLY.BAT_OK);
        return;
      default:
        this.#answer(byte >= COMMAND.ALL_FIRST && byte <= COMMAND.ALL_LAST ? REPLY.ACK : REPLY.RESEND);
    }
  }

  #operand(command: number, value: number): void {
    if (command === COMMAND.SET_LEDS) this.#leds = value & 7;
    else if (command === COMMAND.TYPEMATIC) this.#typematic = value & 0x7f;
    else if (command !== COMMAND.SET) return;
    else if (value === 0) {
      this.#answer(REPLY.ACK, this.#set);
      return;
    } else if (value === 1 || value === 2) this.#set = value;
    else {
      this.#answer(REPLY.RESEND);
      return;
    }
    this.#answer(REPLY.ACK);
  }

  #defaults(): void {
    this.#set = 2;
    this.#typematic = TYPEMATIC_DEFAULT;
  }

  /** Whoever gives a command wants its answer and no keys that were pressed before. */
  #answer(...bytes: readonly number[]): void {
    this.#out.length = 0;
    this.#send(...bytes);
  }

  #send(...bytes: readonly number[]): void {
    if (this.#out.length + bytes.length <= BUFFER_BYTES) this.#out.push(...bytes);
  }
}
