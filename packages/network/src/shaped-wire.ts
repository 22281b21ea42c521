/**
 * One direction of a wire that is slower, longer or worse than the host's memory: a rate by a token bucket, kept as the time at
 * which the bucket is full again (the generic cell rate algorithm, ITU-T I.371, Annex A), then a delay that varies, then loss. Frames
 * stay in order. Time and chance are the world's, so a run with the same ones is the same run.
 *
 * Left out: duplicates, damaged frames, loss that comes in bursts.
 */
import type { NetworkWorld, Timer } from "./world.ts";

/** Of one direction. What is absent does not hold. */
export interface WireLimits {
  /** Of whole frames, without preamble, check sequence and gap. 1000 to 1e11. */
  readonly bytesPerSecond?: number;
  /** So much goes at once after a silence, 1 to 2^30. Default: what the rate gives in 20 ms, but 16 KiB at least. */
  readonly burstBytes?: number;
  /** 0 to 10,000. */
  readonly latencyMs?: number;
  /** The latency is so much more or less, evenly; at most `latencyMs`. */
  readonly jitterMs?: number;
  /** Of frames, by chance: 0 to 1. */
  readonly loss?: number;
}

export const WIRE_LIMITS = {
  bytesPerSecond: [1000, 1e11],
  burstBytes: [1, 2 ** 30],
  latencyMs: [0, 10_000],
  jitterMs: [0, 10_000],
  loss: [0, 1],
} as const satisfies Record<keyof WireLimits, readonly [number, number]>;

/** So long frames wait for the rate, at most; one more finds no room. */
const MAX_WAIT_MS = 100;
/** Of frames on their way. */
const MAX_BYTES = 1 << 26;
const MAX_FRAMES = 1 << 16;
const BURST_MS = 20;
const LEAST_BURST_BYTES = 1 << 14;

export interface ShapedWireOptions<Special> {
  readonly world: Pick<NetworkWorld, "nowMs" | "setTimer" | "randomU32">;
  /** False: not taken; `pump` is called once it would be. */
  readonly deliver: (frame: Uint8Array, special: Special) => boolean;
  /** There is room again, after `push` or `hasRoom` said that there is none. */
  readonly ready: () => void;
}

interface UnderWay<Special> {
  readonly frame: Uint8Array;
  readonly special: Special;
  dueMs: number;
}

/** `Special`: what goes along with a frame. */
export class ShapedWire<Special> {
  readonly #options: ShapedWireOptions<Special>;
  #limits: WireLimits = {};
  #hasLimits = false;
  /** From `#first` on; what is in front has been delivered. */
  #frames: UnderWay<Special>[] = [];
  #first = 0;
  #bytes = 0;
  /** When the bucket is full again. */
  #fullMs = Number.NEGATIVE_INFINITY;
  #lastDueMs = Number.NEGATIVE_INFINITY;
  /** Somebody waits for room. */
  #isShort = false;
  /** The first frame is due and was not taken: it waits for its owner. */
  #isBlocked = false;
  #timer: Timer | undefined;

  constructor(options: ShapedWireOptions<Special>) {
    this.#options = options;
  }

  get limits(): WireLimits {
    return this.#limits;
  }

  /** They hold from now on, for frames on their way, too. Precondition: within WIRE_LIMITS. */
  set limits(limits: WireLimits) {
    this.#limits = limits;
    this.#hasLimits = Object.values(limits).some((value) => value !== undefined);
    const nowMs = this.#options.world.nowMs();
    this.#fullMs = this.#lastDueMs = nowMs;
    for (let i = this.#first; i < this.#frames.length; i++) {
      const underWay = this.#frames[i]!;
      underWay.dueMs = this.#dueMs(underWay.frame.length, nowMs);
    }
    this.pump();
  }

  /** A wire without limits and with nothing on it need not be asked. */
  get isPlain(): boolean {
    return !this.#hasLimits && this.#first === this.#frames.length;
  }

