// qemu-img and qemu-io (Debian's qemu-utils) as tests call them, and what they need around it.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export const hasQemuTools: boolean = existsSync("/usr/bin/qemu-img") && existsSync("/usr/bin/qemu-io");
export const WHY_SKIPPED = "needs qemu-img and qemu-io (Debian: qemu-utils)";

export async function qemuImg(...args: readonly string[]): Promise<string> {
  return (await run("qemu-img", args)).stdout;
}

export async function qemuIo(path: string, format: string, ...commands: readonly string[]): Promise<string> {
  const args = commands.flatMap((command) => ["-c", command]);
  const { stdout } = await run("qemu-io", ["-f", format, ...args, path]);
  if (/failed|error/i.test(stdout)) throw new Error(stdout);
  return stdout;
}

export interface QemuCheck {
  /** qemu-img's own: 0 clean, 2 errors, 3 leaks. */
  readonly status: number;
  readonly text: string;
}

export async function qemuCheck(path: string, ...options: readonly string[]): Promise<QemuCheck> {
  return run("qemu-img", ["check", ...options, "-f", "qcow2", path]).then(
    ({ stdout, stderr }) => ({ status: 0, text: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      status: error.code,
      text: error.stdout + error.stderr,
    }),
  );
}

export interface Folder {
  readonly path: string;
  readonly file: (name: string) => string;
  readonly empty: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

export async function makeFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "twinmetal-storage-"));
  return {
    path,
    file: (name) => join(path, name),
    empty: async () => {
      for (const name of await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
    },
    remove: () => rm(path, { recursive: true, force: true }),
  };
}

/** A reproducible sequence: mulberry32. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
