/**
 * Translation in a thread of its own (translation-worker.ts), from both ends: the thread's start, in the VM's process,
 * and the port that the machine's thread asks through. Answers are read without an event loop.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { TranslatedBatch, TranslationBatch, Translator } from "@twinmetal/core";
import { workerUrl } from "./worker-url.ts";

/** Ends with the process, or by `terminate`. */
export function startTranslationThread(): { readonly worker: Worker; readonly port: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(workerUrl("translation-worker"), {
    workerData: port2,
    transferList: [port2],
    execArgv: [],
    // A batch is made of many small objects that die with it.
    resourceLimits: { maxYoungGenerationSizeMb: 128 },
    name: "twinmetal translation",
  });
  worker.unref();
  return { worker, port: port1 };
}

export class PortTranslator implements Translator {
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
  }
  request(batch: TranslationBatch): void {
    this.#port.postMessage(batch);
  }
  take(): TranslatedBatch | undefined {
    return receiveMessageOnPort(this.#port)?.message as TranslatedBatch | undefined;
  }
}
