/**
 * Translation of guest code in a web worker of its own, which the machine's worker starts: batches out, modules back.
 * Answers arrive in the turns of the event loop and are taken between two slices. Should the worker fail, none come, and
 * the guest stays in the interpreter.
 */
import type { TranslatedBatch, TranslationBatch, Translator } from "../jit/translator.ts";
import type { WebWorker, WorkerConstructor } from "./web-platform.ts";

declare const Worker: WorkerConstructor;
declare const URL: new (path: string, base: string) => object;

export class WorkerTranslator implements Translator {
  readonly #worker: WebWorker;
  readonly #answers: TranslatedBatch[] = [];

  constructor() {
    this.#worker = new Worker(new URL("./translation-worker.js", import.meta.url), {
      type: "module",
      name: "twinmetal translation",
    });
    this.#worker.onmessage = ({ data }) => void this.#answers.push(data as TranslatedBatch);
  }

  request(batch: TranslationBatch): void {
    this.#worker.postMessage(batch);
  }

  take(): TranslatedBatch | undefined {
    return this.#answers.shift();
  }
}
