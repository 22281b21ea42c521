/**
 * Linux's own tests of the x86 CPU and of the kernel's entry code (tools/testing/selftests/x86), from Debian's package
 * linux-source-6.1: fetched with apt, built statically for 32 and 64 bits, kept in the cache folder. Their source
 * (GPL-2.0) is never part of this repository.
 *
 * Which programs there are is what that version's Makefile builds: TARGETS_C_BOTHBITS and TARGETS_C_32BIT_NEEDED as
 * _32 and _64, TARGETS_C_32BIT_ONLY as _32, TARGETS_C_64BIT_ONLY as _64: 44 files from 28 sources.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fetchWithApt, hasApt } from "../../../packages/host/src/image/apt-packages.ts";
import { cacheCandidates, openCacheDirectory } from "../../../packages/host/src/image/cache-directory.ts";
import { findDebianSource } from "../../../packages/host/src/image/debian-sources.ts";

const SOURCE_PACKAGE = "linux-source-6.1";
const SUITE = "bookworm";
const TESTS = "tools/testing/selftests/x86";
/** All that the build reads. */
const PARTS = [
  TESTS,
  "tools/testing/selftests/lib.mk",
  "tools/testing/selftests/kselftest.h",
  "tools/testing/selftests/kselftest_harness.h",
  "arch/x86/include/asm",
];

export interface SelfTests {
  readonly directory: string;
  readonly names: readonly string[];
}

/** The built programs, or why they cannot be had here. */
export async function selfTests(): Promise<SelfTests | { readonly missing: string }> {
  const root = await openCacheDirectory(cacheCandidates(undefined), () => {});
  const directory = join(root, "selftests-x86-6.1");
  if (!existsSync(directory)) {
    if (!(await hasApt())) return { missing: "there is no apt to fetch linux-source with" };
    const probe = spawnSync("gcc", ["-m32", "-static", "-x", "c", "-o", "/dev/null", "-"], {
      input: "int main(void) { return 0; }",
    });
    if (probe.status !== 0) return { missing: "gcc cannot build static 32-bit programs (gcc-multilib)" };
    await build(directory);
  }
  return { directory, names: readdirSync(directory).sort() };
}

async function build(directory: string): Promise<void> {
  const work = `${directory}.${process.pid}.tmp`;
  const output = join(work, "output");
  mkdirSync(output, { recursive: true });
  try {
    const source = { source: findDebianSource(), suite: SUITE };
    const hooks = { signal: undefined, onProgress: () => {} };
    const [fetched] = await fetchWithApt(source, { names: [SOURCE_PACKAGE] }, work, hooks);
    run("dpkg-deb", ["-x", fetched!.path, join(work, "package")]);
    const tree = join(work, "package/usr/src", SOURCE_PACKAGE);
    run("tar", ["-C", work, "-xf", `${tree}.tar.xz`, ...PARTS.map((path) => `${SOURCE_PACKAGE}/${path}`)]);
    run("make", ["-C", join(work, SOURCE_PACKAGE, TESTS), `OUTPUT=${output}`, "CC=gcc -static -s"]);
    renameSync(output, directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run(command: string, words: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, words, { encoding: "utf8", maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`${command} ${words[0]} failed: ${error?.message ?? stderr.slice(-2000)}`);
}
