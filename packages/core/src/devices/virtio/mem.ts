/**
 * Virtio memory device (virtio 1.2, 5.15): a region of the guest's address space, whose blocks of 2 MiB the driver plugs and
 * unplugs until as many are there as the outside asks for. What is unplugged becomes zeros and is given back to the host
 * (GuestMemory.discard), so that saved states and migrations find nothing there. The channel of the device's name:
 * mem-messages.ts. The driver's reset leaves blocks as they are; the system's unplugs all.
 *
 * All of the region is usable at any time. Left out: a proximity domain (ACPI_PXM), UNPLUGGED_INACCESSIBLE: blocks that are not
 * plugged read as zeros, and a driver that writes to them, against the rules, finds memory there.
 */
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { decodeBlocks, encodeBlocks, MEM_BLOCK_BYTES } from "./mem-messages.ts";
import { type ResetKind, VIRTIO_ID, type VirtioHost, type VirtioModel } from "./model.ts";
import { VirtioPciDevice } from "./pci-transport.ts";

export const MEM_CONFIG = {
  block_size: 0,
  node_id: 8,
  addr: 16,
  region_size: 24,
  usable_region_size: 32,
  plugged_size: 40,
  requested_size: 48,
  sizeBytes: 56,
} as const;
export const MEM_REQUEST = { PLUG: 0, UNPLUG: 1, UNPLUG_ALL: 2, STATE: 3 } as const;
export const MEM_RESPONSE = { ACK: 0, NACK: 1, BUSY: 2, ERROR: 3 } as const;
export const MEM_STATE = { PLUGGED: 0, UNPLUGGED: 1, MIXED: 2 } as const;
export const MEM_REQUEST_BYTES = 24;
export const MEM_RESPONSE_BYTES = 10;

const REQUEST_QUEUE = 0;
const QUEUE_SIZE = 16;

export interface VirtioMemOptions {
  /** Of the device, and of its channel. */
  readonly name: string;
  /** Whole blocks, which are RAM. */
  readonly region: { readonly start: number; readonly sizeBytes: number };
}

class VirtioMem implements VirtioModel {
  readonly id: number = VIRTIO_ID.MEM;
  readonly schema = { id: "virtio-mem", version: 1 } as const;
  /** Memory of no other kind. */
  readonly classCode = 0x05_80_00;
  readonly features = 0n;
  readonly queueSizes: readonly number[] = [QUEUE_SIZE];
  readonly configBytes: number = MEM_CONFIG.sizeBytes;
  readonly #context: DeviceContext;
  readonly #host: VirtioHost;
  readonly #options: VirtioMemOptions;
  /** 1 where a block is plugged. */
  readonly #plugged: Uint8Array;
  #count = 0;
  /** What the outside wants. */
  #requested = 0;

  constructor(context: DeviceContext, host: VirtioHost, options: VirtioMemOptions) {
    this.#context = context;
    this.#host = host;
    this.#options = options;
    this.#plugged = new Uint8Array(options.region.sizeBytes / MEM_BLOCK_BYTES);
    context.onInput(options.name, (input) => {
      this.#tell();
      this.#request(decodeBlocks(input) ?? this.#requested);
    });
  }

