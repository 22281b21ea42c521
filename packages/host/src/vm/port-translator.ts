/**
 * Translation in a thread of its own (translation-worker.ts), from both ends: the thread's start, in the VM's process,
 * and the port that the machine's thread asks through. Answers are read without an event loop.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type {
  KeptTranslations,
  TranslatedBatch,
  TranslationBatch,
  TranslationCacheOptions,
  Translator,
} from "@twinmetal/core";
import { workerUrl } from "./worker-url.ts";

export interface TranslationThreadStart {
  /** Where translations are kept; undefined: nowhere. */
  readonly cache: (TranslationCacheOptions & { readonly directory: string; readonly domain: string }) | undefined;
}

/** The first message of a thread that has a cache. */
export interface KeptAnswer {
  readonly kept: KeptTranslations | "none";
}

const SAVE_MS = 3000;

export interface TranslationThread {
  readonly port: MessagePort;
  /** Resolves when what was translated is kept, or has taken too long, and the thread is gone. */
  end(): Promise<void>;
}

export function startTranslationThread({ cache }: TranslationThreadStart): TranslationThread {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(workerUrl("translation-worker"), {
    workerData: { port: port2, cache },
    transferList: [port2],
    execArgv: [],
    // A batch is made of many small objects that die with it.
    resourceLimits: { maxYoungGenerationSizeMb: 128 },
    name: "twinmetal translation",
  });
  worker.unref();
  const gone = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  // Without it there are no translations; the machine runs on.
  worker.on("error", () => {});
  let ending: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    if (!cache) return void (await worker.terminate());
    worker.ref();
    worker.postMessage("end");
    const timer = setTimeout(() => void worker.terminate(), SAVE_MS);
    await gone;
    clearTimeout(timer);
  };
  return { port: port1, end: () => (ending ??= end()) };
}

export class PortTranslator implements Translator {
  readonly #port: MessagePort;
  readonly takeKept?: () => KeptTranslations | "none" | undefined;

  constructor(port: MessagePort, hasCache: boolean) {
    this.#port = port;
    if (hasCache) this.takeKept = () => (receiveMessageOnPort(port)?.message as KeptAnswer | undefined)?.kept;
  }
  request(batch: TranslationBatch): void {
    this.#port.postMessage(batch);
  }
  take(): TranslatedBatch | undefined {
    return receiveMessageOnPort(this.#port)?.message as TranslatedBatch | undefined;
  }
}
