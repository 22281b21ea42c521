/**
 * A packed virtqueue's ring (virtio 1.2, 2.8): one ring of descriptors, in which the driver makes buffers available and the
 * device, in the order in which it is done, writes used ones over them; wrap counters tell the laps apart, and two event
 * suppression structures hold notifications back, by flag or until a place in the ring is reached.
 *
 *   flags:  available  AVAIL = lap, USED != lap        used  AVAIL = USED = lap        (lap: the wrap counter, 1 at first)
 *
 * Descriptors of a chain follow each other, so that no chain is longer than what the ring has left. What is in flight may be
 * overwritten by what is used before it: the state keeps its descriptors, at most a ring's worth. A buffer's identifier may
 * be any; two in flight with the same one break the queue. Left out: in-order use.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { DescriptorChain } from "./descriptor-chain.ts";
import {
  ADDRESS_HIGH_END,
  ChainParts,
  DESC_F,
  DESCRIPTOR_BYTES,
  type Descriptor,
  indirectEntries,
  type Ring,
  type RingSetup,
} from "./ring.ts";

const DESC_F_AVAIL = 1 << 7;
const DESC_F_USED = 1 << 15;
/** Flags of an event suppression structure. */
const EVENT_FLAGS = { ENABLE: 0, DISABLE: 1, DESC: 2 } as const;
const EVENT_WRAP = 1 << 15;

interface Buffer {
  readonly id: number;
  /** Those in the ring. */
  readonly descriptors: readonly Descriptor[];
  /** Unknown after a restore, until it is reclaimed. */
  chain: DescriptorChain | undefined;
}

export class PackedRing implements Ring {
  readonly #setup: RingSetup;
  readonly #inFlight = new Map<number, Buffer>();
  readonly #descriptor = new Uint8Array(DESCRIPTOR_BYTES);
  readonly #descriptorView = new DataView(this.#descriptor.buffer);
  /** Places count through two laps, 0 to 2 * size: the wrap counter is 1 in the first. */
  #nextAvailable = 0;
  #nextUsed = 0;
  /** Places used since an interrupt was last considered, at most two laps. */
  #unconsidered = 0;
  /** Descriptors of what is in flight: how far `#nextAvailable` is ahead of `#nextUsed`. */
  #taken = 0;

