/**
 * Virtio block device (virtio 1.2, 5.2) in front of a block channel (block-channel.ts): reads, writes, flushes, discards,
 * zeroes, several queues, the cache's mode. Configuration: block-config.ts; one request: block-request.ts.
 *
 *   chain --parse--> status at once, or work --pieces--> channel ... completions --> data, status, used ring
 *
 * Chains stay in the ring until the channel has room, so that a driver's requests cost bounded memory. Pieces under way
 * are part of the state: a restored device submits them again under their numbers, before anything else. After a reset
 * they are orphans, and nothing new is submitted until the last of them has come back: an old write never lands after a
 * new one. Left out: geometry, secure erase, lifetime, zones, and the legacy interface.
 */
import type { StateReader } from "../../state/reader.ts";
import { BLOCK_LIMITS, BLOCK_OPERATIONS, type BlockChannel, type BlockCompletion } from "../block-channel.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import {
  BLOCK_CONFIG_BYTES,
  type BlockDisk,
  blockFeatures,
  CONFIG_WRITEBACK,
  fillBlockConfig,
  HEADER_BYTES,
  ID_BYTES,
  VIRTIO_BLK_F,
  VIRTIO_BLK_S,
} from "./block-config.ts";
import { BlockWork, type Piece, parseRequest, readRange } from "./block-request.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import { VIRTIO_ID, type VirtioHost, type VirtioModel } from "./model.ts";
import { VirtioPciDevice } from "./pci-transport.ts";

const QUEUE_SIZE = 256;
const MAX_QUEUES = 8;

export interface VirtioBlockOptions extends BlockDisk {
  /** Of the device, and of its disk's channel. */
  readonly name: string;
}

interface PieceUnderWay extends Piece {
  readonly work: BlockWork;
}

class VirtioBlock implements VirtioModel {
  readonly id: number = VIRTIO_ID.BLOCK;
  readonly schema = { id: "virtio-block", version: 1 } as const;
  /** Mass storage of no other kind, which firmware asks for by its device number alone. */
  readonly classCode = 0x01_00_00;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly configBytes: number = BLOCK_CONFIG_BYTES;
  readonly #host: VirtioHost;
  readonly #disk: VirtioBlockOptions;
  readonly #channel: BlockChannel;
  #isWriteback = true;
  #nextId = 0;
  readonly #work = new Set<BlockWork>();
  readonly #pieces = new Map<number, PieceUnderWay>();
  readonly #orphans = new Set<number>();
  /** Restored, and what was under way is not submitted again yet. */
  #isIdle = false;

  constructor(context: DeviceContext, host: VirtioHost, disk: VirtioBlockOptions) {
    if (!(disk.queues >= 1 && disk.queues <= MAX_QUEUES)) throw new RangeError(`a disk with ${disk.queues} queues`);
    this.#host = host;
    this.#disk = disk;
    this.features = blockFeatures(disk);
    this.queueSizes = new Array<number>(disk.queues).fill(QUEUE_SIZE);
    this.#channel = context.openDisk(disk.name, (completion) => this.#completed(completion));
  }

