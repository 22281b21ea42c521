/**
 * The filter of system calls, for seccomp (Linux: userspace-api/seccomp_filter.rst): a list of what is allowed, EPERM for
 * everything else, and the end of the process for calls of another architecture. Calls of the x32 ABI are refused.
 * Where a call is only sometimes harmless its arguments decide, as far as they are numbers: memory that an argument points
 * to could change after the look, so it is never looked at.
 */
import { assembleBpf, type BpfStep } from "./bpf.ts";
import { ALLOWED_CALLS, CALL, SHARE_CALLS } from "./system-calls.ts";

export interface FilterOptions {
  /** Signals go to this process alone; so does prlimit. */
  readonly processId: number;
  /** The requests of KVM are allowed, on descriptors that are open or can be opened. */
  readonly hasKvm: boolean;
  /** Links can be made, and modes and times be changed of what is open: folders are shared. Default: false. */
  readonly hasShares?: boolean;
  /** Sockets that can still be made: of the file system's names, or TCP. Default: none. */
  readonly sockets?: readonly ("unix" | "tcp")[];
}

/** struct seccomp_data */
export const SECCOMP_DATA = { number: 0, architecture: 4, arguments: 16, sizeBytes: 64 } as const;
export const AUDIT_ARCH_X86_64 = 0xc000003e;
export const X32_BIT = 0x40000000;
const EPERM = 1;
const ENOSYS = 38;
export const ANSWER = {
  allow: 0x7fff0000,
  killProcess: 0x80000000,
  refuse: 0x00050000 | EPERM,
  /** The C library then does without: for calls whose arguments lie in memory, where an older one does as well. */
  unknown: 0x00050000 | ENOSYS,
} as const;

const AF = { UNIX: 1, INET: 2, INET6: 10 } as const;
const SOCK_TYPE_MASK = 0xf;
const SOCK_STREAM = 1;

/** CLONE_VM, CLONE_SIGHAND, CLONE_THREAD have to be there, none of CLONE_NEW*. */
const THREAD_FLAGS = 0x00010900;
const NAMESPACE_FLAGS = 0x7e020000;

const KVM_IOCTL_TYPE = 0xae;
const IOCTL_TYPE_MASK = 0xff00;
/** Terminals and descriptors (asm-generic/ioctls.h), without TIOCSTI, which types for the user, and TIOCLINUX. */
const IOCTL_REQUESTS = {
  TCGETS: 0x5401,
  TCSETS: 0x5402,
  TCSETSW: 0x5403,
  TCSETSF: 0x5404,
  TCFLSH: 0x540b,
  TIOCGPGRP: 0x540f,
  TIOCGWINSZ: 0x5413,
  FIONREAD: 0x541b,
  FIONBIO: 0x5421,
  FIONCLEX: 0x5450,
  FIOCLEX: 0x5451,
  TIOCGPTN: 0x80045430,
  TCGETS2: 0x802c542a,
  TCSETS2: 0x402c542b,
  TCSETSW2: 0x402c542c,
  TCSETSF2: 0x402c542d,
} as const;
const PRCTL_OPTIONS = {
  PR_GET_DUMPABLE: 3,
  PR_SET_NAME: 15,
  PR_GET_NAME: 16,
  PR_GET_SECCOMP: 21,
  PR_CAPBSET_READ: 23,
  PR_GET_NO_NEW_PRIVS: 39,
  PR_SET_VMA: 0x53564d41,
} as const;

/** struct sock_filter[] */
export function seccompFilter(options: FilterOptions): Uint8Array<ArrayBuffer> {
  const { processId, hasKvm, hasShares = false, sockets = [] } = options;
  const bySocket = sockets.length > 0 ? [CALL.connect, CALL.bind, CALL.listen] : [];
  const byShare = hasShares ? SHARE_CALLS : [];
  return assembleBpf([
    { kind: "load", offset: SECCOMP_DATA.architecture },
    { kind: "test", test: "equal", value: AUDIT_ARCH_X86_64, yes: "native" },
    { kind: "answer", value: ANSWER.killProcess },
    { kind: "label", name: "native" },
    { kind: "load", offset: SECCOMP_DATA.number },
    { kind: "test", test: "at-least", value: X32_BIT, no: "number" },
    { kind: "answer", value: ANSWER.refuse },
    { kind: "label", name: "number" },
    // First, for it is the only frequent one whose arguments matter: the kernel asks for the others once only.
    ...when(CALL.ioctl, ioctlRule(hasKvm)),
    ...when(CALL.clone, [
      argument(0),
      { kind: "and", mask: THREAD_FLAGS | NAMESPACE_FLAGS },
      ...allowIf([THREAD_FLAGS]),
    ]),
    ...when(CALL.clone3, [{ kind: "answer", value: ANSWER.unknown }]),
    ...when(CALL.tgkill, [argument(0), ...allowIf([processId])]),
    ...when(CALL.kill, [argument(0), ...allowIf([processId])]),
    ...when(CALL.prlimit64, [argument(0), ...allowIf([0, processId])]),
    ...when(CALL.prctl, [argument(0), ...allowIf(Object.values(PRCTL_OPTIONS))]),
    ...when(CALL.socket, socketRule(sockets)),
    ...search(ranges([...Object.values(ALLOWED_CALLS), ...bySocket, ...byShare])),
    { kind: "label", name: "refuse" },
    { kind: "answer", value: ANSWER.refuse },
  ]);
}

