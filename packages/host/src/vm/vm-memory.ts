/**
 * The memory of a VM, from outside: how much it has, where it can get more (virtio-mem); with a balloon how much the guest shall
 * do without, which it then gives back to the host, and what it says of its own use. Requests enter through the machine's event log.
 */
import {
  BALLOON_PAGE_BYTES,
  type BalloonStatistics,
  decodeBalloonReports,
  decodeBlocks,
  encodeBalloonRequest,
  encodeBlocks,
  MEM_BLOCK_BYTES,
  MEMORY_LIMITS,
} from "@twinmetal/core";
import { isNoCalls, linuxCalls } from "../kvm/koffi-calls.ts";
import { type DrivenBalloon, driveMemory } from "../resources/memory-driver.ts";
import { GuestAnswers } from "./guest-answers.ts";
import type { MemoryChange, VmMemory } from "./vm.ts";
import { VmError } from "./vm-error.ts";

/** Of the device, and of its channel. */
export const BALLOON_NAME = "balloon0";
/** Of the virtio-mem device, and of its channel. */
export const HOT_MEMORY_NAME = "mem0";
const CHANGE_TIMEOUT_MS = 30_000;
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
  /** More than `memoryBytes`: it has a virtio-mem device. */
  readonly maxBytes: number;
  send(channel: string, bytes: Uint8Array): void;
  isRunning(): boolean;
  /** Of the host's memory: what programs could have. Infinite where it does not tell. */
  hostAvailableBytes(): number;
  /** Why the guest has ended, once it has. */
  ended(): string | undefined;
}

export class MemoryOfVm implements VmMemory, DrivenBalloon {
  readonly #backend: MemoryBackend;
  readonly #answers: GuestAnswers;
  #balloonBytes = 0;
  #target = 0;
  /** Ends what moves the balloon by itself. */
  #stopDriver: (() => void) | undefined;
  #balloonAnswers = 0;
  #statistics: BalloonStatistics = {};
  #told = 0;
  #pluggedBlocks = 0;
  #requestedBlocks = 0;
  #pluggedAnswers = 0;

  constructor(backend: MemoryBackend) {
    this.#backend = backend;
    this.#answers = new GuestAnswers(() => backend.ended());
  }

  get sizeBytes(): number {
    return this.#backend.memoryBytes + this.#pluggedBlocks * MEM_BLOCK_BYTES;
  }

  get maxBytes(): number {
    return this.#backend.maxBytes;
  }

  check({ sizeBytes, balloon }: MemoryChange): void {
    const { memoryBytes, maxBytes } = this.#backend;
    const isBalloons = sizeBytes !== undefined && sizeBytes < memoryBytes;
    if (isBalloons && balloon !== undefined)
      throw new VmError(
        "bad-option",
        `Less memory than the VM started with (${mib(memoryBytes)} MiB) is its balloon's: set its memory, or its balloon.`,
      );
    if (balloon !== undefined) this.#checkBalloon(balloon);
    if (sizeBytes === undefined) return;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < MEMORY_LIMITS.minBytes)
      throw new VmError(
        "bad-option",
        `A VM has ${mib(MEMORY_LIMITS.minBytes)} MiB of memory at least, not ${sizeBytes} bytes.`,
      );
    if (isBalloons) this.#require();
    else if (maxBytes > memoryBytes || sizeBytes > memoryBytes) this.#blocksFor(sizeBytes);
    const more = sizeBytes - (this.sizeBytes - this.#balloonBytes);
    const available = this.#backend.hostAvailableBytes();
    if (more > available)
      throw new VmError(
        "bad-option",
        `The host has ${mib(available)} MiB of memory available, and the VM would get ${mib(more)} MiB more. End something, or give it less.`,
      );
  }

