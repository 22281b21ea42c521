/**
 * Frames between the machine's thread and the thread that carries them (network-worker.ts): for each card two rings of bytes
 * in shared memory, in which a frame is its length and its bytes. Bounded: a frame for which there is no room is waited for
 * by the machine for a moment, once, and dropped; towards the machine it waits outside.
 *
 *   OUT: machine --> network; a change of WORK tells.   IN: network --> machine; a kick tells.   UP: the cable is plugged in.
 *
 * The rings are the VM's and outlive a change of its engine.
 */
import { NETWORK_LIMITS, type NetworkBackend, type ReceivedFrame } from "@twinmetal/core";
import { ServingEnd } from "../vm/serving-end.ts";

export interface FrameRing {
  readonly buffer: SharedArrayBuffer;
  /** The cards' channels. */
  readonly channels: readonly string[];
}

/** A power of two, so that positions may count on past 2^32. */
const RING_BYTES = 2 ** 19;
const HEADER_WORDS = 16;
const WORK = 0;
const CARD_WORDS = 16;
const CELL = {
  UP: 0,
  OUT_HEAD: 1,
  OUT_TAIL: 2,
  OUT_WAITS: 3,
  IN_HEAD: 4,
  IN_TAIL: 5,
  IN_WAITS: 6,
  /** The network takes what network-channel.ts calls offloaded. */
  TAKES_OFFLOADS: 7,
  /** The guest's driver takes large TCP segments. */
  TAKES_LARGE: 8,
} as const;
/** In front of a frame: its length, and what is special about it (OUT: 1 for offloaded; IN: the size of its pieces). */
const HEAD_BYTES = 8;
/** So long a machine may stand still for a network that takes nothing. */
const MAX_WAIT_MS = 20;

export function createFrameRing(channels: readonly string[]): FrameRing {
  const words = HEADER_WORDS + channels.length * CARD_WORDS;
  return { buffer: new SharedArrayBuffer(4 * words + 2 * RING_BYTES * channels.length), channels };
}

/** One direction of one card. Each end is used by one thread. */
class ByteRing {
  readonly #cells: Int32Array;
  readonly #head: number;
  readonly #tail: number;
  readonly #data: Uint8Array;
  readonly #frame = new Uint8Array(NETWORK_LIMITS.frameBytes);
  readonly #head8 = new Uint8Array(HEAD_BYTES);
  readonly #headView = new DataView(this.#head8.buffer);
  /** Of the frame that was taken last. */
  lastSpecial = 0;

  constructor(cells: Int32Array, head: number, tail: number, data: Uint8Array) {
    this.#cells = cells;
    this.#head = head;
    this.#tail = tail;
    this.#data = data;
  }

