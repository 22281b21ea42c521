/**
 * Processors that come and go while the machine runs: four byte registers behind which the DSDT's processor devices stand
 * (firmware/acpi/processors.ts; ACPI 6.5, 5.6.6 and 6.3). Bit n is processor n; the first one is always there.
 *
 *   +0  PRESENT   read: which are there
 *   +1  ARRIVED   read: which have come and nobody has been told; 1 clears
 *   +2  LEAVING   read: whose removal the outside asks for, and nobody has been told; 1 clears
 *   +3  EJECT     1 removes a processor, which then waits for INIT and start-up; reads 0
 *
 * Each wish raises a general-purpose event. The channel "cpus": one byte to the device, how many shall be there (nothing: it
 * only answers); from it, how many are, as an answer and whenever that changes. Processors come with the lowest numbers first and
 * go in the other order. A processor that is not there hears no start-up message. Resets of the guest leave those that are there.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

export const CPUS_CHANNEL = "cpus";
export const CPU_HOTPLUG = { PRESENT: 0, ARRIVED: 1, LEAVING: 2, EJECT: 3, sizeBytes: 4 } as const;

export interface CpuHotplugOptions {
  /** Processors that the board has room for, at most 8. */
  readonly count: number;
  /** Those that are there at power-on. */
  readonly atStart: number;
  /** The guest shall look. */
  readonly onChange: () => void;
  /** A processor is taken out. */
  readonly onEject: (index: number) => void;
  /** How many are there now, at first and whenever that changes. */
  readonly onCount: (count: number) => void;
}

export class CpuHotplug implements Device {
  readonly name = "cpu-hotplug";
  readonly schema = { id: "cpu-hotplug", version: 1 } as const;
  readonly #context: DeviceContext;
  readonly #options: CpuHotplugOptions;
  readonly #all: number;
  #present: number;
  #arrived = 0;
  #leaving = 0;

  constructor(context: DeviceContext, options: CpuHotplugOptions) {
    this.#context = context;
    this.#options = options;
    this.#all = 2 ** options.count - 1;
    this.#present = 2 ** options.atStart - 1;
    options.onCount(options.atStart);
    context.onInput(CPUS_CHANNEL, (input) => {
      const wanted = input.at(-1);
      if (wanted !== undefined) this.#aim(Math.min(Math.max(wanted, 1), options.count));
      this.#tell();
    });
  }

  /** Whether processor `index` is there. */
  isPresent(index: number): boolean {
    return (this.#present & (1 << index)) !== 0;
  }

  readonly registers: IoHandler = {
    read: (offset: number, size: AccessSize) => {
      const bytes = [this.#present, this.#arrived, this.#leaving, 0];
      let value = 0;
      for (let i = 0; i < size; i++) value |= (bytes[offset + i] ?? 0xff) << (8 * i);
      return value >>> 0;
    },
    write: (offset: number, size: AccessSize, value: number) => {
      for (let i = 0; i < size; i++) this.#write(offset + i, (value >>> (8 * i)) & 0xff);
    },
  };

  reset(): void {
    this.#arrived = 0;
    this.#leaving = 0;
  }

  save(): StateValue {
    return { present: this.#present, arrived: this.#arrived, leaving: this.#leaving };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const present = reader.int("present", 1, this.#all);
    const arrived = reader.int("arrived", 0, this.#all);
    const leaving = reader.int("leaving", 0, this.#all);
    if ((present & 1) === 0) throw reader.invalid("present", "lacks the first processor");
    if ((arrived & ~present) !== 0) throw reader.invalid("arrived", "names a processor that is not there");
    if ((leaving & ~(present & ~1)) !== 0) throw reader.invalid("leaving", "names a processor that cannot go");
    reader.end();
    this.#present = present;
    this.#arrived = arrived;
    this.#leaving = leaving;
    this.#options.onCount(this.#count());
  }

  #write(offset: number, value: number): void {
    if (offset === CPU_HOTPLUG.ARRIVED) this.#arrived &= ~value;
    if (offset === CPU_HOTPLUG.LEAVING) this.#leaving &= ~value;
    if (offset !== CPU_HOTPLUG.EJECT) return;
    const gone = value & this.#present & ~1;
    if (gone === 0) return;
    this.#present &= ~gone;
    this.#arrived &= ~gone;
    this.#leaving &= ~gone;
    for (let index = 1; index < this.#options.count; index++) if (gone & (1 << index)) this.#options.onEject(index);
    this.#tell();
  }

  /** A later wish replaces an earlier one that has not been heard. */
  #aim(wanted: number): void {
    this.#leaving = 0;
    let count = this.#count();
    for (let index = 1; index < this.#options.count && count < wanted; index++) {
      if (this.isPresent(index)) continue;
      this.#present |= 1 << index;
      this.#arrived |= 1 << index;
      count++;
    }
    for (let index = this.#options.count - 1; index > 0 && count > wanted; index--) {
      if (!this.isPresent(index)) continue;
      this.#leaving |= 1 << index;
      count--;
    }
    if ((this.#arrived | this.#leaving) !== 0) this.#options.onChange();
  }

  #count(): number {
    let count = 0;
    for (let index = 0; index < this.#options.count; index++) if (this.isPresent(index)) count++;
    return count;
  }

  #tell(): void {
    const count = this.#count();
    this.#options.onCount(count);
    this.#context.output(CPUS_CHANNEL, Uint8Array.of(count));
  }
}

export function createCpuHotplug(context: DeviceContext, options: CpuHotplugOptions): CpuHotplug {
  return new CpuHotplug(context, options);
}

export function attachCpuHotplug(device: CpuHotplug, ports: IoBus, base: { cpuHotplug: number }): void {
  ports.claim(base.cpuHotplug, CPU_HOTPLUG.sizeBytes, device.registers, { name: device.name });
}
