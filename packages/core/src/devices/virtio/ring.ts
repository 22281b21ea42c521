/**
 * What the two forms of a virtqueue have in common: split-ring.ts (virtio 1.2, 2.7) and packed-ring.ts (2.8). A ring is in
 * use while its queue is enabled; queue.ts has what the transport sees of it. Also the rules for descriptors, which are the
 * same in both forms: where they may point, and what a table of indirect ones may be.
 */
import type { Gpa, GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import type { DescriptorChain, MemoryPart } from "./descriptor-chain.ts";

export const DESCRIPTOR_BYTES = 16;
export const DESC_F = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;
/** Of ring sizes and of indirect tables. */
export const MAX_DESCRIPTORS = 1024;
/** Guest-physical addresses have at most 52 bits. */
export const ADDRESS_HIGH_END: number = 1 << 20;

export interface RingSetup {
  readonly memory: GuestMemory;
  readonly size: number;
  readonly descriptorArea: Gpa;
  readonly driverArea: Gpa;
  readonly deviceArea: Gpa;
  readonly eventIndex: boolean;
  readonly indirect: boolean;
  /** The driver broke a rule: the ring is not used again. */
  readonly broken: (reason: string) => undefined;
}

export interface Ring {
  readonly inFlightCount: number;
  pop(): DescriptorChain | undefined;
  /** Ignored for chains that are not in flight. */
  push(chain: DescriptorChain, writtenBytes: number): void;
  takeInterrupt(): boolean;
  reclaim(): DescriptorChain[];
  /** Fields of the queue's state. */
  save(): { readonly [key: string]: StateValue };
  /** Throws StateError. Precondition: new. */
  restore(reader: StateReader): void;
}

/** What a descriptor says, but for what links it to others. */
export interface Descriptor {
  readonly gpa: Gpa;
  readonly sizeBytes: number;
  readonly flags: number;
}

/** The parts of one chain, in the only order that is allowed. Methods return what is wrong, or undefined. */
export class ChainParts {
  readonly readable: MemoryPart[] = [];
  readonly writable: MemoryPart[] = [];

  add({ gpa, sizeBytes, flags }: Descriptor): string | undefined {
    if (flags & DESC_F.WRITE) this.writable.push({ gpa, sizeBytes });
    else if (this.writable.length > 0) return "a readable descriptor after a writable one";
    else this.readable.push({ gpa, sizeBytes });
    return undefined;
  }
}

/** The number of entries of an indirect table, or what is wrong with it. */
export function indirectEntries({ sizeBytes, flags }: Descriptor, isAllowed: boolean): number | string {
  if (!isAllowed || flags & DESC_F.NEXT) return "an indirect descriptor where none is allowed";
  const entries = sizeBytes / DESCRIPTOR_BYTES;
  const isSound = Number.isInteger(entries) && entries > 0 && entries <= MAX_DESCRIPTORS;
  return isSound ? entries : "an indirect table of a size that is not allowed";
}
