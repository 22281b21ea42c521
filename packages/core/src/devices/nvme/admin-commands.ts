/**
 * Admin commands of an NVMe controller (NVM Express 1.4, chapter 5). Left out: firmware update, formatting, security,
 * namespace management, virtualisation, directives, self-tests, keep alive.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { Answer, Features } from "./features.ts";
import { identify } from "./identify.ts";
import { type AsyncEvents, LOG, type LogPages } from "./log-pages.ts";
import { ALL_NAMESPACES, MAX_TRANSFER_BYTES, NAMESPACE, type NvmeDisk } from "./nvme-work.ts";
import { resolvePrps, scatter } from "./prp.ts";
import type { QueueSet } from "./queue-set.ts";
import { ADMIN, IO_QUEUES, type NvmeCommand, PAGE_BYTES, QUEUE_ENTRIES, STATUS, VECTORS } from "./registers.ts";

export interface AdminParts {
  readonly memory: GuestMemory;
  readonly disk: NvmeDisk;
  readonly queues: QueueSet;
  readonly features: Features;
  readonly logs: LogPages;
  readonly events: AsyncEvents;
  /** CC.IOSQES and CC.IOCQES are those of the NVM command set. */
  readonly hasEntrySizes: () => boolean;
}

/** "event": completed when something happens; "deletion": when what is under way in its queue has come back. */
export type AdminAnswer = Answer | "event" | "deletion";

const CONTIGUOUS = 1;
const INTERRUPTS = 2;
const RETAIN_EVENT = 1 << 15;
const NOT_ABORTED = 1;
const OK: Answer = { status: STATUS.SUCCESS };

export function adminCommand(command: NvmeCommand, parts: AdminParts): AdminAnswer {
  const { dwords, opcode, cid } = command;
  if (!command.isPlain) return { status: STATUS.INVALID_FIELD };
  switch (opcode) {
    case ADMIN.IDENTIFY:
      return identifyCommand(command, parts);
    case ADMIN.CREATE_IO_CQ:
      return createCompletion(command, parts);
    case ADMIN.CREATE_IO_SQ:
      return createSubmission(command, parts);
    case ADMIN.DELETE_IO_CQ:
      return deleteCompletion(dwords[0] & 0xffff, parts.queues);
    case ADMIN.DELETE_IO_SQ:
      return deleteSubmission(dwords[0] & 0xffff, cid, parts.queues);
    case ADMIN.GET_FEATURES:
      return parts.features.get(dwords[0], dwords[1]);
    case ADMIN.SET_FEATURES:
      return parts.features.set(dwords[0], dwords[1], parts.queues.completions.size > 1);
    case ADMIN.GET_LOG_PAGE:
      return logPage(command, parts);
    case ADMIN.ABORT:
      // What was fetched is at the disk, and comes back from there.
      return { status: STATUS.SUCCESS, result: NOT_ABORTED };
    case ADMIN.ASYNC_EVENT_REQUEST:
      if (parts.events.isFull) return { status: STATUS.TOO_MANY_EVENTS };
      parts.events.request(cid);
      return "event";
    default:
      return { status: STATUS.INVALID_OPCODE };
  }
}

function identifyCommand(command: NvmeCommand, parts: AdminParts): Answer {
  const bytes = identify(command.dwords[0] & 0xff, command.nsid, parts.disk);
  if (bytes === undefined) return { status: STATUS.INVALID_FIELD };
  if (bytes === "namespace") return { status: STATUS.INVALID_NAMESPACE };
  return answerWith(bytes, command, parts);
}

