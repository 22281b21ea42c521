/**
 * Registers by which a guest's ACPI methods hear of what comes and goes (ACPI 6.5, 5.6.6 and 6.3): four bytes, bit n is unit n.
 *
 *   +0  PRESENT   read: which are there
 *   +1  ARRIVED   read: which have come and nobody has been told; 1 clears
 *   +2  LEAVING   read: whose removal the outside asks for, and nobody has been told; 1 clears
 *   +3  EJECT     1 takes a unit out; reads 0
 */
import type { AccessSize, IoHandler } from "../bus/io.ts";
import type { StateReader } from "../state/reader.ts";
import type { StateValue } from "./device.ts";

export const HOTPLUG = { PRESENT: 0, ARRIVED: 1, LEAVING: 2, EJECT: 3, sizeBytes: 4 } as const;
const UNITS = 8;

export interface HotplugOptions {
  /** Units that there is room for, at most 8. */
  readonly count: number;
  /** Of those that are there at power-on, a bit each. */
  readonly atStart: number;
  /** Of those that never go. */
  readonly fixed: number;
  /** These are taken out: a bit each. */
  readonly onEject: (gone: number) => void;
}

export class HotplugRegisters implements IoHandler {
  readonly #options: HotplugOptions;
  readonly #all: number;
  #present: number;
  #arrived = 0;
  #leaving = 0;

  constructor(options: HotplugOptions) {
    if (!(options.count >= 1 && options.count <= UNITS))
      throw new RangeError(`${options.count} units that come and go`);
    this.#options = options;
    this.#all = 2 ** options.count - 1;
    this.#present = options.atStart;
  }

  isPresent(index: number): boolean {
    return (this.#present & (1 << index)) !== 0;
  }

  get present(): number {
    return this.#present;
  }

  /** There is something to tell the guest. */
  get hasNews(): boolean {
    return (this.#arrived | this.#leaving) !== 0;
  }

  /** Precondition: there is room for it. */
  arrive(index: number): void {
    this.#present |= 1 << index;
    this.#arrived |= 1 << index;
  }

  /** Precondition: it is there, and may go. */
  askToLeave(index: number): void {
    this.#leaving |= 1 << index;
  }

  /** Wishes that the guest has not heard are no more. */
  withdraw(): void {
    this.#leaving = 0;
  }

  read(offset: number, size: AccessSize): number {
    const bytes = [this.#present, this.#arrived, this.#leaving, 0];
    let value = 0;
    for (let i = 0; i < size; i++) value |= (bytes[offset + i] ?? 0xff) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#write(offset + i, (value >>> (8 * i)) & 0xff);
  }

  /** Those that are there stay. */
  reset(): void {
    this.#arrived = 0;
    this.#leaving = 0;
  }

  save(): { readonly [key: string]: StateValue } {
    return { present: this.#present, arrived: this.#arrived, leaving: this.#leaving };
  }

  restore(reader: StateReader): void {
    const { fixed } = this.#options;
    const present = reader.int("present", 0, this.#all);
    const arrived = reader.int("arrived", 0, this.#all);
    const leaving = reader.int("leaving", 0, this.#all);
    if ((fixed & ~present) !== 0) throw reader.invalid("present", "lacks one that never goes");
    if ((arrived & ~present) !== 0) throw reader.invalid("arrived", "names one that is not there");
    if ((leaving & ~(present & ~fixed)) !== 0) throw reader.invalid("leaving", "names one that cannot go");
    this.#present = present;
    this.#arrived = arrived;
    this.#leaving = leaving;
  }

  #write(offset: number, value: number): void {
    if (offset === HOTPLUG.ARRIVED) this.#arrived &= ~value;
    if (offset === HOTPLUG.LEAVING) this.#leaving &= ~value;
    if (offset !== HOTPLUG.EJECT) return;
    const gone = value & this.#present & ~this.#options.fixed;
    if (gone === 0) return;
    this.#present &= ~gone;
    this.#arrived &= ~gone;
    this.#leaving &= ~gone;
    this.#options.onEject(gone);
  }
}
