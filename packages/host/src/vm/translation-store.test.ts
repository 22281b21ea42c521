import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openTranslationStore } from "./translation-store.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "translations-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const bytes = Uint8Array.from({ length: 40 }, (_, i) => i * 7);

test("what was added is read again by another process's store, and only whole", () => {
  const name = openTranslationStore(directory, "own")?.add("a-b-", bytes) ?? "";
  const store = openTranslationStore(directory, "own");
  expect(store?.list("a-b-")).toEqual([name]);
  expect([...(store?.read(name) ?? [])]).toEqual([...bytes]);
  const path = join(directory, "own", name);
  const whole = readFileSync(path);
  for (const at of whole.keys()) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    writeFileSync(path, damaged);
    expect(store?.read(name)).toBeUndefined();
    writeFileSync(path, whole.subarray(0, at));
    expect(store?.read(name)).toBeUndefined();
  }
});

test("another key, another domain and another name are misses", () => {
  const name = openTranslationStore(directory, "own")?.add("a-b-", bytes) ?? "";
  const whole = readFileSync(join(directory, "own", name));
  const other = openTranslationStore(directory, "guest2");
  writeFileSync(join(directory, "guest2", name), whole);
  expect(other?.read(name)).toBeUndefined();
  writeFileSync(join(directory, "own", "a-b-0"), whole);
  expect(openTranslationStore(directory, "own")?.read("a-b-0")).toBeUndefined();
  writeFileSync(join(directory, "key"), Buffer.alloc(32, 1));
  expect(openTranslationStore(directory, "own")?.read(name)).toBeUndefined();
});

test("a key that others could read is not used", () => {
  writeFileSync(join(directory, "key"), Buffer.alloc(32, 1), { mode: 0o644 });
  expect(openTranslationStore(directory, "own")).toBeUndefined();
});

test("files and bytes are bounded; a directory that cannot be made is no store", () => {
  const store = openTranslationStore(directory, "own", { maxBytes: 400, maxFiles: 3 });
  for (let i = 0; i < 10; i++) store?.add("a-b-", Uint8Array.from([...bytes, i]));
  const files = readdirSync(join(directory, "own"));
  expect(files.length).toBe(3);
  expect(files.every((file) => statSync(join(directory, "own", file)).size === 73)).toBe(true);
  expect(store?.add("a-b-", new Uint8Array(500))).toBeUndefined();
  writeFileSync(join(directory, "file"), "");
  expect(openTranslationStore(join(directory, "file"), "own")).toBeUndefined();
});
