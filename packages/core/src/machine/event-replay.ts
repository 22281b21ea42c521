/**
 * The event log of a replay: all events come from a recording, live ones are refused. Reads one event ahead, so that the
 * machine can end its budget at the next event's position.
 */
import { crc32c } from "../state/crc32c.ts";
import {
  decodeHeader,
  MAX_CHUNK_BYTES,
  RECORDING_MAGIC,
  RECORDING_VERSION,
  type RecordingHeader,
  RecordReader,
} from "./event-format.ts";
import { comparePositions, type EventLog, type EventPosition, type MachineEvent, ReplayError } from "./events.ts";

export interface ByteSource {
  /** Fills the start of `into` and returns how many bytes; 0 only at the end. */
  read(into: Uint8Array): number;
}

export class EventReplay implements EventLog {
  readonly mode = "replay";
  readonly header: RecordingHeader;
  readonly #source: ByteSource;
  readonly #reader = new RecordReader();
  #next: { readonly at: EventPosition; readonly event: MachineEvent } | undefined;
  #retired = 0;

  /** Throws ReplayError unless `source` starts as a recording that this version can read. */
  constructor(source: ByteSource) {
    this.#source = source;
    const start = new Uint8Array(RECORDING_MAGIC.length + 4);
    const length = this.#fill(start);
    if (length < RECORDING_MAGIC.length || RECORDING_MAGIC.some((byte, i) => start[i] !== byte)) {
      throw new ReplayError("format", "This file is no Twinmetal recording. Give the file that --record wrote.");
    }
    if (length < start.length) throw this.#truncated();
    const version = new DataView(start.buffer).getUint32(RECORDING_MAGIC.length, true);
    if (version !== RECORDING_VERSION) {
      throw new ReplayError(
        "version",
        `The recording has format version ${version}; this program reads version ${RECORDING_VERSION}. Use the version that wrote it.`,
      );
    }
    const header = this.#chunk();
    if (header === undefined) throw this.#truncated();
    this.header = decodeHeader(header);
    this.#advance();
  }

  get next(): EventPosition | undefined {
    return this.#next?.at;
  }

  enter(at: EventPosition, event: MachineEvent): void {
    throw new ReplayError(
      "live-input",
      `A replay takes all events from its recording; a live ${event.kind} event is not possible. Resume from a saved state instead.`,
      at.retired,
    );
  }

  take(at: EventPosition): MachineEvent | undefined {
    const next = this.#next;
    if (next === undefined) return undefined;
    const order = comparePositions(next.at, at);
    if (order > 0) return undefined;
    if (order < 0) {
      throw new ReplayError(
        "diverged",
        `The replay diverged at instruction ${at.retired}: it passed instruction ${next.at.retired}, where the recording has a ${next.event.kind} event.`,
        at.retired,
      );
    }
    if (next.event.kind === "end") this.#next = undefined;
    else this.#advance();
    return next.event;
  }

  wantsCheck(): boolean {
    return false;
  }

  finish(): void {}

  #advance(): void {
    while (this.#reader.isEmpty) {
      const chunk = this.#chunk();
      if (chunk === undefined) throw this.#truncated();
      this.#reader.feed(chunk);
    }
    this.#next = this.#reader.record();
    this.#retired = this.#next.at.retired;
  }

  /** The next chunk's payload; undefined at the end of the file. */
  #chunk(): Uint8Array | undefined {
    const head = new Uint8Array(8);
    const got = this.#fill(head);
    if (got === 0) return undefined;
    if (got < head.length) throw this.#truncated();
    const view = new DataView(head.buffer);
    const length = view.getUint32(0, true);
    if (length > MAX_CHUNK_BYTES) {
      throw new ReplayError("format", `The recording is damaged after instruction ${this.#retired}.`, this.#retired);
    }
    const payload = new Uint8Array(length);
    if (this.#fill(payload) < length) throw this.#truncated();
    if (crc32c(payload) !== view.getUint32(4, true)) {
      throw new ReplayError(
        "checksum",
        `The recording is damaged after instruction ${this.#retired}: a checksum does not match. Use an intact copy.`,
        this.#retired,
      );
    }
    return payload;
  }

  #fill(into: Uint8Array): number {
    let filled = 0;
    while (filled < into.length) {
      const got = this.#source.read(into.subarray(filled));
      if (got <= 0) break;
      filled += got;
    }
    return filled;
  }

  #truncated(): ReplayError {
    return new ReplayError(
      "truncated",
      `The recording ends after instruction ${this.#retired} without its end mark: the recording run was cut off, or the copy is incomplete.`,
      this.#retired,
    );
  }
}
