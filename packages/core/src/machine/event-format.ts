/**
 * The bytes of a recording.
 *
 *   file    = magic (8 bytes), version (u32), chunk...
 *   chunk   = payload length (u32), CRC-32C of the payload (u32), payload
 *   payload = of the first chunk: the header as canonical CBOR; of all others: whole records
 *   record  = instructions since the previous record, kind | HAS_SKIPS, [skips,] fields
 *
 * All fixed-width numbers are little-endian; the numbers of a record are unsigned LEB128 of at most 53 bits. A channel is
 * written by name once and by number afterwards. The last record is "end": a recording without it was cut off.
 */
import type { StateValue } from "../devices/device.ts";
import { MAX_ERRNO } from "../devices/files/errno.ts";
import { decodeState, encodeState } from "../state/codec.ts";
import { StateError } from "../state/errors.ts";
import { StateReader } from "../state/reader.ts";
import { SHA256_BYTES } from "../state/sha256.ts";
import {
  type EventPosition,
  MAX_BLOCK_BYTES,
  MAX_CHANNEL_NAME,
  MAX_FILE_BYTES,
  MAX_INPUT_BYTES,
  type MachineEvent,
  type PowerRequest,
  ReplayError,
} from "./events.ts";

/** As PNG's: a byte above 127 and a line ending show what a text-mode transfer does to a file. */
export const RECORDING_MAGIC: Uint8Array = Uint8Array.from("\x89TWMEV\r\n", (c) => c.charCodeAt(0));
export const RECORDING_VERSION = 1;
export const CHUNK_TARGET_BYTES = 65_536;
export const MAX_CHUNK_BYTES: number = 2 ** 20;

const KIND = { clock: 0, epoch: 1, input: 2, power: 3, nmi: 4, check: 5, end: 6, block: 7, file: 8 } as const;
const HAS_SKIPS = 0x80;
const POWER: readonly PowerRequest[] = ["button", "reset", "off", "sleep"];

export interface RecordingHeader {
  /** The machine's spec in its saved form. */
  readonly spec: StateValue;
  /** Hash of the state that the run starts from; null: from power-on. */
  readonly startHash: Uint8Array | null;
  /** SHA-256 of the files that the run reads, by their role ("kernel", "initrd", "module0"). */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

export function encodeHeader(header: RecordingHeader): Uint8Array {
  return encodeState({ spec: header.spec, startHash: header.startHash, files: header.files });
}

export function decodeHeader(bytes: Uint8Array): RecordingHeader {
  try {
    const reader = new StateReader(decodeState(bytes, "recording"), "recording");
    const spec = reader.part("spec");
    const startHash = reader.part("startHash") === null ? null : reader.bytesExact("startHash", SHA256_BYTES);
    const files: Record<string, Uint8Array> = {};
    const fileReader = reader.object("files");
    for (const role of Object.keys(reader.part("files") as object))
      files[role] = fileReader.bytesExact(role, SHA256_BYTES);
    reader.end();
    return { spec, startHash, files };
  } catch (error) {
    if (error instanceof StateError)
      throw new ReplayError("format", `The recording's header is damaged: ${error.message}`);
    throw error;
  }
}

/** Collects records of one chunk. */
export class RecordWriter {
  readonly #channels = new Map<string, number>();
  #bytes = new Uint8Array(CHUNK_TARGET_BYTES);
  #length = 0;
  #retired = 0;

  get length(): number {
    return this.#length;
  }

  record(at: EventPosition, event: MachineEvent): void {
    this.#varint(at.retired - this.#retired);
    this.#retired = at.retired;
    this.#reserve(1);
    this.#bytes[this.#length++] = KIND[event.kind] | (at.skips > 0 ? HAS_SKIPS : 0);
    if (at.skips > 0) this.#varint(at.skips);
    switch (event.kind) {
      case "clock":
        this.#varint(event.advanceNs);
        this.#varint(event.psPerInstruction);
        break;
      case "epoch":
        this.#varint(event.advanceSeconds);
        break;
      case "input":
        this.#channel(event.channel);
        this.#varint(event.bytes.length);
        this.#raw(event.bytes);
        break;
      case "block":
        this.#channel(event.channel);
        this.#varint(event.id);
        this.#varint(event.isOk ? 1 : 0);
        this.#varint(event.bytes.length);
        this.#raw(event.bytes);
        break;
      case "file":
        this.#channel(event.channel);
        this.#varint(event.id);
        this.#varint(event.error);
        this.#varint(event.bytes.length);
        this.#raw(event.bytes);
        break;
      case "power":
        this.#varint(POWER.indexOf(event.action));
        break;
      case "check":
        this.#varint(event.digest);
        break;
      case "end":
        this.#raw(event.stateHash);
        break;
      case "nmi":
        break;
    }
  }

