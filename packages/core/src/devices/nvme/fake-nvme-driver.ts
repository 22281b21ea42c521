/** A driver of an NVMe controller for tests: queues in the fake context's memory, entries as a driver makes them. */
import type { FakeContext } from "../fake-context.ts";
import type { NvmeController } from "./controller.ts";
import { ADMIN, CC, DOORBELLS, REG } from "./registers.ts";

/** Of all queues here. */
export const ENTRIES = 8;
const ADMIN_SQ = 0x1000;
const ADMIN_CQ = 0x2000;
/** Of pair n: 2000H bytes from here on. */
const IO_QUEUES = 0x3000;
export const DATA = 0x8000;
export const ENABLE = CC.EN | (6 << 16) | (4 << 20);

export interface Entry {
  readonly opcode: number;
  readonly nsid?: number;
  readonly prp1?: number;
  readonly prp2?: number;
  /** From dword 10 on. */
  readonly dwords?: readonly number[];
  readonly flags?: number;
}

export interface Seen {
  readonly cid: number;
  readonly status: number;
  readonly result: number;
  readonly sq: number;
  readonly sqHead: number;
}

export class FakeNvmeDriver {
  readonly #context: FakeContext;
  readonly #device: NvmeController;
  readonly #tails = new Map<number, number>();
  readonly #heads = new Map<number, { head: number; phase: number }>();
  #cid = 0;

  constructor(context: FakeContext, device: NvmeController) {
    this.#context = context;
    this.#device = device;
  }

  read(register: number): number {
    return this.#device.read(register, 4);
  }

  write(register: number, value: number): void {
    this.#device.write(register, 4, value >>> 0);
  }

  start(): void {
    this.write(REG.CC, 0);
    this.#context.memory.write(ADMIN_SQ, new Uint8Array(0x2000 + 0x1000));
    this.#tails.clear();
    this.#heads.clear();
    this.write(REG.AQA, (ENTRIES - 1) | ((ENTRIES - 1) << 16));
    this.write(REG.ASQ, ADMIN_SQ);
    this.write(REG.ASQ_HIGH, 0);
    this.write(REG.ACQ, ADMIN_CQ);
    this.write(REG.ACQ_HIGH, 0);
    this.write(REG.CC, ENABLE);
  }

  /** Makes pair `id`, with interrupts by the vector of its number. */
  createPair(id = 1): void {
    const base = IO_QUEUES + (id - 1) * 0x2000;
    this.#context.memory.write(base, new Uint8Array(0x2000));
    this.#tails.delete(id);
    this.#heads.delete(id);
    const size = (ENTRIES - 1) << 16;
    this.admin({ opcode: ADMIN.CREATE_IO_CQ, prp1: base + 0x1000, dwords: [size | id, 3 | (id << 16)] });
    this.admin({ opcode: ADMIN.CREATE_IO_SQ, prp1: base, dwords: [size | id, 1 | (id << 16)] });
  }

  /** Puts a command into a queue and rings; its number. */
  issue(queue: number, entry: Entry): number {
    const { opcode, nsid = 0, prp1 = 0, prp2 = 0, dwords = [], flags = 0 } = entry;
    const cid = this.#cid++ & 0xffff;
    const view = new DataView(new ArrayBuffer(64));
    view.setUint32(0, opcode | (flags << 8) | (cid << 16), true);
    view.setUint32(4, nsid, true);
    view.setBigUint64(24, BigInt(prp1), true);
    view.setBigUint64(32, BigInt(prp2), true);
    for (const [i, dword] of dwords.entries()) view.setUint32(40 + 4 * i, dword >>> 0, true);
    const tail = this.#tails.get(queue) ?? 0;
    const base = queue === 0 ? ADMIN_SQ : IO_QUEUES + (queue - 1) * 0x2000;
    this.#context.memory.write(base + 64 * tail, new Uint8Array(view.buffer));
    this.#tails.set(queue, (tail + 1) % ENTRIES);
    this.write(DOORBELLS + 8 * queue, (tail + 1) % ENTRIES);
    return cid;
  }

  /** The next completion, taken from the queue. */
  take(queue: number): Seen | undefined {
    const place = this.#heads.get(queue) ?? { head: 0, phase: 1 };
    const base = queue === 0 ? ADMIN_CQ : IO_QUEUES + (queue - 1) * 0x2000 + 0x1000;
    const bytes = new Uint8Array(16);
    this.#context.memory.read(base + 16 * place.head, bytes);
    const view = new DataView(bytes.buffer);
    const status = view.getUint16(14, true);
    if ((status & 1) !== place.phase) return undefined;
    const head = (place.head + 1) % ENTRIES;
    this.#heads.set(queue, { head, phase: head === 0 ? 1 - place.phase : place.phase });
    this.write(DOORBELLS + 8 * queue + 4, head);
    return {
      cid: view.getUint16(12, true),
      status: status >> 1,
      result: view.getUint32(0, true),
      sq: view.getUint16(10, true),
      sqHead: view.getUint16(8, true),
    };
  }

  /** An admin command that is answered at once. */
  admin(entry: Entry): Seen {
    const cid = this.issue(0, entry);
    const seen = this.take(0);
    if (seen?.cid !== cid) throw new Error(`command ${cid} was answered by ${JSON.stringify(seen)}`);
    return seen;
  }

  bytes(gpa: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#context.memory.read(gpa, bytes);
    return bytes;
  }
}
