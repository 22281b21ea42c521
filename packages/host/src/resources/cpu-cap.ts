/**
 * A share of the host's processors that a guest stays below: a bucket of processor time, which fills with the host's time. What
 * the guest has used beyond it is a debt, for which its threads rest.
 */

/** Of unused time, as much is kept as comes in within this. */
const KEPT_MS = 20;
/** Of debt, as much as is worked off within this: work of the machine's own, such as saving, does not stop a guest for long. */
const OWED_MS = 500;

export class CpuCap {
  #share: number | undefined;
  /** Processor time that may be used; below 0: owed. */
  #levelMs = 0;
  #atMs = 0;

  get share(): number | undefined {
    return this.#share;
  }

  /** In processors; undefined: no limit. What is owed is forgotten: the new share holds from here on. */
  set(share: number | undefined, nowMs: number): void {
    this.#share = share;
    this.#levelMs = 0;
    this.#atMs = nowMs;
  }

  /** How long the guest rests, having used `cpuMs` since it was asked last. */
  used(cpuMs: number, nowMs: number): number {
    const share = this.#share;
    if (share === undefined) return 0;
    const filled = Math.min(this.#levelMs + (nowMs - this.#atMs) * share, KEPT_MS * share);
    this.#atMs = nowMs;
    this.#levelMs = Math.max(filled - cpuMs, -OWED_MS * share);
    return this.#levelMs < 0 ? -this.#levelMs / share : 0;
  }
}
