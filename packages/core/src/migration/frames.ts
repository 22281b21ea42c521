/**
 * The stream of a migration: eight bytes that name protocol and version from each side, then frames.
 *
 *   0  u32  length of the payload
 *   4  u8   type
 *   5  u8   how much of the payload's start the checksum covers, in units below; 0 = all of it
 *   6  u16  0
 *   8  u32  CRC-32C of bytes 0-7 and of the covered payload
 *
 * Pages have checksums of their own (page-batch.ts), so the frame's covers their directory only. Whoever is at the
 * other end may be anybody: a frame's type and length are checked before a byte of it is kept.
 */
import { crc32c } from "../state/crc32c.ts";
import { MigrationError } from "./errors.ts";
import type { CancelSignal, MigrationLink, MigrationTime } from "./link.ts";
import { within } from "./waiting.ts";

export const PROTOCOL_VERSION = 1;
const PREAMBLE = Uint8Array.from("TWMIG\r\n", (c) => c.charCodeAt(0));
export const PREAMBLE_BYTES = 8;
export const FRAME_HEADER_BYTES = 12;
const COVER_UNIT = 64;

export const FRAME = {
  HELLO: 1,
  ANSWER: 2,
  ROUND: 3,
  PAGES: 4,
  ROUND_END: 5,
  ROUND_ACK: 6,
  STATE: 7,
  FINISH: 8,
  READY: 9,
  RELEASE: 10,
  RUNNING: 11,
  CANCEL: 12,
  FAILED: 13,
  QUERY: 14,
  FATE: 15,
} as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

const SMALL = 4096;
/** The longest payload of each type. */
export const MAX_PAYLOAD_BYTES: Readonly<Record<FrameType, number>> = {
  [FRAME.HELLO]: 512 * 1024,
  [FRAME.ANSWER]: 64 * 1024,
  [FRAME.ROUND]: SMALL,
  [FRAME.PAGES]: 300 * 1024,
  [FRAME.ROUND_END]: SMALL,
  [FRAME.ROUND_ACK]: SMALL,
  [FRAME.STATE]: 64 * 1024 * 1024,
  [FRAME.FINISH]: SMALL,
  [FRAME.READY]: SMALL,
  [FRAME.RELEASE]: 1024 * 1024,
  [FRAME.RUNNING]: SMALL,
  [FRAME.CANCEL]: SMALL,
  [FRAME.FAILED]: 64 * 1024,
  [FRAME.QUERY]: SMALL,
  [FRAME.FATE]: SMALL,
};

export interface Frame {
  readonly type: FrameType;
  readonly payload: Uint8Array;
}

/** `coveredBytes`: of the payload's start; what follows has checksums of its own. */
export function encodeFrame(type: FrameType, payload: Uint8Array, coveredBytes: number = payload.length): Uint8Array {
  if (payload.length > MAX_PAYLOAD_BYTES[type])
    throw new RangeError(`${payload.length} bytes in a frame of type ${type}`);
  const units = coveredBytes === payload.length ? 0 : Math.ceil(coveredBytes / COVER_UNIT);
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint8(4, type);
  view.setUint8(5, units);
  bytes.set(payload, FRAME_HEADER_BYTES);
  view.setUint32(8, checksum(bytes.subarray(0, 8), payload, units), true);
  return bytes;
}

function checksum(head: Uint8Array, payload: Uint8Array, units: number): number {
  return crc32c(units === 0 ? payload : payload.subarray(0, units * COVER_UNIT), crc32c(head));
}

export function encodePreamble(): Uint8Array {
  const bytes = new Uint8Array(PREAMBLE_BYTES);
  bytes.set(PREAMBLE);
  bytes[PREAMBLE_BYTES - 1] = PROTOCOL_VERSION;
  return bytes;
}

/** A link whose peer speaks frames. Every failure of it is a MigrationError. */
export class FramedLink {
  readonly #link: MigrationLink;
  readonly #time: MigrationTime;
  #chunks: Uint8Array[] = [];
  #available = 0;
  sentBytes = 0;

  constructor(link: MigrationLink, time: MigrationTime) {
    this.#link = link;
    this.#time = time;
  }

  get isBacklogged(): boolean {
    return this.#link.isBacklogged;
  }

  close(): void {
    this.#link.close();
  }

  async sendPreamble(timeoutMs: number): Promise<void> {
    await this.#sendBytes(encodePreamble(), timeoutMs);
  }

