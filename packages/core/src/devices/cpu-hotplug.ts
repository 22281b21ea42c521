/**
 * Processors that come and go while the machine runs: registers (hotplug-registers.ts) behind which the DSDT's processor devices
 * stand (firmware/acpi/processors.ts). Bit n is processor n; the first one is always there. One that is taken out then waits
 * for INIT and start-up.
 *
 * Each wish raises a general-purpose event. The channel "cpus": one byte to the device, how many shall be there (nothing: it
 * only answers); from it, how many are, as an answer and whenever that changes. Processors come with the lowest numbers first and
 * go in the other order. A processor that is not there hears no start-up message. Resets of the guest leave those that are there.
 */
import type { IoBus } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";
import { HOTPLUG, HotplugRegisters } from "./hotplug-registers.ts";

export const CPUS_CHANNEL = "cpus";

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
  readonly registers: HotplugRegisters;
  readonly #context: DeviceContext;
  readonly #options: CpuHotplugOptions;

  constructor(context: DeviceContext, options: CpuHotplugOptions) {
    const { count, atStart } = options;
    this.#context = context;
    this.#options = options;
    this.registers = new HotplugRegisters({
      ...{ count, atStart: 2 ** atStart - 1, fixed: 1 },
      onEject: (gone) => {
        for (let index = 1; index < count; index++) if (gone & (1 << index)) options.onEject(index);
        this.#tell();
      },
    });
    options.onCount(atStart);
    context.onInput(CPUS_CHANNEL, (input) => {
      const wanted = input.at(-1);
      if (wanted !== undefined) this.#aim(Math.min(Math.max(wanted, 1), count));
      this.#tell();
    });
  }

  /** Whether processor `index` is there. */
  isPresent(index: number): boolean {
    return this.registers.isPresent(index);
  }

  reset(): void {
    this.registers.reset();
  }

  save(): StateValue {
    return this.registers.save();
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    this.registers.restore(reader);
    reader.end();
    this.#options.onCount(this.#count());
  }

  /** A later wish replaces an earlier one that has not been heard. */
  #aim(wanted: number): void {
    const { registers } = this;
    registers.withdraw();
    let count = this.#count();
    for (let index = 1; index < this.#options.count && count < wanted; index++) {
      if (registers.isPresent(index)) continue;
      registers.arrive(index);
      count++;
    }
    for (let index = this.#options.count - 1; index > 0 && count > wanted; index--) {
      if (!registers.isPresent(index)) continue;
      registers.askToLeave(index);
      count--;
    }
    if (registers.hasNews) this.#options.onChange();
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
  ports.claim(base.cpuHotplug, HOTPLUG.sizeBytes, device.registers, { name: device.name });
}
