/** The 82540EM's counters (Software Developer's Manual, 13.7): they stay at all ones, and reading one clears it. */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { isBroadcast } from "./receive.ts";
import { MAX_COUNT, STAT, STATISTICS } from "./registers.ts";

const FCS_BYTES = 4;
const WIDE: readonly number[] = [STAT.GORCL, STAT.GOTCL, STAT.TORL, STAT.TOTL];
/** The last size of each class, with its check sequence. */
const SIZE_CLASSES = [64, 127, 255, 511, 1023];

export class Statistics {
  readonly #counters = new Uint32Array(STATISTICS.words);

  /** Of a wide one the upper half clears both. */
  read(offset: number): number {
    const index = (offset - STATISTICS.first) / 4;
    const value = this.#counters[index] ?? 0;
    if (WIDE.includes(offset)) return value;
    this.#counters[index] = 0;
    if (WIDE.includes(offset - 4)) this.#counters[index - 1] = 0;
    return value;
  }

  add(offset: number, count = 1): void {
    const index = (offset - STATISTICS.first) / 4;
    const sum = this.#counters[index]! + count;
    if (!WIDE.includes(offset)) this.#counters[index] = Math.min(MAX_COUNT, sum);
    else {
      this.#counters[index] = sum % 2 ** 32;
      if (sum > MAX_COUNT) this.#counters[index + 1] = Math.min(MAX_COUNT, this.#counters[index + 1]! + 1);
    }
  }

  received(frame: Uint8Array): void {
    const bytes = frame.length + FCS_BYTES;
    for (const offset of [STAT.TPR, STAT.GPRC, STAT.PRC64 + 4 * classOf(bytes)]) this.add(offset);
    for (const offset of [STAT.TORL, STAT.GORCL]) this.add(offset, bytes);
    if (isBroadcast(frame)) this.add(STAT.BPRC);
    else if (frame[0]! & 1) this.add(STAT.MPRC);
  }

  sent(frame: Uint8Array): void {
    const bytes = frame.length + FCS_BYTES;
    for (const offset of [STAT.TPT, STAT.GPTC, STAT.PTC64 + 4 * classOf(bytes)]) this.add(offset);
    for (const offset of [STAT.TOTL, STAT.GOTCL]) this.add(offset, bytes);
    if (isBroadcast(frame)) this.add(STAT.BPTC);
    else if (frame[0]! & 1) this.add(STAT.MPTC);
  }

  reset(): void {
    this.#counters.fill(0);
  }

  save(): StateValue {
    return [...this.#counters];
  }

  /** Throws StateError; the caller then resets. */
  restore(reader: StateReader, key: string): void {
    this.#counters.set(reader.ints(key, STATISTICS.words, 0, MAX_COUNT));
  }
}

function classOf(bytes: number): number {
  const found = SIZE_CLASSES.findIndex((last) => bytes <= last);
  return found < 0 ? SIZE_CLASSES.length : found;
}
