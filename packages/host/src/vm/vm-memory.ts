/**
 * The memory of a VM with a balloon, from outside: how much the guest shall do without, which it then gives back to the host,
 * and what it says of its own use. Requests enter through the machine's event log.
 */
import {
  BALLOON_PAGE_BYTES,
  type BalloonStatistics,
  decodeBalloonReports,
  encodeBalloonRequest,
} from "@twinmetal/core";
import { isNoCalls, linuxCalls } from "../kvm/koffi-calls.ts";
import type { VmMemory } from "./vm.ts";
import { VmError } from "./vm-error.ts";

/** Of the device, and of its channel. */
export const BALLOON_NAME = "balloon0";
const BALLOON_TIMEOUT_MS = 30_000;
const STATISTICS_TIMEOUT_MS = 5000;

/** Why the host gets nothing back of what a guest gives up; undefined: it does. */
export function whyNothingIsGivenBack(): string | undefined {
  const calls = linuxCalls();
  if (!isNoCalls(calls)) return undefined;
  const why =
    calls.code === "no-koffi"
      ? "the optional package koffi is not there, without which no system call can say so"
      : `only Linux on x86-64 is asked to take it (here: ${calls.detail})`;
  return `What the guest gives up becomes zeros, and stays memory of this process: ${why}; WebAssembly itself has no way yet.`;
}

export interface MemoryBackend {
  /** False: it has no balloon. */
  readonly hasBalloon: boolean;
  readonly memoryBytes: number;
  send(channel: string, bytes: Uint8Array): void;
  /** Why the guest has ended, once it has. */
  ended(): string | undefined;
}

interface Waiting {
  readonly isDone: () => boolean;
  readonly resolve: () => void;
}

export class MemoryOfVm implements VmMemory {
  readonly #backend: MemoryBackend;
  readonly #waiting = new Set<Waiting>();
  #balloonBytes = 0;
  #target = 0;
  #answers = 0;
  #statistics: BalloonStatistics = {};
  #told = 0;

  constructor(backend: MemoryBackend) {
    this.#backend = backend;
  }

  get balloonBytes(): number {
    return this.#balloonBytes;
  }

  async balloon(bytes: number, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<number> {
    this.#require();
    const { memoryBytes } = this.#backend;
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > memoryBytes) {
      throw new VmError(
        "bad-option",
        `A balloon cannot take ${bytes} bytes of this VM's memory. Give 0 to ${memoryBytes} bytes.`,
      );
    }
    const { timeoutMs = BALLOON_TIMEOUT_MS, signal } = options;
    const target = Math.floor(bytes / BALLOON_PAGE_BYTES) * BALLOON_PAGE_BYTES;
    this.#target = target;
    const before = this.#answers;
    const pages = target / BALLOON_PAGE_BYTES;
    this.#backend.send(BALLOON_NAME, encodeBalloonRequest({ kind: "target", pages }));
    if (timeoutMs === 0) return this.#balloonBytes;
    const isThere = (): boolean => this.#answers > before && this.#balloonBytes === target;
    if (await this.#until(() => isThere() || this.#target !== target, timeoutMs, signal)) return this.#balloonBytes;
    throw new VmError(
      "timeout",
      `The guest has ${mib(this.#balloonBytes)} MiB in its balloon and not ${mib(target)} after ${timeoutMs / 1000} s. It goes on trying: it may need that memory, or have no driver (virtio_balloon).`,
    );
  }

  async statistics(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<BalloonStatistics> {
    this.#require();
    const { timeoutMs = STATISTICS_TIMEOUT_MS, signal } = options;
    const before = this.#told;
    this.#backend.send(BALLOON_NAME, encodeBalloonRequest({ kind: "ask" }));
    if (await this.#until(() => this.#told > before, timeoutMs, signal)) return this.#statistics;
    throw new VmError(
      "timeout",
      `The guest told nothing of its memory within ${timeoutMs / 1000} s: it may have no driver for its balloon (virtio_balloon).`,
    );
  }

  /** What the device says. */
  receive(bytes: Uint8Array): void {
    for (const report of decodeBalloonReports(bytes)) {
      if (report.kind === "actual") {
        this.#balloonBytes = report.pages * BALLOON_PAGE_BYTES;
        this.#answers++;
      } else {
        this.#statistics = report.statistics;
        this.#told++;
      }
    }
    this.look();
  }

  /** Something has happened that somebody may wait for. */
  look(): void {
    for (const waiting of this.#waiting) if (waiting.isDone()) waiting.resolve();
  }

  /** False: the time ran out. */
  async #until(isDone: () => boolean, timeoutMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    let resolve = (): void => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    const waiting = { isDone: () => isDone() || this.#backend.ended() !== undefined, resolve };
    const timer = setTimeout(resolve, timeoutMs);
    this.#waiting.add(waiting);
    signal?.addEventListener("abort", waiting.resolve, { once: true });
    try {
      if (!waiting.isDone()) await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(waiting);
      signal?.removeEventListener("abort", waiting.resolve);
    }
    signal?.throwIfAborted();
    if (isDone()) return true;
    const ended = this.#backend.ended();
    if (ended !== undefined) throw new VmError("guest-ended", `The guest has ended: ${ended}.`);
    return false;
  }

  #require(): void {
    const ended = this.#backend.ended();
    if (ended !== undefined) throw new VmError("guest-ended", `The guest has ended: ${ended}.`);
    if (this.#backend.hasBalloon) return;
    throw new VmError("no-balloon", "The VM has no balloon. Make it with one: hasBalloon, or twinmetal run --balloon.");
  }
}

function mib(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
