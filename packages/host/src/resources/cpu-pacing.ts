/**
 * When the threads of a guest's vCPUs rest: because of its share of the processors (cpu-cap.ts), of its weight beside other VMs
 * (cpu-weights.ts), or of a migration that slows it down. The machine's thread asks between two slices. Nothing here reaches the
 * guest but time, which it sees passing as on a host that is busy; a virtual clock and a recording do not even see that.
 */
import { CpuCap } from "./cpu-cap.ts";
import { CpuWeight } from "./cpu-weights.ts";
import type { ThreadTime } from "./thread-time.ts";
import type { VmLimits } from "./vm-limits.ts";
import { monotonicMs, WeightFile } from "./weight-file.ts";

/** So long the guest runs between two looks at its threads' time. */
const LOOK_MS = 2;
/** A shorter rest waits until it is one. */
const MIN_REST_MS = 1;
/** At a time: guests watch whether their clocks go on. */
const MAX_REST_MS = 100;

/** What the guest has used in machines that it has left. */
export interface SpentBefore {
  readonly cpuMs?: number;
  readonly outputBytes?: number;
}

export interface CpuPacingOptions {
  /** Of all threads that run vCPUs; undefined where the host does not tell: what `ran` is told counts then. */
  readonly threadTime: () => ThreadTime | undefined;
  readonly nowMs?: () => number;
  readonly openWeights?: () => WeightFile;
}

export class CpuPacing {
  readonly #options: CpuPacingOptions;
  readonly #nowMs: () => number;
  readonly #cap = new CpuCap();
  #weights: WeightFile | undefined;
  #weight: CpuWeight | undefined;
  #limits: VmLimits = {};
  #spent: SpentBefore = {};
  /** Time of slices since power-on, and what of it came before the last look. */
  #ranMs = 0;
  #lookedAtRanMs = 0;
  #countedAtRanMs = 0;
  #seen: ThreadTime;
  readonly #start: ThreadTime;
  #owedMs = 0;
  #throttledMs = 0;

  constructor(options: CpuPacingOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? monotonicMs;
    this.#seen = this.#read();
    this.#start = this.#seen;
  }

  get limits(): VmLimits {
    return this.#limits;
  }

  get spentBefore(): SpentBefore {
    return this.#spent;
  }

  /** Of the vCPUs' threads. */
  get cpuMs(): number {
    return this.#read().cpuMs - this.#start.cpuMs;
  }

  /** They could have run, and the host had no processor for them. */
  get waitedMs(): number {
    return this.#read().waitedMs - this.#start.waitedMs;
  }

  /** They have rested for so long. */
  get throttledMs(): number {
    return this.#throttledMs;
  }

  /** From here on. Throws VmError "not-writable" where weights cannot be told to other VMs; nothing has changed then. */
  set(limits: VmLimits, spent: SpentBefore = this.#spent): void {
    const { cpu, cpuWeight } = limits;
    if (cpuWeight !== undefined) {
      this.#weights ??= (this.#options.openWeights ?? WeightFile.open)();
      if (this.#weight) this.#weight.weight = cpuWeight;
      else this.#weight = new CpuWeight(this.#weights, cpuWeight);
    } else {
      this.#weight?.idle(this.#nowMs());
      this.#weight = undefined;
    }
    this.#look();
    if (cpu !== this.#cap.share) this.#cap.set(cpu, this.#nowMs());
    this.#owedMs = 0;
    this.#limits = limits;
    this.#spent = spent;
  }

  /** A slice has taken so long. `share`: of its time, what a guest gets that is slowed down for a migration. */
  ran(ms: number, share = 1): void {
    this.#ranMs += ms;
    if (share < 1) this.#owedMs = Math.min(this.#owedMs + ms * (1 / share - 1), MAX_REST_MS);
  }

  /** The guest waits by itself. */
  idle(): void {
    this.#weight?.idle(this.#nowMs());
  }

  /** How long the guest rests now: 0, or 1 to 100 ms. */
  get restMs(): number {
    if ((this.#cap.share !== undefined || this.#weight) && this.#ranMs - this.#lookedAtRanMs >= LOOK_MS) {
      this.#owedMs = Math.max(this.#owedMs, this.#look());
    }
    return this.#owedMs < MIN_REST_MS ? 0 : Math.min(this.#owedMs, MAX_REST_MS);
  }

  /** It has rested. */
  rested(ms: number): void {
    this.#throttledMs += ms;
    this.#owedMs = Math.max(0, this.#owedMs - ms);
    // What is owed then is reckoned anew.
    if (this.#owedMs < MIN_REST_MS && (this.#cap.share !== undefined || this.#weight)) this.#owedMs = this.#look();
  }

  /** The guest has used all the processor time that it may, to some milliseconds. */
  get isUsedUp(): boolean {
    const { cpuTimeMs } = this.#limits;
    if (cpuTimeMs === undefined || this.#ranMs - this.#countedAtRanMs < LOOK_MS) return false;
    this.#countedAtRanMs = this.#ranMs;
    return this.cpuMs + (this.#spent.cpuMs ?? 0) >= cpuTimeMs;
  }

  close(): void {
    this.#weights?.close();
    this.#weights = undefined;
    this.#weight = undefined;
  }

  #look(): number {
    const nowMs = this.#nowMs();
    const time = this.#read();
    const cpuMs = time.cpuMs - this.#seen.cpuMs;
    const waitedMs = time.waitedMs - this.#seen.waitedMs;
    this.#seen = time;
    this.#lookedAtRanMs = this.#ranMs;
    return Math.max(this.#cap.used(cpuMs, nowMs), this.#weight?.used(cpuMs, waitedMs, nowMs) ?? 0);
  }

  #read(): ThreadTime {
    return this.#options.threadTime() ?? { cpuMs: this.#ranMs, waitedMs: 0 };
  }
}