  async receivePreamble(timeoutMs: number, cancel?: CancelSignal): Promise<void> {
    const bytes = await this.#take(PREAMBLE_BYTES, this.#time.nowMs() + timeoutMs, timeoutMs, cancel);
    if (PREAMBLE.some((byte, i) => bytes[i] !== byte)) {
      throw new MigrationError(
        "bad-peer",
        "What answers there is no Twinmetal that takes part in a migration. Check the address.",
      );
    }
    const version = bytes[PREAMBLE_BYTES - 1]!;
    if (version === PROTOCOL_VERSION) return;
    throw new MigrationError(
      "version",
      `The other side speaks version ${version} of the migration protocol, this one ${PROTOCOL_VERSION}. Use the same version of Twinmetal on both.`,
    );
  }

  async send(
    type: FrameType,
    payload: Uint8Array,
    timeoutMs: number,
    options: { readonly coveredBytes?: number; readonly cancel?: CancelSignal } = {},
  ): Promise<void> {
    await this.#sendBytes(encodeFrame(type, payload, options.coveredBytes), timeoutMs, options.cancel);
  }

  /** The next frame, of one of these types; FAILED and CANCEL of the peer are thrown as what they say. */
  async receive(types: readonly FrameType[], timeoutMs: number, cancel?: CancelSignal): Promise<Frame> {
    const deadlineMs = this.#time.nowMs() + timeoutMs;
    const head = await this.#take(FRAME_HEADER_BYTES, deadlineMs, timeoutMs, cancel);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    const length = view.getUint32(0, true);
    const type = view.getUint8(4) as FrameType;
    const units = view.getUint8(5);
    const isWanted = types.includes(type) || type === FRAME.FAILED || type === FRAME.CANCEL;
    if (!isWanted || view.getUint16(6, true) !== 0 || (units !== 0 && type !== FRAME.PAGES)) {
      throw new MigrationError("bad-peer", `The other side sent a frame of type ${type}, which does not belong here.`);
    }
    if (length > MAX_PAYLOAD_BYTES[type]) {
      throw new MigrationError(
        "bad-peer",
        `The other side sent a frame of ${length} bytes, more than its type ${type} can have.`,
      );
    }
    const payload = await this.#take(length, deadlineMs, timeoutMs, cancel);
    if (checksum(head.subarray(0, 8), payload, units) !== view.getUint32(8, true)) {
      throw new MigrationError("corrupt", "A frame arrived damaged: its checksum does not match.");
    }
    return { type, payload };
  }

  async #sendBytes(bytes: Uint8Array, timeoutMs: number, cancel?: CancelSignal): Promise<void> {
    this.sentBytes += bytes.length;
    const late = (): Error =>
      new MigrationError("stalled", `The other side has taken nothing for ${timeoutMs / 1000} s.`);
    try {
      await within(this.#link.send(bytes), this.#time, timeoutMs, late, cancel);
    } catch (error) {
      throw asLost(error);
    }
  }

  /** False: the other side has ended, and everything was read. */
  async hasMore(timeoutMs: number, cancel?: CancelSignal): Promise<boolean> {
    return this.#available > 0 || (await this.#fetch(this.#time.nowMs() + timeoutMs, timeoutMs, cancel));
  }

  async #fetch(deadlineMs: number, timeoutMs: number, cancel?: CancelSignal): Promise<boolean> {
    const late = (): Error =>
      new MigrationError("stalled", `The other side has said nothing for ${timeoutMs / 1000} s.`);
    let chunk: Uint8Array | undefined;
    try {
      chunk = await within(this.#link.receive(), this.#time, deadlineMs - this.#time.nowMs(), late, cancel);
    } catch (error) {
      throw asLost(error);
    }
    if (chunk === undefined) return false;
    this.#chunks.push(chunk);
    this.#available += chunk.length;
    return true;
  }

  async #take(count: number, deadlineMs: number, timeoutMs: number, cancel?: CancelSignal): Promise<Uint8Array> {
    while (this.#available < count) {
      if (await this.#fetch(deadlineMs, timeoutMs, cancel)) continue;
      throw new MigrationError("link-lost", "The other side has closed the link.");
    }
    return this.#cut(count);
  }

  #cut(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let at = 0; at < count; ) {
      const first = this.#chunks[0]!;
      const part = first.subarray(0, count - at);
      out.set(part, at);
      at += part.length;
      if (part.length === first.length) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(part.length);
    }
    this.#available -= count;
    return out;
  }
}

function asLost(error: unknown): unknown {
  if (error instanceof MigrationError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new MigrationError("link-lost", `The link broke: ${why}.`, { cause: error });
}
