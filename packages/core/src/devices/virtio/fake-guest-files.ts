/** A guest's messages to a device that shares a folder, for tests: bytes of FUSE and 9P2000.L, and what came back. */
import type { FakeContext } from "../fake-context.ts";
import type { MemoryFolder } from "../files/memory-folder.ts";
import { FakeDriver } from "./fake-driver.ts";
import { FUSE } from "./fuse/messages.ts";
import { P9 } from "./p9/messages.ts";
import type { VirtioPciDevice } from "./pci-transport.ts";

/** Fields one behind the other; a text of FUSE ends with a zero, one of 9P begins with its length. */
export class Fields {
  readonly #bytes: number[] = [];

  number(value: number | bigint, size: 1 | 2 | 4 | 8): this {
    for (let i = 0; i < size; i++) this.#bytes.push(Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
    return this;
  }

  u16(value: number): this {
    return this.number(value, 2);
  }

  u32(...values: number[]): this {
    for (const value of values) this.number(value, 4);
    return this;
  }

  u64(...values: (number | bigint)[]): this {
    for (const value of values) this.number(value, 8);
    return this;
  }

  zeroEnded(...texts: string[]): this {
    for (const text of texts) this.raw(new TextEncoder().encode(text)).number(0, 1);
    return this;
  }

  counted(...texts: string[]): this {
    for (const text of texts) this.u16(text.length).raw(new TextEncoder().encode(text));
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#bytes.push(...bytes);
    return this;
  }

  bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

export function fuseMessage(
  opcode: keyof typeof FUSE | number,
  nodeid: number | bigint,
  body = new Fields(),
): Uint8Array {
  const bytes = body.bytes();
  const header = new Fields().u32(40 + bytes.length, typeof opcode === "number" ? opcode : FUSE[opcode]);
  return header.u64(7, nodeid).u32(0, 0, 1, 0).raw(bytes).bytes();
}

export function p9Message(type: keyof typeof P9 | number, body = new Fields(), tag = 5): Uint8Array {
  const bytes = body.bytes();
  const header = new Fields().u32(7 + bytes.length).number(typeof type === "number" ? type : P9[type], 1);
  return header.u16(tag).raw(bytes).bytes();
}

export interface Answered {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** A driver of one of both devices, whose requests a folder in memory answers at once, if there is one. */
export class FakeGuest {
  readonly driver: FakeDriver;
  readonly #context: FakeContext;
  readonly #queue: number;
  readonly #folder: MemoryFolder | undefined;
  readonly #channel: string;

  constructor(context: FakeContext, device: VirtioPciDevice, queues: number, channel: string, folder?: MemoryFolder) {
    this.#context = context;
    this.#queue = queues - 1;
    this.#channel = channel;
    this.#folder = folder;
    this.driver = new FakeDriver(context, device);
    this.driver.negotiate(0n);
    this.driver.start(queues, 16);
  }

  /** What came back. Throws if nothing did. */
  ask(message: Uint8Array, room = 4096, queue: number = this.#queue): Answered {
    const answer = this.send(message, room, queue);
    if (this.#folder) this.#context.shares.get(this.#channel)!.answerBy(this.#folder);
    const [used] = this.driver.used(queue);
    if (!used) throw new Error("no answer");
    const bytes = this.driver.bytesAt(answer, used.writtenBytes);
    return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
  }

  /** The address of the answer's room. */
  send(message: Uint8Array, room = 4096, queue: number = this.#queue): number {
    const { driver } = this;
    // Messages and answers are used again from here on.
    const gpa = driver.allocate(message.length);
    const answer = driver.allocate(Math.max(1, room));
    this.#context.memory.write(gpa, message);
    const buffers = [{ gpa, sizeBytes: message.length, writable: false }];
    if (room > 0) buffers.push({ gpa: answer, sizeBytes: room, writable: true });
    driver.add(queue, buffers);
    driver.kick(queue);
    return answer;
  }
}
