/**
 * The device's side of a split virtqueue (virtio 1.2, 2.7): descriptor table, available ring, used ring, indirect
 * descriptors, notification suppression by flags and by event index.
 *
 * Everything in guest memory is hostile. A walk visits each table's descriptors at most once, so that loops end; what
 * the specification forbids stops the queue ("broken") and is told once through `onBroken`, upon which the transport
 * sets DEVICE_NEEDS_RESET. Chains taken but not yet given back are part of the saved state, by the index of their
 * first descriptor; after a restore `reclaim` walks them again. Left out: packed rings, in-order use.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { DescriptorChain, type MemoryPart } from "./descriptor-chain.ts";

const DESCRIPTOR_BYTES = 16;
const DESC_F = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;
const AVAIL_F_NO_INTERRUPT = 1;
/** Of ring sizes and of indirect tables. */
export const MAX_DESCRIPTORS = 1024;
/** Guest-physical addresses have at most 52 bits. */
const ADDRESS_HIGH_END = 1 << 20;

/** The three areas, in the order of the transport's address registers. */
export const AREA = { DESCRIPTOR: 0, DRIVER: 1, DEVICE: 2 } as const;
const AREA_ALIGNMENT = [16, 2, 4] as const;

export class Virtqueue {
  readonly maxSize: number;
  readonly #memory: GuestMemory;
  readonly #onBroken: (reason: string) => void;
  /** Low and high halves of the areas' addresses. */
  readonly #addresses = new Uint32Array(6);
  readonly #inFlight = new Map<number, DescriptorChain | undefined>();
  readonly #descriptor = new Uint8Array(DESCRIPTOR_BYTES);
  readonly #descriptorView = new DataView(this.#descriptor.buffer);
  #size: number;
  #enabled = false;
  #broken = false;
  #eventIndex = false;
  #indirect = false;
  /** The next entry of the available ring to take, modulo 2^16. */
  #nextAvailable = 0;
  #nextUsed = 0;
  /** The used index when an interrupt was last considered. */
  #consideredUsed = 0;

  /** `maxSize`: a power of two, at most MAX_DESCRIPTORS. */
  constructor(memory: GuestMemory, maxSize: number, onBroken: (reason: string) => void) {
    if (!isRingSize(maxSize, MAX_DESCRIPTORS)) throw new RangeError(`a virtqueue of ${maxSize} descriptors`);
    this.#memory = memory;
    this.maxSize = maxSize;
    this.#size = maxSize;
    this.#onBroken = onBroken;
  }

  get size(): number {
    return this.#size;
  }

  get isEnabled(): boolean {
    return this.#enabled;
  }

