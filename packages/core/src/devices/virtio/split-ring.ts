/**
 * A split virtqueue's rings (virtio 1.2, 2.7): descriptor table, available ring, used ring; notification suppression by flags
 * and by event index. A walk visits each table's descriptors at most once, so that loops end. Chains in flight are saved by
 * the index of their first descriptor: the table stays as it is until they are given back. Left out: in-order use.
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

const AVAIL_F_NO_INTERRUPT = 1;

export class SplitRing implements Ring {
  readonly #setup: RingSetup;
  readonly #inFlight = new Map<number, DescriptorChain | undefined>();
  readonly #descriptor = new Uint8Array(DESCRIPTOR_BYTES);
  readonly #descriptorView = new DataView(this.#descriptor.buffer);
  /** The next entry of the available ring to take, modulo 2^16. */
  #nextAvailable = 0;
  #nextUsed = 0;
  /** The used index when an interrupt was last considered. */
  #consideredUsed = 0;

  constructor(setup: RingSetup) {
    this.#setup = setup;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  pop(): DescriptorChain | undefined {
    const { memory, size, driverArea, deviceArea, eventIndex, broken } = this.#setup;
    let available = memory.read16(driverArea + 2);
    if (available === this.#nextAvailable && eventIndex) {
      // Ask for a notification first, then look again: the driver may have added a chain in between.
      if (!memory.write16(deviceArea + 4 + 8 * size, this.#nextAvailable)) return broken("the used ring is not in RAM");
      available = memory.read16(driverArea + 2);
    }
    if (available === undefined) return broken("the available ring is not in RAM");
    const waiting = (available - this.#nextAvailable) & 0xffff;
    if (waiting === 0) return undefined;
    if (waiting > size) return broken("the available index is ahead by more than the ring holds");
    const head = memory.read16(driverArea + 4 + 2 * (this.#nextAvailable % size));
    if (head === undefined || head >= size) return broken("an available entry names no descriptor");
    if (this.#inFlight.has(head)) return broken("a chain is available twice");
    const chain = this.#walk(head);
    if (!chain) return undefined;
    this.#nextAvailable = (this.#nextAvailable + 1) & 0xffff;
    this.#inFlight.set(head, chain);
    return chain;
  }

  push(chain: DescriptorChain, writtenBytes: number): void {
    if (this.#inFlight.get(chain.head) !== chain) return;
    this.#inFlight.delete(chain.head);
    const { memory, size, deviceArea, broken } = this.#setup;
    const entry = deviceArea + 4 + 8 * (this.#nextUsed % size);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    const isWritten =
      memory.write32(entry, chain.head) &&
      memory.write32(entry + 4, writtenBytes) &&
      memory.write16(deviceArea + 2, this.#nextUsed);
    if (!isWritten) broken("the used ring is not in RAM");
  }

  takeInterrupt(): boolean {
    const before = this.#consideredUsed;
    const now = this.#nextUsed;
    this.#consideredUsed = now;
    if (before === now) return false;
    const { memory, size, driverArea, eventIndex } = this.#setup;
    if (!eventIndex) return ((memory.read16(driverArea) ?? 0) & AVAIL_F_NO_INTERRUPT) === 0;
    const usedEvent = memory.read16(driverArea + 4 + 2 * size) ?? 0;
    return ((now - usedEvent - 1) & 0xffff) < ((now - before) & 0xffff);
  }

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

  save(): { readonly [key: string]: StateValue } {
    return {
      nextAvailable: this.#nextAvailable,
      nextUsed: this.#nextUsed,
      consideredUsed: this.#consideredUsed,
      inFlight: [...this.#inFlight.keys()],
    };
  }

  restore(reader: StateReader): void {
    const { size } = this.#setup;
    this.#nextAvailable = reader.u16("nextAvailable");
    this.#nextUsed = reader.u16("nextUsed");
    this.#consideredUsed = reader.u16("consideredUsed");
    for (const head of reader.values("inFlight", size)) {
      const isValid = typeof head === "number" && Number.isInteger(head) && head >= 0 && head < size;
      if (!isValid || this.#inFlight.has(head)) {
        throw reader.invalid("inFlight", "is not a list of different descriptors of an enabled queue");
      }
      this.#inFlight.set(head, undefined);
    }
    // With another difference, rings that lie on each other could feed themselves for ever.
    if (((this.#nextAvailable - this.#nextUsed) & 0xffff) !== this.#inFlight.size) {
      throw reader.invalid("nextUsed", "does not agree with the chains in flight");
    }
  }

  #walk(head: number): DescriptorChain | undefined {
    const { memory, broken } = this.#setup;
    const parts = new ChainParts();
    let tableSize = this.#setup.size;
    /** Of indirect descriptors. */
    let table: DataView | undefined;
    let index = head;
    for (let visited = 0; visited < tableSize; visited++) {
      const at = index * DESCRIPTOR_BYTES;
      if (!table && !memory.read(this.#setup.descriptorArea + at, this.#descriptor)) {
        return broken("a descriptor is not in RAM");
      }
      const [view, from] = table ? [table, at] : [this.#descriptorView, 0];
      const addressHigh = view.getUint32(from + 4, true);
      if (addressHigh >= ADDRESS_HIGH_END) return broken("a descriptor points beyond the address space");
      const descriptor: Descriptor = {
        gpa: addressHigh * 2 ** 32 + view.getUint32(from, true),
        sizeBytes: view.getUint32(from + 8, true),
        flags: view.getUint16(from + 12, true),
      };
      if (descriptor.flags & DESC_F.INDIRECT) {
        const entries = indirectEntries(descriptor, this.#setup.indirect && !table);
        if (typeof entries === "string") return broken(entries);
        table = new DataView(new ArrayBuffer(descriptor.sizeBytes));
        if (!memory.read(descriptor.gpa, new Uint8Array(table.buffer))) return broken("a descriptor is not in RAM");
        tableSize = entries;
        index = 0;
        visited = -1;
        continue;
      }
      const wrong = parts.add(descriptor);
      if (wrong !== undefined) return broken(wrong);
      if ((descriptor.flags & DESC_F.NEXT) === 0) {
        return new DescriptorChain(memory, head, parts.readable, parts.writable);
      }
      index = view.getUint16(from + 14, true);
      if (index >= tableSize) return broken("a chain leaves its table");
    }
    return broken("a chain is a loop");
  }
}
