/** Starting the process of a named VM, and waiting for its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { lockHolder } from "../image/file-lock.ts";
import type { VmProgress } from "../vm/vm.ts";
import { LifecycleError } from "./lifecycle-error.ts";
import { readRun } from "./run-record.ts";
import { hasProcess } from "./states.ts";
import type { VmFolder } from "./vm-folder.ts";
import { observeVm, type VmObservation } from "./vm-observation.ts";

const POLL_MS = 50;
const GIVE_UP_MS = 10_000;
const TOLD_LINES = 10;

/** A program that runs the VM in its own process, until the VM's end: `program` with `args`. */
export interface ProcessLaunch {
  readonly program: string;
  readonly args: readonly string[];
}

/**
 * In a session of its own, so that it outlives this terminal. Resolves when the VM runs, or has run and is off already;
 * rejects with LifecycleError "start-failed" and what the process has said, or with the signal's reason once it has been ended.
 */
export async function startProcess(
  folder: VmFolder,
  directory: string,
  launch: ProcessLaunch,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (progress: VmProgress) => void } = {},
): Promise<VmObservation> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw failed(folder, `its directory ${directory} is not there; relative paths are seen from it (vm.json).`);
  }
  const child = spawnDetached(folder, directory, launch);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, name) => resolve(name === null ? `status ${code}` : name));
  });
  try {
    for (;;) {
      const how = await Promise.race([ended, sleep(POLL_MS, undefined)]);
      if (how !== undefined) return await afterShortRun(folder, child.pid, how);
      signal?.throwIfAborted();
      const seen = await observeVm(folder);
      if (seen.progress) onProgress?.(seen.progress);
      if (seen.pid === child.pid && (seen.state === "running" || seen.state === "paused")) return seen;
    }
  } catch (error) {
    child.kill("SIGTERM");
    if ((await Promise.race([ended, sleep(GIVE_UP_MS)])) === undefined) child.kill("SIGKILL");
    throw error;
  } finally {
    child.unref();
  }
}

/** Its end came before it was seen to run. */
async function afterShortRun(folder: VmFolder, pid: number | undefined, how: string): Promise<VmObservation> {
  const run = await readRun(folder.run);
  const end = run?.pid === pid ? run?.end : undefined;
  if (end?.kind === "crashed") throw failed(folder, `it crashed at once: ${end.reason}`);
  if (end?.code === "refused") throw new LifecycleError("refused", end.reason);
  if (end === undefined || end.kind === "failed") {
    throw failed(folder, lastLines(folder) || `its process has ended (${how}).`);
  }
  return await observeVm(folder);
}

function spawnDetached(folder: VmFolder, directory: string, { program, args }: ProcessLaunch): ChildProcess {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = constants;
  const log = openSync(folder.log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600);
  try {
    return spawn(program, args, { cwd: directory, detached: true, stdio: ["ignore", log, log] });
  } finally {
    closeSync(log);
  }
}

function lastLines({ log }: VmFolder): string {
  return readFileSync(log, "utf8")
    .trimEnd()
    .split("\n")
    .slice(-TOLD_LINES)
    .join("\n")
    .replace(/^twinmetal[^:]*: /gm, "");
}

function failed({ name }: VmFolder, why: string): LifecycleError {
  return new LifecycleError("start-failed", `VM ${name} could not be started: ${why}`);
}

/** False: it is still there after that time. */
export async function processEnded(folder: VmFolder, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  for (const deadlineMs = performance.now() + timeoutMs; ; ) {
    if ((await lockHolder(folder.lock)) === undefined) return true;
    if (performance.now() >= deadlineMs) return false;
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** The one way that always works on this host. What the guest has not written out yet is lost, as by pulling the plug. */
export async function killProcess(folder: VmFolder): Promise<void> {
  const pid = await lockHolder(folder.lock);
  if (pid === undefined) return;
  if (pid === 0 || !hasProcess((await observeVm(folder)).state)) throw foreign(folder);
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw foreign(folder);
  }
  if (!(await processEnded(folder, GIVE_UP_MS))) throw foreign(folder);
}

function foreign({ name, lock }: VmFolder): LifecycleError {
  return new LifecycleError(
    "no-answer",
    `VM ${name} does not answer, and its process could not be ended from here: see ${lock} for its host and pid.`,
  );
}
