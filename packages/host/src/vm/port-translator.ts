/**
 * Translation in a thread of its own (translation-worker.ts), from both ends: the thread's start, in the VM's process,
 * and the port that the machine's thread asks through. Answers are read without an event loop.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { KeptTranslations, TranslatedBatch, TranslationBatch, Translator } from "@twinmetal/core";
import type { TranslationSettings } from "./translation-settings.ts";
import { workerUrl } from "./worker-url.ts";

export interface TranslationThreadStart {
  readonly port: MessagePort;
  /** Where translations are kept; undefined: nowhere. */
  readonly cache: TranslationSettings | undefined;
}

/** To the thread. The first one, if it has a cache, is what there is already. */
export type ToTranslation =
  | { readonly type: "known"; readonly sources: readonly string[]; readonly hasCore: boolean }
  /** Without a cache: for the next machine. */
  | { readonly type: "machine"; readonly port: MessagePort }
  /** Without a cache: for another vCPU of the same machine. */
  | { readonly type: "vcpu"; readonly port: MessagePort }
  | { readonly type: "end" };
/** From the thread: something is in the store that is not linked yet (native-keeper.ts). */
export type FromTranslation = "unlinked";

/** To the machine, first of all on each of its ports from who has something for it. */
export interface KeptAnswer {
  readonly kept: readonly KeptTranslations[];
}

/** From the machine, in its port, beside batches. */
export interface WarmMessage {
  readonly warm: Uint8Array<ArrayBuffer>;
}

const SAVE_MS = 3000;

export interface TranslationThread {
  readonly port: MessagePort;
  /** Another machine can have it after the first. */
  readonly isReusable: boolean;
  /** For another machine; the one before is not answered any more. Precondition: `isReusable`. Undefined: it has ended. */
  nextPort(): MessagePort | undefined;
  /** For another vCPU of the machine, which is answered beside it. Precondition: `isReusable`. */
  vcpuPort(): MessagePort;
  tell(message: ToTranslation): void;
  /** Resolves when what was translated is kept, or has taken too long, and the thread is gone. */
  end(): Promise<void>;
}

export function startTranslationThread(
  cache?: TranslationSettings,
  onUnlinked: (settings: TranslationSettings) => void = () => {},
): TranslationThread {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(workerUrl("translation-worker"), {
    workerData: { port: port2, cache } satisfies TranslationThreadStart,
    transferList: [port2],
    execArgv: [],
    // A batch is made of many small objects that die with it: more room is no quicker, and stays in memory. With a limit on
    // old objects, which is far from what a batch needs, V8 collects them at 50 MiB instead of at 90.
    resourceLimits: { maxYoungGenerationSizeMb: 6, maxOldGenerationSizeMb: 128 },
    name: "twinmetal translation",
  });
  worker.unref();
  const gone = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  // Without it there are no new translations; the machine runs on, slower.
  worker.on("error", (error: Error) =>
    process.emitWarning("The thread that translates guest code has ended; what it has not translated is interpreted.", {
      code: "TWINMETAL_NO_TRANSLATION",
      detail: error.message,
    }),
  );
  if (cache) worker.on("message", () => onUnlinked(cache));
  worker.unref();
  const tell = (message: ToTranslation): void => worker.postMessage(message);
  let ending: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    if (!cache) return void (await worker.terminate());
    worker.ref();
    tell({ type: "end" });
    const timer = setTimeout(() => void worker.terminate(), SAVE_MS);
    await gone;
    clearTimeout(timer);
  };
  const nextPort = (): MessagePort | undefined => {
    if (worker.threadId < 0) return undefined;
    const { port1: machines, port2: port } = new MessageChannel();
    worker.postMessage({ type: "machine", port } satisfies ToTranslation, [port]);
    return machines;
  };
  const vcpuPort = (): MessagePort => {
    const { port1: vcpus, port2: port } = new MessageChannel();
    worker.postMessage({ type: "vcpu", port } satisfies ToTranslation, [port]);
    return vcpus;
  };
  return { port: port1, isReusable: cache === undefined, nextPort, vcpuPort, tell, end: () => (ending ??= end()) };
}

export class PortTranslator implements Translator {
  readonly isBeside = true;
  readonly #port: MessagePort;
  readonly #kept: MessagePort[];
  readonly takeKept?: () => KeptTranslations | "none" | undefined;
  readonly keepWarm?: (code: Uint8Array<ArrayBuffer>) => void;

  /** `kept`: of a VM with a cache, where what earlier runs have left comes; the port's first message is of that kind then. */
  constructor(port: MessagePort, kept?: MessagePort) {
    this.#port = port;
    this.#kept = kept ? [kept, port] : [];
    const found: KeptTranslations[] = [];
    if (!kept) return;
    this.takeKept = () => found.shift() ?? this.#take(found);
    this.keepWarm = (warm) => port.postMessage({ warm } satisfies WarmMessage, [warm.buffer]);
  }
  #take(found: KeptTranslations[]): KeptTranslations | "none" | undefined {
    for (const [i, port] of this.#kept.entries()) {
      const answer = receiveMessageOnPort(port)?.message as KeptAnswer | undefined;
      if (!answer) continue;
      this.#kept.splice(i, 1);
      found.push(...answer.kept);
      break;
    }
    return found.shift() ?? (this.#kept.length === 0 ? "none" : undefined);
  }
  request(batch: TranslationBatch): void {
    this.#port.postMessage(batch);
  }
  take(): TranslatedBatch | undefined {
    // Until then the port's first message is not an answer to a request.
    if (this.#kept.includes(this.#port)) return undefined;
    return receiveMessageOnPort(this.#port)?.message as TranslatedBatch | undefined;
  }
}
