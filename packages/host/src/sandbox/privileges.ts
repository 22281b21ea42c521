/**
 * What a process may do beyond an ordinary one, given up: capabilities(7), credentials(7), prctl(2). Capabilities belong to
 * single threads. Those of the calling one go, and with its bounding set what a program executed from here could get;
 * threads that are there keep theirs, unless the process becomes another user (ProcessCalls.become) or executes.
 */
import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { ProcessCalls } from "../kvm/process-calls.ts";
import { CALL } from "./system-calls.ts";

const PR = { SET_DUMPABLE: 4, CAPBSET_DROP: 24, SET_NO_NEW_PRIVS: 38, CAP_AMBIENT: 47 } as const;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
/** _LINUX_CAPABILITY_VERSION_3 */
const CAPABILITY_VERSION = 0x20080522;
const MAX_CAPABILITIES = 64;
const RLIMIT_CORE = 4;

/** What root needs to open what it was told to, and to become somebody else then. */
export const CAP = { DAC_OVERRIDE: 1, DAC_READ_SEARCH: 2, SETGID: 6, SETUID: 7 } as const;

/** For the calling thread, its children, and what they execute. False: refused. */
export function forbidNewPrivileges(calls: ProcessCalls): boolean {
  return calls.call(CALL.prctl, PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0) === 0;
}

/** Of the calling thread: all but `kept`, from every set. 0, or -errno. */
export function dropCapabilities(calls: ProcessCalls, kept: readonly number[] = []): number {
  // Refused to who has no CAP_SETPCAP, and then there is nothing that the bounding set would bound.
  for (let capability = 0; capability < MAX_CAPABILITIES; capability++) {
    if (!kept.includes(capability)) calls.call(CALL.prctl, PR.CAPBSET_DROP, capability, 0, 0, 0);
  }
  calls.call(CALL.prctl, PR.CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  const header = new Uint32Array([CAPABILITY_VERSION, 0]);
  const mask = kept.reduce((bits, capability) => bits | (1 << capability), 0) >>> 0;
  // Effective, permitted, inheritable; once more for capabilities from 32 on.
  const sets = new Uint32Array([mask, mask, 0, 0, 0, 0]);
  return calls.call(CALL.capset, new Uint8Array(header.buffer), new Uint8Array(sets.buffer));
}

/** Other processes of the same user can neither trace this one nor read its memory; it leaves no core. */
export function forbidDumps(calls: ProcessCalls): boolean {
  const limit = new BigUint64Array([0n, 0n]);
  const isLimited = calls.call(CALL.prlimit64, 0, RLIMIT_CORE, new Uint8Array(limit.buffer), 0) === 0;
  return calls.call(CALL.prctl, PR.SET_DUMPABLE, 0, 0, 0, 0) === 0 && isLimited;
}

/** Beyond all ranges that systemd's list of user numbers (UIDS-GIDS) knows an owner for. */
const OWN_USERS = { from: 0x7000_0000, to: 0x7fff_0000 } as const;

/** A user that nobody else is, as far as chance goes. */
export function ownUser(): number {
  return randomInt(OWN_USERS.from, OWN_USERS.to);
}

export interface ThreadPrivileges {
  readonly noNewPrivileges: boolean;
  readonly hasFilter: boolean;
  readonly capabilities: bigint;
  readonly userIds: readonly number[];
}

/** What the kernel says about each thread of this process. Throws where there is no /proc. */
export function threadPrivileges(): readonly ThreadPrivileges[] {
  const SECCOMP_MODE_FILTER = "2";
  return readdirSync("/proc/self/task").flatMap((thread) => {
    let text: string;
    try {
      text = readFileSync(`/proc/self/task/${thread}/status`, "utf8");
    } catch {
      return []; // It has ended meanwhile.
    }
    const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";
    const [permitted, effective] = [field("CapPrm"), field("CapEff")].map((hex) => BigInt(`0x${hex || "0"}`));
    return {
      noNewPrivileges: field("NoNewPrivs") === "1",
      hasFilter: field("Seccomp") === SECCOMP_MODE_FILTER,
      capabilities: permitted! | effective!,
      userIds: field("Uid").split(/\s+/).map(Number),
    };
  });
}
