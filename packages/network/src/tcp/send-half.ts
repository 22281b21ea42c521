/**
 * What one side of a connection sends: what is next, what is lost, what is acknowledged (RFC 9293, 3.8; RFC 2018; RFC 6675's
 * scoreboard in its simplest form). The peer's window is the only limit: the link is the host's own memory, its one queue is
 * the card's, and that one says when it is full; so there is no congestion window. GUEST-CONTROLLED: acknowledgements.
 *
 * In recovery the holes below the highest selective acknowledgement are sent again, in one pass. If something that was sent
 * after the first hole's last repetition has arrived, that one was lost too, and a pass begins anew. Without selective
 * acknowledgements each partial one shows the next hole (RFC 6582).
 */
import type { Range } from "./segment.ts";
import { SendBuffer } from "./send-buffer.ts";
import { distance, plus } from "./sequence.ts";

const DUPLICATES = 3;
const MAX_RANGES = 64;

export interface Transmission {
  readonly sequence: number;
  readonly length: number;
  readonly isFin: boolean;
  /** Nothing more is there to be sent: the receiver should not wait. */
  readonly isPush: boolean;
  readonly isRepeated: boolean;
}

export type Acknowledged = "new" | "old" | "unsent";

export class SendHalf {
  readonly buffer = new SendBuffer();
  /** SND.UNA and SND.NXT. */
  una: number;
  next: number;
  /** In bytes, scaled. */
  window = 0;
  #maxWindow = 0;
  #finSequence: number | undefined;
  #isEnding = false;
  /** Sorted, disjoint, above `una`. */
  #sacked: [number, number][] = [];
  #duplicates = 0;
  #recoverUntil: number | undefined;
  /** Where the pass is, where it ends, and what was next when it began. */
  #resendAt = 0;
  #lossEdge = 0;
  #passMark = 0;
  /** Something was sent into the closed window, and is not acknowledged. */
  #isProbeOut = false;

  constructor(initialSequence: number) {
    this.una = initialSequence;
    this.next = plus(initialSequence, 1);
  }

  /** The last byte has been pushed. */
  end(): void {
    this.#isEnding = true;
  }

  get isFinAcknowledged(): boolean {
    return this.#finSequence !== undefined && distance(this.una, this.#finSequence) > 0;
  }

  get isFinSent(): boolean {
    return this.#finSequence !== undefined;
  }

  get inFlight(): number {
    return distance(this.next, this.una);
  }

  /** Something waits, and the window has no room that is worth a segment: only a probe gets on. Asked when `take` had nothing. */
  get isBlocked(): boolean {
    return this.inFlight === 0 && this.#unsent > 0;
  }

