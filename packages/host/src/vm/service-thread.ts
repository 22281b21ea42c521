/**
 * The VM object's end of a thread that works for its machine: disks, shared folders, networks. Questions and their answers, and
 * the thread's life: it keeps the process alive only while an answer is awaited, and what is asked after its end rejects.
 */
import { Worker } from "node:worker_threads";
import type { KickPlace } from "./machine-kick.ts";
import { errorFromPlain, type PlainError } from "./vm-error.ts";

export interface ServiceReply {
  readonly type: "reply";
  readonly id: number;
  readonly error?: PlainError;
}

export interface ServiceThreadOptions<Told> {
  readonly url: URL;
  /** For process lists. */
  readonly name: string;
  /** What it works for, as in "the thread of the VM's disks has ended". */
  readonly what: string;
  readonly workerData: unknown;
  /** What it says unasked. */
  readonly onTold?: (message: Told) => void;
  /** It has ended. Called once. */
  readonly onEnd?: () => void;
}

interface Pending<Reply> {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
}

/** `Question`: without its number. `Told`: what is no reply. */
export class ServiceThread<
  Question extends { readonly type: string },
  Reply extends ServiceReply = ServiceReply,
  Told extends { readonly type: string } = never,
> {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending<Reply>>();
  readonly #onTold: ((message: Told) => void) | undefined;
  #nextId = 1;
  #lost: Error | undefined;
  #closing: Promise<void> | undefined;

  constructor({ url, name, what, workerData, onTold, onEnd }: ServiceThreadOptions<Told>) {
    this.#onTold = onTold;
    this.#worker = new Worker(url, { workerData, execArgv: [], name: `twinmetal ${name}` });
    this.#worker.unref();
    this.#worker.on("message", (message: Reply | Told) => this.#receive(message));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => {
      this.#end(new Error(`the thread of the VM's ${what} has ended`));
      onEnd?.();
    });
  }

  /** Rejects with what the thread has refused it with, or with what ended the thread. */
  async ask(question: Question): Promise<Reply> {
    if (this.#lost) throw this.#lost;
    const id = this.#nextId++;
    const reply = new Promise<Reply>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
    this.#worker.ref();
    this.#worker.postMessage({ ...question, id });
    try {
      return await reply;
    } finally {
      if (this.#pending.size === 0) this.#worker.unref();
    }
  }

  /** How the machine is woken (machine-kick.ts): by the thread itself, whatever this one does meanwhile. */
  wakes(cells: SharedArrayBuffer, index: number, vcpuCells?: SharedArrayBuffer): void {
    this.tell({ type: "kick", cells, index, vcpuCells } satisfies KickPlace);
  }

  /** What has no answer. */
  tell<Message extends { readonly type: string }>(message: Message): void {
    this.#worker.postMessage(message);
  }

  /** `last` is asked, and the thread ends. Idempotent. */
  close(last: Question): Promise<void> {
    this.#closing ??= this.#close(last);
    return this.#closing;
  }

  async #close(last: Question): Promise<void> {
    try {
      if (!this.#lost) await this.ask(last);
    } finally {
      await this.#worker.terminate();
    }
  }

  #receive(message: Reply | Told): void {
    if (!isReply(message)) {
      this.#onTold?.(message as Told);
      return;
    }
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.error) pending?.reject(errorFromPlain(message.error));
    else pending?.resolve(message as Reply);
  }

  #end(error: Error): void {
    this.#lost ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

function isReply(message: { readonly type: string }): message is ServiceReply {
  return message.type === "reply";
}
