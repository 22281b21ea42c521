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
import {
  BLOCK_LIMITS,
  type BlockChannel,
  type BlockCompletion,
  type BlockOperation,
  MAX_SPANS,
} from "../block-channel.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { RequestsUnderWay } from "../requests-under-way.ts";
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
  readonly #work = new Set<BlockWork>();
  readonly #underWay: RequestsUnderWay<PieceUnderWay>;

  constructor(context: DeviceContext, host: VirtioHost, disk: VirtioBlockOptions) {
    if (!(disk.queues >= 1 && disk.queues <= MAX_QUEUES)) throw new RangeError(`a disk with ${disk.queues} queues`);
    this.#host = host;
    this.#disk = disk;
    this.features = blockFeatures(disk);
    this.queueSizes = new Array<number>(disk.queues).fill(QUEUE_SIZE);
    this.#channel = context.openDisk(disk.name, (completion) => this.#completed(completion));
    this.#underWay = new RequestsUnderWay<PieceUnderWay>(this.#channel, (id, piece) => this.#submit(id, piece));
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
    if (!this.#underWay.isIdle) return;
    for (const queue of this.queueSizes.keys()) {
      const chains = new Map(
        this.#host
          .queue(queue)
          .reclaim()
          .map((chain) => [chain.head, chain]),
      );
      for (const work of this.#work) if (work.queue === queue) work.chain = chains.get(work.head);
    }
    for (const work of this.#work)
      if (work.underWay > 0 && !work.chain) this.#host.fail("a request under way is not in its ring");
    this.#underWay.resume();
  }

  reset(): void {
    this.#withdraw();
    this.#underWay.abandon();
    this.#work.clear();
    this.#isWriteback = true;
  }

  /** What reaches the guest's memory ends before that is used for something else. */
  #withdraw(): void {
    const { pieces, isIdle } = this.#underWay;
    if (isIdle || pieces.length === 0) return;
    this.#channel.withdraw();
    for (const { work, operation, at, length } of pieces) if (operation === "read") work.chain?.written(at, length);
  }

  save(): StateValue {
    const work = [...this.#work];
    return {
      isWriteback: this.#isWriteback,
      work: work.map((one) => one.save()),
      ...this.#underWay.save(({ work: of, offset, length, mayUnmap, at }) => ({
        work: work.indexOf(of),
        range: { offset, length },
        mayUnmap,
        at,
      })),
    };
  }

  restore(reader: StateReader): void {
    this.#isWriteback = reader.bool("isWriteback");
    const work = reader.array("work", BLOCK_LIMITS.requests).map((one) => BlockWork.restore(one, this.#disk));
    for (const one of work) {
      if (work.some((other) => other !== one && other.queue === one.queue && other.head === one.head)) {
        throw reader.invalid("work", "has a request twice");
      }
      this.#work.add(one);
    }
    this.#underWay.restore(reader, (piece, operation) => this.#restorePiece(piece, operation, work));
  }

  #restorePiece(reader: StateReader, operation: BlockOperation, work: readonly BlockWork[]): PieceUnderWay {
    const of = work[reader.int("work", 0, Math.max(0, work.length - 1))];
    const range = readRange(reader.object("range"), this.#disk);
    const mayUnmap = reader.bool("mayUnmap");
    const at = reader.int("at", 0, this.#disk.sizeBytes);
    if (!of) throw reader.invalid("work", "is no request");
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
    return { work: of, operation, ...range, mayUnmap, at };
  }

  /** Sends what the channel has room for: first of the requests that are begun, then of new ones. */
  #pump(): void {
    if (this.#underWay.hasOrphans) return;
    for (const work of this.#work) if (!this.#advance(work)) return;
    for (const queue of this.queueSizes.keys()) {
      this.#take(queue);
      this.#host.complete(queue);
    }
  }

  #take(queue: number): void {
    if (!this.#host.isRunning) return;
    const ring = this.#host.queue(queue);
    while (!this.#underWay.isFull) {
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
    while (!this.#underWay.isFull) {
      const piece = work.next(this.#reaches(work) ? BLOCK_LIMITS.bytes : BLOCK_LIMITS.copiedBytes);
      if (!piece || !this.#underWay.add({ ...piece, work })) break;
    }
    this.#settle(work);
    return !this.#underWay.isFull;
  }

  /** Whether the request's bytes need not be copied. */
  #reaches({ operation, chain }: BlockWork): boolean {
    if (!this.#channel.reachesMemory || !chain) return false;
    return operation === "read" || operation === "write";
  }

  /** False: the guest's data is not in RAM. */
  #submit(id: number, { work, operation, offset, length, mayUnmap, at }: PieceUnderWay): boolean {
    const isRead = operation === "read";
    const spans = this.#reaches(work) ? work.chain!.spans(isRead, isRead ? at : HEADER_BYTES + at, length) : undefined;
    if (spans && spans.length <= 2 * MAX_SPANS) {
      this.#channel.submit({ id, operation, offset, length, spans });
      return true;
    }
    if (operation === "write") {
      const buffer = this.#channel.writeBuffer(length);
      if (!work.chain?.read(HEADER_BYTES + at, buffer)) return false;
    }
    this.#channel.submit({ id, operation, offset, length, mayUnmap });
    return true;
  }

  #completed({ id, isOk, bytes, isInMemory }: BlockCompletion): void {
    this.resume();
    const piece = this.#underWay.complete(id);
    if (!piece) {
      this.#pump();
      return;
    }
    const { work, operation, at, length } = piece;
    const isMissing = (): boolean =>
      bytes.length !== length || !this.#host.isRunning || !work.chain || !work.chain.write(at, bytes);
    if (isInMemory) work.chain?.written(at, length);
    if (!isOk || (operation === "read" && !isInMemory && isMissing())) work.isFailed = true;
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
    // A restored request may find another chain under its number.
    if (chain.writableBytes === 0 || !chain.write(chain.writableBytes - 1, Uint8Array.of(status))) {
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
