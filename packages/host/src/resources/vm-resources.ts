/**
 * What a VM may use of its host, and what it uses: limits, changed while it runs. Each is carried out where the resource is used,
 * so that no other part of the VM can forget it.
 */
import { type CpuLimits, changedLimits, checkLimits, type VmLimits, type VmLimitsChange } from "./vm-limits.ts";

export interface VmResources {
  /** What holds now. */
  readonly limits: VmLimits;
  /**
   * From here on; `null` takes a limit away, what is not named stays. In any state. Rejects with VmError "bad-option" for what
   * cannot be, and "not-writable" where a weight cannot be told to other VMs; nothing has changed then.
   */
  set(change: VmLimitsChange): Promise<void>;
}

export interface ResourcesBackend {
  limitCpu(limits: CpuLimits): Promise<void>;
}

export class ResourcesOfVm implements VmResources {
  readonly #backend: ResourcesBackend;
  #limits: VmLimits;
  #last: Promise<void> = Promise.resolve();

  constructor(backend: ResourcesBackend, limits: VmLimits = {}) {
    this.#backend = backend;
    this.#limits = limits;
  }

  get limits(): VmLimits {
    return this.#limits;
  }

  /** One after the other. */
  async set(change: VmLimitsChange): Promise<void> {
    checkLimits(change);
    const done = this.#last.then(async () => {
      const limits = changedLimits(this.#limits, change);
      await this.#backend.limitCpu(limits);
      this.#limits = limits;
    });
    this.#last = done.catch(() => {});
    await done;
  }
}
