/** What the VM object and the thread that has its disks' images (disk-worker.ts) say to each other. */
import type { DiskFormat } from "@twinmetal/storage";
import type { KickPlace } from "../vm/machine-kick.ts";
import type { ServiceReply } from "../vm/service-thread.ts";
import type { DiskRing, ReachedMemory } from "./block-ring.ts";

/** One disk of a VM, as its user asks for it. */
export interface DiskOptions {
  /** The image's file. */
  readonly path: string;
  /** Default: by the file's first bytes, which have to agree with its name (open-vm-disk.ts). */
  readonly format?: DiskFormat;
  readonly isReadOnly?: boolean;
  /** What the guest writes is thrown away at the end; the image stays as it is. */
  readonly isEphemeral?: boolean;
  /** How the guest reaches it; "floppy": it is a disk in a floppy drive, raw, of 1440 or 720 KiB. Default: "virtio". Of a VM that exists, its own. */
  readonly bus?: DiskBus;
  /** The image is a disc in a CD drive at the AHCI controller, or by `bus` the IDE one: raw and read-only. Of a VM that exists, its own. */
  readonly isCdrom?: boolean;
  /** Firmware tries disks that have one before all others, the smallest first. Of a VM that exists, its own. */
  readonly bootIndex?: number;
  /** How fast and how large it may be; `vm.disks.limit` changes that. Default: no limits. */
  readonly limits?: DiskLimits;
}

/** Of one disk, reading and writing together. What is absent does not hold. */
export interface DiskLimits {
  /** 1 to 1e7. */
  readonly requestsPerSecond?: number;
  /** 4096 to 1e12. */
  readonly bytesPerSecond?: number;
  /** So many go at once after a rest, 1 to 1e7. Default: what the rate gives in 100 ms. */
  readonly burstRequests?: number;
  /** 4096 to 2^40. Default: what the rate gives in 100 ms. */
  readonly burstBytes?: number;
  /** Of the host's file system that its image may take. The guest waits, paused, where it writes more. 1 MiB and up. */
  readonly spaceBytes?: number;
}

/** Since the VM's start. */
export interface DiskUsage {
  readonly reads: number;
  /** Flushes and discards among them. */
  readonly writes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** So long requests have waited because of the limits. */
  readonly heldMs: number;
}

export const DISK_BUSES = ["virtio", "ahci", "nvme", "ide", "floppy"] as const;
export type DiskBus = (typeof DISK_BUSES)[number];

export interface OpenedVmDisk {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

/** Something went wrong with an image while the guest ran. */
export interface DiskProblem {
  /** The image's file. */
  readonly path: string;
  /** Of StorageError. */
  readonly code: string;
  readonly message: string;
  /** The guest waits: it is paused, and the request is made again when it is resumed. Otherwise the guest saw an error. */
  readonly isBlocked: boolean;
}

export interface DiskThreadStart {
  /** Undefined: a bay without a disk. */
  readonly disks: readonly (DiskOptions | undefined)[];
  readonly ring: DiskRing;
}

export type DisksQuestion =
  /** Waits for what is under way, makes it durable, gives the images back; requests wait until "open". */
  | { readonly type: "suspend" }
  | { readonly type: "open" }
  /** Waits for what is under way, and makes it durable. */
  | { readonly type: "flush" }
  /** What found no space is tried again. */
  | { readonly type: "retry" }
  /** The image of one disk, a disc's, is another one from here on, or none. */
  | { readonly type: "change"; readonly disk: number; readonly options: DiskOptions | undefined }
  /** Of images that were given back: this one is another from the next "open" on. */
  | { readonly type: "move"; readonly disk: number; readonly options: DiskOptions }
  | { readonly type: "limit"; readonly disk: number; readonly limits: DiskLimits }
  | { readonly type: "usage" };

/** The machine's, from here on. */
export interface MemoryPlace {
  readonly type: "memory";
  readonly memory: ReachedMemory;
}

export type ToDisks = KickPlace | MemoryPlace | (DisksQuestion & { readonly id: number });

export interface DisksReply extends ServiceReply {
  readonly disks?: readonly OpenedVmDisk[];
  readonly usage?: readonly DiskUsage[];
}

export interface DisksProblem {
  readonly type: "problem";
  readonly problem: DiskProblem;
}

export type FromDisks = DisksReply | DisksProblem;
