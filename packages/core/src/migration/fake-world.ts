/** For tests: a link that can be broken at any frame, time that passes when nothing else happens, and VMs without a machine. */
import { machineSpec } from "../machine/spec.ts";
import { crc32c } from "../state/crc32c.ts";
import type { MigrationObstacle } from "./errors.ts";
import type { MigrationLink, MigrationTime, PageCompressor } from "./link.ts";
import type { Fate, Hello } from "./messages.ts";
import { PAGE_BYTES } from "./page-batch.ts";
import type { SourceVm, StoppedVm } from "./source-contract.ts";
import type { Destination, IncomingVm } from "./target.ts";

export class FakeTime implements MigrationTime {
  readonly #drain: () => Promise<void>;
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];

  /** `drain` resolves when no promise has anything left to do. */
  constructor(drain: () => Promise<void>) {
    this.#drain = drain;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(timeMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + timeMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  get isIdle(): boolean {
    return this.#timers.length === 0;
  }

  advance(timeMs: number): void {
    this.#nowMs += timeMs;
  }

  /** Lets time pass until all promises are settled: from timer to timer. */
  async settle<T extends readonly Promise<unknown>[]>(
    ...promises: T
  ): Promise<{ [K in keyof T]: PromiseSettledResult<Awaited<T[K]>> }> {
    let isDone = false;
    const all = Promise.allSettled(promises).finally(() => {
      isDone = true;
    });
    while (!isDone) {
      await this.#drain();
      if (isDone) break;
      const [first] = this.#timers.toSorted((a, b) => a.atMs - b.atMs);
      if (!first) throw new Error("everything waits, and nothing will happen");
      this.#timers = this.#timers.filter((timer) => timer !== first);
      this.#nowMs = Math.max(this.#nowMs, first.atMs);
      first.callback();
    }
    return (await all) as { [K in keyof T]: PromiseSettledResult<Awaited<T[K]>> };
  }
}

/**
 * cut: not delivered, and the link is gone. half: a part of it is delivered. cut-after: it is delivered, then the link is
 * gone. stall: it is never taken. lost: it is taken, and it and all behind it never arrive. corrupt: a bit of it is wrong.
 */
export const FAULTS = ["cut", "half", "cut-after", "stall", "lost", "corrupt"] as const;
export interface Fault {
  readonly kind: (typeof FAULTS)[number];
  readonly direction: "to-target" | "to-source";
  /** Which message in that direction, from 0; the preamble is the first. */
  readonly at: number;
  readonly bit?: number;
}

class End implements MigrationLink {
  readonly isBacklogged = false;
  readonly #wire: Wire;
  readonly #direction: Fault["direction"];
  #queue: Uint8Array[] = [];
  #waiting: ((chunk: Uint8Array | undefined) => void)[] = [];
  #isClosed = false;
  #count = 0;
  #isLost = false;
  peer: End | undefined;

  constructor(wire: Wire, direction: Fault["direction"]) {
    this.#wire = wire;
    this.#direction = direction;
  }

  async send(bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) throw new Error("broken pipe");
    const { fault } = this.#wire;
    const isHit = fault?.direction === this.#direction && fault.at === this.#count;
    this.#count++;
    this.#wire.onSend?.(this.#direction);
    if (isHit) {
      switch (fault.kind) {
        case "cut":
        case "half":
          if (fault.kind === "half") this.peer!.deliver(bytes.subarray(0, bytes.length >> 1));
          this.close();
          throw new Error("broken pipe");
        case "cut-after":
          this.peer!.deliver(bytes);
          this.close();
          return;
        case "stall":
          return await new Promise(() => {});
        case "lost":
          this.#isLost = true;
          return;
        case "corrupt": {
          const bad = bytes.slice();
          const bit = (fault.bit ?? 0) % (bad.length * 8);
          bad[bit >> 3]! ^= 1 << (bit & 7);
          this.peer!.deliver(bad);
          return;
        }
      }
    }
    if (!this.#isLost) this.peer!.deliver(bytes);
  }

  deliver(bytes: Uint8Array): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(bytes);
    else this.#queue.push(bytes);
  }

  async receive(): Promise<Uint8Array | undefined> {
    const next = this.#queue.shift();
    if (next) return next;
    if (this.#isClosed) return undefined;
    return await new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const waiting of this.#waiting.splice(0)) waiting(undefined);
    if (!this.#isLost) this.peer!.close();
  }

  get count(): number {
    return this.#count;
  }
}

/** Two ends of one link. */
export class Wire {
  readonly source: End = new End(this, "to-target");
  readonly target: End = new End(this, "to-source");
  readonly fault: Fault | undefined;
  onSend: ((direction: Fault["direction"]) => void) | undefined;

  constructor(fault?: Fault) {
    this.fault = fault;
    this.source.peer = this.target;
    this.target.peer = this.source;
  }

  get counts(): { readonly "to-target": number; readonly "to-source": number } {
    return { "to-target": this.source.count, "to-source": this.target.count };
  }
}

/** Shortens runs of equal bytes: enough for tests. */
export const FAKE_COMPRESSOR: PageCompressor = {
  compress: async (bytes) => {
    const out: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      let run = 1;
      while (run < 255 && bytes[at + run] === bytes[at]) run++;
      out.push(run, bytes[at]!);
      at += run;
    }
    return Uint8Array.from(out);
  },
  decompress: async (bytes, maxBytes) => {
    const out: number[] = [];
    for (let at = 0; at + 1 < bytes.length; at += 2) {
      for (let i = 0; i < bytes[at]!; i++) out.push(bytes[at + 1]!);
      if (out.length > maxBytes) throw new Error("too much");
    }
    return Uint8Array.from(out);
  },
};

