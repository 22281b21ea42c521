// What a VM of the program keeps in memory besides the pages of guest RAM that its guest has touched: after a boot of Linux
// and some programs, when they say that they are done. docs/jit.md has where it goes; the bound is the floor of docs/specification.md.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { repository } from "../clone.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;
const GUEST_BYTES = 256 * MIB;
const MOST_BYTES = 250 * MIB;

interface Usage {
  sampleMemory(): void;
  readonly overGuestBytes?: number;
}

/** As the benchmark counts it. */
async function usageOf(pid: number): Promise<Usage> {
  const { ProcessUsage } = (await import(new URL("../../bench/process-usage.mjs", import.meta.url).href)) as {
    ProcessUsage: new (pid: number, guestBytes: number) => Usage;
  };
  return new ProcessUsage(pid, GUEST_BYTES);
}

/** Different programs, each as a process of its own, again and again. */
const PROGRAMS = [
  "i=0; while [ $i -lt 8 ]; do i=$((i+1))",
  "seq 1 4000 | awk '{s+=$1*$1; print s%977, $1}' | sort -n > /tmp/a",
  "gzip -c /tmp/a | gunzip -c | sed 's/7/seven/g' | tr a-z A-Z | md5sum; bzip2 -c /tmp/a | bunzip2 -c | sha256sum",
  "sha512sum /bin/busybox; cksum /bin/busybox; xxd /tmp/a | tail -n 1; echo '2^2000' | bc | tail -n 1; done > /tmp/out 2>&1",
  "echo DONE; read line",
].join("\n");

test.runIf(process.platform === "linux")("memory besides the guest's", { timeout: 240_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const cache = mkdtempSync(join(tmpdir(), "twinmetal-memory-"));
  const program = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
  const args = ["run", "--memory", `${GUEST_BYTES / MIB}M`, "--translation-cache", cache, "--", "sh", "-c", PROGRAMS];
  const child = spawn(process.execPath, [program, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
    rmSync(cache, { recursive: true, force: true });
  });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.on("close", () => reject(new Error(`the VM ended: ${said}`)));
    child.stdout.on("data", (bytes) => {
      said += bytes;
      if (said.includes("DONE")) resolve();
    });
  });
  const usage = await usageOf(child.pid as number);
  usage.sampleMemory();
  const { overGuestBytes = Number.NaN } = usage;
  console.log(`${Math.round(overGuestBytes / MIB)} MiB besides the guest's`);
  expect(overGuestBytes).toBeGreaterThan(50 * MIB);
  expect(overGuestBytes).toBeLessThan(MOST_BYTES);
});
