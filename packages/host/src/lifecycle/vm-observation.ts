/**
 * What a named VM is doing, seen from outside: its process is asked, where one holds the VM's lock; else the record of the last
 * run tells. Looking changes nothing, so that it needs no lock.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ControlStatus } from "../control/control-answers.ts";
import { askControl } from "../control/control-client.ts";
import { lockHolder } from "../image/file-lock.ts";
import { type RunEnd, type RunRestarts, readRun } from "./run-record.ts";
import { hasSavedState } from "./saved-state.ts";
import type { LifecycleState } from "./states.ts";
import type { VmFolder } from "./vm-folder.ts";
import { readExpiry } from "./vm-spec.ts";

const ANSWER_MS = 3000;
const LOOKS = 3;
const LOOK_AGAIN_MS = 50;

export interface VmObservation {
  readonly name: string;
  readonly state: LifecycleState;
  /** Of the process; 0 where it cannot be known. */
  readonly pid?: number;
  readonly startedAt?: string;
  readonly engine?: "jit" | "kvm";
  /** In its drives. */
  readonly discs?: ControlStatus["discs"];
  /** Its process is in its sandbox. */
  readonly isSandboxed?: boolean;
  /** What it is at, while it starts. */
  readonly progress?: ControlStatus["progress"];
  /** Of this run, without an order: how often, when last, and after what. */
  readonly restarts?: RunRestarts;
  /** The end of its time to live. */
  readonly expiresAt?: string;
  /** How the last run ended, of a VM that has no process. */
  readonly end?: RunEnd;
}

const NOBODYS_ORDER = "its process ended without an order: it was killed, or the host was";

export async function observeVm(folder: VmFolder): Promise<VmObservation> {
  const [seen, expiresAt] = await Promise.all([observeRun(folder), readExpiry(folder.spec)]);
  return expiresAt === undefined ? seen : { ...seen, expiresAt };
}

async function observeRun(folder: VmFolder, looks: number = LOOKS): Promise<VmObservation> {
  const { name } = folder;
  const pid = await lockHolder(folder.lock);
  const run = await readRun(folder.run);
  if (pid === undefined) {
    if (hasSavedState(folder)) return { name, state: "saved", ...(run && { startedAt: run.startedAt }) };
    if (run === undefined) return { name, state: "off" };
    const { startedAt, end = { kind: "crashed", reason: NOBODYS_ORDER, at: startedAt } } = run;
    return { name, state: end.kind === "crashed" ? "crashed" : "off", startedAt, end };
  }
  // A record of another process is of the run before.
  const mine = run?.pid === pid || pid === 0 ? run : undefined;
  const facts = {
    name,
    pid,
    ...(mine && { startedAt: mine.startedAt, ...(mine.restarts && { restarts: mine.restarts }) }),
  };
  let status: ControlStatus;
  try {
    status = (await askControl(folder.socket, { command: "status" }, { timeoutMs: ANSWER_MS })) as ControlStatus;
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ECONNREFUSED") {
      if (looks === 1) return { ...facts, state: "silent" };
      // One whose process ends just now hangs up, and its lock is free in a moment.
      await sleep(LOOK_AGAIN_MS);
      return await observeRun(folder, looks - 1);
    }
    // Before it listens, and after.
    return { ...facts, state: mine?.end === undefined ? "starting" : "stopping" };
  }
  const { life, engine, discs, isSealed, progress } = status;
  return {
    ...facts,
    state: life,
    ...(engine && { engine }),
    ...(discs && discs.length > 0 && { discs }),
    ...(isSealed && { isSandboxed: true }),
    ...(progress && { progress }),
  };
}