function logPage(command: NvmeCommand, parts: AdminParts): Answer {
  const { dwords, nsid } = command;
  if (nsid !== 0 && nsid !== NAMESPACE && nsid !== ALL_NAMESPACES) return { status: STATUS.INVALID_NAMESPACE };
  const page = dwords[0] & 0xff;
  const bytes = parts.logs.read(page);
  if (!bytes) return { status: STATUS.INVALID_LOG_PAGE };
  const length = 4 * ((dwords[0] >>> 16) + (dwords[1] & 0xffff) * 0x1_0000 + 1);
  const offset = dwords[2] + dwords[3] * 2 ** 32;
  if (length > MAX_TRANSFER_BYTES || offset % 4 !== 0 || offset > bytes.length) return { status: STATUS.INVALID_FIELD };
  const part = new Uint8Array(length);
  part.set(bytes.subarray(offset, offset + length));
  const answer = answerWith(part, command, parts);
  if (page === LOG.ERRORS && (dwords[0] & RETAIN_EVENT) === 0) parts.events.logRead();
  return answer;
}

function answerWith(bytes: Uint8Array, { prp1, prp2 }: NvmeCommand, { memory }: AdminParts): Answer {
  const regions = resolvePrps(memory, prp1, prp2, bytes.length);
  if (typeof regions === "number") return { status: regions };
  return scatter(memory, regions, bytes) ? OK : { status: STATUS.DATA_TRANSFER };
}

/** A queue's number, size and place; or a status. */
function placeOf(
  { dwords, prp1 }: NvmeCommand,
  exists: (id: number) => boolean,
): { id: number; entries: number; gpa: number } | number {
  const id = dwords[0] & 0xffff;
  const entries = (dwords[0] >>> 16) + 1;
  if (id === 0 || id > IO_QUEUES || exists(id)) return STATUS.INVALID_QUEUE;
  if (entries < QUEUE_ENTRIES.min || entries > QUEUE_ENTRIES.max) return STATUS.INVALID_QUEUE_SIZE;
  if ((dwords[1] & CONTIGUOUS) === 0) return STATUS.INVALID_FIELD;
  if (prp1 % BigInt(PAGE_BYTES) !== 0n) return STATUS.INVALID_PRP_OFFSET;
  return prp1 < 2n ** 52n ? { id, entries, gpa: Number(prp1) } : STATUS.INVALID_FIELD;
}

function createCompletion(command: NvmeCommand, { queues, hasEntrySizes }: AdminParts): Answer {
  const place = placeOf(command, (id) => queues.completions.has(id));
  if (typeof place === "number") return { status: place };
  if (!hasEntrySizes()) return { status: STATUS.INVALID_FIELD };
  const vector = command.dwords[1] >>> 16;
  if (vector >= VECTORS) return { status: STATUS.INVALID_VECTOR };
  queues.addCompletion({ ...place, vector: command.dwords[1] & INTERRUPTS ? vector : undefined });
  return OK;
}

function createSubmission(command: NvmeCommand, { queues, hasEntrySizes }: AdminParts): Answer {
  const place = placeOf(command, (id) => queues.submissions.has(id));
  if (typeof place === "number") return { status: place };
  if (!hasEntrySizes()) return { status: STATUS.INVALID_FIELD };
  const cq = command.dwords[1] >>> 16;
  if (cq === 0 || !queues.completions.has(cq)) return { status: STATUS.INVALID_CQ };
  queues.addSubmission({ ...place, cq });
  return OK;
}

function deleteCompletion(id: number, { completions, submissions }: QueueSet): Answer {
  if (id === 0 || !completions.has(id)) return { status: STATUS.INVALID_QUEUE };
  for (const { cq } of submissions.values()) if (cq === id) return { status: STATUS.INVALID_QUEUE_DELETION };
  completions.delete(id);
  return OK;
}

function deleteSubmission(id: number, cid: number, { submissions }: QueueSet): AdminAnswer {
  const queue = submissions.get(id);
  if (id === 0 || !queue || queue.deletedBy !== undefined) return { status: STATUS.INVALID_QUEUE };
  if (queue.underWay > 0) {
    queue.deletedBy = cid;
    return "deletion";
  }
  submissions.delete(id);
  return OK;
}