  readConfig(config: DataView): void {
    const { start, sizeBytes } = this.#options.region;
    const put = (offset: number, value: number): void => config.setBigUint64(offset, BigInt(value), true);
    put(MEM_CONFIG.block_size, MEM_BLOCK_BYTES);
    put(MEM_CONFIG.addr, start);
    put(MEM_CONFIG.region_size, sizeBytes);
    put(MEM_CONFIG.usable_region_size, sizeBytes);
    put(MEM_CONFIG.plugged_size, this.#count * MEM_BLOCK_BYTES);
    put(MEM_CONFIG.requested_size, this.#requested * MEM_BLOCK_BYTES);
  }

  start(): void {
    if (this.#host.isRunning) this.notified();
  }

  notified(): void {
    const queue = this.#host.queue(REQUEST_QUEUE);
    const before = this.#count;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const request = new Uint8Array(MEM_REQUEST_BYTES);
      if (!chain.read(0, request) || !chain.write(0, this.#answer(new DataView(request.buffer)))) {
        this.#host.fail("a request for memory, or its answer, is too short or not in RAM");
        return;
      }
      queue.push(chain, MEM_RESPONSE_BYTES);
    }
    this.#host.complete(REQUEST_QUEUE);
    if (this.#count !== before) this.#tell();
  }

  reset(kind: ResetKind): void {
    if (kind === "system" && this.#count > 0) {
      this.#unplug(0, this.#plugged.length);
      this.#tell();
    }
  }

  /** What the outside wants outlives resets of the guest. */
  forgetRequest(): void {
    this.#requested = 0;
  }

  save(): StateValue {
    return { requestedBlocks: this.#requested, plugged: this.#plugged.slice() };
  }

  restore(reader: StateReader): void {
    const requested = reader.int("requestedBlocks", 0, this.#plugged.length);
    const plugged = reader.bytesExact("plugged", this.#plugged.length);
    if (plugged.some((isPlugged) => isPlugged > 1)) throw reader.invalid("plugged", "has more than 0 and 1");
    this.#requested = requested;
    this.#plugged.set(plugged);
    this.#count = plugged.reduce((sum, isPlugged) => sum + isPlugged, 0);
  }

  #request(blocks: number): void {
    const requested = Math.min(blocks, this.#plugged.length);
    if (requested === this.#requested) return;
    this.#requested = requested;
    this.#host.configChanged();
  }

  #tell(): void {
    this.#context.output(this.#options.name, encodeBlocks(this.#count));
  }

  /** GUEST-CONTROLLED: all of the request. */
  #answer(request: DataView): Uint8Array {
    const response = new DataView(new ArrayBuffer(MEM_RESPONSE_BYTES));
    const type = request.getUint16(0, true);
    const range = type === MEM_REQUEST.UNPLUG_ALL ? undefined : this.#range(request);
    response.setUint16(0, this.#carryOut(type, range), true);
    if (type === MEM_REQUEST.STATE && range) response.setUint16(8, this.#stateOf(...range), true);
    return new Uint8Array(response.buffer);
  }

  /** First block and end; undefined if they are not all in the region. */
  #range(request: DataView): readonly [number, number] | undefined {
    const { start } = this.#options.region;
    const offset = Number(request.getBigUint64(8, true)) - start;
    const blocks = request.getUint16(16, true);
    const first = offset / MEM_BLOCK_BYTES;
    const isInside = Number.isInteger(first) && first >= 0 && blocks > 0 && first + blocks <= this.#plugged.length;
    return isInside ? [first, first + blocks] : undefined;
  }

  #carryOut(type: number, range: readonly [number, number] | undefined): number {
    if (type === MEM_REQUEST.UNPLUG_ALL) {
      this.#unplug(0, this.#plugged.length);
      return MEM_RESPONSE.ACK;
    }
    if (!range) return MEM_RESPONSE.ERROR;
    const [first, end] = range;
    const state = this.#stateOf(first, end);
    switch (type) {
      case MEM_REQUEST.PLUG:
        if (state !== MEM_STATE.UNPLUGGED) return MEM_RESPONSE.ERROR;
        if (this.#count + end - first > this.#requested) return MEM_RESPONSE.NACK;
        this.#plugged.fill(1, first, end);
        this.#count += end - first;
        return MEM_RESPONSE.ACK;
      case MEM_REQUEST.UNPLUG:
        if (state !== MEM_STATE.PLUGGED) return MEM_RESPONSE.ERROR;
        this.#unplug(first, end);
        return MEM_RESPONSE.ACK;
      case MEM_REQUEST.STATE:
        return MEM_RESPONSE.ACK;
      default:
        return MEM_RESPONSE.ERROR;
    }
  }

  #stateOf(first: number, end: number): number {
    const plugged = this.#plugged.subarray(first, end);
    if (!plugged.includes(0)) return MEM_STATE.PLUGGED;
    return plugged.includes(1) ? MEM_STATE.MIXED : MEM_STATE.UNPLUGGED;
  }

  #unplug(first: number, end: number): void {
    const { start } = this.#options.region;
    for (let block = first; block < end; block++) {
      if (this.#plugged[block] === 0) continue;
      this.#plugged[block] = 0;
      this.#count--;
      this.#context.memory.discard(start + block * MEM_BLOCK_BYTES, MEM_BLOCK_BYTES);
    }
  }
}

export class VirtioMemDevice extends VirtioPciDevice {
  readonly #model: VirtioMem;

  constructor(context: DeviceContext, options: VirtioMemOptions) {
    let model: VirtioMem | undefined;
    super(context, options.name, (host) => {
      model = new VirtioMem(context, host, options);
      return model;
    });
    this.#model = model!;
  }

  override restore(state: StateValue): void {
    try {
      super.restore(state);
    } catch (error) {
      this.#model.forgetRequest();
      throw error;
    }
  }
}

/** Throws RangeError for a region of other than whole blocks. */
export function createVirtioMem(context: DeviceContext, options: VirtioMemOptions): VirtioMemDevice {
  const { start, sizeBytes } = options.region;
  if (start % MEM_BLOCK_BYTES !== 0 || sizeBytes % MEM_BLOCK_BYTES !== 0 || sizeBytes <= 0)
    throw new RangeError(`a region of ${sizeBytes} bytes at ${start}; possible are whole blocks of ${MEM_BLOCK_BYTES}`);
  return new VirtioMemDevice(context, options);
}
