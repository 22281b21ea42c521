import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { RunWriter, readRun } from "./run-record.ts";

let path = "";
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), "tm-run-")), "run.json");
});
afterEach(() => rmSync(join(path, ".."), { recursive: true, force: true }));

it("keeps how often a VM has started again, and how it ended, in one record", async () => {
  const writer = new RunWriter(path, new Date(0));
  writer.restarts({ count: 2, reason: "a reason that is much longer than the other", at: "then" });
  expect(await readRun(path)).toMatchObject({ pid: process.pid, restarts: { count: 2, at: "then" } });
  writer.restarts({ count: 3, reason: "short", at: "now" });
  writer.end("off", "done", new Date(1000));
  expect(await readRun(path)).toEqual({
    pid: process.pid,
    startedAt: new Date(0).toISOString(),
    restarts: { count: 3, reason: "short", at: "now" },
    end: { kind: "off", reason: "done", at: new Date(1000).toISOString() },
  });
});

it("reads nothing of what is none", async () => {
  for (const text of ["", "{", "[]", "null", '{"pid":"1","startedAt":"x"}']) {
    writeFileSync(path, text);
    expect(await readRun(path)).toBeUndefined();
  }
  writeFileSync(path, '{"pid":1,"startedAt":"x","restarts":{"count":"many"}}');
  expect(await readRun(path)).toEqual({ pid: 1, startedAt: "x" });
});
