/**
 * Features of an NVMe controller (NVM Express 1.4, 5.21.1): those that every controller has, and the write cache's. None is kept
 * over a reset. Coalescing of interrupts is only written down: a controller may coalesce, and need not.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { IO_QUEUES, STATUS, VECTORS } from "./registers.ts";

const FEATURE = {
  ARBITRATION: 0x01,
  POWER_MANAGEMENT: 0x02,
  TEMPERATURE_THRESHOLD: 0x04,
  ERROR_RECOVERY: 0x05,
  WRITE_CACHE: 0x06,
  QUEUES: 0x07,
  COALESCING: 0x08,
  VECTOR: 0x09,
  WRITE_ATOMICITY: 0x0a,
  ASYNC_EVENTS: 0x0b,
} as const;
/** What is only kept: its bits, and its value after a reset. */
const KEPT: ReadonlyMap<number, readonly [mask: number, initial: number]> = new Map([
  [FEATURE.ARBITRATION, [0xffff_ff07, 0]],
  [FEATURE.ERROR_RECOVERY, [0x0001_ffff, 0]],
  [FEATURE.WRITE_CACHE, [1, 1]],
  [FEATURE.COALESCING, [0xffff, 0]],
  [FEATURE.WRITE_ATOMICITY, [1, 0]],
  [FEATURE.ASYNC_EVENTS, [0x7fff, 0]],
]);
const QUEUES_VALUE = (IO_QUEUES - 1) | ((IO_QUEUES - 1) << 16);
const SAVE = 0x8000_0000;
const TEMPERATURE = { UNDER: 1 << 20, SELECT: 0x003f_0000, KELVIN: 0xffff, OVER_DEFAULT: 343 } as const;
const COALESCING_OFF = 1 << 16;

export type Answer = { readonly status: number; readonly result?: number };

export class Features {
  readonly #kept = new Map<number, number>();
  #over: number = TEMPERATURE.OVER_DEFAULT;
  #under = 0;
  /** Vectors that are not to be coalesced. */
  #uncoalesced = 0;

  constructor() {
    this.reset();
  }

  get hasWriteCache(): boolean {
    return this.#kept.get(FEATURE.WRITE_CACHE) === 1;
  }

  reset(): void {
    for (const [feature, [, initial]] of KEPT) this.#kept.set(feature, initial);
    this.#over = TEMPERATURE.OVER_DEFAULT;
    this.#under = 0;
    this.#uncoalesced = 0;
  }

  get(dword10: number, dword11: number): Answer {
    const feature = dword10 & 0xff;
    // Selections other than the current values are not offered (ONCS).
    if ((dword10 & 0x700) !== 0) return { status: STATUS.INVALID_FIELD };
    const kept = this.#kept.get(feature);
    if (kept !== undefined) return { status: STATUS.SUCCESS, result: kept >>> 0 };
    switch (feature) {
      case FEATURE.POWER_MANAGEMENT:
        return { status: STATUS.SUCCESS, result: 0 };
      case FEATURE.TEMPERATURE_THRESHOLD: {
        const value = dword11 & TEMPERATURE.UNDER ? this.#under : this.#over;
        return { status: STATUS.SUCCESS, result: value };
      }
      case FEATURE.QUEUES:
        return { status: STATUS.SUCCESS, result: QUEUES_VALUE };
      case FEATURE.VECTOR: {
        const vector = dword11 & 0xffff;
        if (vector >= VECTORS) return { status: STATUS.INVALID_FIELD };
        return { status: STATUS.SUCCESS, result: vector | ((this.#uncoalesced >> vector) & 1 ? COALESCING_OFF : 0) };
      }
      default:
        return { status: STATUS.INVALID_FIELD };
    }
  }

  /** `hasQueues`: I/O queues exist already. */
  set(dword10: number, dword11: number, hasQueues: boolean): Answer {
    const feature = dword10 & 0xff;
    if ((dword10 & SAVE) !== 0) return { status: STATUS.NOT_SAVEABLE };
    const kept = KEPT.get(feature);
    if (kept) {
      this.#kept.set(feature, dword11 & kept[0]);
      return { status: STATUS.SUCCESS };
    }
    switch (feature) {
      case FEATURE.POWER_MANAGEMENT:
        return { status: (dword11 & 0x1f) === 0 ? STATUS.SUCCESS : STATUS.INVALID_FIELD };
      case FEATURE.TEMPERATURE_THRESHOLD:
        // Other sensors than the composite one there are none.
        if ((dword11 & TEMPERATURE.SELECT & 0x000f_0000) !== 0) return { status: STATUS.INVALID_FIELD };
        if (dword11 & TEMPERATURE.UNDER) this.#under = dword11 & TEMPERATURE.KELVIN;
        else this.#over = dword11 & TEMPERATURE.KELVIN;
        return { status: STATUS.SUCCESS };
      case FEATURE.QUEUES:
        if (hasQueues) return { status: STATUS.SEQUENCE };
        if ((dword11 & 0xffff) === 0xffff || dword11 >>> 16 === 0xffff) return { status: STATUS.INVALID_FIELD };
        return { status: STATUS.SUCCESS, result: QUEUES_VALUE };
      case FEATURE.VECTOR: {
        const vector = dword11 & 0xffff;
        if (vector >= VECTORS) return { status: STATUS.INVALID_FIELD };
        const bit = 1 << vector;
        this.#uncoalesced = dword11 & COALESCING_OFF ? this.#uncoalesced | bit : this.#uncoalesced & ~bit;
        return { status: STATUS.SUCCESS };
      }
      default:
        return { status: STATUS.INVALID_FIELD };
    }
  }

  save(): StateValue {
    return {
      kept: [...KEPT.keys()].map((feature) => this.#kept.get(feature)! >>> 0),
      over: this.#over,
      under: this.#under,
      uncoalesced: this.#uncoalesced,
    };
  }

  /** Throws StateError. */
  restore(reader: StateReader): void {
    const values = reader.ints("kept", KEPT.size, 0, 0xffff_ffff);
    for (const [i, [feature, [mask]]] of [...KEPT].entries()) this.#kept.set(feature, values[i]! & mask);
    this.#over = reader.u16("over");
    this.#under = reader.u16("under");
    this.#uncoalesced = reader.int("uncoalesced", 0, 2 ** VECTORS - 1);
    reader.end();
  }
}
