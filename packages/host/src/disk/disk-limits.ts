/** A VM's disks from outside: how fast and how large they may be, and what has gone through them. */
import { type DeviceSpec, isDisk, isInBay, isRemovable, type MachineSpec } from "@twinmetal/core";
import { checkRanges, type LimitRanges } from "../resources/limit-ranges.ts";
import { VmError } from "../vm/vm-error.ts";
import type { DiskLimits, DiskOptions, DiskUsage } from "./disk-protocol.ts";

export const DISK_LIMIT_RANGES = {
  requestsPerSecond: [1, 1e7],
  bytesPerSecond: [4096, 1e12],
  burstRequests: [1, 1e7],
  burstBytes: [4096, 2 ** 40],
  spaceBytes: [2 ** 20, 2 ** 62],
} as const satisfies LimitRanges<DiskLimits>;

export interface VmDisks {
  /** Of each disk, at present. */
  readonly limits: readonly DiskLimits[];
  /**
   * A disk, by its place in the VM's options, has these limits from now on, and no others: `{}` for none. Requests that wait are
   * included. Rejects with VmError "bad-option" where there is no such disk, or for limits that cannot be.
   */
  limit(disk: number, limits: DiskLimits): Promise<void>;
  /** Of each disk, since the VM's start. */
  usage(): Promise<readonly DiskUsage[]>;
  /** Of each disk, at present; undefined: a drive without a disc. */
  readonly images: readonly (DiskOptions | undefined)[];
  /** Of the disks in bays, at present. */
  readonly inBays: readonly DiskOptions[];
  /** What is in the drives for discs and floppies, at present. */
  readonly discs: readonly DiscInDrive[];
  /**
   * Gives all images back, durable, and opens them again when `change` has ended, some of them elsewhere: those that it has told
   * `moved`, also where it rejects. The guest's requests wait meanwhile.
   */
  exchange(change: (moved: DiskMoved) => Promise<void>): Promise<void>;
  /** What the guest has asked for until now is carried out, and durable in the images. */
  flush(): Promise<void>;
}

export interface DiscInDrive {
  /** Its place in the VM's options. */
  readonly disk: number;
  /** Null: none. */
  readonly path: string | null;
}

export type DiskMoved = (disk: number, options: DiskOptions) => void;

/** What the disks' thread does. */
export interface LimitedDisks {
  readonly limits: readonly DiskLimits[];
  limit(disk: number, limits: DiskLimits): Promise<void>;
  usage(): Promise<readonly DiskUsage[]>;
  readonly images: readonly (DiskOptions | undefined)[];
  suspend(): Promise<void>;
  move(disk: number, options: DiskOptions): Promise<void>;
  openAgain(): Promise<void>;
  flush(): Promise<void>;
}

export class DisksOfVm implements VmDisks {
  readonly #thread: LimitedDisks | undefined;
  readonly #bays: readonly number[];
  readonly #drives: readonly number[];

  /** Undefined: the VM has no disk. `spec`: the machine's, which says what is in bays and drives. */
  constructor(thread: LimitedDisks | undefined, { devices }: Pick<MachineSpec, "devices">) {
    this.#thread = thread;
    const disks = devices.filter(isDisk);
    const places = (test: (disk: DeviceSpec) => boolean): readonly number[] =>
      disks.flatMap((disk, index) => (test(disk) ? [index] : []));
    this.#bays = places(isInBay);
    this.#drives = places((disk) => isRemovable(disk) && !isInBay(disk));
  }

  get discs(): readonly DiscInDrive[] {
    return this.#drives.map((disk) => ({ disk, path: this.images[disk]?.path ?? null }));
  }

  get inBays(): readonly DiskOptions[] {
    return this.#bays.flatMap((index) => this.images[index] ?? []);
  }

  get limits(): readonly DiskLimits[] {
    return this.#thread?.limits ?? [];
  }

  async limit(disk: number, limits: DiskLimits): Promise<void> {
    const count = this.limits.length;
    if (!this.#thread || !Number.isInteger(disk) || disk < 0 || disk >= count) {
      const has = count === 0 ? "no disk" : count === 1 ? "one disk, 0" : `disks 0 to ${count - 1}`;
      throw new VmError("bad-option", `The VM has no disk ${disk} that could have limits. It has ${has}.`);
    }
    checkDiskLimits(limits);
    await this.#thread.limit(disk, limits);
  }

  async usage(): Promise<readonly DiskUsage[]> {
    return (await this.#thread?.usage()) ?? [];
  }

  get images(): readonly (DiskOptions | undefined)[] {
    return this.#thread?.images ?? [];
  }

  async flush(): Promise<void> {
    await this.#thread?.flush();
  }

  async exchange(change: (moved: DiskMoved) => Promise<void>): Promise<void> {
    const thread = this.#thread;
    if (!thread) return await change(() => {});
    const moves = new Map<number, DiskOptions>();
    await thread.suspend();
    try {
      await change((disk, options) => void moves.set(disk, options));
    } finally {
      for (const [disk, options] of moves) await thread.move(disk, options);
      await thread.openAgain();
    }
  }
}

/** Throws VmError. */
export function checkDiskLimits(limits: DiskLimits): void {
  checkRanges("A disk", limits, DISK_LIMIT_RANGES);
  const { burstRequests, requestsPerSecond, burstBytes, bytesPerSecond } = limits;
  if (burstRequests !== undefined && requestsPerSecond === undefined)
    throw new VmError("bad-option", "A disk's burstRequests go with its requestsPerSecond: give that, too.");
  if (burstBytes !== undefined && bytesPerSecond === undefined)
    throw new VmError("bad-option", "A disk's burstBytes go with its bytesPerSecond: give that, too.");
}
