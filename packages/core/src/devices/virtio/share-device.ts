/**
 * A virtio device that shares a folder, whatever file protocol it speaks: messages in from the rings, requests out to a file
 * channel (files/file-channel.ts), answers back into the chains.
 *
 *   chain --protocol.begin--> answer at once, or a request --channel--> ... completion --finish--> answer, used ring
 *
 * Chains stay in the ring until the channel has room. What is under way is part of the state, by its chain: a restored device
 * reads the message again and submits the request again under its number, marked as repeated. After a reset it is orphaned, and
 * nothing new is submitted until the last of it has come back.
 */
import { StateError } from "../../state/errors.ts";
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { ERRNO } from "../files/errno.ts";
import { FILE_LIMITS, type FileChannel, type FileCompletion } from "../files/file-channel.ts";
import { encodeRequest, type FileRequest, type SentRequest } from "../files/file-requests.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import type { ResetKind, VirtioHost, VirtioModel } from "./model.ts";

/** Parts of an answer, one behind the other. */
export type Answer = readonly Uint8Array[];

export interface Message {
  /** The message, or its first MESSAGE_PREFIX bytes where those are all that is not data. */
  readonly bytes: Uint8Array;
  /** Of the whole message. */
  readonly length: number;
  /** What an answer may have. */
  readonly room: number;
  /** Of a request that is begun again: the handle that was reserved for it. */
  readonly handle?: number;
}

export type Begun =
  | {
      readonly kind: "answer";
      readonly answer: Answer /** What the guest had open is closed. */;
      readonly startsAnew?: boolean;
    }
  /** The guest expects none. */
  | { readonly kind: "silent" }
  | {
      readonly kind: "request";
      readonly request: FileRequest;
      /** A number that was reserved for it. */
      readonly handle?: number;
      /** Bytes of the message that are written. */
      readonly data?: { readonly at: number; readonly length: number };
      /** Throws StateError where the reply is none. `error`: of errno.ts. Not called after a reset. */
      finish(error: number, bytes: Uint8Array): Answer;
    };

/** A file protocol. Its messages are hostile; `begin` changes nothing that a request begun again would find changed. */
export interface FileProtocol {
  /** Whether the rest of the message, behind this much of it, is data. */
  hasData(prefix: Uint8Array): boolean;
  begin(message: Message): Begun;
  /** The guest starts anew. */
  reset(): void;
  save(): { readonly [key: string]: StateValue };
  restore(reader: StateReader): void;
}

export interface ShareModel {
  readonly id: number;
  readonly schema: { readonly id: string; readonly version: number };
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly configBytes: number;
  readConfig(config: DataView): void;
}

export const MESSAGE_PREFIX = 80;
const MAX_MESSAGE = 16_384;
/** Messages that are answered at once, in one go. */
const MAX_BURST = 4096;
const NO_DATA = new Uint8Array(0);

interface Work {
  readonly queue: number;
  readonly head: number;
  readonly handle: number;
  /** Undefined after a restore, until the ring has it again. */
  chain: DescriptorChain | undefined;
  finish: ((error: number, bytes: Uint8Array) => Answer) | undefined;
}

export class ShareDevice implements VirtioModel {
  readonly id: number;
  readonly schema: { readonly id: string; readonly version: number };
  /** Mass storage of no other kind. */
  readonly classCode = 0x01_80_00;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly configBytes: number;
  readonly #model: ShareModel;
  readonly #host: VirtioHost;
  readonly #protocol: FileProtocol;
  readonly #channel: FileChannel;
  readonly #work = new Map<number, Work>();
  readonly #orphans = new Set<number>();
  #nextId = 0;
  /** The server is to close what a guest had open that has started anew. */
  #owesReset = false;
  /** Restored, and what was under way is not submitted again yet. */
  #isIdle = false;

