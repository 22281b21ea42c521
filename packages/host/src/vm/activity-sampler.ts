/**
 * How the machine's thread spends its time, by looking now and then from outside at what it says that it does (core,
 * JitEngine.activity): nothing of it costs the guest, and nothing of it can reach the guest. Looks are taken at random
 * distances, so that they do not fall in step with the guest's timer, and the more rarely the longer the guest waits.
 */
import { ACTIVITY_NAMES } from "@twinmetal/core";
import { CELL } from "./worker-protocol.ts";

const MEAN_MS = 5;
const MAX_MEAN_ASLEEP_MS = 320;

export class ActivitySampler {
  readonly #activity: Int32Array;
  readonly #cells: Int32Array;
  readonly #looks: number[] = ACTIVITY_NAMES.map(() => 0);
  #timer: NodeJS.Timeout | undefined;

  constructor(activity: Int32Array, cells: Int32Array) {
    this.#activity = activity;
    this.#cells = cells;
  }

  /** Keeps no process alive. */
  start(): void {
    this.#timer ??= this.#next(MEAN_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** One look, which counts unless the guest waits. */
  look(): void {
    if (Atomics.load(this.#cells, CELL.ASLEEP)) return;
    const activity = Atomics.load(this.#activity, 0);
    if (activity in this.#looks) this.#looks[activity]!++;
  }

  /** `busyMs` of the machine's thread divided by what it was seen doing; nothing before the first look. */
  timeByActivity(busyMs: number): Readonly<Record<string, number>> {
    const all = this.#looks.reduce((sum, count) => sum + count, 0);
    if (all === 0) return {};
    const times = ACTIVITY_NAMES.map((name, i) => [`${name}Ms`, Math.round((busyMs * this.#looks[i]!) / all)]);
    return { ...Object.fromEntries(times), activitySamples: all };
  }

  #next(meanMs: number): NodeJS.Timeout {
    const look = (): void => {
      this.look();
      const isAsleep = Atomics.load(this.#cells, CELL.ASLEEP) !== 0;
      this.#timer = this.#next(isAsleep ? Math.min(2 * meanMs, MAX_MEAN_ASLEEP_MS) : MEAN_MS);
    };
    return setTimeout(look, meanMs * (0.5 + Math.random())).unref();
  }
}