  /** False: `ready` is called once there is some. */
  hasRoom(): boolean {
    const isFree = this.#isFree();
    if (!isFree && !this.#isShort) {
      this.#isShort = true;
      this.#arm();
    }
    return isFree;
  }

  #isFree(): boolean {
    return !this.#isFull && this.#roomInMs() <= 0;
  }

  get #isFull(): boolean {
    return this.#frames.length - this.#first >= MAX_FRAMES || this.#bytes >= MAX_BYTES;
  }

  /** As far as the rate goes. */
  #roomInMs(): number {
    const nowMs = this.#options.world.nowMs();
    return this.#departsMs(nowMs) - nowMs - MAX_WAIT_MS;
  }

  /** The frame is the wire's from here on. False: there is no room for it. */
  push(frame: Uint8Array, special: Special): boolean {
    if (!this.hasRoom()) return false;
    const { world } = this.#options;
    if (world.randomU32() < (this.#limits.loss ?? 0) * 2 ** 32) return true;
    this.#frames.push({ frame, special, dueMs: this.#dueMs(frame.length, world.nowMs()) });
    this.#bytes += frame.length;
    this.#advance();
    return true;
  }

  /** When the bucket lets a frame go. */
  #departsMs(nowMs: number): number {
    const { bytesPerSecond, burstBytes } = this.#limits;
    if (bytesPerSecond === undefined) return nowMs;
    const burst = burstBytes ?? Math.max(LEAST_BURST_BYTES, (bytesPerSecond * BURST_MS) / 1000);
    return Math.max(nowMs, this.#fullMs - (burst / bytesPerSecond) * 1000);
  }

  #dueMs(bytes: number, nowMs: number): number {
    const { bytesPerSecond, latencyMs = 0, jitterMs = 0 } = this.#limits;
    const departsMs = this.#departsMs(nowMs);
    if (bytesPerSecond !== undefined) {
      this.#fullMs = Math.max(departsMs, this.#fullMs) + (bytes / bytesPerSecond) * 1000;
    }
    const varied = jitterMs === 0 ? 0 : jitterMs * ((this.#options.world.randomU32() / 2 ** 32) * 2 - 1);
    this.#lastDueMs = Math.max(this.#lastDueMs, departsMs + latencyMs + varied);
    return this.#lastDueMs;
  }

  /** What is due goes on, as far as it is taken. */
  pump(): void {
    this.#advance();
    if (!this.#isShort || !this.#isFree()) return;
    this.#isShort = false;
    this.#options.ready();
  }

  #advance(): void {
    const { world, deliver } = this.#options;
    while (this.#first < this.#frames.length) {
      const { frame, special, dueMs } = this.#frames[this.#first]!;
      const isDue = dueMs <= world.nowMs();
      this.#isBlocked = isDue && !deliver(frame, special);
      if (!isDue || this.#isBlocked) break;
      this.#first++;
      this.#bytes -= frame.length;
    }
    if (this.#first > 1024 || this.#first === this.#frames.length) {
      this.#frames = this.#frames.slice(this.#first);
      this.#first = 0;
    }
    this.#arm();
  }

  /** For the next frame, and for whoever waits for room. Time may have gone on since they were looked at. */
  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const { world } = this.#options;
    const next = this.#isBlocked ? undefined : this.#frames[this.#first];
    const nextMs = next ? next.dueMs - world.nowMs() : Number.POSITIVE_INFINITY;
    const roomMs = this.#isShort && !this.#isFull ? this.#roomInMs() : Number.POSITIVE_INFINITY;
    const afterMs = Math.max(0, Math.min(nextMs, roomMs));
    if (Number.isFinite(afterMs)) this.#timer = world.setTimer(afterMs, () => this.pump());
  }

  /** What is on the wire is lost. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#frames = [];
    this.#isBlocked = false;
    this.#first = 0;
    this.#bytes = 0;
  }
}
