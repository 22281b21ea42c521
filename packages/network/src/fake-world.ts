/** For tests: a host whose time goes on when it is told to, and whose peers are the test. */
import { formatIpAddress, type IpAddress } from "./address.ts";
import type { HostStream, HostUdp, NetworkWorld, StreamEvents, Timer, UdpEvents } from "./world.ts";

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly expired: () => void;
  isCancelled: boolean;
}

function isEarlier(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** A binary heap: thousands of connections have tens of thousands of timers. */
class Timers {
  readonly #heap: Due[] = [];
  #order = 0;
  count = 0;

  add(atMs: number, expired: () => void): Due {
    const due = { atMs, order: this.#order++, expired, isCancelled: false };
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && isEarlier(due, heap[parent]!); parent = (at - 1) >> 1) {
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = due;
    this.count++;
    return due;
  }

  cancel(due: Due): void {
    if (!due.isCancelled) this.count--;
    due.isCancelled = true;
  }

  /** The next one, or of those at one time the one that was set first; undefined: none is due by then. */
  take(limitMs: number): Due | undefined {
    for (let next = this.#heap[0]; next && next.atMs <= limitMs; next = this.#heap[0]) {
      this.#dropFirst();
      if (next.isCancelled) continue;
      this.cancel(next);
      return next;
    }
    return undefined;
  }

  #dropFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isEarlier(heap[child + 1]!, heap[child]!)) child++;
      if (!isEarlier(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

/** One end of a connection that a guest has opened: what arrived, and how to answer. */
export class FakeStream implements HostStream {
  readonly address: IpAddress;
  readonly port: number;
  readonly events: StreamEvents;
  readonly received: Uint8Array[] = [];
  pendingBytes = 0;
  isEnded = false;
  isDestroyed = false;
  isPaused = false;

  constructor(address: IpAddress, port: number, events: StreamEvents) {
    this.address = address;
    this.port = port;
    this.events = events;
  }

  write(bytes: Uint8Array): void {
    if (this.isEnded || this.isDestroyed) throw new Error("a write behind the end");
    this.received.push(bytes.slice());
  }

  end(): void {
    this.isEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  get bytes(): Uint8Array {
    return concatenated(this.received);
  }
}

export function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export interface FakeUdp {
  readonly events: UdpEvents;
  readonly sent: { readonly address: IpAddress; readonly port: number; readonly data: Uint8Array }[];
  isClosed: boolean;
}

export class FakeWorld implements NetworkWorld {
  readonly streams: FakeStream[] = [];
  readonly sockets: FakeUdp[] = [];
  readonly names = new Map<string, readonly IpAddress[] | Error>();
  readonly asked: string[] = [];
  #nowMs = 0;
  readonly #timers = new Timers();
  #random: number;

  constructor(seed = 1) {
    this.#random = seed;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(afterMs: number, expired: () => void): Timer {
    const due = this.#timers.add(this.#nowMs + afterMs, expired);
    return { cancel: () => this.#timers.cancel(due) };
  }

  get timers(): number {
    return this.#timers.count;
  }

  /** Numerical Recipes' generator: enough for tests. */
  randomU32(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random;
  }

  /** In [0, 1). */
  random(): number {
    return (this.randomU32() >>> 8) / 2 ** 24;
  }

  /** Runs the next timer that is due within `limitMs`; false: there is none. */
  step(limitMs = Number.POSITIVE_INFINITY): boolean {
    const next = this.#timers.take(this.#nowMs + limitMs);
    if (!next) return false;
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.expired();
    return true;
  }

  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    while (this.step(endMs - this.#nowMs));
    this.#nowMs = endMs;
  }

  connect(address: IpAddress, port: number, events: StreamEvents): HostStream {
    const stream = new FakeStream(address, port, events);
    this.streams.push(stream);
    return stream;
  }

  openUdp(_family: 4 | 6, events: UdpEvents): HostUdp {
    const socket: FakeUdp = { events, sent: [], isClosed: false };
    this.sockets.push(socket);
    return {
      send: (address, port, data) => void socket.sent.push({ address, port, data }),
      close: () => {
        socket.isClosed = true;
      },
    };
  }

  resolve(name: string, family: 4 | 6): Promise<readonly IpAddress[]> {
    this.asked.push(`${name}/${family}`);
    const found = this.names.get(name) ?? [];
    return found instanceof Error ? Promise.reject(found) : Promise.resolve(found);
  }
}

/** For messages of tests. */
export function textOf(stream: FakeStream): string {
  return `${formatIpAddress(stream.address)}:${stream.port}`;
}
