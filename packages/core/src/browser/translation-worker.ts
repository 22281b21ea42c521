/** The entry of the web worker that translates guest code. Loaded by worker-translator.ts, never imported. */
import { type TranslationBatch, translateBatch } from "../jit/translator.ts";
import type { WebWorkerScope } from "./web-platform.ts";

const scope = globalThis as unknown as WebWorkerScope;
scope.onmessage = ({ data }) => {
  const startMs = scope.performance.now();
  const answer = translateBatch(data as TranslationBatch);
  scope.postMessage({ ...answer, busyMs: scope.performance.now() - startMs });
};
