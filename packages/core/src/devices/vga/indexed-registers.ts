/**
 * A bank of registers behind an index and a data port, as the sequencer, the CRT controller and the graphics controller
 * are. Reserved bits read as zero; registers that are not there read as zero and keep nothing.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";

export class IndexedRegisters {
  readonly values: Uint8Array;
  readonly #masks: readonly number[];
  readonly #indexMask: number;
  index = 0;

  /** `masks`: the bits of each register that there are. */
  constructor(masks: readonly number[], indexMask: number) {
    this.#masks = masks;
    this.#indexMask = indexMask;
    this.values = new Uint8Array(masks.length);
  }

  select(index: number): void {
    this.index = index & this.#indexMask;
  }

  read(): number {
    return this.values[this.index] ?? 0;
  }

  /** `kept`: bits of the selected register that stay as they are. */
  write(value: number, kept = 0): void {
    const { index } = this;
    if (index >= this.values.length) return;
    this.values[index] = ((value & ~kept) | (this.values[index]! & kept)) & this.#masks[index]!;
  }

  reset(): void {
    this.values.fill(0);
    this.index = 0;
  }

  save(): StateValue {
    return { index: this.index, values: this.values.slice() };
  }

  /** Checks only; what it returns puts the state there. */
  parse(reader: StateReader): () => void {
    const index = reader.u8("index") & this.#indexMask;
    const values = reader.bytesExact("values", this.values.length);
    reader.end();
    return () => {
      this.index = index;
      for (const [i, value] of values.entries()) this.values[i] = value & this.#masks[i]!;
    };
  }
}