  /** The records since the last call. */
  take(): Uint8Array {
    const chunk = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return chunk;
  }

  #channel(name: string): void {
    const known = this.#channels.get(name);
    this.#varint(known ?? this.#channels.size);
    if (known !== undefined) return;
    this.#channels.set(name, this.#channels.size);
    const bytes = new TextEncoder().encode(name);
    this.#varint(bytes.length);
    this.#raw(bytes);
  }

  #varint(value: number): void {
    this.#reserve(8);
    while (value >= 0x80) {
      this.#bytes[this.#length++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    this.#bytes[this.#length++] = value;
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/** Takes records out of chunks. Everything it reads is untrusted. */
export class RecordReader {
  readonly #channels: string[] = [];
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #position: EventPosition = { retired: 0, skips: 0 };

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length;
  }

  feed(chunk: Uint8Array): void {
    this.#bytes = chunk;
    this.#at = 0;
  }

  record(): { readonly at: EventPosition; readonly event: MachineEvent } {
    const retired = this.#position.retired + this.#varint();
    if (!Number.isSafeInteger(retired)) throw this.#damaged("an instruction count above 2^53");
    const kind = this.#raw(1)[0]!;
    const skips = kind & HAS_SKIPS ? this.#varint() : 0;
    const at = { retired, skips };
    if (retired === this.#position.retired && skips < this.#position.skips) throw this.#damaged("events out of order");
    this.#position = at;
    return { at, event: this.#event(kind & ~HAS_SKIPS) };
  }

  #event(kind: number): MachineEvent {
    switch (kind) {
      case KIND.clock:
        return { kind: "clock", advanceNs: this.#varint(), psPerInstruction: this.#atMost(1_000_000, 1) };
      case KIND.epoch:
        return { kind: "epoch", advanceSeconds: this.#atMost(2 ** 40) };
      case KIND.input: {
        const channel = this.#channel();
        return { kind: "input", channel, bytes: this.#raw(this.#atMost(MAX_INPUT_BYTES)).slice() };
      }
      case KIND.block: {
        const channel = this.#channel();
        const id = this.#atMost(0xffff_ffff);
        const isOk = this.#atMost(1) === 1;
        return { kind: "block", channel, id, isOk, bytes: this.#raw(this.#atMost(MAX_BLOCK_BYTES)).slice() };
      }
      case KIND.file: {
        const channel = this.#channel();
        const id = this.#atMost(0xffff_ffff);
        const error = this.#atMost(MAX_ERRNO);
        return { kind: "file", channel, id, error, bytes: this.#raw(this.#atMost(MAX_FILE_BYTES)).slice() };
      }
      case KIND.power:
        return { kind: "power", action: POWER[this.#atMost(POWER.length - 1)]! };
      case KIND.nmi:
        return { kind: "nmi" };
      case KIND.check:
        return { kind: "check", digest: this.#atMost(0xffff_ffff) };
      case KIND.end:
        return { kind: "end", stateHash: this.#raw(SHA256_BYTES).slice() };
      default:
        throw this.#damaged(`an event of unknown kind ${kind}`);
    }
  }

  #channel(): string {
    const index = this.#atMost(this.#channels.length);
    if (index === this.#channels.length) {
      const bytes = this.#raw(this.#atMost(MAX_CHANNEL_NAME * 3)).slice();
      this.#channels.push(new TextDecoder().decode(bytes));
    }
    return this.#channels[index]!;
  }

  #atMost(max: number, min = 0): number {
    const value = this.#varint();
    if (value > max || value < min) throw this.#damaged(`the number ${value} where ${min} to ${max} is possible`);
    return value;
  }

  #varint(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 0x80) {
      const byte = this.#raw(1)[0]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw this.#damaged("a number of more than 53 bits");
  }

  #raw(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw this.#damaged("a record that goes beyond its chunk");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #damaged(what: string): ReplayError {
    const { retired } = this.#position;
    return new ReplayError("format", `The recording is damaged after instruction ${retired}: it has ${what}.`, retired);
  }
}