  /** Chains that the device has taken and not given back. */
  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  /** The driver chooses a smaller ring. Ignored when enabled or not a valid size. */
  setSize(size: number): void {
    if (!this.#enabled && isRingSize(size, this.maxSize)) this.#size = size;
  }

  addressHalf(area: number, high: boolean): number {
    return this.#addresses[area * 2 + (high ? 1 : 0)]!;
  }

  /** Ignored when enabled. */
  setAddressHalf(area: number, high: boolean, value: number): void {
    if (!this.#enabled) this.#addresses[area * 2 + (high ? 1 : 0)] = value;
  }

  /** Preconditions: features are negotiated. */
  enable(features: { eventIndex: boolean; indirect: boolean }): void {
    if (this.#enabled) return;
    this.#enabled = true;
    this.#eventIndex = features.eventIndex;
    this.#indirect = features.indirect;
    if (!this.#hasValidAreas()) this.#break("an area of the ring is misaligned or beyond the address space");
  }

  reset(): void {
    this.#size = this.maxSize;
    this.#addresses.fill(0);
    this.#inFlight.clear();
    this.#enabled = false;
    this.#broken = false;
    this.#eventIndex = false;
    this.#indirect = false;
    this.#nextAvailable = 0;
    this.#nextUsed = 0;
    this.#consideredUsed = 0;
  }

  /** Takes the next chain the driver has made available, or undefined if there is none or the queue is not usable. */
  pop(): DescriptorChain | undefined {
    if (!this.#enabled || this.#broken) return undefined;
    const driver = this.#area(AREA.DRIVER);
    let available = this.#memory.read16(driver + 2);
    if (available === this.#nextAvailable && this.#eventIndex) {
      // Ask for a notification first, then look again: the driver may have added a chain in between.
      if (!this.#memory.write16(this.#area(AREA.DEVICE) + 4 + 8 * this.#size, this.#nextAvailable)) {
        this.#break("the used ring is not in RAM");
        return undefined;
      }
      available = this.#memory.read16(driver + 2);
    }
    if (available === undefined) {
      this.#break("the available ring is not in RAM");
      return undefined;
    }
    const waiting = (available - this.#nextAvailable) & 0xffff;
    if (waiting === 0) return undefined;
    if (waiting > this.#size) {
      this.#break("the available index is ahead by more than the ring holds");
      return undefined;
    }
    const head = this.#memory.read16(driver + 4 + 2 * (this.#nextAvailable % this.#size));
    if (head === undefined || head >= this.#size) {
      this.#break("an available entry names no descriptor");
      return undefined;
    }
    if (this.#inFlight.has(head)) {
      this.#break("a chain is available twice");
      return undefined;
    }
    const chain = this.#walk(head);
    if (!chain) return undefined;
    this.#nextAvailable = (this.#nextAvailable + 1) & 0xffff;
    this.#inFlight.set(head, chain);
    return chain;
  }

  /** Gives a chain back with `writtenBytes` bytes written to it. Ignored for chains from before a reset. */
  push(chain: DescriptorChain, writtenBytes: number): void {
    if (this.#broken || this.#inFlight.get(chain.head) !== chain) return;
    this.#inFlight.delete(chain.head);
    const device = this.#area(AREA.DEVICE);
    const entry = device + 4 + 8 * (this.#nextUsed % this.#size);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    const isWritten =
      this.#memory.write32(entry, chain.head) &&
      this.#memory.write32(entry + 4, writtenBytes) &&
      this.#memory.write16(device + 2, this.#nextUsed);
    if (!isWritten) this.#break("the used ring is not in RAM");
  }

  /** Whether the driver wants an interrupt for what was pushed since the last call. */
  takeInterrupt(): boolean {
    const before = this.#consideredUsed;
    const now = this.#nextUsed;
    this.#consideredUsed = now;
    if (before === now || this.#broken) return false;
    const driver = this.#area(AREA.DRIVER);
    if (!this.#eventIndex) return ((this.#memory.read16(driver) ?? 0) & AVAIL_F_NO_INTERRUPT) === 0;
    const usedEvent = this.#memory.read16(driver + 4 + 2 * this.#size) ?? 0;
    return ((now - usedEvent - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /**
   * After a restore: the chains that were in flight, in the order they were taken, for the device to carry on with.
   * Precondition: guest memory is restored too.
   */
  reclaim(): DescriptorChain[] {
    const chains: DescriptorChain[] = [];
    for (const [head, known] of this.#inFlight) {
      const chain = known ?? this.#walk(head);
      if (!chain) return [];
      this.#inFlight.set(head, chain);
      chains.push(chain);
    }
    return chains;
  }

  save(): StateValue {
    return {
      size: this.#size,
      addresses: [...this.#addresses],
      enabled: this.#enabled,
      broken: this.#broken,
      eventIndex: this.#eventIndex,
      indirect: this.#indirect,
      nextAvailable: this.#nextAvailable,
      nextUsed: this.#nextUsed,
      consideredUsed: this.#consideredUsed,
      inFlight: [...this.#inFlight.keys()],
    };
  }

  /** Throws StateError; the caller then resets. */
  restore(reader: StateReader): void {
    this.reset();
    const size = reader.int("size", 1, this.maxSize);
    if (!isRingSize(size, this.maxSize)) throw reader.invalid("size", "is not a power of two");
    this.#size = size;
    this.#addresses.set(reader.ints("addresses", this.#addresses.length, 0, 0xffff_ffff));
    this.#enabled = reader.bool("enabled");
    this.#broken = reader.bool("broken");
    this.#eventIndex = reader.bool("eventIndex");
    this.#indirect = reader.bool("indirect");
    this.#nextAvailable = reader.u16("nextAvailable");
    this.#nextUsed = reader.u16("nextUsed");
    this.#consideredUsed = reader.u16("consideredUsed");
    if (this.#enabled && !this.#broken && !this.#hasValidAreas()) {
      throw reader.invalid("addresses", "are not addresses of a ring");
    }
    for (const head of reader.values("inFlight", size)) {
      const isValid = typeof head === "number" && Number.isInteger(head) && head >= 0 && head < size;
      if (!isValid || !this.#enabled || this.#inFlight.has(head)) {
        throw reader.invalid("inFlight", "is not a list of different descriptors of an enabled queue");
      }
      this.#inFlight.set(head, undefined);
    }
    // With another difference, rings that lie on each other could feed themselves for ever.
    if (((this.#nextAvailable - this.#nextUsed) & 0xffff) !== this.#inFlight.size) {
      throw reader.invalid("nextUsed", "does not agree with the chains in flight");
    }
    reader.end();
  }

  #walk(head: number): DescriptorChain | undefined {
    const readable: MemoryPart[] = [];
    const writable: MemoryPart[] = [];
    let table = this.#area(AREA.DESCRIPTOR);
    let tableSize = this.#size;
    let isIndirect = false;
    let index = head;
    for (let visited = 0; visited < tableSize; visited++) {
      if (!this.#memory.read(table + index * DESCRIPTOR_BYTES, this.#descriptor)) {
        return this.#break("a descriptor is not in RAM");
      }
      const addressHigh = this.#descriptorView.getUint32(4, true);
      const gpa = addressHigh * 2 ** 32 + this.#descriptorView.getUint32(0, true);
      const sizeBytes = this.#descriptorView.getUint32(8, true);
      const flags = this.#descriptorView.getUint16(12, true);
      if (addressHigh >= ADDRESS_HIGH_END) return this.#break("a descriptor points beyond the address space");
      if (flags & DESC_F.INDIRECT) {
        const entries = sizeBytes / DESCRIPTOR_BYTES;
        const isAllowed = this.#indirect && !isIndirect && (flags & DESC_F.NEXT) === 0;
        if (!isAllowed) return this.#break("an indirect descriptor where none is allowed");
        if (!Number.isInteger(entries) || entries === 0 || entries > MAX_DESCRIPTORS) {
          return this.#break("an indirect table of a size that is not allowed");
        }
        isIndirect = true;
        table = gpa;
        tableSize = entries;
        index = 0;
        visited = -1;
        continue;
      }
      if (flags & DESC_F.WRITE) writable.push({ gpa, sizeBytes });
      else if (writable.length > 0) return this.#break("a readable descriptor after a writable one");
      else readable.push({ gpa, sizeBytes });
      if ((flags & DESC_F.NEXT) === 0) return new DescriptorChain(this.#memory, head, readable, writable);
      index = this.#descriptorView.getUint16(14, true);
      if (index >= tableSize) return this.#break("a chain leaves its table");
    }
    return this.#break("a chain is a loop");
  }

  #area(area: number): number {
    return this.#addresses[area * 2 + 1]! * 2 ** 32 + this.#addresses[area * 2]!;
  }

  #hasValidAreas(): boolean {
    return AREA_ALIGNMENT.every((alignment, area) => {
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
