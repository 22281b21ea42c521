/**
 * The event log of a recorded run: every event goes to a sink in checked chunks. `flush` bounds what a crash of the host
 * loses; `finish` writes the end mark, without which a replay reports a truncated recording.
 */
import { crc32c } from "../state/crc32c.ts";
import {
  CHUNK_TARGET_BYTES,
  encodeHeader,
  RECORDING_MAGIC,
  RECORDING_VERSION,
  type RecordingHeader,
  RecordWriter,
} from "./event-format.ts";
import type { EventLog, EventPosition, MachineEvent } from "./events.ts";

export interface ByteSink {
  /** Takes all of `bytes`, which the caller then no longer touches. */
  write(bytes: Uint8Array): void;
}

/** Instructions between two checks of the vCPU's state: about one in 0.1 s, a hundred bytes a minute. */
const CHECK_INTERVAL = 2 ** 24;

export class EventRecorder implements EventLog {
  readonly mode = "record";
  readonly next = undefined;
  readonly #sink: ByteSink;
  readonly #writer = new RecordWriter();
  readonly #checkInterval: number;
  #nextCheck: number;
  #finished = false;

  /** `startRetired` is the machine's count when the recording starts. */
  constructor(sink: ByteSink, header: RecordingHeader, startRetired = 0, checkInterval: number = CHECK_INTERVAL) {
    this.#sink = sink;
    this.#checkInterval = checkInterval;
    this.#nextCheck = startRetired + checkInterval;
    const start = new Uint8Array(RECORDING_MAGIC.length + 4);
    start.set(RECORDING_MAGIC);
    new DataView(start.buffer).setUint32(RECORDING_MAGIC.length, RECORDING_VERSION, true);
    sink.write(start);
    this.#chunk(encodeHeader(header));
  }

  enter(at: EventPosition, event: MachineEvent): void {
    if (this.#finished) return;
    if (event.kind === "check") this.#nextCheck = at.retired + this.#checkInterval;
    this.#writer.record(at, event);
    if (this.#writer.length >= CHUNK_TARGET_BYTES) this.flush();
  }

  take(): undefined {
    return undefined;
  }

  wantsCheck(retired: number): boolean {
    return retired >= this.#nextCheck && !this.#finished;
  }

  flush(): void {
    if (this.#writer.length > 0) this.#chunk(this.#writer.take());
  }

  /** The recording ends at `at`. Later events are dropped. */
  finish(at: EventPosition, stateHash: Uint8Array): void {
    if (this.#finished) return;
    this.enter(at, { kind: "end", stateHash });
    this.flush();
    this.#finished = true;
  }

  #chunk(payload: Uint8Array): void {
    const head = new Uint8Array(8);
    const view = new DataView(head.buffer);
    view.setUint32(0, payload.length, true);
    view.setUint32(4, crc32c(payload), true);
    this.#sink.write(head);
    this.#sink.write(payload);
  }
}
