import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { BoundedLog } from "./bounded-log.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "twinmetal-log-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it("keeps the newest lines, whole, within its bound", () => {
  const path = join(directory, "log");
  const log = BoundedLog.open(path, 1000);
  for (let i = 0; i < 500; i++) {
    log.write(Buffer.from(`line ${i}\n`));
    expect(readFileSync(path).length).toBeLessThanOrEqual(1000);
  }
  log.close();
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  expect(lines.at(-1)).toBe("line 499");
  expect(lines[0]).toBe(`line ${500 - lines.length}`);
  expect(lines.length).toBeGreaterThan(40);
});

it("goes on where the last one ended, and takes the end of what is too long", () => {
  const path = join(directory, "log");
  for (const text of ["first\n", "second\n"]) {
    const log = BoundedLog.open(path, 1000);
    log.write(Buffer.from(text));
    log.close();
  }
  expect(readFileSync(path, "utf8")).toBe("first\nsecond\n");
  const log = BoundedLog.open(path, 1000);
  log.write(Buffer.from(`${"x".repeat(100_000)}end`));
  log.close();
  expect(readFileSync(path, "utf8").length).toBeLessThanOrEqual(1000);
  expect(readFileSync(path, "utf8").endsWith("xend")).toBe(true);
});
