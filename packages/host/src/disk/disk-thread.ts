/** The VM object's end of the thread that has its disks' images (disk-worker.ts): opening, closing, and the thread's life. */
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { errorFromPlain, type VmError } from "../vm/vm-error.ts";
import { workerUrl } from "../vm/worker-url.ts";
import { createDiskRing, type DiskRing } from "./block-ring.ts";
import type { DiskOptions, DiskProblem, DiskThreadStart, FromDisks, OpenedVmDisk, ToDisks } from "./disk-protocol.ts";

const GIVE_BACK_MS = 10_000;
const POLL_MS = 50;

interface Pending {
  readonly resolve: (message: FromDisks & { readonly type: "reply" }) => void;
  readonly reject: (error: unknown) => void;
}

export class DiskThread {
  readonly ring: DiskRing;
  /** An image's changes are nowhere but in this thread. */
  readonly hasScratch: boolean;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #closing: Promise<void> | undefined;
  #lost: Error | undefined;
  onProblem: (problem: DiskProblem) => void = () => {};

  private constructor(options: readonly DiskOptions[], channels: readonly string[]) {
    this.ring = createDiskRing(channels);
    this.hasScratch = options.some(({ isEphemeral }) => isEphemeral);
    this.#worker = new Worker(workerUrl("disk-worker", "disk"), {
      workerData: { disks: options, ring: this.ring } satisfies DiskThreadStart,
      execArgv: [],
      name: "twinmetal disks",
    });
    this.#worker.unref();
    this.#worker.on("message", (message: FromDisks) => this.#receive(message));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(new Error("the thread of the VM's disks has ended")));
  }

  /** The thread, which has nothing open yet. `channels`: the disks' names, one for each. */
  static start(options: readonly DiskOptions[], channels: readonly string[]): DiskThread {
    return new DiskThread(options, channels);
  }

  /** Rejects with VmError "disk-...": nothing is open then. */
  async open(): Promise<readonly OpenedVmDisk[]> {
    return (await this.#ask("open")).disks!;
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
    await this.#ask("suspend");
  }

  /** What found no space is tried again. */
  async retry(): Promise<void> {
    await this.#ask("retry");
  }

  /** The image of a disc's disk is another one, or none. Its size in bytes. Rejects with VmError: nothing has changed then. */
  async change(disk: number, options: DiskOptions | undefined): Promise<number> {
    const { disks } = await this.#ask("change", { disk, options });
    return disks?.[0]?.sizeBytes ?? 0;
  }

  /**
   * How the machine is woken: by a change of that Int32 cell, and its vCPU by `vcpuCells` where it is inside the processor. From
   * the disks' own thread, whatever this one does meanwhile.
   */
  wakes(cells: SharedArrayBuffer, index: number, vcpuCells?: SharedArrayBuffer): void {
    this.#worker.postMessage({ type: "kick", cells, index, vcpuCells } satisfies ToDisks);
  }

  /** As `suspend`, and the thread ends. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      if (!this.#lost) await this.suspend();
    } finally {
      await this.#worker.terminate();
    }
  }

  async #ask(
    type: "open" | "suspend" | "retry" | "change",
    more: { readonly disk: number; readonly options: DiskOptions | undefined } = { disk: 0, options: undefined },
  ): Promise<FromDisks & { readonly type: "reply" }> {
    if (this.#lost) throw this.#lost;
    const id = this.#nextId++;
    const reply = new Promise<FromDisks & { readonly type: "reply" }>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
    this.#worker.ref();
    this.#worker.postMessage((type === "change" ? { type, id, ...more } : { type, id }) satisfies ToDisks);
    try {
      return await reply;
    } finally {
      if (this.#pending.size === 0) this.#worker.unref();
    }
  }

  #receive(message: FromDisks): void {
    if (message.type === "problem") this.onProblem(message.problem);
    else {
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error) pending?.reject(errorFromPlain(message.error));
      else pending?.resolve(message);
    }
  }

  #end(error: Error): void {
    this.#lost ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