  get isEmpty(): boolean {
    return Atomics.load(this.#cells, this.#tail) === Atomics.load(this.#cells, this.#head);
  }

  get usedBytes(): number {
    return (Atomics.load(this.#cells, this.#tail) - Atomics.load(this.#cells, this.#head)) | 0;
  }

  hasRoom(frameBytes: number): boolean {
    return this.usedBytes + sizeOf(frameBytes) <= RING_BYTES;
  }

  /** Precondition: there is room. Whether the ring was empty before. */
  push(frame: Uint8Array, special = 0): boolean {
    const tail = Atomics.load(this.#cells, this.#tail);
    this.#headView.setUint32(0, frame.length, true);
    this.#headView.setUint32(4, special, true);
    this.#write(tail, this.#head8);
    this.#write(tail + HEAD_BYTES, frame);
    Atomics.store(this.#cells, this.#tail, (tail + sizeOf(frame.length)) | 0);
    return Atomics.load(this.#cells, this.#head) === tail;
  }

  /** Valid until the next call. */
  take(): Uint8Array | undefined {
    const head = Atomics.load(this.#cells, this.#head);
    if (Atomics.load(this.#cells, this.#tail) === head) return undefined;
    this.#read(head, this.#head8);
    const length = Math.min(this.#headView.getUint32(0, true), NETWORK_LIMITS.frameBytes);
    this.lastSpecial = this.#headView.getUint32(4, true);
    const frame = this.#frame.subarray(0, length);
    this.#read(head + HEAD_BYTES, frame);
    Atomics.store(this.#cells, this.#head, (head + sizeOf(length)) | 0);
    return frame;
  }

  #write(position: number, bytes: Uint8Array): void {
    const at = offsetOf(position);
    const first = Math.min(bytes.length, RING_BYTES - at);
    this.#data.set(bytes.subarray(0, first), at);
    this.#data.set(bytes.subarray(first), 0);
  }

  #read(position: number, into: Uint8Array): void {
    const at = offsetOf(position);
    const first = Math.min(into.length, RING_BYTES - at);
    into.set(this.#data.subarray(at, at + first));
    into.set(this.#data.subarray(0, into.length - first), first);
  }
}

const offsetOf = (position: number): number => position & (RING_BYTES - 1);
/** Of a frame with its length, in whole words. */
const sizeOf = (frameBytes: number): number => (HEAD_BYTES + frameBytes + 3) & ~3;

interface CardRings {
  readonly cells: Int32Array;
  /** Of the card's first cell. */
  readonly at: number;
  readonly out: ByteRing;
  readonly in: ByteRing;
}

function cardRings({ buffer, channels }: FrameRing): CardRings[] {
  const cells = new Int32Array(buffer, 0, HEADER_WORDS + channels.length * CARD_WORDS);
  return channels.map((_channel, index) => {
    const at = HEADER_WORDS + index * CARD_WORDS;
    const start = cells.byteLength + 2 * RING_BYTES * index;
    const ring = (head: number, tail: number, number: number): ByteRing =>
      new ByteRing(cells, at + head, at + tail, new Uint8Array(buffer, start + number * RING_BYTES, RING_BYTES));
    return { cells, at, out: ring(CELL.OUT_HEAD, CELL.OUT_TAIL, 0), in: ring(CELL.IN_HEAD, CELL.IN_TAIL, 1) };
  });
}

/** The machine's end. */
export class RingNetwork implements NetworkBackend {
  readonly #cards = new Map<string, CardRings & { isCongested: boolean }>();

  constructor(ring: FrameRing) {
    for (const [i, rings] of cardRings(ring).entries()) {
      this.#cards.set(ring.channels[i]!, { ...rings, isCongested: false });
    }
  }

  takesOffloads(channel: string): boolean {
    const card = this.#cards.get(channel);
    return card !== undefined && Atomics.load(card.cells, card.at + CELL.TAKES_OFFLOADS) === 1;
  }

  setTakesLarge(channel: string, isTaken: boolean): void {
    const card = this.#cards.get(channel);
    if (card) Atomics.store(card.cells, card.at + CELL.TAKES_LARGE, isTaken ? 1 : 0);
  }

  send(channel: string, frame: Uint8Array, isOffloaded: boolean): void {
    const card = this.#cards.get(channel);
    if (!card || frame.length > NETWORK_LIMITS.frameBytes || !this.isUp(channel)) return;
    if (!card.out.hasRoom(frame.length) && !waitForRoom(card, frame.length)) return;
    card.isCongested = false;
    if (!card.out.push(frame, isOffloaded ? 1 : 0)) return;
    Atomics.add(card.cells, WORK, 1);
    Atomics.notify(card.cells, WORK);
  }

  hasFrame(channel: string): boolean {
    return this.#cards.get(channel)?.in.isEmpty === false;
  }

  take(channel: string): ReceivedFrame | undefined {
    const card = this.#cards.get(channel);
    const bytes = card?.in.take();
    // A ring that is half empty is worth waking somebody for; one frame's room is not.
    if (card && Atomics.load(card.cells, card.at + CELL.IN_WAITS) === 1 && card.in.usedBytes <= RING_BYTES / 2) {
      Atomics.store(card.cells, card.at + CELL.IN_WAITS, 0);
      Atomics.add(card.cells, WORK, 1);
      Atomics.notify(card.cells, WORK);
    }
    return bytes && { bytes, segmentBytes: card!.in.lastSpecial };
  }

  isUp(channel: string): boolean {
    const card = this.#cards.get(channel);
    return card !== undefined && Atomics.load(card.cells, card.at + CELL.UP) === 1;
  }
}

/** A network that took nothing for so long is not waited for again, until it does. */
function waitForRoom(card: CardRings & { isCongested: boolean }, frameBytes: number): boolean {
  const { cells, at, out } = card;
  if (card.isCongested) return false;
  const endMs = performance.now() + MAX_WAIT_MS;
  for (let leftMs = MAX_WAIT_MS; leftMs > 0; leftMs = endMs - performance.now()) {
    const head = Atomics.load(cells, at + CELL.OUT_HEAD);
    Atomics.store(cells, at + CELL.OUT_WAITS, 1);
    if (out.hasRoom(frameBytes)) return true;
    Atomics.wait(cells, at + CELL.OUT_HEAD, head, leftMs);
    if (out.hasRoom(frameBytes)) return true;
  }
  card.isCongested = true;
  return false;
}

/** The network's end of one card. */
export class CardEnd {
  readonly #rings: CardRings;
  readonly #kick: () => void;

  constructor(rings: CardRings, kick: () => void) {
    this.#rings = rings;
    this.#kick = kick;
  }

  setUp(isUp: boolean): void {
    const { cells, at } = this.#rings;
    if (Atomics.exchange(cells, at + CELL.UP, isUp ? 1 : 0) !== (isUp ? 1 : 0)) this.#kick();
  }

  /** Whether the network takes what is offloaded, from the next frame on. At first it does not. */
  setTakesOffloads(isTaken: boolean): void {
    Atomics.store(this.#rings.cells, this.#rings.at + CELL.TAKES_OFFLOADS, isTaken ? 1 : 0);
  }

  get takesLarge(): boolean {
    return Atomics.load(this.#rings.cells, this.#rings.at + CELL.TAKES_LARGE) === 1;
  }

  /** The frame that was taken last is offloaded. */
  get isOffloaded(): boolean {
    return this.#rings.out.lastSpecial === 1;
  }

  /** What the guest has sent. Valid until the next call. */
  take(): Uint8Array | undefined {
    const frame = this.#rings.out.take();
    const { cells, at } = this.#rings;
    if (Atomics.load(cells, at + CELL.OUT_WAITS) === 1) {
      Atomics.store(cells, at + CELL.OUT_WAITS, 0);
      Atomics.notify(cells, at + CELL.OUT_HEAD);
    }
    return frame;
  }

  /** False: WORK changes once there is room. */
  hasRoom(frameBytes: number): boolean {
    const { cells, at } = this.#rings;
    const ring = this.#rings.in;
    if (ring.hasRoom(frameBytes)) return true;
    Atomics.store(cells, at + CELL.IN_WAITS, 1);
    return ring.hasRoom(frameBytes);
  }

  /** False: there is no room, and WORK changes once there is some. */
  deliver(frame: Uint8Array, segmentBytes = 0): boolean {
    if (!this.hasRoom(frame.length)) return false;
    if (this.#rings.in.push(frame, segmentBytes)) this.#kick();
    return true;
  }
}

/** The network's end of all cards. */
export class RingCards extends ServingEnd {
  readonly ends: readonly CardEnd[];

  constructor(ring: FrameRing, kick: () => void) {
    super(new Int32Array(ring.buffer, 0, HEADER_WORDS), WORK);
    this.ends = cardRings(ring).map((rings) => new CardEnd(rings, kick));
  }
}
