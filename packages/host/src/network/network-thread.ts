/** The VM object's end of the thread that carries the frames of its network cards (network-worker.ts). */
import { Worker } from "node:worker_threads";
import { errorFromPlain } from "../vm/vm-error.ts";
import { workerUrl } from "../vm/worker-url.ts";
import { createFrameRing, type FrameRing } from "./frame-ring.ts";
import type { FromNetwork, NetworkOptions, NetworkThreadStart, ToNetwork } from "./network-protocol.ts";

interface Pending {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

type Question =
  | { readonly type: "open" | "close" }
  | { readonly type: "lead"; readonly path: string; readonly guestPort: number };

export class NetworkThread {
  readonly ring: FrameRing;
  /** A card leads to a user network, so that `lead` has somebody to ask. */
  readonly hasUserNetwork: boolean;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #closing: Promise<void> | undefined;
  #lost: Error | undefined;

  private constructor(networks: readonly NetworkOptions[], channels: readonly string[]) {
    this.ring = createFrameRing(channels);
    this.hasUserNetwork = networks.some(({ to }) => to === "user");
    this.#worker = new Worker(workerUrl("network-worker", "network"), {
      workerData: { networks, ring: this.ring } satisfies NetworkThreadStart,
      execArgv: [],
      name: "twinmetal network",
    });
    this.#worker.unref();
    this.#worker.on("message", (message: FromNetwork) => this.#receive(message));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(new Error("the thread of the VM's network has ended")));
  }

  /** The thread; all cables are out. `channels`: the cards' names, one for each. */
  static start(networks: readonly NetworkOptions[], channels: readonly string[]): NetworkThread {
    return new NetworkThread(networks, channels);
  }

  /** The cables are plugged in. Rejects with VmError; then they are not. */
  async open(): Promise<void> {
    await this.#ask({ type: "open" });
  }

  /** Precondition: `hasUserNetwork`. One connection to `path` goes on to the guest's port. Rejects with VmError. */
  async lead(path: string, guestPort: number): Promise<void> {
    await this.#ask({ type: "lead", path, guestPort });
  }

  /** How the machine is woken: as DiskThread. */
  wakes(cells: SharedArrayBuffer, index: number, vcpuCells?: SharedArrayBuffer): void {
    this.#worker.postMessage({ type: "kick", cells, index, vcpuCells } satisfies ToNetwork);
  }

  /** The cables are pulled out. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      if (!this.#lost) await this.#ask({ type: "close" });
    } finally {
      await this.#worker.terminate();
    }
  }

  async #ask(what: Question): Promise<void> {
    if (this.#lost) throw this.#lost;
    const id = this.#nextId++;
    const reply = new Promise<void>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
    this.#worker.ref();
    this.#worker.postMessage({ ...what, id } satisfies ToNetwork);
    try {
      await reply;
    } finally {
      if (this.#pending.size === 0) this.#worker.unref();
    }
  }

  #receive({ id, error }: FromNetwork): void {
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