  constructor(context: DeviceContext, host: VirtioHost, model: ShareModel, protocol: FileProtocol, channel: string) {
    this.id = model.id;
    this.features = model.features;
    this.queueSizes = model.queueSizes;
    this.configBytes = model.configBytes;
    this.schema = model.schema;
    this.#model = model;
    this.#host = host;
    this.#protocol = protocol;
    this.#channel = context.openShare(channel, (completion) => this.#completed(completion));
  }

  readConfig(config: DataView): void {
    this.#model.readConfig(config);
  }

  start(): void {
    this.#pump();
  }

  notified(): void {
    this.resume();
    this.#pump();
  }

  /** What was under way when the state was saved is begun again. */
  resume(): void {
    if (!this.#isIdle) return;
    this.#isIdle = false;
    for (const queue of this.queueSizes.keys()) {
      const chains = this.#host.queue(queue).reclaim();
      for (const work of this.#work.values())
        if (work.queue === queue) work.chain = chains.find(({ head }) => head === work.head);
    }
    for (const id of this.#orphans) this.#submit(id, { operation: "none" });
    for (const [id, work] of this.#work) this.#beginAgain(id, work);
  }

  reset(_kind: ResetKind): void {
    if (this.#isIdle) {
      // A restore that failed: nothing of this is under way.
      this.#isIdle = false;
      this.#orphans.clear();
    } else for (const id of this.#work.keys()) this.#orphans.add(id);
    this.#work.clear();
    this.#protocol.reset();
    this.#owesReset = true;
  }

  save(): StateValue {
    return {
      ...this.#protocol.save(),
      nextId: this.#nextId,
      owesReset: this.#owesReset,
      orphans: [...this.#orphans],
      work: [...this.#work].map(([id, { queue, head, handle }]) => ({ id, queue, head, handle })),
    };
  }

  restore(reader: StateReader): void {
    this.#isIdle = true;
    this.#work.clear();
    this.#orphans.clear();
    this.#protocol.restore(reader);
    this.#nextId = reader.u32("nextId");
    this.#owesReset = reader.bool("owesReset");
    for (const id of reader.values("orphans", FILE_LIMITS.requests)) {
      const isValid = typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;
      if (!isValid || this.#orphans.has(id)) throw reader.invalid("orphans", "are not different numbers of requests");
      this.#orphans.add(id);
    }
    const places = new Set<string>();
    for (const saved of reader.array("work", FILE_LIMITS.requests)) {
      const id = saved.u32("id");
      const queue = saved.int("queue", 0, this.queueSizes.length - 1);
      const head = saved.u16("head");
      const handle = saved.int("handle", 0, Number.MAX_SAFE_INTEGER);
      saved.end();
      if (this.#work.has(id) || this.#orphans.has(id)) throw saved.invalid("id", "is another request's");
      if (places.has(`${queue} ${head}`)) throw saved.invalid("head", "is another request's");
      places.add(`${queue} ${head}`);
      this.#work.set(id, { queue, head, handle, chain: undefined, finish: undefined });
    }
    if (this.#work.size + this.#orphans.size > FILE_LIMITS.requests) {
      throw reader.invalid("work", "is more than can be under way");
    }
  }

  #pump(): void {
    if (!this.#host.isRunning || this.#orphans.size > 0) return;
    for (let burst = 0; burst < MAX_BURST; ) {
      const before = burst;
      for (const queue of this.queueSizes.keys()) if (this.#takeOne(queue)) burst++;
      if (burst === before) break;
    }
    for (const queue of this.queueSizes.keys()) this.#host.complete(queue);
  }

  /** False: there is nothing to take, or no room. */
  #takeOne(queue: number): boolean {
    // One place is kept for the reset that may be owed.
    if (!this.#host.isRunning || this.#work.size + this.#orphans.size >= FILE_LIMITS.requests - 1) return false;
    const chain = this.#host.queue(queue).pop();
    if (!chain) return false;
    const begun = this.#begin(chain);
    if (!begun) return false;
    if (begun.kind === "silent") this.#push(queue, chain, 0);
    else if (begun.kind === "answer") {
      if (begun.startsAnew) this.#owesReset = true;
      this.#answer(queue, chain, begun.answer);
    } else {
      if (this.#owesReset) {
        this.#owesReset = false;
        const id = this.#takeId();
        this.#orphans.add(id);
        this.#submit(id, { operation: "reset" });
      }
      const id = this.#takeId();
      const handle = begun.handle ?? 0;
      this.#work.set(id, { queue, head: chain.head, handle, chain, finish: begun.finish });
      if (!this.#submit(id, begun.request, begun.data, chain)) this.#settle(id, ERRNO.IO, NO_DATA);
    }
    return true;
  }

  #takeId(): number {
    while (this.#work.has(this.#nextId) || this.#orphans.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0;
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    return id;
  }

  /** Undefined: the driver's buffers are not in RAM, and the device has stopped. */
  #begin(chain: DescriptorChain, handle?: number): Begun | undefined {
    const { readableBytes: length, writableBytes: room } = chain;
    const prefix = new Uint8Array(Math.min(length, MESSAGE_PREFIX));
    let bytes: Uint8Array = prefix;
    let isThere = chain.read(0, prefix);
    if (isThere && length > prefix.length && !this.#protocol.hasData(prefix)) {
      bytes = new Uint8Array(Math.min(length, MAX_MESSAGE));
      isThere = chain.read(0, bytes);
    }
    if (isThere) return this.#protocol.begin({ bytes, length, room, ...(handle !== undefined && { handle }) });
    this.#host.fail("a message is not in RAM");
    return undefined;
  }

  #beginAgain(id: number, work: Work): void {
    const begun = work.chain && this.#begin(work.chain, work.handle);
    if (begun?.kind !== "request" || (begun.handle ?? 0) !== work.handle) {
      this.#work.delete(id);
      if (this.#host.isRunning) this.#host.fail("a request under way is not in its ring any more");
      return;
    }
    work.finish = begun.finish;
    if (!this.#submit(id, { ...begun.request, isRepeated: true }, begun.data, work.chain))
      this.#settle(id, ERRNO.IO, NO_DATA);
  }

  /** False: the data is not in RAM, and nothing was submitted. */
  #submit(id: number, request: SentRequest, data?: { at: number; length: number }, chain?: DescriptorChain): boolean {
    if (data && !chain?.read(data.at, this.#channel.dataBuffer(data.length))) return false;
    this.#channel.submit(id, encodeRequest(request), data?.length ?? 0);
    return true;
  }

  #completed({ id, error, bytes }: FileCompletion): void {
    this.resume();
    if (!this.#orphans.delete(id)) this.#settle(id, error, bytes);
    this.#pump();
  }

  #settle(id: number, error: number, bytes: Uint8Array): void {
    const work = this.#work.get(id);
    if (!work) return;
    this.#work.delete(id);
    const { queue, chain, finish } = work;
    if (!chain || !finish || !this.#host.isRunning) return;
    let answer: Answer;
    try {
      answer = finish(error, bytes);
    } catch (failure) {
      // What a recording says, or a server of another version.
      if (!(failure instanceof StateError)) throw failure;
      answer = finish(ERRNO.IO, NO_DATA);
    }
    this.#answer(queue, chain, answer);
    this.#host.complete(queue);
  }

  #answer(queue: number, chain: DescriptorChain, answer: Answer): void {
    let at = 0;
    for (const part of answer) {
      if (!chain.write(at, part)) {
        this.#host.fail("an answer has no room in RAM");
        return;
      }
      at += part.length;
    }
    this.#push(queue, chain, at);
  }

  #push(queue: number, chain: DescriptorChain, writtenBytes: number): void {
    this.#host.queue(queue).push(chain, writtenBytes);
  }
}