  async set(change: MemoryChange, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<void> {
    this.check(change);
    const { sizeBytes, balloon } = change;
    const { memoryBytes, maxBytes } = this.#backend;
    if (sizeBytes !== undefined) {
      if (maxBytes > memoryBytes) await this.resize(Math.max(sizeBytes, memoryBytes), options);
      if (sizeBytes < memoryBytes || (this.#target > 0 && !this.isBalloonAutomatic))
        await this.balloon(Math.max(0, memoryBytes - sizeBytes), options);
    }
    if (balloon !== undefined) await this.balloon(balloon, options);
  }

  async resize(bytes: number, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<number> {
    const blocks = this.#blocksFor(bytes);
    const { timeoutMs = CHANGE_TIMEOUT_MS, signal } = options;
    this.#requestedBlocks = blocks;
    const before = this.#pluggedAnswers;
    this.#backend.send(HOT_MEMORY_NAME, encodeBlocks(blocks));
    if (timeoutMs === 0) return this.sizeBytes;
    const isThere = (): boolean => this.#pluggedAnswers > before && this.#pluggedBlocks === blocks;
    const isDone = (): boolean => isThere() || this.#requestedBlocks !== blocks;
    if (await this.#answers.until(isDone, timeoutMs, signal)) return this.sizeBytes;
    throw new VmError(
      "timeout",
      `The guest has ${mib(this.sizeBytes)} MiB of memory and not ${mib(bytes)} after ${timeoutMs / 1000} s. It goes on trying: it may need what it shall give back, or have no driver (virtio_mem).`,
    );
  }

  /** Of a VM that comes from elsewhere: what has been plugged into it. */
  askSize(): void {
    const { memoryBytes, maxBytes } = this.#backend;
    if (maxBytes > memoryBytes) this.#backend.send(HOT_MEMORY_NAME, new Uint8Array());
  }

  /** What the virtio-mem device says. */
  receivePlugged(bytes: Uint8Array): void {
    this.#pluggedBlocks = decodeBlocks(bytes) ?? this.#pluggedBlocks;
    this.#pluggedAnswers++;
    this.look();
  }

  get balloonBytes(): number {
    return this.#balloonBytes;
  }

  get isBalloonAutomatic(): boolean {
    return this.#stopDriver !== undefined;
  }

  get isRunning(): boolean {
    return this.#backend.isRunning();
  }

  get hasEnded(): boolean {
    return this.#backend.ended() !== undefined;
  }

  /** Throws VmError. */
  #checkBalloon(bytes: number | "auto"): void {
    this.#require();
    const { memoryBytes } = this.#backend;
    if (bytes === "auto" || (Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= memoryBytes)) return;
    throw new VmError(
      "bad-option",
      `A balloon cannot take ${bytes} bytes of this VM's memory. Give 0 to ${memoryBytes} bytes, or "auto".`,
    );
  }

  async balloon(bytes: number | "auto", options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<number> {
    this.#checkBalloon(bytes);
    if (bytes === "auto") {
      this.#stopDriver ??= driveMemory(this);
      return this.#balloonBytes;
    }
    this.#stopDriver?.();
    this.#stopDriver = undefined;
    const { timeoutMs = CHANGE_TIMEOUT_MS, signal } = options;
    const before = this.#balloonAnswers;
    const target = this.aim(bytes);
    if (timeoutMs === 0) return this.#balloonBytes;
    const isThere = (): boolean => this.#balloonAnswers > before && this.#balloonBytes === target;
    if (await this.#answers.until(() => isThere() || this.#target !== target, timeoutMs, signal))
      return this.#balloonBytes;
    throw new VmError(
      "timeout",
      `The guest has ${mib(this.#balloonBytes)} MiB in its balloon and not ${mib(target)} after ${timeoutMs / 1000} s. It goes on trying: it may need that memory, or have no driver (virtio_balloon).`,
    );
  }

  /** What shall be in the balloon, in whole pages; not waited for. Precondition: it has one. */
  aim(bytes: number): number {
    const pages = Math.floor(bytes / BALLOON_PAGE_BYTES);
    this.#target = pages * BALLOON_PAGE_BYTES;
    this.#backend.send(BALLOON_NAME, encodeBalloonRequest({ kind: "target", pages }));
    return this.#target;
  }

  async statistics(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<BalloonStatistics> {
    this.#require();
    const { timeoutMs = STATISTICS_TIMEOUT_MS, signal } = options;
    const before = this.#told;
    this.#backend.send(BALLOON_NAME, encodeBalloonRequest({ kind: "ask" }));
    if (await this.#answers.until(() => this.#told > before, timeoutMs, signal)) return this.#statistics;
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
        this.#balloonAnswers++;
      } else {
        this.#statistics = report.statistics;
        this.#told++;
      }
    }
    this.look();
  }

  /** Something has happened that somebody may wait for. */
  look(): void {
    this.#answers.look();
  }

  /** What has to be plugged. Throws VmError. */
  #blocksFor(bytes: number): number {
    this.#answers.requireRunning();
    const { memoryBytes, maxBytes } = this.#backend;
    if (maxBytes === memoryBytes) {
      throw new VmError(
        "no-hot-memory",
        "The VM's memory cannot grow while it runs: it was made without room for more. Make it with some: maxMemoryBytes, or twinmetal run -m 512M,max=2G.",
      );
    }
    const blocks = (bytes - memoryBytes) / MEM_BLOCK_BYTES;
    if (Number.isInteger(blocks) && bytes >= memoryBytes && bytes <= maxBytes) return blocks;
    throw new VmError(
      "bad-option",
      `The VM cannot have ${mib(bytes)} MiB of memory. Give ${mib(memoryBytes)} (what it started with) to ${mib(maxBytes)} MiB, in steps of 2 MiB.`,
    );
  }

  #require(): void {
    this.#answers.requireRunning();
    if (this.#backend.hasBalloon) return;
    throw new VmError("no-balloon", "The VM has no balloon. Make it with one: hasBalloon, or twinmetal run --balloon.");
  }
}

function mib(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