/** How many copies run. */
export class Copies {
  #running = 0;
  most = 0;

  change(by: 1 | -1): void {
    this.#running += by;
    this.most = Math.max(this.most, this.#running);
  }

  get running(): number {
    return this.#running;
  }
}

const SPEC = machineSpec({ memoryBytes: 16 << 20, seed: "00", epochSeconds: 0 });

export class FakeSource implements SourceVm {
  readonly name = "fake";
  readonly spec = SPEC;
  readonly engine = "jit";
  readonly forms = [{ name: "vcpu0", schema: "vcpu", version: 2 }];
  readonly ram: Uint8Array;
  readonly #copies: Copies;
  readonly #dirty: Uint8Array;
  #isTracking = false;
  #input: Uint8Array = Uint8Array.of(7, 8, 9);
  #random = 12345;
  state: "running" | "stopped" | "gone" | "paused" = "running";
  share = 1;
  /** Pages written each time that `work` is called. */
  pace = 3;

  constructor(copies: Copies, pages = 128) {
    this.#copies = copies;
    this.ram = new Uint8Array(pages * PAGE_BYTES);
    this.#dirty = new Uint8Array(pages);
    for (let page = 0; page < pages; page += 2) this.ram.fill(page + 1, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    copies.change(1);
  }

  /** The guest runs for a while. */
  work(): void {
    if (this.state !== "running") return;
    for (let i = 0; i < Math.ceil(this.pace * this.share); i++) {
      this.#random = (Math.imul(this.#random, 1103515245) + 12345) >>> 0;
      const page = (this.#random >>> 8) % (this.ram.length / PAGE_BYTES);
      const value = this.#random & 3 ? this.#random >>> 24 : 0;
      if (value === 0) this.ram.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      else this.ram[page * PAGE_BYTES + (this.#random % PAGE_BYTES)] = value;
      if (this.#isTracking) this.#dirty[page] = 1;
    }
  }

  async track(isOn: boolean): Promise<void> {
    this.#isTracking = isOn;
    this.#dirty.fill(0);
  }

  async takeDirty(into: Uint8Array): Promise<number> {
    this.work();
    let count = 0;
    for (const [page, isDirty] of this.#dirty.entries()) {
      if (!isDirty) continue;
      into[page] = 1;
      count++;
    }
    this.#dirty.fill(0);
    return count;
  }

  async throttle(share: number): Promise<void> {
    this.share = share;
  }

  async stop(into: Uint8Array): Promise<StoppedVm> {
    await this.takeDirty(into);
    const isPaused = this.state === "paused";
    if (!isPaused) this.#copies.change(-1);
    this.state = "stopped";
    const sections = new Uint8Array(4);
    new DataView(sections.buffer).setUint32(0, crc32c(this.ram));
    return { sections, isPaused };
  }

  async goOn(): Promise<void> {
    if (this.state !== "stopped") throw new Error(`goes on while ${this.state}`);
    this.state = "running";
    this.#copies.change(1);
  }

  takeInput(): Uint8Array {
    return this.#input;
  }

  async give(): Promise<void> {
    this.state = "gone";
  }
}

export class FakeDestination implements Destination {
  readonly version = "1";
  readonly engine = "jit";
  readonly #copies: Copies;
  readonly #fates = new Map<string, "held" | "running" | "returned">();
  obstacles: readonly MigrationObstacle[] = [];
  state: "none" | "filling" | "adopted" | "running" | "paused" | "discarded" = "none";
  input: Uint8Array | undefined;
  ram: Uint8Array = new Uint8Array(0);
  isWhole = false;
  failsToRun = false;

  constructor(copies: Copies, pages = 128) {
    this.#copies = copies;
    this.ram = new Uint8Array(pages * PAGE_BYTES);
  }

  async prepare(_hello: Hello): Promise<IncomingVm | readonly MigrationObstacle[]> {
    if (this.obstacles.length > 0) return this.obstacles;
    this.state = "filling";
    const { ram } = this;
    return {
      ram,
      adopt: async (sections) => {
        if (sections.length !== 4) throw new Error("no such state");
        this.isWhole = crc32c(ram) === new DataView(sections.buffer, sections.byteOffset).getUint32(0);
        this.state = "adopted";
      },
      run: async ({ input }, isPaused) => {
        if (this.failsToRun) throw new Error("its thread ended");
        this.input = input;
        this.state = isPaused ? "paused" : "running";
        if (!isPaused) this.#copies.change(1);
      },
      discard: async () => {
        if (this.state === "running") throw new Error("discards what runs");
        this.state = "discarded";
      },
    };
  }

  async fateOf(id: Uint8Array): Promise<Fate> {
    const key = id.join();
    const fate = this.#fates.get(key) ?? "unknown";
    if (fate !== "held") return fate;
    this.#fates.set(key, "returned");
    this.state = "discarded";
    return "returned";
  }

  onFate(id: Uint8Array, fate: "held" | "running" | "returned"): void {
    this.#fates.set(id.join(), fate);
  }
}
