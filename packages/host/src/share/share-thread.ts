/** The VM object's end of the thread that has its shared folders (share-worker.ts): opening, closing, and the thread's life. */
import { Worker } from "node:worker_threads";
import { errorFromPlain } from "../vm/vm-error.ts";
import { workerUrl } from "../vm/worker-url.ts";
import type { FromShares, ShareThreadStart, ToShares } from "./share-protocol.ts";
import { createShareRing, type ShareRing } from "./share-ring.ts";

interface Pending {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class ShareThread {
  readonly ring: ShareRing;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #closing: Promise<void> | undefined;
  #lost: Error | undefined;

  /** The thread, which has nothing open yet. `channels`: the shares' names, one for each folder. */
  constructor(folders: ShareThreadStart["folders"], channels: readonly string[]) {
    this.ring = createShareRing(channels);
    this.#worker = new Worker(workerUrl("share-worker", "share"), {
      workerData: { folders, ring: this.ring } satisfies ShareThreadStart,
      execArgv: [],
      name: "twinmetal shares",
    });
    this.#worker.unref();
    this.#worker.on("message", (message: FromShares) => this.#receive(message));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(new Error("the thread of the VM's shared folders has ended")));
  }

  /** Rejects with VmError "share-...": nothing is open then. */
  async open(): Promise<void> {
    await this.#ask("open");
  }

  /** What was asked for is carried out, the folders are closed. Requests wait until `open`. */
  async suspend(): Promise<void> {
    await this.#ask("suspend");
  }

  /** How the machine is woken, as by the disks (disk-thread.ts). */
  wakes(cells: SharedArrayBuffer, index: number, vcpuCells?: SharedArrayBuffer): void {
    this.#worker.postMessage({ type: "kick", cells, index, vcpuCells } satisfies ToShares);
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

  async #ask(type: "open" | "suspend"): Promise<void> {
    if (this.#lost) throw this.#lost;
    const id = this.#nextId++;
    const reply = new Promise<void>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
    this.#worker.ref();
    this.#worker.postMessage({ type, id } satisfies ToShares);
    try {
      await reply;
    } finally {
      if (this.#pending.size === 0) this.#worker.unref();
    }
  }

  #receive({ id, error }: FromShares): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (error) pending?.reject(errorFromPlain(error));
    else pending?.resolve();
  }

  #end(error: Error): void {
    this.#lost ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