/** The low half: what is looked at is an int, of which the kernel takes no more either. */
function argument(index: number): BpfStep {
  return { kind: "load", offset: SECCOMP_DATA.arguments + 8 * index };
}

/** Steps for one call; what falls through them is refused. The call's number is in the accumulator before and after. */
function when(call: number, steps: readonly BpfStep[]): readonly BpfStep[] {
  const [start, end] = [`call ${call}`, `not ${call}`];
  return [
    { kind: "test", test: "equal", value: call, yes: start, no: end },
    { kind: "label", name: start },
    ...steps,
    { kind: "answer", value: ANSWER.refuse },
    { kind: "label", name: end },
  ];
}

let labels = 0;

function allowIf(values: readonly number[]): readonly BpfStep[] {
  const [allow, end] = [`allow ${++labels}`, `end ${labels}`];
  return [
    ...values.map((value): BpfStep => ({ kind: "test", test: "equal", value: value >>> 0, yes: allow })),
    { kind: "go", to: end },
    { kind: "label", name: allow },
    { kind: "answer", value: ANSWER.allow },
    { kind: "label", name: end },
  ];
}

function ioctlRule(hasKvm: boolean): readonly BpfStep[] {
  const kvm: readonly BpfStep[] = [
    argument(1),
    { kind: "and", mask: IOCTL_TYPE_MASK },
    ...allowIf([KVM_IOCTL_TYPE << 8]),
  ];
  return [...(hasKvm ? kvm : []), argument(1), ...allowIf(Object.values(IOCTL_REQUESTS))];
}

function socketRule(sockets: readonly ("unix" | "tcp")[]): readonly BpfStep[] {
  const families = sockets.flatMap((kind): number[] => (kind === "unix" ? [AF.UNIX] : [AF.INET, AF.INET6]));
  return families.flatMap((family, index): BpfStep[] => {
    const [type, next] = [`type ${index}`, `family ${index}`];
    return [
      argument(0),
      { kind: "test", test: "equal", value: family, yes: type, no: next },
      { kind: "label", name: type },
      argument(1),
      { kind: "and", mask: SOCK_TYPE_MASK },
      ...allowIf([SOCK_STREAM]),
      { kind: "answer", value: ANSWER.refuse },
      { kind: "label", name: next },
    ];
  });
}

type Range = readonly [from: number, to: number];

function ranges(numbers: readonly number[]): readonly Range[] {
  const result: [number, number][] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = result.at(-1);
    if (last && number <= last[1] + 1) last[1] = number;
    else result.push([number, number]);
  }
  return result;
}

/** Whether the accumulator is in one of the ranges, by halves. */
function search(all: readonly Range[]): readonly BpfStep[] {
  const [only, ...others] = all;
  if (!only) return [];
  if (others.length === 0) {
    const [from, to] = only;
    const [below, inside, above] = [`below ${from}`, `inside ${from}`, `above ${to}`];
    return [
      { kind: "test", test: "at-least", value: from, no: below },
      { kind: "test", test: "greater", value: to, yes: above, no: inside },
      { kind: "label", name: inside },
      { kind: "answer", value: ANSWER.allow },
      { kind: "label", name: below },
      { kind: "label", name: above },
      { kind: "answer", value: ANSWER.refuse },
    ];
  }
  const half = all.length >> 1;
  const right = all[half]![0];
  return [
    { kind: "test", test: "at-least", value: right, yes: `from ${right}`, no: `until ${right}` },
    { kind: "label", name: `until ${right}` },
    ...search(all.slice(0, half)),
    { kind: "label", name: `from ${right}` },
    ...search(all.slice(half)),
  ];
}