  get #unsent(): number {
    const fin = this.#isEnding && this.#finSequence === undefined ? 1 : 0;
    return this.#finSequence === undefined ? this.buffer.length - this.inFlight + fin : 0;
  }

  /** Precondition: the SYN is acknowledged, or this is its acknowledgement. */
  acknowledge(
    ack: number,
    window: number,
    sack: readonly Range[] | undefined,
    hasPayload: boolean,
    mss: number,
  ): Acknowledged {
    if (distance(ack, this.next) > 0) return "unsent";
    const count = distance(ack, this.una);
    if (count < 0) return "old";
    const isDuplicate = count === 0 && !hasPayload && window === this.window && this.inFlight > 0;
    this.window = window;
    this.#maxWindow = Math.max(this.#maxWindow, window);
    if (count > 0) this.#advance(ack, count);
    const isSacked = sack !== undefined && this.#note(sack);
    if (isDuplicate || isSacked) this.#duplicates++;
    this.#recover(count > 0, mss);
    // What was sent into a closed window was not taken, most likely: now that it is open it goes again, with what follows.
    if (this.#isProbeOut && window >= this.inFlight) {
      this.#isProbeOut = false;
      this.#recoverUntil = this.next;
      this.#beginPass(this.next);
    }
    return count > 0 ? "new" : "old";
  }

  #advance(ack: number, count: number): void {
    const isFin = this.#finSequence !== undefined && distance(ack, this.#finSequence) > 0;
    // The SYN takes a number but no byte of the buffer.
    this.buffer.drop(Math.min(this.buffer.length, count - (isFin ? 1 : 0) - (this.#isSynOut ? 1 : 0)));
    this.#isSynOut = false;
    this.una = ack;
    this.#isProbeOut = false;
    this.#duplicates = 0;
    this.#sacked = this.#sacked.filter(([, end]) => distance(end, ack) > 0);
  }

  #isSynOut = true;

  /** Adds the peer's ranges; false where they say nothing new. */
  #note(sack: readonly Range[]): boolean {
    let isNew = false;
    for (const [start, end] of sack) {
      const isSane = distance(start, this.una) > 0 && distance(end, start) > 0 && distance(end, this.next) <= 0;
      if (isSane && this.#addRange(start, end)) isNew = true;
    }
    return isNew;
  }

  #addRange(start: number, end: number): boolean {
    let [low, high] = [start, end];
    const apart: [number, number][] = [];
    for (const range of this.#sacked) {
      if (distance(range[0], low) <= 0 && distance(range[1], high) >= 0) return false;
      if (distance(range[1], low) < 0 || distance(range[0], high) > 0) apart.push(range);
      else {
        if (distance(range[0], low) < 0) low = range[0];
        if (distance(range[1], high) > 0) high = range[1];
      }
    }
    if (apart.length >= MAX_RANGES) return false;
    apart.push([low, high]);
    this.#sacked = apart.sort((a, b) => distance(a[0], b[0]));
    return true;
  }

  #recover(hasAdvanced: boolean, mss: number): void {
    const highest = this.#sacked.at(-1)?.[1];
    if (this.#recoverUntil !== undefined && distance(this.una, this.#recoverUntil) >= 0) this.#recoverUntil = undefined;
    if (this.#recoverUntil === undefined) {
      const isFar = highest !== undefined && distance(highest, this.una) > DUPLICATES * mss;
      if (this.#duplicates < DUPLICATES && !isFar) return;
      this.#recoverUntil = this.next;
      this.#beginPass(highest ?? plus(this.una, mss));
      return;
    }
    if (highest !== undefined) {
      if (distance(highest, this.#passMark) > 0) this.#beginPass(highest);
      else if (distance(highest, this.#lossEdge) > 0) this.#lossEdge = highest;
    } else if (hasAdvanced) this.#beginPass(plus(this.una, mss));
  }

  #beginPass(lossEdge: number): void {
    this.#resendAt = this.una;
    this.#lossEdge = distance(lossEdge, this.next) > 0 ? this.next : lossEdge;
    this.#passMark = this.next;
  }

  /** Nothing was acknowledged for too long: the first segment goes again, and the rest as acknowledgements come. */
  expired(mss: number): void {
    this.#sacked = [];
    this.#duplicates = 0;
    this.#recoverUntil = this.next;
    this.#beginPass(plus(this.una, mss));
  }

  /**
   * What to send now, at most `most` bytes of it; undefined: nothing, or it has to wait. `isProbe` sends what
   * there is room for, a byte into a closed window. The answer counts as sent. Precondition: the SYN is acknowledged.
   */
  take(mss: number, most: number, isProbe = false): Transmission | undefined {
    return this.#takeLost(mss) ?? this.#takeNew(mss, most, isProbe);
  }

  #takeLost(mss: number): Transmission | undefined {
    if (this.#recoverUntil === undefined) return undefined;
    if (distance(this.#resendAt, this.una) < 0) this.#resendAt = this.una;
    let end = this.#lossEdge;
    for (const [low, high] of this.#sacked) {
      if (distance(high, this.#resendAt) <= 0) continue;
      if (distance(low, this.#resendAt) > 0) {
        if (distance(low, end) < 0) end = low;
        break;
      }
      this.#resendAt = high;
    }
    const hole = distance(end, this.#resendAt);
    if (hole <= 0) return undefined;
    const sequence = this.#resendAt;
    const offset = distance(sequence, this.una);
    const length = Math.min(hole, mss, Math.max(0, this.buffer.length - offset));
    const isFin = this.#finSequence !== undefined && plus(sequence, length) === this.#finSequence && hole > length;
    if (length === 0 && !isFin) return undefined;
    this.#resendAt = plus(sequence, length + (isFin ? 1 : 0));
    return { sequence, length, isFin, isPush: true, isRepeated: true };
  }

  #takeNew(mss: number, most: number, isProbe: boolean): Transmission | undefined {
    if (this.#finSequence !== undefined) return undefined;
    const offset = this.inFlight;
    const waiting = this.buffer.length - offset;
    const open = Math.max(isProbe ? 1 : 0, this.window - offset);
    let length = Math.min(waiting, open, most);
    // Whole segments, so that only the last one is short.
    if (length > mss) length -= length % mss;
    const isAll = length === waiting;
    const isWorthwhile = isAll || length >= mss || isProbe || (offset === 0 && length >= this.#maxWindow / 2);
    if (!isWorthwhile) length = 0;
    const isFin = this.#isEnding && isAll && open > length;
    if (length === 0 && !isFin) return undefined;
    if (this.window <= offset) this.#isProbeOut = true;
    const sequence = this.next;
    if (isFin) this.#finSequence = plus(sequence, length);
    this.next = plus(sequence, length + (isFin ? 1 : 0));
    return { sequence, length, isFin, isPush: isAll, isRepeated: false };
  }
}
