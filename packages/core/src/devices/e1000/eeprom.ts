/**
 * The 82540EM's EEPROM: 64 words with the card's address and identity (Software Developer's Manual, 5.6), read as a word
 * through EERD or bit by bit over Microwire through EECD (13.4.3). Writes are taken and forgotten: nothing of the card
 * changes for ever.
 *
 *   CS up; then with each rising SK one bit of DI: start 1, operation (10 read), six of the address; then DO, a bit each
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";

const WORDS = 64;
/** What all words add up to. */
const CHECKSUM = 0xbaba;
const CHECKSUM_WORD = 0x3f;
const WORD = { SUBSYSTEM: 0x0b, SUBSYSTEM_VENDOR: 0x0c, DEVICE: 0x0d, VENDOR: 0x0e } as const;
const COMMAND_BITS = 9;
const READ = 0b110;

export function eepromWords(mac: Uint8Array): Uint16Array {
  const words = new Uint16Array(WORDS);
  for (let i = 0; i < 3; i++) words[i] = mac[2 * i]! | (mac[2 * i + 1]! << 8);
  words[WORD.SUBSYSTEM] = 0x001e;
  words[WORD.SUBSYSTEM_VENDOR] = 0x8086;
  words[WORD.DEVICE] = 0x100e;
  words[WORD.VENDOR] = 0x8086;
  words[CHECKSUM_WORD] = CHECKSUM - words.reduce((sum, word) => sum + word, 0);
  return words;
}

export class Microwire {
  readonly #words: Uint16Array;
  #isClocked = false;
  /** What has been shifted in since the start bit, and how much. */
  #command = 0;
  #bits = 0;
  /** Of a word that is read: the bit that DO has; undefined: none. */
  #position: number | undefined;

  constructor(words: Uint16Array) {
    this.#words = words;
  }

  get output(): boolean {
    const at = this.#position;
    if (at === undefined) return true;
    if (at < 0) return false;
    const word = this.#words[((this.#command & (WORDS - 1)) + (at >> 4)) % WORDS]!;
    return ((word >> (15 - (at & 15))) & 1) === 1;
  }

  set(isSelected: boolean, isClocked: boolean, input: boolean): void {
    const isRising = isClocked && !this.#isClocked;
    this.#isClocked = isClocked;
    if (!isSelected) this.reset(isClocked);
    else if (isRising) this.#clock(input ? 1 : 0);
  }

  reset(isClocked = false): void {
    this.#isClocked = isClocked;
    this.#command = 0;
    this.#bits = 0;
    this.#position = undefined;
  }

  #clock(bit: number): void {
    if (this.#position !== undefined) this.#position = (this.#position + 1) % (16 * WORDS);
    else if (this.#bits < COMMAND_BITS && (bit === 1 || this.#bits > 0)) {
      this.#command = (this.#command << 1) | bit;
      this.#bits++;
      // A zero comes in front of the first bit.
      if (this.#bits === COMMAND_BITS && this.#command >> 6 === READ) this.#position = -1;
    }
  }

  save(): StateValue {
    return {
      isClocked: this.#isClocked,
      command: this.#command,
      bits: this.#bits,
      position: this.#position ?? null,
    };
  }

  /** Throws StateError; the caller then resets. */
  restore(reader: StateReader): void {
    this.#isClocked = reader.bool("isClocked");
    this.#bits = reader.int("bits", 0, COMMAND_BITS);
    this.#command = reader.int("command", 0, 2 ** this.#bits - 1);
    this.#position = reader.part("position") === null ? undefined : reader.int("position", -1, 16 * WORDS - 1);
    const isReading = this.#bits === COMMAND_BITS && this.#command >> 6 === READ;
    if (isReading !== (this.#position !== undefined))
      throw reader.invalid("position", "does not agree with the command");
    reader.end();
  }
}
