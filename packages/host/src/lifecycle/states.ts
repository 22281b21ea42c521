/**
 * The states of a named VM and the verbs that are allowed in each. Nothing else decides about that.
 *
 *                        start                       pause
 *    create --> off ------------> starting --> running ----> paused
 *                ^                    |         |  ^  <----
 *                |                    |    stop |  | time-out
 *                |      kill          |         v  |      resume
 *                +--------------------+------ stopping
 *                |
 *                +--- start --- crashed <--- the guest crashed, or the process ended without an order
 *
 *   save leads from running and paused to saved, and start from there back; kill throws away what was saved.
 *   clone leaves the state as it is, and the clone is saved where it had one to go on from, else off.
 *   restart is stop and start. reset leaves the state as it is. From any state with a process, kill leads to off.
 *   silent: the process is there, and does not answer.
 *
 * Who is asked, the process of a running VM or its folder, is in vm-observation.ts.
 */
import { LifecycleError } from "./lifecycle-error.ts";

export type LifecycleState = "off" | "crashed" | "saved" | "starting" | "running" | "paused" | "stopping" | "silent";

const RESTING = ["off", "crashed", "saved"] as const;
const ALIVE = ["starting", "running", "paused", "stopping", "silent"] as const;
const GUEST = ["running", "paused"] as const;

const ALLOWED = {
  start: RESTING,
  rename: RESTING,
  rm: RESTING,
  stop: [...GUEST, "stopping"],
  restart: [...GUEST, "stopping"],
  pause: ["running"],
  resume: ["paused"],
  reset: GUEST,
  kill: [...ALIVE, "saved"],
  save: GUEST,
  clone: [...RESTING, ...GUEST],
} as const satisfies Readonly<Record<string, readonly LifecycleState[]>>;

export type LifecycleVerb = keyof typeof ALLOWED;

export const LIFECYCLE_VERBS: readonly LifecycleVerb[] = Object.keys(ALLOWED) as LifecycleVerb[];

export function isAllowed(verb: LifecycleVerb, state: LifecycleState): boolean {
  return (ALLOWED[verb] as readonly LifecycleState[]).includes(state);
}

export function allowedVerbs(state: LifecycleState): readonly LifecycleVerb[] {
  return LIFECYCLE_VERBS.filter((verb) => isAllowed(verb, state));
}

/** A process of the VM's is there. */
export function hasProcess(state: LifecycleState): boolean {
  return (ALIVE as readonly LifecycleState[]).includes(state);
}

/** Throws LifecycleError "bad-state", which says what is allowed. */
export function requireAllowed(verb: LifecycleVerb, state: LifecycleState, name: string): void {
  if (isAllowed(verb, state)) return;
  const forced = verb === "rm" ? ", rm --force" : "";
  const possible = `${allowedVerbs(state).join(", ")}${forced}`;
  throw new LifecycleError(
    "bad-state",
    `VM ${name} is ${state}, and ${verb} is not possible then. Possible now: ${possible}.`,
  );
}
