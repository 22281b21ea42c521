/**
 * The entry of the thread that translates guest code: batches in, modules out, over one port. Where there is a cache, the
 * port's first message out is what earlier runs have left and nobody has linked yet (KeptAnswer). What was made is kept
 * when the machine has ended, and now and then before.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { TranslationBatch } from "@twinmetal/core";
import { TranslationCache, translateApart } from "@twinmetal/core/translation";
import { collectGarbage } from "./collect-garbage.ts";
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
/**
 * V8's optimising compiler takes nearly a KiB of memory for each byte of a function, and several threads of it run at a time. Larger
 * functions than this are handed over one by one, each when the last one has had time to be compiled; others overtake them.
 */
const LARGE_BYTES = 24_000;
const COMPILING_MS_PER_BYTE = 0.025;
/** What batches leave grows to half as much again as what is kept until V8 collects it; and the machine's old modules are among it. */
const BATCHES_A_COLLECTION = 32;

yieldThisThread();
const { port: firstPort, cache: settings } = workerData as TranslationThreadStart;
let port = firstPort;
let cache: TranslationCache | undefined;
let hasCore = false;
/** When the large functions that were handed over are compiled, by our guess. */
let compiledMs = 0;
let batches = 0;
let known: ReadonlySet<string> = new Set();

parentPort!.on("message", receive);
port.on("message", (batch) => translate(batch, firstPort));

function translate(batch: TranslationBatch | WarmMessage, machine: MessagePort): void {
  if ("warm" in batch) return void cache?.keepWarm(batch.warm);
  const startMs = performance.now();
  const [answer, ...large] = translateApart(batch, (region, isUser) => cache?.keep(region, isUser), LARGE_BYTES);
  const endMs = performance.now();
  machine.postMessage({ ...answer, busyMs: endMs - startMs });
  for (const one of large) {
    compiledMs = Math.max(compiledMs, endMs);
    setTimeout(() => machine.postMessage(one), compiledMs - endMs);
    compiledMs += one.moduleBytes * COMPILING_MS_PER_BYTE;
  }
  if (++batches % BATCHES_A_COLLECTION === 0) collectGarbage();
}

function receive(message: ToTranslation): void {
  if (message.type === "end") end();
  if (message.type === "machine") serve(message.port);
  else if (message.type === "vcpu") message.port.on("message", (batch) => translate(batch, message.port));
  else begin(settings as TranslationSettings, message);
}

function serve(next: MessagePort): void {
  port.close();
  port = next;
  port.on("message", (batch) => translate(batch, next));
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
