/**
 * A process of its own, between a VM's end and the next one's start: puts pieces of translations together, and keeps V8's
 * optimised code of them and of the core module (kept-code.ts). It yields to everything else, ends by itself, and one at
 * a time works in a directory. What it wrote is taken over only when yet another process could read it: V8 ends a
 * process that gives it what it does not expect.
 *
 *   node native-keeper.js keep SETTINGS TAG      SETTINGS: TranslationSettings as JSON; TAG: nativeTag() of the VM's process
 *   node native-keeper.js try DIRECTORY NAME     status 0: the file is whole, and its code is this V8's
 */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { type BlobStore, coreImage, type LinkedRegions, poolNames, readLinked, writeLinked } from "@twinmetal/core";
import { TranslationCache } from "@twinmetal/core/translation";
import { corePrefix, regionsPrefix } from "./kept-code.ts";
import { compileAndSerialize, deserialize, nativeTag } from "./native-code.ts";
import type { TranslationSettings } from "./translation-settings.ts";
import { openTranslationStore } from "./translation-store.ts";

/** A process that works for longer has ended without telling. */
const LOCK_MS = 5 * 60_000;
const TRY_MS = 60_000;

const [, script = "", task, ...args] = process.argv;
process.exitCode = task === "try" ? tryFile(args) : keep(args);

function keep([settings = "{}", tag = ""]: readonly string[]): number {
  try {
    setPriority(constants.priority.PRIORITY_LOW);
  } catch {
    // As it is.
  }
  const choice = JSON.parse(settings) as TranslationSettings;
  const store = openTranslationStore(choice.directory);
  if (!store || tag !== nativeTag()) return 1;
  const lock = join(choice.directory, "lock");
  if (!takeLock(lock)) return 0;
  try {
    keepCore(store, choice.directory, tag);
    keepRegions(store, choice, tag);
    return 0;
  } finally {
    rmSync(lock, { force: true });
  }
}

function takeLock(path: string): boolean {
  try {
    const status = statSync(path, { throwIfNoEntry: false });
    if (status && (Date.now() - status.mtimeMs > LOCK_MS || isGone(Number(readFileSync(path, "utf8")))))
      rmSync(path, { force: true });
    const file = openSync(path, "wx", 0o600);
    writeSync(file, `${process.pid}\n`);
    closeSync(file);
    return true;
  } catch {
    return false;
  }
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

function keepCore(store: BlobStore, directory: string, tag: string): void {
  const image = coreImage();
  const prefix = corePrefix(tag);
  if (!image || prefix === undefined || store.list(prefix).length > 0) return;
  const index = new Uint8Array(0);
  add(store, directory, prefix, { source: "", index, wire: image.bytes() });
}

function keepRegions(store: BlobStore, settings: TranslationSettings, tag: string): void {
  const cache = new TranslationCache(store, settings);
  cache.translateWarm();
  for (const pool of ["kernel", "user"] as const) {
    const prefix = regionsPrefix(tag, poolNames(settings)[pool]);
    cache.condense(pool);
    const pieces = cache.pieces(pool);
    const kept = new Set<string>();
    for (const name of store.list(prefix)) {
      const source = sourceOf(store, name);
      if (source !== undefined && pieces.includes(source) && !kept.has(source)) kept.add(source);
      else store.remove(name);
    }
    for (const piece of pieces) {
      const linked = kept.has(piece) ? undefined : cache.link(pool, piece);
      if (linked) add(store, settings.directory, prefix, linked);
    }
  }
}

function sourceOf(store: BlobStore, name: string): string | undefined {
  try {
    const bytes = store.read(name);
    return bytes && readLinked(bytes).source;
  } catch {
    return undefined;
  }
}

function add(
  store: BlobStore,
  directory: string,
  prefix: string,
  linked: Omit<LinkedRegions, "native" | "wire"> & { readonly wire: Uint8Array<ArrayBuffer> },
): void {
  const native = compileAndSerialize(linked.wire);
  if (!native) return;
  const bytes = writeLinked({ ...linked, native });
  const name = store.add(`t${prefix}`, bytes);
  if (name === undefined) return;
  const argv = [...process.execArgv, script, "try", directory, name];
  const { status } = spawnSync(process.execPath, argv, { stdio: "ignore", timeout: TRY_MS });
  store.remove(name);
  if (status === 0) store.add(prefix, bytes);
}

function tryFile([directory = "", name = ""]: readonly string[]): number {
  const bytes = openTranslationStore(directory)?.read(name);
  if (!bytes) return 1;
  const { wire, native } = readLinked(bytes);
  const module = deserialize(native, wire);
  return module && WebAssembly.Module.exports(module).length > 0 ? 0 : 1;
}
