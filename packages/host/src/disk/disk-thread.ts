/** The VM object's end of the thread that has its disks' images (disk-worker.ts). */
import { setTimeout as sleep } from "node:timers/promises";
import { ServiceThread } from "../vm/service-thread.ts";
import type { VmError } from "../vm/vm-error.ts";
import { workerUrl } from "../vm/worker-url.ts";
import { abandonRing, createDiskRing, type DiskRing, type ReachedMemory } from "./block-ring.ts";
import type {
  DiskLimits,
  DiskOptions,
  DiskProblem,
  DisksProblem,
  DisksQuestion,
  DisksReply,
  DiskThreadStart,
  DiskUsage,
  MemoryPlace,
  OpenedVmDisk,
} from "./disk-protocol.ts";

const GIVE_BACK_MS = 10_000;
const POLL_MS = 50;

export class DiskThread {
  readonly ring: DiskRing;
  /** An image's changes are nowhere but in this thread. */
  readonly hasScratch: boolean;
  readonly #thread: ServiceThread<DisksQuestion, DisksReply, DisksProblem>;
  readonly #limits: DiskLimits[];
  readonly #images: (DiskOptions | undefined)[];
  #sizes: (number | undefined)[] = [];
  onProblem: (problem: DiskProblem) => void = () => {};

  private constructor(options: readonly (DiskOptions | undefined)[], channels: readonly string[]) {
    this.ring = createDiskRing(channels);
    this.#images = [...options];
    this.#limits = options.map((disk) => disk?.limits ?? {});
    this.hasScratch = options.some((disk) => disk?.isEphemeral);
    const workerData: DiskThreadStart = { disks: options, ring: this.ring };
    const url = workerUrl("disk-worker", "disk");
    const onTold = ({ problem }: DisksProblem): void => this.onProblem(problem);
    const onEnd = (): void => abandonRing(this.ring);
    this.#thread = new ServiceThread({ url, name: "disks", what: "disks", workerData, onTold, onEnd });
  }

  /** The thread, which has nothing open yet. `channels`: the disks' names, one for each. */
  static start(options: readonly (DiskOptions | undefined)[], channels: readonly string[]): DiskThread {
    return new DiskThread(options, channels);
  }

  /** Rejects with VmError "disk-...": nothing is open then. */
  async open(): Promise<readonly OpenedVmDisk[]> {
    const opened = (await this.#thread.ask({ type: "open" })).disks!;
    this.#sizes = opened.map(({ sizeBytes }) => sizeBytes);
    return opened;
  }

  /** After `suspend`: another process that had the images may take a moment to give them back. */
  async openAgain(): Promise<void> {
    for (const deadlineMs = performance.now() + GIVE_BACK_MS; ; await sleep(POLL_MS)) {
      try {
        await this.open();
        return;
      } catch (error) {
        if ((error as VmError).code !== "disk-locked" || performance.now() > deadlineMs) throw error;
      }
    }
  }

  /** What is under way is carried out and durable, the images are given back. Requests wait until `open`. */
  async suspend(): Promise<void> {
    await this.#thread.ask({ type: "suspend" });
  }

  /** What is under way is carried out and durable; the images stay open. */
  async flush(): Promise<void> {
    await this.#thread.ask({ type: "flush" });
  }

  /** What found no space is tried again. */
  async retry(): Promise<void> {
    await this.#thread.ask({ type: "retry" });
  }

  /** The image of a disc's disk is another one, or none. Its size in bytes. Rejects with VmError: nothing has changed then. */
  async change(disk: number, options: DiskOptions | undefined): Promise<number> {
    const { disks } = await this.#thread.ask({ type: "change", disk, options });
    this.#images[disk] = options;
    this.#sizes[disk] = disks?.[0]?.sizeBytes;
    return this.#sizes[disk] ?? 0;
  }

  /** Of the image of a disk, as it was opened. */
  sizeOf(disk: number): number | undefined {
    return this.#images[disk] && this.#sizes[disk];
  }

  /** Of each disk, at present; undefined: a drive without a disc, a bay without a disk. */
  get images(): readonly (DiskOptions | undefined)[] {
    return this.#images;
  }

  /** Precondition: suspended, or not opened yet. */
  async move(disk: number, options: DiskOptions): Promise<void> {
    await this.#thread.ask({ type: "move", disk, options });
    this.#images[disk] = options;
  }

  /** Of each disk, at present. */
  get limits(): readonly DiskLimits[] {
    return this.#limits;
  }

  /** Precondition: they are possible (disk-limits.ts). */
  async limit(disk: number, limits: DiskLimits): Promise<void> {
    await this.#thread.ask({ type: "limit", disk, limits });
    this.#limits[disk] = limits;
  }

  async usage(): Promise<readonly DiskUsage[]> {
    return (await this.#thread.ask({ type: "usage" })).usage!;
  }

  /** How the machine is woken: ServiceThread. */
  wakes(cells: SharedArrayBuffer, index: number, vcpuCells?: SharedArrayBuffer): void {
    this.#thread.wakes(cells, index, vcpuCells);
  }

  /** Where the machine's memory is, which requests may tell of from then on. */
  reach(memory: ReachedMemory): void {
    this.#thread.tell({ type: "memory", memory } satisfies MemoryPlace);
  }

  /** As `suspend`, and the thread ends. Idempotent. */
  close(): Promise<void> {
    return this.#thread.close({ type: "suspend" });
  }
}
