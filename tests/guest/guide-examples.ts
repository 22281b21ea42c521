/**
 * For tests of the examples in README.md and docs/guide, as they stand there: a folder with the built program on its PATH and the
 * package beside it, in which their lines run. Whoever imports this gets one for its file.
 */

import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { repository } from "../clone.ts";
import { type TinyGuest, tinyGuest } from "./tiny-guest.ts";

const TIMEOUT_MS = 180_000;

let guest: TinyGuest = { missing: "not looked for" };
let directory = "";

beforeAll(async () => {
  guest = await tinyGuest();
  directory = await mkdtemp(join(tmpdir(), "twinmetal-examples-"));
  await mkdir(join(directory, "node_modules"));
  await symlink(repository, join(directory, "node_modules", "twinmetal"));
  const shim = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
  const program = join(directory, "twinmetal");
  await writeFile(program, `#!/bin/sh\nexec "${process.execPath}" "${shim}" "$@"\n`);
  await chmod(program, 0o755);
}, TIMEOUT_MS);

/** A path in that folder. */
export const inFolder = (name: string): string => join(directory, name);

afterAll(() => rm(directory, { recursive: true, force: true }));

export interface Ending {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(file: string, args: readonly string[]): Promise<Ending> {
  const env = { ...process.env, PATH: `${directory}${delimiter}${process.env.PATH}` };
  return new Promise((resolve) => {
    const child = execFile(file, args, { cwd: directory, env, timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      resolve({ status: error ? Number(error.code ?? -1) : 0, stdout, stderr });
    });
    child.stdin?.end();
  });
}

export function example(name: string, body: () => Promise<void>): void {
  it(name, { timeout: 2 * TIMEOUT_MS }, async ({ skip }) => {
    if ("missing" in guest) skip(guest.missing);
    await body();
  });
}

/** An example is taken from the page, so that the page cannot say something else. */
export async function fromPage(page: string, beginning: string, lines = 1): Promise<string> {
  const text = (await readFile(join(repository, "docs", "guide", page), "utf8")).split("\n");
  const at = text.findIndex((line) => line.startsWith(beginning));
  expect(at, `the page has no line that begins with ${beginning}`).toBeGreaterThanOrEqual(0);
  return text.slice(at, at + lines).join("\n");
}
