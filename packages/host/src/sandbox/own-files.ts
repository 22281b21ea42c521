/**
 * The files that Node and Twinmetal themselves need to start again and to run a VM, as rules: what is mapped into this process
 * (the program and its libraries), this package and its neighbours, koffi, and what the kernel tells about itself.
 */
import { fstatSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nearest, parents } from "../nearest-file.ts";
import type { FileRule } from "./landlock.ts";

const SYSTEM_FILES = [
  "/etc/ld.so.cache",
  "/etc/localtime",
  "/usr/share/zoneinfo",
  "/usr/lib/ssl/openssl.cnf",
  "/etc/ssl/openssl.cnf",
  "/etc/ssl/certs",
  "/dev/urandom",
  "/dev/random",
  "/proc/cpuinfo",
  "/proc/meminfo",
  "/proc/pressure/memory",
  "/proc/stat",
  "/proc/uptime",
  "/proc/loadavg",
  "/proc/version",
  "/proc/sys/vm/overcommit_memory",
  "/sys/devices/system/cpu",
  "/sys/fs/cgroup",
  "/sys/kernel/mm/transparent_hugepage",
] as const;

/** Precondition: koffi is loaded, and so mapped. */
export function ownFiles(): readonly FileRule[] {
  const read = [...SYSTEM_FILES, `/proc/${process.pid}`, ...packageFiles()];
  return [
    ...mappedFiles().map((path): FileRule => ({ path, access: "execute" })),
    ...read.map((path): FileRule => ({ path, access: "read" })),
    { path: "/dev/null", access: "write" },
    ...terminals().map((path): FileRule => ({ path, access: "write" })),
  ];
}

/** The program, its loader and its libraries. */
function mappedFiles(): readonly string[] {
  const lines = readFileSync("/proc/self/maps", "utf8").split("\n");
  const paths = lines.map((line) => /^[0-9a-f]+-[0-9a-f]+ r\S+ \S+ \S+ \d+\s+(\/.*)$/.exec(line)?.[1]);
  return [...new Set(paths.filter((path) => path !== undefined && !path.endsWith(" (deleted)")))] as string[];
}

function packageFiles(): readonly string[] {
  const here = fileURLToPath(import.meta.url);
  const root = nearest(here, "package.json");
  const neighbours = root === undefined ? [] : [dirname(root)];
  const script = process.argv[1] === undefined ? [] : [realpathSync(process.argv[1])];
  // koffi, and the package of its native part for this system.
  const koffi = [
    createRequire(import.meta.url).resolve("koffi"),
    ...mappedFiles().filter((path) => path.endsWith(".node")),
  ];
  const koffiRoots = koffi.map((path) => nearest(path, "package.json") ?? dirname(path));
  // Node asks for the package.json of every directory above.
  const above = [here, ...koffi, ...script].flatMap((path) =>
    parents(path).map((parent) => join(parent, "package.json")),
  );
  return [...new Set([...neighbours, ...script, ...koffiRoots, ...above])];
}

/** Of the standard streams: Node opens them a second time. */
function terminals(): readonly string[] {
  return [0, 1, 2].flatMap((descriptor) => {
    try {
      return fstatSync(descriptor).isCharacterDevice() ? [readlinkSync(`/proc/self/fd/${descriptor}`)] : [];
    } catch {
      return [];
    }
  });
}
