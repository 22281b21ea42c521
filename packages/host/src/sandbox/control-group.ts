/**
 * A control group of the VM's process (Linux: admin-guide/cgroup-v2.rst), where the hierarchy of version 2 is writable and has
 * the controllers: bounds of memory, tasks and processor time. The group is made beside or below the process's own. Its
 * directory cannot go before the process does: an empty one stays, and the next VM removes it.
 */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { off, on, partly, type SandboxFinding } from "./findings.ts";

export interface ResourceLimits {
  /** Of the whole process: the guest's memory, Node's own and the translations. */
  readonly memoryBytes?: number;
  readonly tasks?: number;
  /** In processors: 1.5 is one and a half. */
  readonly processors?: number;
}

/** Where to look; for tests. */
export interface ControlGroupPlaces {
  readonly mounts?: string;
  readonly own?: string;
}

const NAME = /^twinmetal-\d+$/;
const PERIOD_US = 100_000;

/** Puts this process into a group of its own with these bounds. Never throws. */
export function enterControlGroup(
  limits: ResourceLimits | undefined,
  { mounts = "/proc/self/mountinfo", own = "/proc/self/cgroup" }: ControlGroupPlaces = {},
): SandboxFinding {
  if (limits === undefined) return off("resources", "No bounds were asked for.");
  let root: string | undefined;
  let path: string | undefined;
  try {
    root = /^(?:\S+ ){4}(\S+) .* - cgroup2 /m.exec(readFileSync(mounts, "utf8"))?.[1];
    path = /^0::(\/.*)$/m.exec(readFileSync(own, "utf8"))?.[1];
  } catch {
    // No /proc: as without.
  }
  if (root === undefined || path === undefined) return off("resources", "This system has no control groups version 2.");
  const here = join(root, path);
  const candidates = path === "/" ? [here] : [dirname(here), here];
  const reasons: string[] = [];
  for (const parent of candidates) {
    try {
      return boundGroup(parent, limits);
    } catch (error) {
      reasons.push(`${parent}: ${(error as Error).message}`);
    }
  }
  return off("resources", `No control group could be made (${reasons.join("; ")}).`);
}

function boundGroup(parent: string, limits: ResourceLimits): SandboxFinding {
  removeEmptyGroups(parent);
  const offered = new Set(readFileSync(join(parent, "cgroup.controllers"), "utf8").trim().split(" "));
  const wanted = Object.entries(bounds(limits));
  const controllers = [...new Set(wanted.map(([file]) => file.split(".")[0]!))].filter((name) => offered.has(name));
  if (controllers.length === 0) throw new Error("none of the controllers memory, pids and cpu is there");
  writeFileSync(join(parent, "cgroup.subtree_control"), controllers.map((name) => `+${name}`).join(" "));
  const group = join(parent, `twinmetal-${process.pid}`);
  mkdirSync(group);
  try {
    const set: string[] = [];
    for (const [file, value] of wanted) {
      if (!controllers.includes(file.split(".")[0]!)) continue;
      writeFileSync(join(group, file), value);
      set.push(`${file} ${value}`);
    }
    writeFileSync(join(group, "cgroup.procs"), `${process.pid}`);
    const missing = wanted.filter(([file]) => !controllers.includes(file.split(".")[0]!)).map(([file]) => file);
    const detail = `In ${group}: ${set.join(", ")}`;
    return missing.length === 0
      ? on("resources", `${detail}.`)
      : partly("resources", `${detail}; not here: ${missing.join(", ")}.`);
  } catch (error) {
    rmdirSync(group);
    throw error;
  }
}

function bounds({ memoryBytes, tasks, processors }: ResourceLimits): Readonly<Record<string, string>> {
  return {
    ...(memoryBytes !== undefined && { "memory.max": `${memoryBytes}` }),
    ...(tasks !== undefined && { "pids.max": `${tasks}` }),
    ...(processors !== undefined && { "cpu.max": `${Math.round(processors * PERIOD_US)} ${PERIOD_US}` }),
  };
}

/** Of VMs that have ended. The kernel refuses for those that have not. */
function removeEmptyGroups(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!NAME.test(name)) continue;
    try {
      rmdirSync(join(parent, name));
    } catch {
      // In use, or another user's.
    }
  }
}
