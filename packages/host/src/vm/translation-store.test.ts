import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openTranslationStore, translationDirectory } from "./translation-store.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "translations-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const bytes = Uint8Array.from({ length: 40 }, (_, i) => i * 7);

test("what was added is read again by another process's store, and only whole", () => {
  const name = openTranslationStore(directory)?.add("a-b-", bytes) ?? "";
  const store = openTranslationStore(directory);
  expect(store?.list("a-b-")).toEqual([name]);
  expect([...(store?.read(name) ?? [])]).toEqual([...bytes]);
  const path = join(directory, name);
  const whole = readFileSync(path);
  for (const at of whole.keys()) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    writeFileSync(path, damaged);
    expect(store?.read(name)).toBeUndefined();
    writeFileSync(path, whole.subarray(0, at));
    expect(store?.read(name)).toBeUndefined();
  }
  expect(readdirSync(directory)).toEqual(["key"]);
});

test("another key, another directory and another name are misses", () => {
  const name = openTranslationStore(directory)?.add("a-b-", bytes) ?? "";
  const whole = readFileSync(join(directory, name));
  const other = openTranslationStore(join(directory, "guest2"));
  writeFileSync(join(directory, "guest2", name), whole);
  expect(other?.read(name)).toBeUndefined();
  writeFileSync(join(directory, "a-b-0"), whole);
  expect(openTranslationStore(directory)?.read("a-b-0")).toBeUndefined();
  writeFileSync(join(directory, "key"), Buffer.alloc(32, 1));
  expect(openTranslationStore(directory)?.read(name)).toBeUndefined();
});

test("a key that others could read, a directory that others could write to, are not used", () => {
  mkdirSync(join(directory, "open"));
  chmodSync(join(directory, "open"), 0o777);
  expect(openTranslationStore(join(directory, "open"))).toBeUndefined();
  writeFileSync(join(directory, "key"), Buffer.alloc(32, 1), { mode: 0o644 });
  expect(openTranslationStore(directory)).toBeUndefined();
});

test("what lies there that is no file is no entry", () => {
  const store = openTranslationStore(directory);
  mkdirSync(join(directory, "a-b-1"));
  expect(store?.list("a-b-")).toEqual([]);
  expect(store?.read("a-b-1")).toBeUndefined();
  expect(store?.read("a-b-2")).toBeUndefined();
});

test("files and bytes are bounded; a directory that cannot be made is no store", () => {
  const store = openTranslationStore(directory, { maxBytes: 400, maxFiles: 3 });
  const longAgo = new Date(1e12);
  writeFileSync(join(directory, "a-b-3.tmp-1-00"), bytes);
  for (const name of ["key", "a-b-3.tmp-1-00"]) utimesSync(join(directory, name), longAgo, longAgo);
  for (let i = 0; i < 10; i++) store?.add("a-b-", Uint8Array.from([...bytes, i]));
  const files = readdirSync(directory).filter((name) => name !== "key");
  expect(files.length).toBe(3);
  expect(readdirSync(directory).length).toBe(4);
  expect(files.every((file) => statSync(join(directory, file)).size === 73)).toBe(true);
  expect(store?.add("a-b-", new Uint8Array(500))).toBeUndefined();
  writeFileSync(join(directory, "file"), "");
  expect(openTranslationStore(join(directory, "file"))).toBeUndefined();
  expect(openTranslationStore("/proc/nowhere/deep")).toBeUndefined();
});

test("a directory that is gone meanwhile is a store without anything", () => {
  const store = openTranslationStore(join(directory, "a"));
  rmSync(join(directory, "a"), { recursive: true });
  expect(store?.add("a-b-", bytes)).toBeUndefined();
  expect(store?.list("a-b-")).toEqual([]);
});

test("follows the XDG rules", () => {
  expect(translationDirectory({ XDG_CACHE_HOME: "/x" })).toBe("/x/twinmetal/translations");
  expect(translationDirectory({ XDG_CACHE_HOME: "x", HOME: "/h" })).toBe("/h/.cache/twinmetal/translations");
});
