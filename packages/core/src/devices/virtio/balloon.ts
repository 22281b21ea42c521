/**
 * Virtio memory balloon (virtio 1.2, 5.5): the driver puts pages into it that the guest then does without, until the outside's
 * target is reached, takes them out again (also by itself when it runs out of memory: DEFLATE_ON_OOM), tells statistics, and
 * reports pages that are free. What is put in or reported becomes zeros and is given back to the host (GuestMemory.discard), so
 * that saved states and migrations find nothing there. The channel of the device's name: balloon-messages.ts.
 *
 *   queues: 0 inflate, 1 deflate, then what the driver accepted of statistics and reporting, in this order, as Linux counts them
 *
 * A guest that poisons its free pages would find zeros in reported ones, so those are left alone then. Left out: free page
 * hints (what is free is reported, and is zeros in a migration already), MUST_TELL_HOST (a page that is touched is simply
 * there), the legacy interface.
 */
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { BALLOON_PAGE_BYTES, decodeBalloonRequests, encodeActual, encodeStatistics } from "./balloon-messages.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import { type ResetKind, VIRTIO_ID, type VirtioHost, type VirtioModel } from "./model.ts";
import { VirtioPciDevice } from "./pci-transport.ts";

export const VIRTIO_BALLOON_F = { STATS_VQ: 1, DEFLATE_ON_OOM: 2, PAGE_POISON: 4, REPORTING: 5 } as const;
export const BALLOON_CONFIG = { num_pages: 0, actual: 4, poison_val: 12, sizeBytes: 16 } as const;

const INFLATE = 0;
const DEFLATE = 1;
const FIRST_OPTIONAL = 2;
/** Linux wants 32 places for reports. */
const QUEUE_SIZE = 64;
const QUEUES = 4;
/** Page numbers of one buffer; Linux sends 256. */
const MAX_NUMBERS_BYTES = 4096;
const MAX_STATISTICS_BYTES = 640;
const STATISTIC_BYTES = 10;

class VirtioBalloon implements VirtioModel {
  readonly id: number = VIRTIO_ID.BALLOON;
  readonly schema = { id: "virtio-balloon", version: 1 } as const;
  /** Memory of no other kind. */
  readonly classCode = 0x05_80_00;
  readonly features: bigint = Object.values(VIRTIO_BALLOON_F).reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
  readonly queueSizes: readonly number[] = new Array<number>(QUEUES).fill(QUEUE_SIZE);
  readonly configBytes: number = BALLOON_CONFIG.sizeBytes;
  readonly #context: DeviceContext;
  readonly #host: VirtioHost;
  readonly #channel: string;
  readonly #memoryPages: number;
  /** What the outside wants in it. */
  #targetPages = 0;
  /** What the driver says is in it. */
  #actualPages = 0;
  #poison = 0;
  /** Somebody waits for statistics. */
  #isAsked = false;
  /** The buffer of statistics that the device keeps, to ask for new ones by giving it back. */
  #statistics: DescriptorChain | undefined;

  constructor(context: DeviceContext, host: VirtioHost, channel: string) {
    this.#context = context;
    this.#host = host;
    this.#channel = channel;
    const bytes = context.memory.segments.reduce(
      (sum, { sizeBytes, kind }) => sum + (kind === "ram" ? sizeBytes : 0),
      0,
    );
    this.#memoryPages = bytes / BALLOON_PAGE_BYTES;
    context.onInput(channel, (input) => {
      for (const request of decodeBalloonRequests(input)) {
        if (request.kind === "ask") this.#ask();
        else this.#aim(request.pages);
      }
    });
  }

