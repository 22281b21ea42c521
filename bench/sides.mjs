// The sides that are compared, as commands. All get the same kernel, initial RAM disk, words of the kernel's command line,
// one vCPU and 512 MiB; the native side runs the guest's script in a chroot of the same files.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { v86Problem, v86Version } from "./v86.mjs";

const MEMORY_MIB = 512;
const KEEPER_STARTS_MS = 1000;
const KEEPER_MS = 60_000;
const GUEST_BYTES = MEMORY_MIB * 2 ** 20;
const TWINMETAL = fileURLToPath(new URL("../packages/cli/bin/twinmetal.mjs", import.meta.url));

/** `nokaslr`: the guest kernel's addresses are the same in every run and on every side. */
function commandLine(job) {
  const words = ["console=ttyS0", "quiet", "nokaslr", `bmode=${job.mode}`, `breps=${job.reps}`, `bms=${job.ms}`];
  if (job.only !== undefined) words.push(`bonly=${job.only.join(",")}`);
  return words.join(" ");
}

/** Removes what an earlier native run left in the chroot's /tmp. */
function emptyTmp(root) {
  for (const name of readdirSync(join(root, "tmp"))) rmSync(join(root, "tmp", name), { recursive: true, force: true });
}

function firstLineOf(file, args) {
  const { status, stdout } = spawnSync(file, args, { encoding: "utf8" });
  return status === 0 ? stdout.split("\n")[0] : undefined;
}

function native(guest) {
  return {
    id: "native",
    name: "native",
    clock: "guest",
    boots: false,
    version: () => "chroot",
    problem: () => {
      if (process.getuid?.() !== 0) return "a chroot needs root";
      return existsSync(join(guest.root, "dev", "null")) ? undefined : `${guest.root} was not built as root`;
    },
    command: (job) => {
      emptyTmp(guest.root);
      const words = [job.mode, String(job.reps), "/mbench", String(job.ms), job.only?.join(",") ?? ""];
      return { file: "chroot", args: [guest.root, "/bin/sh", "/bench.sh", ...words], env: {}, guestBytes: GUEST_BYTES };
    },
  };
}

function qemu(guest) {
  const file = guest.bits === 64 ? "qemu-system-x86_64" : "qemu-system-i386";
  const fixed = "-accel tcg,thread=multi -smp 1 -nodefaults -no-reboot -display none -serial stdio".split(" ");
  return {
    id: "tcg",
    name: "QEMU TCG",
    clock: "host",
    boots: true,
    version: () => firstLineOf(file, ["--version"]),
    problem: () =>
      firstLineOf(file, ["--version"]) === undefined ? `no ${file}: apt-get install qemu-system-x86` : undefined,
    command: (job) => ({
      file,
      args: [
        ...fixed,
        ...["-m", String(MEMORY_MIB), "-kernel", guest.kernel, "-initrd", guest[job.initrd]],
        ...["-append", commandLine(job)],
      ],
      env: {},
      guestBytes: GUEST_BYTES,
    }),
  };
}

/**
 * The program as a user starts it. Its caches are below XDG_CACHE_HOME: "empty" gives each run a fresh one, "filled" one
 * that all runs share.
 */
function twinmetal(guest, { cache, extra }) {
  const directories = [];
  const cacheDirectory = () => {
    if (cache === "empty" || directories.length === 0)
      directories.push(mkdtempSync(join(tmpdir(), "twinmetal-bench-")));
    return directories.at(-1);
  };
  return {
    id: cache === "filled" ? "twinmetal-cached" : "twinmetal",
    name: cache === "filled" ? "Twinmetal, translation cache" : "Twinmetal",
    clock: "host",
    boots: true,
    cacheDirectory,
    version: () => firstLineOf(process.execPath, [TWINMETAL, "--version"]),
    problem: () => (existsSync(TWINMETAL) ? undefined : "not built: npm run build"),
    command: (job) => {
      const boot = ["--kernel", guest.kernel, "--initrd", guest[job.initrd], "--append", commandLine(job)];
      return {
        file: process.execPath,
        args: [TWINMETAL, "run", ...boot, "--memory", `${MEMORY_MIB}M`, ...extra],
        env: { XDG_CACHE_HOME: cacheDirectory(), TWINMETAL_TRANSLATION_CACHE: "" },
        guestBytes: GUEST_BYTES,
      };
    },
    settled: () => keeperEnded(join(directories.at(-1), "twinmetal", "translations", "lock")),
    tidy: () => {
      for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What compiles for later runs after a VM's end must not run beside the next side. */
async function keeperEnded(lock) {
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  await pause(KEEPER_STARTS_MS);
  for (let waited = 0; existsSync(lock) && waited < KEEPER_MS; waited += 100) await pause(100);
}

function v86(guest, directory) {
  const runner = fileURLToPath(new URL("v86-run.mjs", import.meta.url));
  return {
    id: "v86",
    name: "v86",
    clock: "host",
    boots: true,
    version: () => v86Version(directory),
    problem: () => v86Problem(directory),
    command: (job) => ({
      file: process.execPath,
      args: [runner, directory, guest.kernel, guest[job.initrd], String(MEMORY_MIB), commandLine(job)],
      env: {},
      guestBytes: GUEST_BYTES,
    }),
  };
}

/**
 * @param guest { bits, kernel, initrd, bootInitrd, root }
 * @returns the sides in the order in which they take turns, each with `problem()`: why it cannot run here
 */
export function createSides(guest, { extra, v86Directory }) {
  return [
    native(guest),
    qemu(guest),
    ...(v86Directory === undefined ? [] : [v86(guest, v86Directory)]),
    twinmetal(guest, { cache: "empty", extra }),
    twinmetal(guest, { cache: "filled", extra }),
  ];
}
