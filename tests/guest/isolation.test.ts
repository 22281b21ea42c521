// On the jit engine nothing but this code runs the guest: the system calls of a run and of the processes that keep its translations show
// one program, Node, no /dev/kvm, and no native library beside those that Node itself needs to start.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { repository } from "../clone.ts";
import { tinyGuest } from "./tiny-guest.ts";

const run = promisify(execFile);
const TIMEOUT_MS = 150_000;
const PROGRAM = join(repository, "packages", "cli", "bin", "twinmetal.mjs");

async function trace(directory: string, args: readonly string[]): Promise<{ stdout: string; calls: string[] }> {
  const log = join(directory, "calls");
  const strace = ["-f", "-qq", "-o", log, "-e", "trace=execve,openat", process.execPath, ...args];
  const { stdout } = await run("strace", strace, { timeout: TIMEOUT_MS });
  const calls = (await readFile(log, "utf8")).split("\n").filter((line) => !line.includes("ENOENT"));
  return { stdout, calls };
}

/** What a pattern's first group finds in the calls, each once, in order. */
const found = (calls: readonly string[], pattern: RegExp): string[] =>
  [...new Set(calls.flatMap((line) => pattern.exec(line)?.[1] ?? []))].sort();
const programs = (calls: readonly string[]): string[] => found(calls, /execve\("([^"]+)"/);
const libraries = (calls: readonly string[]): string[] => found(calls, /openat\([^"]*"([^"]+\.(?:so(?:\.\d+)*|node))"/);

it("runs a guest on the jit engine with Node alone", { timeout: TIMEOUT_MS }, async ({ skip }) => {
  if (!existsSync("/usr/bin/strace")) skip("strace is not installed");
  const guest = await tinyGuest();
  if ("missing" in guest) skip(guest.missing);
  const directory = await mkdtemp(join(tmpdir(), "twinmetal-isolation-"));
  try {
    const empty = await trace(directory, ["-e", "0"]);
    const { stdout, calls } = await trace(directory, [
      PROGRAM,
      "run",
      "--engine",
      "jit",
      "-m",
      "128M",
      "--",
      "uname",
      "-m",
    ]);
    expect(stdout).toBe("x86_64\n");
    expect(programs(calls)).toEqual([process.execPath]);
    expect(calls.filter((line) => line.includes("/dev/kvm"))).toEqual([]);
    expect(libraries(calls)).toEqual(libraries(empty.calls));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
