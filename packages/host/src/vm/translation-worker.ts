/**
 * The entry of the thread that translates guest code: batches in, modules out, over one port. Where there is a cache, the
 * port's first message out is what earlier runs have left and nobody has linked yet (KeptAnswer). What was made is kept
 * when the machine has ended, and now and then before.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { type TranslationBatch, TranslationCache, translateBatch } from "@twinmetal/core";
import type {
  FromTranslation,
  KeptAnswer,
  ToTranslation,
  TranslationThreadStart,
  WarmMessage,
} from "./port-translator.ts";
import { yieldThisThread } from "./thread-priority.ts";
import type { TranslationSettings } from "./translation-settings.ts";
import { openTranslationStore } from "./translation-store.ts";

/** The first save comes after this, each further one after twice the time. */
const FIRST_SAVE_MS = 20_000;
/** For fewer translations, in fewer pieces, it is not worth while to compile them. */
const FEW = 16;
const FEW_PIECES = 4;

yieldThisThread();
const { port, cache: settings } = workerData as TranslationThreadStart;
let cache: TranslationCache | undefined;
let hasCore = false;
let known: ReadonlySet<string> = new Set();

if (settings) parentPort!.on("message", receive);
port.on("message", (batch: TranslationBatch | WarmMessage) => {
  if ("warm" in batch) return void cache?.keepWarm(batch.warm);
  const startMs = performance.now();
  const answer = translateBatch(batch, (region, isUser) => cache?.keep(region, isUser));
  port.postMessage({ ...answer, busyMs: performance.now() - startMs });
});

function receive(message: ToTranslation): void {
  if (message.type === "end") end();
  else begin(settings as TranslationSettings, message);
}

function begin(options: TranslationSettings, message: ToTranslation & { readonly type: "known" }): void {
  hasCore = message.hasCore;
  known = new Set(message.sources);
  const store = TranslationCache.isUsable ? openTranslationStore(options.directory) : undefined;
  cache = store && new TranslationCache(store, options);
  const kept = cache?.load(known);
  port.postMessage({ kept: kept ? [kept] : [] } satisfies KeptAnswer);
  saveLater(FIRST_SAVE_MS);
}

/** The machine's end, which may come before the machine's last words. */
function end(): never {
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    const message = next.message as TranslationBatch | WarmMessage;
    if ("warm" in message) cache?.keepWarm(message.warm);
  }
  const saved = cache?.save() ?? 0;
  const unlinked = ["kernel", "user"] as const;
  const pieces = unlinked.flatMap((pool) => cache?.pieces(pool) ?? []).filter((name) => !known.has(name));
  const isWorthWhile = pieces.length > 0 && (saved >= FEW || pieces.length >= FEW_PIECES);
  if (cache && (!hasCore || isWorthWhile || cache.hasWarm))
    parentPort!.postMessage("unlinked" satisfies FromTranslation);
  process.exit();
}

function saveLater(delayMs: number): void {
  setTimeout(() => {
    cache?.save();
    saveLater(2 * delayMs);
  }, delayMs).unref();
}
