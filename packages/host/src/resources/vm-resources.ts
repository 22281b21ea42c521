/**
 * What a VM may use of its host, and what it uses: limits, changed while it runs. Each is carried out where the resource is used,
 * so that no other part of the VM can forget it; what the guest sees of the host's clock is kept here.
 */
import type { Vm } from "../vm/vm.ts";
import { changedLimits, checkLimits, type HardLimits, type VmLimits, type VmLimitsChange } from "./vm-limits.ts";
import { processMemory, type VmUsage } from "./vm-usage.ts";
import { monotonicMs } from "./weight-file.ts";

export interface VmResources {
  /** What holds now. */
  readonly limits: VmLimits;
  /**
   * From here on; `null` takes a limit away, what is not named stays. In any state. Rejects with VmError "bad-option" for what
   * cannot be, and "not-writable" where a weight cannot be told to other VMs; nothing has changed then.
   */
  set(change: VmLimitsChange): Promise<void>;
  /** Counters at this moment. Rejects with VmError "closed". */
  usage(): Promise<VmUsage>;
}

export interface ResourcesBackend {
  readonly vm: Pick<Vm, "state" | "engine" | "cpus" | "disks" | "network" | "memory" | "stats">;
  limit(limits: VmLimits): Promise<void>;
  end(reason: string, limit: keyof HardLimits): void;
}

export class ResourcesOfVm implements VmResources {
  readonly #backend: ResourcesBackend;
  #limits: VmLimits = {};
  #last: Promise<void> = Promise.resolve();
  /** It has run since. */
  #startedMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(backend: ResourcesBackend) {
    this.#backend = backend;
  }

  get limits(): VmLimits {
    return this.#limits;
  }

  /** One after the other. */
  async set(change: VmLimitsChange): Promise<void> {
    checkLimits(change);
    const done = this.#last.then(async () => {
      const limits = changedLimits(this.#limits, change);
      await this.#backend.limit(limits);
      this.#limits = limits;
      this.#watchTime();
    });
    this.#last = done.catch(() => {});
    await done;
  }

  async usage(): Promise<VmUsage> {
    const { vm } = this.#backend;
    const { disks, network, memory, state, engine } = vm;
    const { sizeBytes, maxBytes, balloonBytes, isBalloonAutomatic } = memory;
    const [stats, ofDisks, ofCards] = await Promise.all([vm.stats(), disks.usage(), network.usage()]);
    const { cpuMs = 0, waitedMs = 0, throttledMs = 0, idleMs = 0, outputBytes = 0, interpreterMs } = stats;
    return {
      ...{
        atMs: monotonicMs(),
        state,
        engine,
        cpus: vm.cpus.count,
        maxCpus: vm.cpus.max,
        outputBytes,
        limits: this.#limits,
      },
      cpu: {
        ...{ cpuMs, waitedMs, throttledMs, idleMs },
        ...(interpreterMs !== undefined && { interpretedMs: interpreterMs }),
      },
      memory: { promisedBytes: sizeBytes, maxBytes, balloonBytes, isBalloonAutomatic, ...processMemory() },
      disks: ofDisks.map((usage, index) => ({ ...usage, limits: disks.limits[index] ?? {} })),
      networks: ofCards.map((usage, index) => ({ ...usage, limits: network.limits[index] ?? {} })),
    };
  }

  onState(state: Vm["state"]): void {
    if (state === "running") {
      this.#startedMs ??= performance.now();
      this.#watchTime();
    } else if (state !== "paused") clearTimeout(this.#timer);
  }

  #watchTime(): void {
    clearTimeout(this.#timer);
    const { wallMs } = this.#limits;
    if (wallMs === undefined || this.#startedMs === undefined) return;
    const leftMs = Math.max(0, this.#startedMs + wallMs - performance.now());
    const reason = `its time of ${wallMs / 1000} s is over`;
    this.#timer = setTimeout(() => this.#backend.end(reason, "wallMs"), leftMs).unref();
  }
}