  constructor(setup: RingSetup) {
    this.#setup = setup;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  pop(): DescriptorChain | undefined {
    const { memory, size, deviceArea, eventIndex, broken } = this.#setup;
    let available = this.#isAvailable();
    if (available === false && eventIndex) {
      // Ask for a notification first, then look again: the driver may have added a buffer in between.
      const place = (this.#nextAvailable % size) | (this.#nextAvailable < size ? EVENT_WRAP : 0);
      const isAsked = memory.write16(deviceArea, place) && memory.write16(deviceArea + 2, EVENT_FLAGS.DESC);
      if (!isAsked) return broken("the device's event suppression structure is not in RAM");
      available = this.#isAvailable();
    }
    if (available === undefined) return broken("the ring is not in RAM");
    if (!available) return undefined;
    const descriptors: Descriptor[] = [];
    for (;;) {
      if (this.#taken + descriptors.length >= size) return broken("more is available than the ring holds");
      const at = this.#slot(this.#nextAvailable + descriptors.length);
      const descriptor = this.#read(at);
      if (!descriptor) return undefined;
      descriptors.push(descriptor);
      if ((descriptor.flags & DESC_F.NEXT) === 0) break;
    }
    const id = this.#descriptorView.getUint16(12, true);
    if (this.#inFlight.has(id)) return broken("a buffer is available twice");
    const chain = this.#chain(id, descriptors);
    if (!chain) return undefined;
    this.#taken += descriptors.length;
    this.#nextAvailable = (this.#nextAvailable + descriptors.length) % (2 * size);
    this.#inFlight.set(id, { id, descriptors, chain });
    return chain;
  }

  push(chain: DescriptorChain, writtenBytes: number): void {
    const buffer = this.#inFlight.get(chain.head);
    if (buffer?.chain !== chain) return;
    this.#inFlight.delete(buffer.id);
    const { memory, size, broken } = this.#setup;
    const at = this.#slot(this.#nextUsed);
    const lap = this.#nextUsed < size ? DESC_F_AVAIL | DESC_F_USED : 0;
    const places = buffer.descriptors.length;
    this.#taken -= places;
    this.#nextUsed = (this.#nextUsed + places) % (2 * size);
    this.#unconsidered = Math.min(this.#unconsidered + places, 2 * size);
    const isWritten =
      memory.write32(at + 8, writtenBytes) &&
      memory.write16(at + 12, buffer.id) &&
      memory.write16(at + 14, lap | (writtenBytes > 0 ? DESC_F.WRITE : 0));
    if (!isWritten) broken("the ring is not in RAM");
  }

  takeInterrupt(): boolean {
    const places = this.#unconsidered;
    this.#unconsidered = 0;
    if (places === 0) return false;
    const { memory, size, driverArea, eventIndex } = this.#setup;
    const flags = (memory.read16(driverArea + 2) ?? 0) & 3;
    if (flags === EVENT_FLAGS.DISABLE) return false;
    if (flags !== EVENT_FLAGS.DESC || !eventIndex) return true;
    const event = memory.read16(driverArea) ?? 0;
    const slot = event & ~EVENT_WRAP;
    if (slot >= size) return true;
    const place = slot + (event & EVENT_WRAP ? 0 : size);
    return (this.#nextUsed - 1 - place + 2 * size) % (2 * size) < places;
  }

  reclaim(): DescriptorChain[] {
    const chains: DescriptorChain[] = [];
    for (const buffer of this.#inFlight.values()) {
      buffer.chain ??= this.#chain(buffer.id, buffer.descriptors);
      if (!buffer.chain) return [];
      chains.push(buffer.chain);
    }
    return chains;
  }

  save(): { readonly [key: string]: StateValue } {
    const inFlight = [...this.#inFlight.values()].map(({ id, descriptors }) => ({
      id,
      descriptors: descriptors.map(({ gpa, sizeBytes, flags }) => ({ gpa, sizeBytes, flags })),
    }));
    const { size } = this.#setup;
    return {
      packed: {
        nextAvailable: this.#nextAvailable % size,
        availableWrap: this.#nextAvailable < size,
        nextUsed: this.#nextUsed % size,
        usedWrap: this.#nextUsed < size,
        unconsidered: this.#unconsidered,
        inFlight,
      },
    };
  }

  restore(queue: StateReader): void {
    const { size } = this.#setup;
    const reader = queue.object("packed");
    const place = (index: string, wrap: string): number =>
      reader.int(index, 0, size - 1) + (reader.bool(wrap) ? 0 : size);
    this.#nextAvailable = place("nextAvailable", "availableWrap");
    this.#nextUsed = place("nextUsed", "usedWrap");
    this.#unconsidered = reader.int("unconsidered", 0, 2 * size);
    for (const entry of reader.array("inFlight", size)) {
      const id = entry.u16("id");
      const descriptors = entry.array("descriptors", size).map((one): Descriptor => {
        const gpa = one.int("gpa", 0, 2 ** 52 - 1);
        const descriptor = { gpa, sizeBytes: one.u32("sizeBytes"), flags: one.u16("flags") };
        one.end();
        return descriptor;
      });
      entry.end();
      if (this.#inFlight.has(id) || descriptors.length === 0) {
        throw reader.invalid("inFlight", "is not a list of different buffers");
      }
      this.#taken += descriptors.length;
      this.#inFlight.set(id, { id, descriptors, chain: undefined });
    }
    reader.end();
    const isAgreed = (this.#nextAvailable - this.#nextUsed + 2 * size) % (2 * size) === this.#taken;
    if (!isAgreed || this.#taken > size) throw reader.invalid("nextUsed", "does not agree with the buffers in flight");
  }

  /** Undefined: not RAM. */
  #isAvailable(): boolean | undefined {
    const flags = this.#setup.memory.read16(this.#slot(this.#nextAvailable) + 14);
    if (flags === undefined) return undefined;
    const lap = this.#nextAvailable < this.#setup.size;
    return ((flags & DESC_F_AVAIL) !== 0) === lap && ((flags & DESC_F_USED) !== 0) !== lap;
  }

  #slot(place: number): number {
    return this.#setup.descriptorArea + DESCRIPTOR_BYTES * (place % this.#setup.size);
  }

  #read(at: number): Descriptor | undefined {
    const { memory, broken } = this.#setup;
    if (!memory.read(at, this.#descriptor)) return broken("a descriptor is not in RAM");
    return this.#parsed(this.#descriptorView, 0);
  }

  #parsed(view: DataView, at: number): Descriptor | undefined {
    const addressHigh = view.getUint32(at + 4, true);
    if (addressHigh >= ADDRESS_HIGH_END) return this.#setup.broken("a descriptor points beyond the address space");
    return {
      gpa: addressHigh * 2 ** 32 + view.getUint32(at, true),
      sizeBytes: view.getUint32(at + 8, true),
      flags: view.getUint16(at + 14, true),
    };
  }

  #chain(id: number, descriptors: readonly Descriptor[]): DescriptorChain | undefined {
    const { memory, indirect, broken } = this.#setup;
    const parts = new ChainParts();
    for (const descriptor of descriptors) {
      const wrong = descriptor.flags & DESC_F.INDIRECT ? undefined : parts.add(descriptor);
      if (wrong !== undefined) return broken(wrong);
      if ((descriptor.flags & DESC_F.INDIRECT) === 0) continue;
      const entries = indirectEntries(descriptor, indirect);
      if (typeof entries === "string") return broken(entries);
      // In such a table the descriptors simply follow each other; of the flags only WRITE counts (2.8.7).
      const table = new DataView(new ArrayBuffer(descriptor.sizeBytes));
      if (!memory.read(descriptor.gpa, new Uint8Array(table.buffer))) return broken("a descriptor is not in RAM");
      for (let i = 0; i < entries; i++) {
        const entry = this.#parsed(table, DESCRIPTOR_BYTES * i);
        if (!entry) return undefined;
        const mistake = parts.add(entry);
        if (mistake !== undefined) return broken(mistake);
      }
    }
    return new DescriptorChain(memory, id, parts.readable, parts.writable);
  }
}