  readConfig(config: DataView): void {
    config.setUint32(BALLOON_CONFIG.num_pages, this.#targetPages, true);
    config.setUint32(BALLOON_CONFIG.actual, this.#actualPages, true);
    config.setUint32(BALLOON_CONFIG.poison_val, this.#poison, true);
  }

  writeConfig(offset: number, size: number, value: number): void {
    if (size !== 4) return;
    if (offset === BALLOON_CONFIG.actual) this.#setActual(value);
    if (offset === BALLOON_CONFIG.poison_val && this.#host.hasFeature(VIRTIO_BALLOON_F.PAGE_POISON))
      this.#poison = value;
  }

  /** Linux gives its first buffer of statistics before. */
  start(): void {
    if (this.#host.isRunning) for (const queue of this.queueSizes.keys()) this.notified(queue);
  }

  notified(queueIndex: number): void {
    if (queueIndex === INFLATE || queueIndex === DEFLATE) this.#takeNumbers(queueIndex);
    else if (queueIndex === this.#queueOf(VIRTIO_BALLOON_F.STATS_VQ)) this.#takeStatistics(queueIndex);
    else if (queueIndex === this.#queueOf(VIRTIO_BALLOON_F.REPORTING)) this.#takeReports(queueIndex);
  }

  reset(_kind: ResetKind): void {
    this.#setActual(0);
    this.#poison = 0;
    this.#isAsked = false;
    this.#statistics = undefined;
  }

  /** What the outside wants outlives resets of the guest. */
  forgetTarget(): void {
    this.#targetPages = 0;
  }

  resume(): void {
    const queue = this.#queueOf(VIRTIO_BALLOON_F.STATS_VQ);
    if (queue !== undefined) this.#statistics ??= this.#host.queue(queue).reclaim().at(-1);
  }

  save(): StateValue {
    return {
      targetPages: this.#targetPages,
      actualPages: this.#actualPages,
      poison: this.#poison,
      isAsked: this.#isAsked,
    };
  }

  restore(reader: StateReader): void {
    this.#targetPages = reader.u32("targetPages");
    this.#actualPages = reader.u32("actualPages");
    this.#poison = reader.u32("poison");
    this.#isAsked = reader.bool("isAsked");
  }

  /** Undefined: the driver did not accept the feature. */
  #queueOf(feature: number): number | undefined {
    if (!this.#host.hasFeature(feature)) return undefined;
    const isSecond = feature === VIRTIO_BALLOON_F.REPORTING && this.#host.hasFeature(VIRTIO_BALLOON_F.STATS_VQ);
    return FIRST_OPTIONAL + (isSecond ? 1 : 0);
  }

  #aim(pages: number): void {
    const target = Math.min(pages, this.#memoryPages);
    this.#context.output(this.#channel, encodeActual(this.#actualPages));
    if (target === this.#targetPages) return;
    this.#targetPages = target;
    this.#host.configChanged();
  }

  #setActual(pages: number): void {
    if (pages === this.#actualPages) return;
    this.#actualPages = pages;
    this.#context.output(this.#channel, encodeActual(pages));
  }

  #takeNumbers(queueIndex: number): void {
    const queue = this.#host.queue(queueIndex);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const bytes = new Uint8Array(Math.min(chain.readableBytes, MAX_NUMBERS_BYTES));
      if (chain.readableBytes > MAX_NUMBERS_BYTES || !chain.read(0, bytes)) {
        this.#host.fail("page numbers are not in RAM, or more than any driver's");
        return;
      }
      // Pages that are taken out are there again once they are touched.
      if (queueIndex === INFLATE) this.#discardPages(bytes);
      queue.push(chain, 0);
    }
    this.#host.complete(queueIndex);
  }

  /** Neighbours together. What is no RAM is left alone. */
  #discardPages(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer);
    const pages = new Uint32Array(bytes.length >> 2);
    for (let i = 0; i < pages.length; i++) pages[i] = view.getUint32(4 * i, true);
    pages.sort();
    for (let first = 0; first < pages.length; ) {
      let next = first + 1;
      while (next < pages.length && pages[next]! <= pages[next - 1]! + 1) next++;
      this.#discard(pages[first]! * BALLOON_PAGE_BYTES, (pages[next - 1]! + 1) * BALLOON_PAGE_BYTES);
      first = next;
    }
  }

  /** GUEST-CONTROLLED: both. */
  #discard(start: number, end: number): number {
    let bytes = 0;
    for (const segment of this.#context.memory.segments) {
      const from = Math.max(start, segment.start);
      const to = Math.min(end, segment.start + segment.sizeBytes);
      if (segment.kind === "ram" && from < to && this.#context.memory.discard(from, to - from)) bytes += to - from;
    }
    return bytes;
  }

  #takeStatistics(queueIndex: number): void {
    const queue = this.#host.queue(queueIndex);
    this.resume();
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (this.#statistics) queue.push(this.#statistics, 0);
      this.#statistics = chain;
      if (!this.#isAsked) continue;
      const bytes = new Uint8Array(Math.min(chain.readableBytes, MAX_STATISTICS_BYTES));
      if (!chain.read(0, bytes)) {
        this.#host.fail("statistics are not in RAM");
        return;
      }
      this.#isAsked = false;
      const whole = bytes.length - (bytes.length % STATISTIC_BYTES);
      this.#context.output(this.#channel, encodeStatistics(bytes.subarray(0, whole)));
    }
    this.#host.complete(queueIndex);
  }

  #ask(): void {
    this.#isAsked = true;
    const queueIndex = this.#queueOf(VIRTIO_BALLOON_F.STATS_VQ);
    this.resume();
    if (!this.#statistics || queueIndex === undefined || !this.#host.isRunning) return;
    this.#host.queue(queueIndex).push(this.#statistics, 0);
    this.#statistics = undefined;
    this.#host.complete(queueIndex);
  }

  /** Whole pages within the parts. In one go no more than there is: a driver reports nothing twice. */
  #takeReports(queueIndex: number): void {
    const queue = this.#host.queue(queueIndex);
    let left = this.#memoryPages * BALLOON_PAGE_BYTES;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      for (const { gpa, sizeBytes } of this.#poison === 0 ? chain.writableParts : []) {
        if (left <= 0) break;
        const start = Math.ceil(gpa / BALLOON_PAGE_BYTES) * BALLOON_PAGE_BYTES;
        const end = Math.floor((gpa + sizeBytes) / BALLOON_PAGE_BYTES) * BALLOON_PAGE_BYTES;
        if (start < end) left -= this.#discard(start, end);
      }
      queue.push(chain, 0);
    }
    this.#host.complete(queueIndex);
  }
}

export interface VirtioBalloonOptions {
  /** Of the device, and of its channel. */
  readonly name: string;
}

export class VirtioBalloonDevice extends VirtioPciDevice {
  readonly #balloon: VirtioBalloon;

  constructor(context: DeviceContext, { name }: VirtioBalloonOptions) {
    let model: VirtioBalloon | undefined;
    super(context, name, (host) => {
      model = new VirtioBalloon(context, host, name);
      return model;
    });
    this.#balloon = model!;
  }

  override restore(state: StateValue): void {
    try {
      super.restore(state);
    } catch (error) {
      this.#balloon.forgetTarget();
      throw error;
    }
  }
}

export function createVirtioBalloon(context: DeviceContext, options: VirtioBalloonOptions): VirtioBalloonDevice {
  return new VirtioBalloonDevice(context, options);
}
