/**
 * `--sandbox`: the process of a VM gives up what it does not need, before the guest starts, and says what the host could not
 * take from it. The library does it in two steps with a new start of Node in between (`confineAndRestart`, `seal`), so
 * the commands' own way to the VM is gone twice: before the first step it ends in nothing but the plan.
 */
import { closeSync, constants, openSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { KVM_DEVICE, missingLayers, SandboxError, translationDirectory } from "@twinmetal/host";
import type { Io } from "./command.ts";
import { startsAgain } from "./end-actions.ts";
import type { HostingPlan } from "./hosting.ts";
import { choice } from "./options.ts";
import type { SerialTarget } from "./serial-target.ts";
import { UsageError } from "./usage-error.ts";
import type {
  ConfinePlan,
  EngineQuestion,
  FileRule,
  NetworkOptions,
  SandboxFinding,
  Vm,
  VmFolder,
  VmOptions,
  VmProgress,
} from "./vm-library.ts";

export const SANDBOX = choice(
  "sandbox",
  ["auto", "on", "strict", "off"],
  "Lock the VM's process down (Linux): no rights, no other files, few system calls. auto (default): with the kvm engine. on: what this host can, the rest is said. strict: all of it, or no VM. See docs/security.md.",
);
export type SandboxChoice = "auto" | "on" | "strict" | "off";

export interface SandboxPlan {
  /** auto: where the VM gets the kvm engine, which this question tells. */
  readonly wish: "auto" | "on" | "strict";
  readonly question: EngineQuestion;
  /** Why it opens what nobody knows before, so that `auto` leaves it as it is; undefined: it does not. */
  readonly opens: string | undefined;
  /** Its network cards join others by Unix sockets, again when they were lost. */
  readonly joins?: boolean;
  /** What is opened by its path from the start of Node on: the VM's boot files, states and consoles. */
  readonly confine: (signal: AbortSignal, onProgress: (progress: VmProgress) => void) => Promise<ConfinePlan>;
}

/** What a command was given that matters here. */
export interface SandboxValues {
  readonly sandbox?: SandboxChoice | undefined;
  readonly migrationSocket?: string | undefined;
  readonly incoming?: unknown;
  readonly onCrash?: "stop" | "restart" | "pause" | undefined;
  readonly onPoweroff?: "stop" | "restart" | undefined;
  readonly net?: readonly (Pick<NetworkOptions, "to" | "path" | "name"> | undefined)[] | undefined;
  readonly vsock?: { readonly socketPath?: string | undefined } | undefined;
}

/** Throws UsageError. */
export function checkSandbox(values: SandboxValues): void {
  const { sandbox } = values;
  const opens = whyItOpens(values);
  if ((sandbox !== "on" && sandbox !== "strict") || opens === undefined) return;
  const { incoming, migrationSocket, onCrash } = values;
  const moves = incoming !== undefined ? "incoming" : migrationSocket !== undefined ? "migration-socket" : undefined;
  const restarts = onCrash === "restart" ? "on-crash restart" : "on-poweroff restart";
  const other = moves ?? (isOnUserNetwork(values) ? "net user" : restarts);
  throw new UsageError(`--sandbox ${sandbox} and --${other} exclude each other in this version: ${opens}.`);
}

const isOnUserNetwork = ({ net }: SandboxValues): boolean => net?.some((card) => card?.to === "user") ?? false;

function whyItOpens(values: SandboxValues): string | undefined {
  if (values.migrationSocket !== undefined || values.incoming !== undefined) {
    return "a VM that migrates opens connections and keys that are not known before";
  }
  if (startsAgain(values)) return "a VM that is started again opens its files again";
  return isOnUserNetwork(values) ? "a VM on a user network opens the connections that its guest asks for" : undefined;
}

/** Undefined: no sandbox. Throws UsageError. */
export function sandboxPlan(
  values: SandboxValues,
  question: EngineQuestion,
  confine: SandboxPlan["confine"],
): SandboxPlan | undefined {
  checkSandbox(values);
  const { sandbox: wish = "auto" } = values;
  const ends = [...(values.net ?? []).map((card) => card?.path ?? card?.name), values.vsock?.socketPath];
  const joins = ends.some((end) => end !== undefined);
  return wish === "off" ? undefined : { wish, question, opens: whyItOpens(values), joins, confine };
}

export interface SandboxedPlan {
  /** Confines the process before the VM is made. */
  readonly plan: HostingPlan;
  /** The second step, with everything open and before the guest starts. Answers whether the process is in its sandbox now. */
  readonly seal: (vm: Vm, say: (message: string) => void) => boolean;
}

export function inSandbox(io: Io, plan: HostingPlan): SandboxedPlan {
  const { sandbox } = plan;
  if (!sandbox) {
    const create: HostingPlan["create"] = async (...args) => {
      await plan.admit?.();
      return await plan.create(...args);
    };
    return { plan: { ...plan, create }, seal: () => false };
  }
  const { wish } = sandbox;
  const refuse = (findings: readonly SandboxFinding[]): void => {
    if (wish === "strict" && missingLayers(findings).length > 0) throw new SandboxError(findings);
  };
  let confined: ReturnType<Io["library"]["takeConfined"]>;
  return {
    plan: {
      ...plan,
      create: async (signal, onProgress, control) => {
        confined = io.library.takeConfined();
        // Executed anew, it is the same process, which was taken before.
        if (!confined) await plan.admit?.();
        if (!confined && (wish !== "auto" || (sandbox.opens === undefined && getsKvm(io, sandbox.question)))) {
          refuse(io.library.sandboxSupport());
          const files = await sandbox.confine(signal, onProgress);
          signal.throwIfAborted();
          confined = io.library.confineAndRestart(files);
        }
        if (confined) refuse(confined.findings);
        return await plan.create(signal, onProgress, control);
      },
    },
    seal: (vm, say) => {
      const hasKvm = vm.engine === "kvm";
      if (!confined) {
        if (hasKvm && sandbox.opens) say(`sandbox: off, since ${sandbox.opens}.`);
        return false;
      }
      // Node opens a terminal by its path once more when it is first asked for.
      void io.stdin;
      const hasShares = (plan.shares?.length ?? 0) > 0;
      const sockets = sandbox.joins && { sockets: ["unix"] as const };
      const findings = io.library.seal({ hasKvm, hasShares, ...sockets }, confined);
      refuse(findings);
      for (const { layer, state, detail } of missingLayers(findings)) say(`sandbox: ${layer}: ${state}: ${detail}`);
      return true;
    },
  };
}

/** Where it cannot, who makes the VM says why. */
function getsKvm(io: Io, question: EngineQuestion): boolean {
  try {
    return io.library.engineFor(question).engine === "kvm";
  } catch {
    return false;
  }
}

/** Node's heap, translated code and its compilation, beside the guest's memory; docs/jit.md has what was measured. */
const MEMORY_BESIDE_GUEST_BYTES = 3 * 2 ** 30;
const MAX_TASKS = 256;

export interface UsedFiles {
  readonly read: readonly (string | undefined)[];
  /** The file in which the VM's firmware keeps its variables. It is there. */
  readonly variables?: string | undefined;
  /** Of its disks' images, and where those that throw writes away put them. */
  readonly disks: readonly FileRule[];
  /** Its shared folders. */
  readonly shares: readonly FileRule[];
  /** Read only: what a VM whose guest broke out leaves there would run in the next one's process. */
  readonly cache: VmOptions["translationCache"];
  readonly record: string | undefined;
  /** In which frames are kept. */
  readonly pcap?: string | undefined;
  readonly save: string | undefined;
  readonly serial: SerialTarget;
  /** Unix sockets that its network cards, or its own sockets, lead to. */
  readonly sockets?: readonly string[];
  /** Unix sockets that a debugger connects to: they are there before the guest starts. */
  readonly debuggers?: readonly string[];
  readonly engine: EngineQuestion["wish"];
  /** Of a VM that is kept: what is in it, the process opens again after it was executed anew. */
  readonly folder?: VmFolder | undefined;
}

/** `memoryBytes`: the guest's; undefined where it is not known yet, and then it has no bound. */
export function vmConfinement(used: UsedFiles, memoryBytes: number | undefined): ConfinePlan {
  const { sockets = [] } = used;
  return {
    files: fileRules(used),
    resources: {
      tasks: MAX_TASKS,
      ...(memoryBytes !== undefined && { memoryBytes: memoryBytes + MEMORY_BESIDE_GUEST_BYTES }),
    },
    ...(sockets.length > 0 && { sockets: ["unix"] as const }),
    ...(rootReason(used) !== undefined && { staysRoot: rootReason(used) }),
  };
}

/** Why the process needs the files' owner to the end. */
function rootReason({ save, shares, sockets = [] }: UsedFiles): string | undefined {
  const [folder] = shares;
  const [socket] = sockets;
  if (save !== undefined)
    return `The process stays root, though without its rights, since ${save} is written at the end. Start it as an ordinary user, or without --save.`;
  if (socket !== undefined)
    return `The process stays root, though without its rights, since it joins the other end of ${socket} whenever that comes back. Start it as an ordinary user, or without --net and --vsock.`;
  if (folder !== undefined)
    return `The process stays root, though without its rights, since ${folder.path} is shared: another user could not read what is root's there. Start it as the folder's user.`;
  return undefined;
}

/** Files that are written have to be there for a rule of their own: an empty one is made. */
function fileRules(used: UsedFiles): readonly FileRule[] {
  const { serial, cache } = used;
  const kept = cache === "off" ? undefined : (cache?.directory ?? translationDirectory());
  const written = [used.record, used.pcap, serial.kind === "file" ? serial.path : undefined];
  return [
    ...[...used.read, kept].flatMap((path) => rule(path, "read")),
    ...written.flatMap((path) => {
      if (path !== undefined) makeEmpty(path);
      return rule(path, "write");
    }),
    ...rule(used.variables, "write"),
    ...used.disks,
    ...used.shares,
    ...folderRules(used.folder),
    ...rule(used.engine === "jit" ? undefined : KVM_DEVICE, "write"),
    ...rule(used.save === undefined ? undefined : dirname(resolve(used.save)), "create"),
    ...[...(used.sockets ?? []), ...(used.debuggers ?? [])].flatMap((path) => rule(dirname(resolve(path)), "socket")),
    ...rule(serial.kind === "socket" ? dirname(resolve(serial.path)) : undefined, "socket"),
  ];
}

function folderRules(folder: VmFolder | undefined): FileRule[] {
  if (folder === undefined) return [];
  const { path, lock, run, console, log, saved, outgoing } = folder;
  return [
    { path, access: "read" },
    { path, access: "socket" },
    ...[lock, run, console, log, saved, outgoing].flatMap((file) => rule(file, "write")),
  ];
}

function rule(path: string | undefined, access: FileRule["access"]): FileRule[] {
  return path === undefined ? [] : [{ path: resolve(path), access }];
}

/** What cannot be made is told by who opens it. A pipe that nobody reads is not waited for. */
function makeEmpty(path: string): void {
  try {
    const { O_WRONLY, O_CREAT, O_NONBLOCK } = constants;
    closeSync(openSync(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0o600));
  } catch {
    // As said.
  }
}

/** Lines for `twinmetal engine`. */
export function sandboxText(findings: readonly SandboxFinding[]): string {
  const lines = findings.map(
    ({ layer, state, detail }) => `  ${`${layer}:`.padEnd(19)} ${state === "on" ? "" : `${state}. `}${detail}`,
  );
  return ["Sandbox (--sandbox on):", ...lines].join("\n");
}
