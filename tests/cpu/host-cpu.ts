// The real CPU as an oracle: compiles host-harness.c, keeps it running, and sends it batches of cases.
//
// Only on Linux x86-64 with gcc and seccomp; elsewhere openHostCpu() says why not, and the suites are skipped with
// that reason.

import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HOST_FLAG_OF_FEATURE } from "./forms.ts";
import type { CpuCase, CpuResult } from "./subject.ts";
import { VENDORS, type Vendor } from "./vendors.ts";
import { BATCH_HEADER_SIZE, BATCH_MAGIC, decodeBatch, encodeBatch } from "./wire.ts";

const SOURCE = fileURLToPath(new URL("host-harness.c", import.meta.url));
const COMPILER_FLAGS = ["-O2", "-Wall", "-Wextra", "-static-pie", "-fno-stack-protector"];
const CASES_PER_BATCH = 2048;

/** Why the host's CPU cannot be asked. */
export class HostCpuUnavailable extends Error {
  readonly code = "HOST_CPU_UNAVAILABLE";
}

export class HostCpuFailed extends Error {
  readonly code = "HOST_CPU_FAILED";
}

/** Vendor and feature flags of /proc/cpuinfo. */
export interface HostCpuModel {
  readonly vendor: string;
  readonly name: string;
  readonly flags: ReadonlySet<string>;
}

export function hostCpuModel(): HostCpuModel {
  const text = readFileSync("/proc/cpuinfo", "utf8");
  const field = (name: string): string => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(text)?.[1] ?? "";
  return { vendor: field("vendor_id"), name: field("model name"), flags: new Set(field("flags").split(" ")) };
}

/**
 * Vendors on whose CPUs the suites have come to 0 differences with the cases as they are now. On another vendor's host
 * differences are printed and bounded, and do not fail: the first run there is for a person to look at.
 */
const COMPARED_VENDORS: ReadonlySet<string> = new Set(["AuthenticAMD"]);
const UNSEEN_SHARE = 0.01;

export const isComparedVendor = (): boolean => COMPARED_VENDORS.has(hostCpuModel().vendor);

/** How many of `cases` may differ from this host. */
export const differencesAllowed = (cases: number): number =>
  isComparedVendor() ? 0 : Math.floor(cases * UNSEEN_SHARE);

/** The features of a model, in iced's names, that the host has too. */
export function featuresOnHost(features: ReadonlySet<string>): Set<string> {
  const { flags } = hostCpuModel();
  return new Set([...features].filter((feature) => flags.has(HOST_FLAG_OF_FEATURE[feature] ?? "fpu")));
}

/** The reason why there is no host CPU to compare with, or null. */
export function hostCpuMissing(): string | null {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `needs a Linux x86-64 host, this is ${process.platform} ${process.arch}`;
  }
  const { vendor, name } = hostCpuModel();
  if (!VENDORS.has(vendor)) return `needs a CPU of ${[...VENDORS.keys()].join(" or ")}, this is ${vendor} ${name}`;
  try {
    compileHarness();
    return null;
  } catch (error) {
    if (error instanceof HostCpuUnavailable) return error.message;
    throw error;
  }
}

function compileHarness(): string {
  const source = readFileSync(SOURCE);
  const key = createHash("sha256").update(source).update(COMPILER_FLAGS.join(" ")).digest("hex").slice(0, 16);
  const user = process.getuid?.() ?? 0;
  const folder = join(process.env["XDG_CACHE_HOME"] ?? tmpdir(), `twinmetal-tests-${user}`);
  const binary = join(folder, `host-harness-${key}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (statSync(folder).uid !== user) {
    throw new HostCpuUnavailable(`${folder} belongs to another user: set XDG_CACHE_HOME to a folder of your own`);
  }
  if (existsSync(binary)) return binary;
  const partial = `${binary}.${process.pid}`;
  try {
    execFileSync("gcc", [...COMPILER_FLAGS, "-o", partial, SOURCE], { stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const failure = error as NodeJS.ErrnoException & { stderr?: Buffer };
    const reason =
      failure.code === "ENOENT"
        ? "gcc is not installed: apt-get install gcc libc6-dev"
        : `gcc could not build the harness: ${failure.stderr?.toString().trim() ?? failure.message}`;
    throw new HostCpuUnavailable(reason, { cause: error });
  }
  renameSync(partial, binary);
  return binary;
}

export class HostCpu {
  readonly vendor: Vendor;
  private readonly child: ChildProcessWithoutNullStreams;
  private received: Buffer[] = [];
  private receivedBytes = 0;
  private wake: (() => void) | null = null;
  private ended = false;
  private errors = "";

  /** Where hostCpuMissing() found nothing missing. `ldt`: as host-harness.c wants its arguments. */
  constructor(ldt: readonly string[] = []) {
    const { vendor } = hostCpuModel();
    const known = VENDORS.get(vendor);
    if (known === undefined) throw new HostCpuUnavailable(`nothing is known about CPUs of ${vendor}`);
    this.vendor = known;
    this.child = spawn(compileHarness(), ldt, { stdio: ["pipe", "pipe", "pipe"] });
    this.child.stdout.on("data", (chunk: Buffer) => {
      this.received.push(chunk);
      this.receivedBytes += chunk.length;
      this.wake?.();
    });
    this.child.stderr.on("data", (chunk: Buffer) => {
      this.errors += chunk.toString();
    });
    this.child.stdin.on("error", () => undefined);
    this.child.on("close", () => {
      this.ended = true;
      this.wake?.();
    });
  }

  /** Results in the order of the cases. One call at a time. */
  async run(cases: readonly CpuCase[]): Promise<CpuResult[]> {
    const results: CpuResult[] = [];
    for (let at = 0; at < cases.length; at += CASES_PER_BATCH) {
      const batch = cases.slice(at, at + CASES_PER_BATCH);
      this.child.stdin.write(encodeBatch(batch));
      const header = await this.take(BATCH_HEADER_SIZE);
      if (header.readUInt32LE(0) !== BATCH_MAGIC || header.readUInt32LE(4) !== batch.length) {
        throw new HostCpuFailed("the harness and its driver disagree about the record format");
      }
      const body = await this.take(Number(header.readBigUInt64LE(8)));
      for (const result of decodeBatch(body, batch.length)) results.push(result);
    }
    return results;
  }

  async close(): Promise<void> {
    this.child.stdin.end();
    while (!this.ended) await this.wait();
  }

  private wait(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = () => {
        this.wake = null;
        resolve();
      };
    });
  }

  private async take(size: number): Promise<Buffer> {
    while (this.receivedBytes < size) {
      if (this.ended) throw new HostCpuFailed(`the harness ended early: ${this.errors.trim() || "no message"}`);
      await this.wait();
    }
    const all = this.received.length === 1 ? this.received[0]! : Buffer.concat(this.received);
    this.received = [all.subarray(size)];
    this.receivedBytes = all.length - size;
    return all.subarray(0, size);
  }
}
