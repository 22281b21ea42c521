/**
 * The sandbox of the process that runs a VM, in two steps, because much of what Linux lets a process give up holds for single
 * threads, and Node has threads from its start:
 *
 *   confine    before anything of a VM exists: privileges, files, resources, for the calling thread; then the process
 *              executes Node again, which leaves it that thread alone, from which all others come
 *   seal       when everything is open and all of the VM's threads run, before the guest does: an own user, where root
 *              started it, and the filter of system calls, both for all threads at once
 *
 * Neither can be taken back. What the host lacks is left out and said.
 */
import { readFileSync } from "node:fs";
import { errnoName } from "../kvm/linux-calls.ts";
import { type ProcessCalls, processCalls } from "../kvm/process-calls.ts";
import { enterControlGroup, type ResourceLimits } from "./control-group.ts";
import { off, on, partly, type SandboxFinding, type SandboxLayer } from "./findings.ts";
import { type FileRule, landlockVersion, restrictFiles } from "./landlock.ts";
import { ownFiles } from "./own-files.ts";
import { CAP, dropCapabilities, forbidDumps, forbidNewPrivileges, ownUser, threadPrivileges } from "./privileges.ts";
import { type FilterOptions, seccompFilter } from "./seccomp-filter.ts";
import { ALLOWED_CALLS, CALL } from "./system-calls.ts";

export interface ConfinePlan {
  /** Beside Node's and Twinmetal's own. */
  readonly files: readonly FileRule[];
  readonly sockets?: FilterOptions["sockets"];
  readonly resources?: ResourceLimits;
  /**
   * Why a process that root started stays root: later files are written where only root may. Undefined: it becomes a user of
   * its own when it is sealed.
   */
  readonly staysRoot?: string;
}

/** What `seal` has to know of `confine`, through an execution. */
export interface Confined {
  readonly findings: readonly SandboxFinding[];
  readonly ownUser: number | undefined;
  readonly isRestarted: boolean;
}

export interface SealOptions extends Pick<FilterOptions, "hasKvm" | "sockets" | "hasShares"> {}

/** Handed to the program that is executed, and taken from its environment by `takeConfined`. */
const VARIABLE = "TWINMETAL_CONFINED";
const F = { SETFD: 2, GETFL: 3, SETFL: 4 } as const;
const O_NONBLOCK = 0o4000;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;

/** What `confine` and `seal` would find here, without changing anything. */
export function sandboxSupport(): readonly SandboxFinding[] {
  const calls = processCalls();
  if ("detail" in calls) return [noCalls(calls.detail)];
  const version = landlockVersion(calls);
  return [
    on("native-calls", "koffi is there."),
    on("no-new-privileges", "No program that is executed can gain rights."),
    on("capabilities", "All are dropped."),
    process.getuid?.() === 0
      ? on("user", "A VM that root starts becomes a user of its own.")
      : on("user", `A VM runs as who starts it, here user ${process.getuid?.()}, without root's rights.`),
    hasSeccomp() ? on("system-calls", "seccomp is there.") : off("system-calls", "The kernel has no seccomp filters."),
    version > 0 ? on("files", `Landlock is there, version ${version}.`) : noLandlock(),
    on("memory-dumps", "Other processes cannot read the VM's memory, and it leaves no core."),
  ];
}

/**
 * The first step, and then Node again with the same arguments: on success this never returns. Else it tells what holds
 * all the same; without native calls that is nothing, and the process goes on as it was.
 */
export function confineAndRestart(plan: ConfinePlan): Confined {
  const calls = processCalls();
  if ("detail" in calls) return { findings: [noCalls(calls.detail)], ownUser: undefined, isRestarted: false };
  const confined = confine(calls, plan);
  const environment = { ...process.env, UV_USE_IO_URING: "0", [VARIABLE]: JSON.stringify(confined) };
  for (const stream of [0, 1, 2]) handOver(calls, stream);
  const args = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const result = calls.execute(
    process.execPath,
    args,
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])),
  );
  const why = `Node could not be started again (${errnoName(-result)}), so this holds for one of its threads only`;
  return {
    ownUser: confined.ownUser,
    isRestarted: false,
    findings: confined.findings.map((finding) =>
      finding.layer === "files" && finding.state === "on" ? partly("files", `${finding.detail} ${why}.`) : finding,
    ),
  };
}

/** As Node got it: it has marked the stream for closing, and a pipe as one that does not wait, for all who have it open. */
function handOver(calls: ProcessCalls, stream: number): void {
  calls.call(ALLOWED_CALLS.fcntl, stream, F.SETFD, 0);
  const flags = calls.call(ALLOWED_CALLS.fcntl, stream, F.GETFL, 0);
  if (flags > 0) calls.call(ALLOWED_CALLS.fcntl, stream, F.SETFL, flags & ~O_NONBLOCK);
}

/** In the program that was executed: what `confine` left. Undefined: this process was not confined. */
export function takeConfined(): Confined | undefined {
  const text = process.env[VARIABLE];
  if (text === undefined) return undefined;
  delete process.env[VARIABLE];
  return { ...(JSON.parse(text) as Confined), isRestarted: true };
}

