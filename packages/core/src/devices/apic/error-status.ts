/**
 * The error status register (Intel SDM vol. 3, 11.5.3): errors gather unseen; a write, whatever its value, shows those
 * since the write before and rearms the error interrupt, of which there is one until then.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";

export class ErrorStatus {
  #shown = 0;
  #gathered = 0;

  /** What a read gives. */
  get value(): number {
    return this.#shown;
  }

  /** Notes an error (a bit of ESR). True: it is the first since the last write, and interrupts. */
  add(error: number): boolean {
    const isFirst = this.#gathered === 0;
    this.#gathered |= error;
    return isFirst;
  }

  /** The guest's write. */
  latch(): void {
    this.#shown = this.#gathered;
    this.#gathered = 0;
  }

  reset(): void {
    this.#shown = 0;
    this.#gathered = 0;
  }

  save(): { esr: StateValue; errors: StateValue } {
    return { esr: this.#shown, errors: this.#gathered };
  }

  restore(reader: StateReader): void {
    this.#shown = reader.u8("esr");
    this.#gathered = reader.u8("errors");
  }
}
