// What a running VM is to the host: one node process that executes nothing else, opens no /dev/kvm and loads no native
// library. Seen from outside, by strace.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { tinyGuest } from "./tiny-guest.ts";

const PROGRAM = new URL("../../packages/cli/bin/twinmetal.mjs", import.meta.url).pathname;

it("only node runs the guest", { timeout: 240_000 }, async ({ skip }) => {
  if (!existsSync("/usr/bin/strace")) skip("strace is not installed: apt-get install strace");
  const guest = await tinyGuest();
  if ("missing" in guest) skip(guest.missing);
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-strace-"));
  try {
    const log = join(directory, "trace");
    const options = ["-f", "-e", "trace=execve,openat,open", "-o", log];
    const command = [process.execPath, PROGRAM, "run", "--memory", "96M", "--", "echo", "in the guest"];
    const run = spawnSync("strace", [...options, ...command], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    expect(run.stdout).toBe("in the guest\n");
    expect(run.status).toBe(0);
    const lines = readFileSync(log, "utf8").split("\n");
    const executed = lines
      .filter((line) => line.includes("execve("))
      .map((line) => /execve\("([^"]*)"/.exec(line)?.[1]);
    expect(executed).toEqual([process.execPath]);
    const opened = lines.flatMap((line) => /open(?:at)?\([^"]*"([^"]*)"/.exec(line)?.[1] ?? []);
    expect(opened.filter((path) => path.startsWith("/dev/kvm"))).toEqual([]);
    expect(opened.filter((path) => path.endsWith(".node"))).toEqual([]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