function confine(calls: ProcessCalls, plan: ConfinePlan): Confined {
  const findings: SandboxFinding[] = [on("native-calls", "koffi is there.")];
  findings.push(enterControlGroup(plan.resources));
  const isRoot = process.geteuid?.() === 0;
  const user = isRoot && plan.staysRoot === undefined ? ownUser() : undefined;
  if (isRoot && plan.staysRoot !== undefined) findings.push(off("user", plan.staysRoot));
  const files = [...ownFiles(), ...plan.files];
  if (!forbidNewPrivileges(calls)) findings.push(off("no-new-privileges", "The kernel refuses it."));
  const version = landlockVersion(calls);
  if (version === 0) findings.push(noLandlock());
  else {
    const hasTcp = plan.sockets?.includes("tcp") ?? false;
    const result = restrictFiles(calls, files, { version, hasTcp });
    if (result < 0) findings.push(off("files", `The kernel refuses Landlock's rules (${errnoName(-result)}).`));
    else findings.push(on("files", filesDetail(plan.files, version)));
  }
  const kept = user === undefined ? [] : [CAP.DAC_OVERRIDE, CAP.DAC_READ_SEARCH, CAP.SETGID, CAP.SETUID];
  const dropped = dropCapabilities(calls, kept);
  if (dropped < 0) findings.push(off("capabilities", `They cannot be dropped (${errnoName(-dropped)}).`));
  return { findings, ownUser: user, isRestarted: false };
}

function filesDetail(files: readonly FileRule[], version: number): string {
  const writable = files.filter(({ access }) => access !== "read" && access !== "execute").map(({ path }) => path);
  const tcp = version < 4 ? " The kernel's Landlock is too old to keep TCP ports away as well." : "";
  return `Landlock ${version}: only the VM's files and Node's own can be opened${
    writable.length > 0 ? `; written: ${writable.join(", ")}` : ", none of them for writing"
  }.${tcp}`;
}

/**
 * The second step. To be called once, when the VM's threads are there and its files are open. Returns all findings, those
 * of `confine` among them; what the kernel says about each thread decides, not what was asked of it.
 */
export function seal(options: SealOptions, confined: Confined | undefined): readonly SandboxFinding[] {
  const calls = processCalls();
  if ("detail" in calls) return [noCalls(calls.detail)];
  const findings = new Map<SandboxLayer, SandboxFinding>();
  const tell = (finding: SandboxFinding): void => void findings.set(finding.layer, finding);
  if (!confined?.isRestarted) {
    tell(off("files", "The process was not started for this: any file of its user can be opened."));
    forbidNewPrivileges(calls);
    if (dropCapabilities(calls) < 0) tell(off("capabilities", "They cannot be dropped."));
  }
  for (const finding of confined?.findings ?? []) tell(finding);
  if (confined?.ownUser !== undefined) tell(becomeOwnUser(calls, confined.ownUser));
  tell(
    forbidDumps(calls)
      ? on("memory-dumps", "Other processes cannot read this one's memory, and it leaves no core.")
      : off("memory-dumps", "The kernel refuses it."),
  );
  const filtered = filterCalls(calls, options);
  for (const finding of readBack(filtered, findings)) tell(finding);
  return [...findings.values()];
}

function becomeOwnUser(calls: ProcessCalls, user: number): SandboxFinding {
  const result = calls.become(user, user, []);
  if (result === 0) return on("user", `All threads are user ${user}, who is nobody else.`);
  dropCapabilities(calls);
  return off("user", `The process stays root: it cannot become user ${user} (${errnoName(-result)}).`);
}

/** Undefined, or why there is no filter. */
function filterCalls(calls: ProcessCalls, options: SealOptions): string | undefined {
  const program = seccompFilter({ ...options, processId: process.pid });
  // struct sock_fprog: the number of instructions, and where they are.
  const description = new DataView(new ArrayBuffer(16));
  description.setUint16(0, program.length / 8, true);
  description.setBigUint64(8, calls.addressOf(program), true);
  const memory = new Uint8Array(description.buffer);
  const result = calls.call(CALL.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, memory);
  if (result > 0) return `Thread ${result} has a filter of its own already.`;
  return result < 0 ? `The kernel refuses the filter (${errnoName(-result)}).` : undefined;
}

function readBack(
  withoutFilter: string | undefined,
  known: ReadonlyMap<SandboxLayer, SandboxFinding>,
): readonly SandboxFinding[] {
  const threads = threadPrivileges();
  const all = `all ${threads.length} threads`;
  const unfiltered = threads.filter(({ hasFilter }) => !hasFilter).length;
  const privileged = threads.filter(({ noNewPrivileges }) => !noNewPrivileges).length;
  const capable = threads.filter(({ capabilities }) => capabilities !== 0n).length;
  const users = new Set(threads.flatMap(({ userIds }) => userIds));
  const result = [
    unfiltered === 0 && withoutFilter === undefined
      ? on("system-calls", `seccomp lets ${all} make the listed calls only.`)
      : off("system-calls", withoutFilter ?? `${unfiltered} of ${all} have no filter.`),
    privileged === 0
      ? on("no-new-privileges", `No program that ${all} execute could gain rights.`)
      : off("no-new-privileges", `${privileged} of ${all} could gain rights.`),
    capable === 0
      ? on("capabilities", `None, in ${all}.`)
      : partly("capabilities", `${capable} of ${all} still have some.`),
  ];
  if (!known.has("user")) {
    result.push(
      users.has(0)
        ? off("user", "The process runs as root.")
        : on("user", `As started: user ${[...users].join(", ")}, without root's rights.`),
    );
  }
  return result;
}

function hasSeccomp(): boolean {
  try {
    return readFileSync("/proc/sys/kernel/seccomp/actions_avail", "utf8").includes("errno");
  } catch {
    return false;
  }
}

function noLandlock(): SandboxFinding {
  return off(
    "files",
    "The kernel has no Landlock (Linux 5.13 or later, with landlock among its lsm=): any file of the VM's user can be opened.",
  );
}

function noCalls(detail: string): SandboxFinding {
  return off(
    "native-calls",
    `The optional package koffi does not load, so nothing of the sandbox is there: ${detail}.`,
  );
}
