/**
 * The entry of the thread that translates guest code: batches in, modules out, over one port; first of all, what earlier
 * runs have left (KeptAnswer). What was made is kept when the machine has ended, and now and then before.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { type TranslationBatch, TranslationCache, translateBatch } from "@twinmetal/core";
import type { KeptAnswer, TranslationThreadStart } from "./port-translator.ts";
import { openTranslationStore } from "./translation-store.ts";

/** The first save comes after this, each further one after twice the time. */
const FIRST_SAVE_MS = 20_000;

const { port, cache: settings } = workerData as TranslationThreadStart & { port: MessagePort };
const store =
  settings && TranslationCache.isUsable ? openTranslationStore(settings.directory, settings.domain) : undefined;
const cache = settings && store ? new TranslationCache(store, settings) : undefined;

if (settings) port.postMessage({ kept: cache?.load() ?? "none" } satisfies KeptAnswer);
port.on("message", (batch: TranslationBatch) =>
  port.postMessage(translateBatch(batch, (region, isUser) => cache?.keep(region, isUser))),
);
// The machine's end.
parentPort!.once("message", () => {
  cache?.save();
  process.exit();
});

function saveLater(delayMs: number): void {
  setTimeout(() => {
    cache?.save();
    saveLater(2 * delayMs);
  }, delayMs).unref();
}
saveLater(FIRST_SAVE_MS);
