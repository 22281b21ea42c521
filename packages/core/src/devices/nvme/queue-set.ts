/**
 * The queues of an NVMe controller (NVM Express 1.4, chapter 4): submission queues by number, completion queues by number, 0
 * the admin pair, in guest memory, whole in one piece. A command is fetched only where its completion has room, so that a
 * full completion queue costs its driver waiting and nobody memory.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import {
  CQ_ENTRY_BYTES,
  IO_QUEUES,
  type NvmeCommand,
  PAGE_BYTES,
  parseCommand,
  QUEUE_ENTRIES,
  SQ_ENTRY_BYTES,
  VECTORS,
} from "./registers.ts";

export interface SubmissionQueue {
  readonly id: number;
  readonly gpa: number;
  readonly entries: number;
  readonly cq: number;
  head: number;
  tail: number;
  /** Commands that were fetched and have no completion; asynchronous event requests are none of them. */
  underWay: number;
  /** The command that deletes this queue, and waits for what is under way. */
  deletedBy: number | undefined;
}

export interface CompletionQueue {
  readonly id: number;
  readonly gpa: number;
  readonly entries: number;
  /** Undefined: without interrupts. */
  readonly vector: number | undefined;
  head: number;
  tail: number;
  phase: 0 | 1;
  /** Completions for which there has to be room. */
  reserved: number;
}

export interface Completion {
  readonly cid: number;
  readonly status: number;
  readonly result?: number;
}

export class QueueSet {
  readonly #memory: GuestMemory;
  readonly submissions = new Map<number, SubmissionQueue>();
  readonly completions = new Map<number, CompletionQueue>();

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  addSubmission(queue: Pick<SubmissionQueue, "id" | "gpa" | "entries" | "cq">): void {
    this.submissions.set(queue.id, { ...queue, head: 0, tail: 0, underWay: 0, deletedBy: undefined });
  }

  addCompletion(queue: Pick<CompletionQueue, "id" | "gpa" | "entries" | "vector">): void {
    this.completions.set(queue.id, { ...queue, head: 0, tail: 0, phase: 1, reserved: 0 });
  }

  clear(): void {
    this.submissions.clear();
    this.completions.clear();
  }

  /** Entries that the driver has not taken. */
  pending({ head, tail, entries }: CompletionQueue): number {
    return (tail - head + entries) % entries;
  }

  hasRoom(queue: CompletionQueue): boolean {
    return this.pending(queue) + queue.reserved < queue.entries - 1;
  }

  /** The next command, whose completion has a place from now on; undefined: none that can be taken; "lost": not in memory. */
  fetch(queue: SubmissionQueue): NvmeCommand | "lost" | undefined {
    const completion = this.completions.get(queue.cq);
    if (queue.head === queue.tail || queue.deletedBy !== undefined || !completion) return undefined;
    if (!this.hasRoom(completion)) return undefined;
    const bytes = new Uint8Array(SQ_ENTRY_BYTES);
    if (!this.#memory.read(queue.gpa + queue.head * SQ_ENTRY_BYTES, bytes)) return "lost";
    queue.head = (queue.head + 1) % queue.entries;
    queue.underWay++;
    completion.reserved++;
    return parseCommand(bytes);
  }

  /** The command keeps no place: it may wait for ever. */
  release(queue: SubmissionQueue): void {
    queue.underWay--;
    this.completions.get(queue.cq)!.reserved--;
  }

  /** Writes a completion in the place that `fetch` kept. False: not in RAM. The queue it is in. */
  complete(queue: SubmissionQueue, completion: Completion): CompletionQueue | undefined {
    this.release(queue);
    return this.post(queue, completion);
  }

  /** Precondition: there is room. */
  post({ id, head, cq }: SubmissionQueue, { cid, status, result = 0 }: Completion): CompletionQueue | undefined {
    const queue = this.completions.get(cq)!;
    const bytes = new Uint8Array(CQ_ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, result, true);
    view.setUint16(8, head, true);
    view.setUint16(10, id, true);
    view.setUint16(12, cid, true);
    view.setUint16(14, (status << 1) | queue.phase, true);
    if (!this.#memory.write(queue.gpa + queue.tail * CQ_ENTRY_BYTES, bytes)) return undefined;
    queue.tail = (queue.tail + 1) % queue.entries;
    if (queue.tail === 0) queue.phase = queue.phase === 1 ? 0 : 1;
    return queue;
  }

  save(): Readonly<Record<string, StateValue>> {
    return {
      submissions: [...this.submissions.values()].map(({ id, gpa, entries, cq, head, tail, deletedBy = null }) => ({
        ...{ id, gpa, entries, head, tail },
        cq,
        deletedBy,
      })),
      completions: [...this.completions.values()].map(({ id, gpa, entries, head, tail, vector = null, phase }) => ({
        ...{ id, gpa, entries, head, tail },
        vector,
        phase,
      })),
    };
  }

  /** `underWay` by submission queue, as the commands say that are under way. Throws StateError. */
  restore(reader: StateReader, underWay: ReadonlyMap<number, number>): void {
    this.clear();
    for (const saved of reader.array("completions", IO_QUEUES + 1)) {
      const place = readPlace(saved);
      const vector = saved.part("vector") === null ? undefined : saved.int("vector", 0, VECTORS - 1);
      const phase = saved.int("phase", 0, 1) === 1 ? 1 : 0;
      const queue = { ...place, vector, phase, reserved: 0 } as const;
      saved.end();
      if (this.completions.has(queue.id)) throw saved.invalid("id", "is another queue's");
      this.completions.set(queue.id, { ...queue });
    }
    for (const saved of reader.array("submissions", IO_QUEUES + 1)) {
      const place = readPlace(saved);
      const deletedBy = saved.part("deletedBy") === null ? undefined : saved.u16("deletedBy");
      const queue = { ...place, cq: saved.int("cq", 0, IO_QUEUES), underWay: underWay.get(place.id) ?? 0, deletedBy };
      saved.end();
      const completion = this.completions.get(queue.cq);
      if (this.submissions.has(queue.id) || !completion || (queue.id === 0) !== (queue.cq === 0))
        throw saved.invalid("cq", "is no completion queue of this one");
      if (deletedBy !== undefined && queue.underWay === 0) throw saved.invalid("deletedBy", "waits for nothing");
      completion.reserved += queue.underWay;
      this.submissions.set(queue.id, queue);
    }
    for (const id of underWay.keys())
      if (!this.submissions.has(id)) throw reader.invalid("submissions", "lack a command's queue");
    const admin = this.submissions.get(0);
    if (!admin && this.completions.size > 0) throw reader.invalid("submissions", "lack the admin queue");
    for (const { deletedBy } of this.submissions.values()) {
      if (deletedBy === undefined) continue;
      admin!.underWay++;
      this.completions.get(0)!.reserved++;
    }
    for (const queue of this.completions.values()) {
      if (this.pending(queue) + queue.reserved >= queue.entries)
        throw reader.invalid("completions", "have no room for what is under way");
    }
  }
}

function readPlace(saved: StateReader): { id: number; gpa: number; entries: number; head: number; tail: number } {
  const entries = saved.int("entries", QUEUE_ENTRIES.min, QUEUE_ENTRIES.max);
  const place = {
    id: saved.int("id", 0, IO_QUEUES),
    gpa: saved.int("gpa", 0, 2 ** 52 - 1),
    entries,
    head: saved.int("head", 0, entries - 1),
    tail: saved.int("tail", 0, entries - 1),
  };
  if (place.gpa % PAGE_BYTES !== 0) throw saved.invalid("gpa", "is no page's address");
  return place;
}
