/**
 * The device's side of a virtqueue (virtio 1.2, 2.6): what the transport sets up, around a ring in one of two forms,
 * split-ring.ts and packed-ring.ts, which the driver chooses by VIRTIO_F_RING_PACKED.
 *
 * Everything in guest memory is hostile. What the specification forbids stops the queue ("broken") and is told once through
 * `onBroken`, upon which the transport sets DEVICE_NEEDS_RESET. Chains taken but not yet given back are part of the saved
 * state; after a restore `reclaim` finds them again.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import { PackedRing } from "./packed-ring.ts";
import { ADDRESS_HIGH_END, MAX_DESCRIPTORS, type Ring } from "./ring.ts";
import { SplitRing } from "./split-ring.ts";

/** The three areas, in the order of the transport's address registers. */
export const AREA = { DESCRIPTOR: 0, DRIVER: 1, DEVICE: 2 } as const;
const AREA_ALIGNMENT = { split: [16, 2, 4], packed: [16, 4, 4] } as const;

/** What the driver accepted of those features that a queue is about. */
export interface QueueFeatures {
  readonly eventIndex: boolean;
  readonly indirect: boolean;
  readonly packed: boolean;
}

const NO_FEATURES: QueueFeatures = { eventIndex: false, indirect: false, packed: false };

export class Virtqueue {
  readonly maxSize: number;
  readonly #memory: GuestMemory;
  readonly #onBroken: (reason: string) => void;
  /** Low and high halves of the areas' addresses. */
  readonly #addresses = new Uint32Array(6);
  #size: number;
  #enabled = false;
  #broken = false;
  #features = NO_FEATURES;
  #ring: Ring;

  /** `maxSize`: a power of two, at most MAX_DESCRIPTORS. */
  constructor(memory: GuestMemory, maxSize: number, onBroken: (reason: string) => void) {
    if (!isRingSize(maxSize, MAX_DESCRIPTORS)) throw new RangeError(`a virtqueue of ${maxSize} descriptors`);
    this.#memory = memory;
    this.maxSize = maxSize;
    this.#size = maxSize;
    this.#onBroken = onBroken;
    this.#ring = this.#createRing();
  }

  get size(): number {
    return this.#size;
  }

  get isEnabled(): boolean {
    return this.#enabled;
  }

  /** Chains that the device has taken and not given back. */
  get inFlightCount(): number {
    return this.#ring.inFlightCount;
  }

  /** The driver chooses a smaller ring. Ignored when enabled or not a valid size: a packed ring's need not be a power of 2. */
  setSize(size: number, isPacked = false): void {
    if (!this.#enabled && (isRingSize(size, this.maxSize) || (isPacked && size >= 1 && size <= this.maxSize))) {
      this.#size = size;
    }
  }

  addressHalf(area: number, high: boolean): number {
    return this.#addresses[area * 2 + (high ? 1 : 0)]!;
  }

  /** Ignored when enabled. */
  setAddressHalf(area: number, high: boolean, value: number): void {
    if (!this.#enabled) this.#addresses[area * 2 + (high ? 1 : 0)] = value;
  }

  /** Preconditions: features are negotiated. */
  enable(features: QueueFeatures): void {
    if (this.#enabled) return;
    this.#enabled = true;
    this.#features = features;
    this.#ring = this.#createRing();
    if (!this.#hasValidAreas()) this.#break("an area of the ring is misaligned or beyond the address space");
    else if (!features.packed && !isRingSize(this.#size, this.maxSize)) this.#break("a split ring of an odd size");
  }

  reset(): void {
    this.#size = this.maxSize;
    this.#addresses.fill(0);
    this.#enabled = false;
    this.#broken = false;
    this.#features = NO_FEATURES;
    this.#ring = this.#createRing();
  }

  /** Takes the next chain the driver has made available, or undefined if there is none or the queue is not usable. */
  pop(): DescriptorChain | undefined {
    return this.#enabled && !this.#broken ? this.#ring.pop() : undefined;
  }

  /** Gives a chain back with `writtenBytes` bytes written to it. Ignored for chains from before a reset. */
  push(chain: DescriptorChain, writtenBytes: number): void {
    if (!this.#broken) this.#ring.push(chain, writtenBytes);
  }

  /** Whether the driver wants an interrupt for what was pushed since the last call. */
  takeInterrupt(): boolean {
    return this.#ring.takeInterrupt() && !this.#broken;
  }

  /**
   * After a restore: the chains that were in flight, in the order they were taken, for the device to carry on with.
   * Precondition: guest memory is restored too.
   */
  reclaim(): DescriptorChain[] {
    return this.#ring.reclaim();
  }

  save(): StateValue {
    return {
      size: this.#size,
      addresses: [...this.#addresses],
      enabled: this.#enabled,
      broken: this.#broken,
      eventIndex: this.#features.eventIndex,
      indirect: this.#features.indirect,
      ...this.#ring.save(),
    };
  }

  /** Throws StateError; the caller then resets. */
  restore(reader: StateReader): void {
    this.reset();
    const packed = reader.has("packed");
    const size = reader.int("size", 1, this.maxSize);
    this.#size = size;
    this.#addresses.set(reader.ints("addresses", this.#addresses.length, 0, 0xffff_ffff));
    this.#enabled = reader.bool("enabled");
    this.#broken = reader.bool("broken");
    this.#features = { eventIndex: reader.bool("eventIndex"), indirect: reader.bool("indirect"), packed };
    const isUsable = this.#enabled && !this.#broken;
    if (isUsable && !packed && !isRingSize(size, this.maxSize)) throw reader.invalid("size", "is not a power of two");
    if (isUsable && !this.#hasValidAreas()) throw reader.invalid("addresses", "are not addresses of a ring");
    this.#ring = this.#createRing();
    this.#ring.restore(reader);
    if (!this.#enabled && (packed || this.#ring.inFlightCount > 0)) {
      throw reader.invalid("enabled", "is false, and the ring is in use");
    }
    reader.end();
  }

  #createRing(): Ring {
    const setup = {
      memory: this.#memory,
      size: this.#size,
      descriptorArea: this.#area(AREA.DESCRIPTOR),
      driverArea: this.#area(AREA.DRIVER),
      deviceArea: this.#area(AREA.DEVICE),
      eventIndex: this.#features.eventIndex,
      indirect: this.#features.indirect,
      broken: (reason: string): undefined => this.#break(reason),
    };
    return this.#features.packed ? new PackedRing(setup) : new SplitRing(setup);
  }

  #area(area: number): number {
    return this.#addresses[area * 2 + 1]! * 2 ** 32 + this.#addresses[area * 2]!;
  }

  #hasValidAreas(): boolean {
    return AREA_ALIGNMENT[this.#features.packed ? "packed" : "split"].every((alignment, area) => {
      return this.#addresses[area * 2]! % alignment === 0 && this.#addresses[area * 2 + 1]! < ADDRESS_HIGH_END;
    });
  }

  #break(reason: string): undefined {
    if (this.#broken) return;
    this.#broken = true;
    this.#onBroken(reason);
  }
}

function isRingSize(size: number, max: number): boolean {
  return Number.isInteger(size) && size >= 1 && size <= max && (size & (size - 1)) === 0;
}
