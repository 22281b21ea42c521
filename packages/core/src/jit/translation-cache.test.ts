import { expect, test } from "vitest";
import { bareMachine } from "../interp/bare-machine.ts";
import { readLinked, writeLinked } from "./linked-regions.ts";
import { type BlobStore, poolNames } from "./pool-names.ts";
import { PAGE_BYTES } from "./region.ts";
import { readOrigins, readRegions, type SavedRegion, writeOrigins, writeRegions } from "./saved-regions.ts";
import { TranslationCache } from "./translation-cache.ts";
import { type KeptTranslations, type TranslatedBatch, translateBatch } from "./translator.ts";
import { readWarm, writeWarm } from "./warm-code.ts";

const OPTIONS = { kernel: "k", cpuFeatures: [], sharedMemory: true };

class MemoryStore implements BlobStore {
  readonly files = new Map<string, Uint8Array>();
  list = (prefix: string): string[] => [...this.files.keys()].filter((name) => name.startsWith(prefix)).reverse();
  read = (name: string): Uint8Array | undefined => this.files.get(name);
  remove = (name: string): void => void this.files.delete(name);
  add(prefix: string, bytes: Uint8Array): string {
    const name = `${prefix}${this.files.size}`;
    this.files.set(name, bytes);
    return name;
  }
}

/** dec rcx; add rax, rcx; jnz; hlt */
const LOOP = [0x48, 0xff, 0xc9, 0x48, 0x01, 0xc8, 0x48, 0x85, 0xc9, 0x75, 0xf5, 0xf4];

/** Runs the loop on the second tier; what it is made of comes from `cache` and goes there. */
function run(cache: TranslationCache | undefined, kept: readonly KeptTranslations[], code = LOOP) {
  const answers: TranslatedBatch[] = [];
  const pieces: (KeptTranslations | "none")[] = [...kept, "none"];
  const m = bareMachine(
    {},
    {
      tier: "auto",
      translator: {
        request: (batch) => void answers.push(translateBatch(batch, (region, isUser) => cache?.keep(region, isUser))),
        take: () => answers.shift(),
        takeKept: () => pieces.shift(),
        keepWarm: (warm) => cache?.keepWarm(warm),
      },
    },
  );
  m.load(code);
  m.change((s) => {
    s.gpr[1] = 100_000n;
  });
  for (let i = 0; i < 100; i++) m.vcpu.run(10_000);
  m.engine.keepWarm();
  const { gpr, rflags } = m.vcpu.getState();
  return { end: { gpr, rflags, retired: m.vcpu.retired }, stats: m.engine.stats() };
}

function filled(): { store: MemoryStore; first: ReturnType<typeof run> } {
  const store = new MemoryStore();
  const cache = new TranslationCache(store, OPTIONS);
  const first = run(cache, []);
  expect(cache.save()).toBe(1);
  return { store, first };
}

test("a later run gets what an earlier one translated, without being hot, and ends in the same state", () => {
  const { store, first } = filled();
  const kept = new TranslationCache(store, OPTIONS).load(new Set());
  const later = run(undefined, kept ? [kept] : []);
  expect(first.stats).toMatchObject({ regionsTranslated: 1, regionsKept: 0 });
  expect(later.stats).toMatchObject({ regionsTranslated: 0, regionsKept: 1, regionsKeptUsed: 1 });
  expect(later.stats["instructionsInRegions"]).toBeGreaterThan(first.stats["instructionsInRegions"] as number);
  expect(later.end).toEqual(first.end);
});

test("other code of the same place is not taken for it", () => {
  const { store } = filled();
  const kept = new TranslationCache(store, OPTIONS).load(new Set());
  // sub rax, rcx
  const other = LOOP.with(4, 0x29);
  const later = run(undefined, kept ? [kept] : [], other);
  expect(later.stats).toMatchObject({ regionsTranslated: 1, regionsKept: 1, regionsKeptUsed: 0 });
  expect(later.end).toEqual(run(undefined, [], other).end);
});

test("another kernel and other features of the CPU have their own", () => {
  const { store } = filled();
  const known = new Set(store.files.keys());
  for (const other of [
    { ...OPTIONS, kernel: "l" },
    { ...OPTIONS, cpuFeatures: ["aes"] },
  ])
    expect(new TranslationCache(store, other).load(new Set())).toBeUndefined();
  expect(new TranslationCache(store, OPTIONS).load(known)).toBeUndefined();
  expect(poolNames(OPTIONS).user).toBe(poolNames({ ...OPTIONS, kernel: "l" }).user);
});

/** Forty loops of 500 rounds: mov ecx, 500; dec ecx; jnz; then hlt */
const WARM = [...Array.from({ length: 40 }, () => [0xb9, 0xf4, 1, 0, 0, 0xff, 0xc9, 0x75, 0xfc]).flat(), 0xf4];