  readConfig(config: DataView): void {
    fillBlockConfig(config, this.#disk, this.#isWriteback);
  }

  writeConfig(offset: number, size: number, value: number): void {
    const isMine = offset === CONFIG_WRITEBACK && size === 1 && this.#host.hasFeature(VIRTIO_BLK_F.CONFIG_WCE);
    if (isMine && value <= 1) this.#isWriteback = value === 1;
  }

  start(): void {
    // Without FLUSH a driver could not make anything durable (5.2.5.2).
    if (!this.#host.hasFeature(VIRTIO_BLK_F.FLUSH)) this.#isWriteback = false;
    this.#pump();
  }

  notified(): void {
    this.resume();
    this.#pump();
  }

  /** What was under way when the state was saved goes to the disk again. */
  resume(): void {
    if (!this.#isIdle) return;
    this.#isIdle = false;
    for (const queue of this.queueSizes.keys()) {
      const chains = new Map(
        this.#host
          .queue(queue)
          .reclaim()
          .map((chain) => [chain.head, chain]),
      );
      for (const work of this.#work) if (work.queue === queue) work.chain = chains.get(work.head);
    }
    for (const id of this.#orphans) this.#channel.submit({ id, operation: "flush", offset: 0, length: 0 });
    for (const [id, piece] of this.#pieces) {
      if (!piece.work.chain) this.#host.fail("a request under way is not in its ring");
      // Without its data a write is none, but its number comes back.
      if (!this.#submit(id, piece)) this.#channel.submit({ id, operation: "flush", offset: 0, length: 0 });
    }
  }

  reset(): void {
    if (this.#isIdle) {
      // A restore that failed: nothing of this is under way.
      this.#isIdle = false;
      this.#orphans.clear();
      this.#nextId = 0;
    } else for (const id of this.#pieces.keys()) this.#orphans.add(id);
    this.#pieces.clear();
    this.#work.clear();
    this.#isWriteback = true;
  }

  save(): StateValue {
    const work = [...this.#work];
    return {
      isWriteback: this.#isWriteback,
      nextId: this.#nextId,
      orphans: [...this.#orphans],
      work: work.map((one) => one.save()),
      pieces: [...this.#pieces].map(([id, piece]) => ({
        id,
        work: work.indexOf(piece.work),
        operation: piece.operation,
        range: { offset: piece.offset, length: piece.length },
        mayUnmap: piece.mayUnmap,
        at: piece.at,
      })),
    };
  }

  restore(reader: StateReader): void {
    this.#isIdle = true;
    this.#orphans.clear();
    this.#isWriteback = reader.bool("isWriteback");
    this.#nextId = reader.u32("nextId");
    for (const id of reader.values("orphans", BLOCK_LIMITS.requests)) {
      const isValid = typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;
      if (!isValid || this.#orphans.has(id)) throw reader.invalid("orphans", "are not different numbers of requests");
      this.#orphans.add(id);
    }
    const work = reader.array("work", BLOCK_LIMITS.requests).map((one) => BlockWork.restore(one, this.#disk));
    for (const one of work) {
      if (work.some((other) => other !== one && other.queue === one.queue && other.head === one.head)) {
        throw reader.invalid("work", "has a request twice");
      }
      this.#work.add(one);
    }
    for (const piece of reader.array("pieces", BLOCK_LIMITS.requests)) this.#restorePiece(piece, work);
    if (this.#pieces.size + this.#orphans.size > BLOCK_LIMITS.requests) {
      throw reader.invalid("pieces", "are more than can be under way");
    }
  }

  #restorePiece(reader: StateReader, work: readonly BlockWork[]): void {
    const id = reader.u32("id");
    const of = work[reader.int("work", 0, Math.max(0, work.length - 1))];
    const operation = reader.oneOf("operation", BLOCK_OPERATIONS);
    const range = readRange(reader.object("range"), this.#disk);
    const mayUnmap = reader.bool("mayUnmap");
    const at = reader.int("at", 0, this.#disk.sizeBytes);
    reader.end();
    if (!of || this.#pieces.has(id) || this.#orphans.has(id)) throw reader.invalid("id", "belongs to no request");
    const isPart = operation === of.operation || (operation === "flush" && of.operation !== "read");
    if (!isPart) throw reader.invalid("operation", "is not the request's");
    const isTransfer = operation === "read" || operation === "write";
    const whole = of.ranges[0]!;
    const isInside =
      range.length <= BLOCK_LIMITS.bytes && range.offset === whole.offset + at && at + range.length <= whole.length;
    const isWhole =
      operation === "flush"
        ? range.offset === 0 && range.length === 0
        : of.ranges.some(({ offset, length }) => offset === range.offset && length === range.length);
    const isFit = isTransfer ? isInside && range.length > 0 : isWhole && at === 0;
    if (!isFit) throw reader.invalid("range", "is not the request's");
    of.underWay++;
    this.#pieces.set(id, { work: of, operation, ...range, mayUnmap, at });
  }

  /** Sends what the channel has room for: first of the requests that are begun, then of new ones. */
  #pump(): void {
    if (this.#orphans.size > 0) return;
    for (const work of this.#work) if (!this.#advance(work)) return;
    for (const queue of this.queueSizes.keys()) {
      this.#take(queue);
      this.#host.complete(queue);
    }
  }

  #take(queue: number): void {
    if (!this.#host.isRunning) return;
    const ring = this.#host.queue(queue);
    while (this.#pieces.size < BLOCK_LIMITS.requests) {
      const chain = ring.pop();
      if (!chain) return;
      if (chain.writableBytes === 0) {
        this.#host.fail("a request without a byte for its status");
        return;
      }
      const parsed = parseRequest(chain, this.#disk);
      if ("status" in parsed) this.#finish(queue, chain, parsed.status, 0);
      else if (parsed.operation === "id") this.#identify(queue, chain);
      else {
        const owesFlush = parsed.operation !== "read" && parsed.operation !== "flush" && !this.#isWriteback;
        const work = new BlockWork({ queue, head: chain.head, chain }, parsed, owesFlush);
        this.#work.add(work);
        this.#advance(work);
      }
    }
  }

  /** False: the channel is full. */
  #advance(work: BlockWork): boolean {
    while (this.#pieces.size < BLOCK_LIMITS.requests) {
      const piece = work.next();
      if (!piece) break;
      const id = this.#freeId();
      const underWay = { ...piece, work };
      if (!this.#submit(id, underWay)) {
        work.isFailed = true;
        break;
      }
      this.#pieces.set(id, underWay);
      work.underWay++;
    }
    this.#settle(work);
    return this.#pieces.size < BLOCK_LIMITS.requests;
  }

  /** False: the guest's data is not in RAM. */
  #submit(id: number, { work, operation, offset, length, mayUnmap, at }: PieceUnderWay): boolean {
    if (operation === "write") {
      const buffer = this.#channel.writeBuffer(length);
      if (!work.chain?.read(HEADER_BYTES + at, buffer)) return false;
    }
    this.#channel.submit({ id, operation, offset, length, mayUnmap });
    return true;
  }

  #freeId(): number {
    while (this.#pieces.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0;
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    return id;
  }

  #completed({ id, isOk, bytes }: BlockCompletion): void {
    this.resume();
    if (this.#orphans.delete(id)) {
      this.#pump();
      return;
    }
    const piece = this.#pieces.get(id);
    if (!piece) return;
    this.#pieces.delete(id);
    const { work, operation, at, length } = piece;
    work.underWay--;
    const isRead = operation === "read";
    if (!isOk || (isRead && (bytes.length !== length || !this.#host.isRunning || !work.chain?.write(at, bytes)))) {
      work.isFailed = true;
    }
    this.#settle(work);
    this.#pump();
  }

  #settle(work: BlockWork): void {
    if (!work.isDone) return;
    this.#work.delete(work);
    const status = work.isFailed ? VIRTIO_BLK_S.IOERR : VIRTIO_BLK_S.OK;
    if (work.chain) this.#finish(work.queue, work.chain, status, work.dataBytes);
  }

  #identify(queue: number, chain: DescriptorChain): void {
    const text = new TextEncoder().encode(this.#disk.name).subarray(0, ID_BYTES);
    const id = new Uint8Array(ID_BYTES);
    id.set(text);
    const length = chain.writableBytes - 1;
    const isOk = length >= ID_BYTES && chain.write(0, id);
    this.#finish(queue, chain, isOk ? VIRTIO_BLK_S.OK : VIRTIO_BLK_S.IOERR, isOk ? ID_BYTES : 0);
  }

  /** The status is the last byte that may be written. */
  #finish(queue: number, chain: DescriptorChain, status: number, dataBytes: number): void {
    if (!this.#host.isRunning) return;
    if (!chain.write(chain.writableBytes - 1, Uint8Array.of(status))) {
      this.#host.fail("the byte for a request's status is not in RAM");
      return;
    }
    this.#host.queue(queue).push(chain, status === VIRTIO_BLK_S.OK ? dataBytes + 1 : 1);
    this.#host.complete(queue);
  }
}

export function createVirtioBlock(context: DeviceContext, options: VirtioBlockOptions): VirtioPciDevice {
  return new VirtioPciDevice(context, options.name, (host) => new VirtioBlock(context, host, options));
}
