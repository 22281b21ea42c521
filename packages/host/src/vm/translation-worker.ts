/** The entry of the thread that translates guest code: batches in, modules out, over one port. */
import { type MessagePort, workerData } from "node:worker_threads";
import { type TranslationBatch, translateBatch } from "@twinmetal/core";
import { yieldThisThread } from "./thread-priority.ts";

yieldThisThread();
const port = workerData as MessagePort;
port.on("message", (batch: TranslationBatch) => {
  const startMs = performance.now();
  const answer = translateBatch(batch);
  port.postMessage({ ...answer, busyMs: performance.now() - startMs });
});
