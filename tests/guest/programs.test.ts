// Many different programs, one after the other, through one VM: what one leaves behind in the translator must not harm the
// next. What each prints is what the same file prints on this host. Programs that this host lacks are left out.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createVm } from "../../packages/host/src/index.ts";
import { FileTree } from "../kvm/file-tree.ts";
import { PROGRAMS, type Program } from "./programs.ts";
import { tinyGuest } from "./tiny-guest.ts";

const FEWEST = 12;
const TIMEOUT_MS = 300_000;
const env = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-programs-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

interface Known {
  readonly program: Program;
  readonly command: readonly [string, ...string[]];
  readonly expected: string;
}

/** What it prints here; undefined where it is not there, or does not work here either. */
function onThisHost(program: Program): Known | undefined {
  const file = program.files.find(existsSync);
  if (!file || !(program.needs ?? []).every(existsSync)) return undefined;
  const command = [file, ...program.arguments] as const;
  const { status, stdout } = spawnSync(file, program.arguments, {
    input: program.input ?? "",
    env,
    maxBuffer: 1 << 26,
  });
  return status === 0 ? { program, command, expected: stdout.toString("latin1") } : undefined;
}

/** Files, and the libraries that they are linked with, at the same places. */
function archiveOf(files: Iterable<string>): Uint8Array {
  const tree = new FileTree();
  const all = new Set(files);
  for (const file of [...all])
    for (const [, library] of spawnSync("ldd", [file], { encoding: "utf8" }).stdout.matchAll(/(\/\S+) \(0x/g))
      if (library) all.add(library);
  for (const file of all) tree.file(file.slice(1), readFileSync(realpathSync(file)), 0o755);
  return tree.archive();
}

test("programs print what they print on this host", { timeout: TIMEOUT_MS }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const known = PROGRAMS.flatMap((program) => onThisHost(program) ?? []);
  const isThere = known.length >= FEWEST;
  if (!isThere) return skip(`only ${known.length} of ${PROGRAMS.length} programs are on this host`);

  const { kernelPath, initrdPath } = guest.image;
  const initrd = join(directory, "initrd");
  const files = known.flatMap(({ program, command }) => [command[0], ...(program.needs ?? [])]);
  await writeFile(initrd, Buffer.concat([readFileSync(initrdPath), archiveOf(files)]));
  await using vm = await createVm({ kernel: kernelPath, initrd, memoryBytes: 512 << 20, translationCache: "off" });
  await vm.start();
  const times: string[] = [];
  for (const { program, command, expected } of known) {
    const begun = performance.now();
    const { exitCode, stdout, stderr } = await vm.exec(command, { stdin: program.input ?? "", env });
    times.push(`${program.name} ${(performance.now() - begun).toFixed(0)}`);
    const printed = Buffer.from(stdout).toString("latin1");
    const run = { program: program.name, exitCode, printed, said: Buffer.from(stderr).toString() };
    expect(run).toEqual({ ...run, exitCode: 0, printed: expected });
  }
  console.log(`ms: ${times.join(", ")}`);
});