test("code that was not hot is translated afterwards, for the next run", () => {
  const store = new MemoryStore();
  const cache = new TranslationCache(store, OPTIONS);
  const first = run(cache, [], WARM);
  expect([first.stats["regionsTranslated"], cache.save(), cache.hasWarm]).toEqual([0, 0, true]);
  const between = new TranslationCache(store, OPTIONS);
  between.translateWarm();
  expect([between.hasWarm, between.pieces("kernel").length]).toEqual([false, 1]);
  const kept = between.link("kernel", between.pieces("kernel")[0] ?? "");
  const { index = new Uint8Array(0), wire = new Uint8Array(0) } = kept ?? {};
  const module = new WebAssembly.Module(wire);
  const later = run(undefined, [{ module, moduleBytes: wire.length, isCompiled: true, index }], WARM);
  expect(later.stats["regionsKeptUsed"]).toBeGreaterThan(0);
  expect(later.stats["instructionsInRegions"]).toBeGreaterThan(10_000);
  expect(later.end).toEqual(first.end);
});

test("windows of warm code are read as they were written, and damaged ones are errors", () => {
  const memory = Uint8Array.from({ length: 4 * PAGE_BYTES }, (_, i) => i >> 8);
  const host = PAGE_BYTES + 5;
  const reached = Uint16Array.of(host, host + 7);
  const bytes = writeWarm(memory, [{ mode: 9, host, pages: [0, PAGE_BYTES, 2 * PAGE_BYTES], reached }]);
  const [{ window, page } = { window: undefined, page: 1 }] = [...readWarm(bytes)];
  expect(window).toMatchObject({ mode: 9, entry: PAGE_BYTES + 5, hasBefore: false, hasAfter: true, reached });
  expect(window?.bytes.subarray(PAGE_BYTES)).toEqual(memory.subarray(PAGE_BYTES, 3 * PAGE_BYTES));
  expect(page).toBe(0);
  for (let at = 0; at < 32; at++)
    for (const changed of [bytes.slice(0, at), bytes.with(at, 0xff), bytes.with(at, 0x7f)])
      try {
        expect([...readWarm(changed)].length).toBeLessThan(2);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
});

test("many pieces become one, in which nothing is twice; a piece links to a module of its own", () => {
  const { store } = filled();
  const [[name = "", bytes = new Uint8Array(0)] = []] = [...store.files];
  for (let i = 0; i < 5; i++) store.files.set(`${name}${i}`, bytes);
  const cache = new TranslationCache(store, OPTIONS);
  cache.condense("kernel");
  const [piece = "", ...more] = cache.pieces("kernel");
  expect(more).toEqual([]);
  const linked = cache.link("kernel", piece);
  expect(readOrigins(linked?.index ?? new Uint8Array(0)).length).toBe(1);
  expect(WebAssembly.Module.exports(new WebAssembly.Module(linked?.wire ?? new Uint8Array(0))).length).toBe(1);
  expect(cache.link("kernel", "p-gone")).toBeUndefined();
});

test("whatever is changed or cut off is another text or an error, never more", () => {
  const { store } = filled();
  const [bytes = new Uint8Array(0)] = store.files.values();
  const regions = readRegions(bytes);
  expect(writeRegions(regions)).toEqual(bytes);
  const index = writeOrigins(regions);
  const wire = Uint8Array.of(1, 2, 3);
  const linked = writeLinked({ source: "p-1", index, wire, native: Uint8Array.of(4) });
  expect(readLinked(linked)).toEqual({ source: "p-1", index, wire, native: Uint8Array.of(4) });
  for (const [whole, read] of [
    [bytes, readRegions],
    [index, readOrigins],
    [linked, readLinked],
  ] as const)
    for (let at = 0; at < whole.length; at++)
      for (const changed of [whole.slice(0, at), whole.with(at, (whole[at] ?? 0) ^ 0xff), whole.with(at, 0x7f)])
        try {
          read(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
});

test("pieces that cannot be read are removed", () => {
  const { store } = filled();
  const [name = ""] = store.files.keys();
  store.files.set(name, Uint8Array.of(1, 2, 3));
  expect(new TranslationCache(store, OPTIONS).load(new Set())).toBeUndefined();
  expect(store.files.size).toBe(0);
});

test("what is kept is bounded", () => {
  const { store } = filled();
  const [bytes = new Uint8Array(0)] = store.files.values();
  const [region] = readRegions(bytes);
  const cache = new TranslationCache(store, OPTIONS);
  const code = new Uint8Array(1 << 20);
  for (let i = 0; i < 20; i++)
    cache.keep({ ...(region as SavedRegion), mode: i, compiled: { code, hints: [], calls: [] } }, true);
  expect(cache.save()).toBe(15);
});

test("translations wait in memory for a piece that is full, and only the one that is not full is replaced", () => {
  const { store } = filled();
  const [bytes = new Uint8Array(0)] = store.files.values();
  const [region] = readRegions(bytes);
  store.files.clear();
  const cache = new TranslationCache(store, OPTIONS);
  const code = new Uint8Array(200 << 10);
  const keep = (mode: number): void =>
    cache.keep({ ...(region as SavedRegion), mode, compiled: { code, hints: [], calls: [] } }, true);
  const modes = (): number[] => [...store.files.values()].flatMap(readRegions).map(({ mode }) => mode);
  for (const [mode, expected] of [[], [], [0, 1, 2], [0, 1, 2]].entries()) {
    keep(mode);
    expect(modes()).toEqual(expected);
  }
  expect(cache.save()).toBe(4);
  keep(4);
  expect(cache.save()).toBe(5);
  expect(modes()).toEqual([0, 1, 2, 3, 4]);
  expect(store.files.size).toBe(2);
});
