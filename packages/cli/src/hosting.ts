/**
 * A VM from its making to its end, for the commands that put one on this terminal (run, restore): makes it, connects
 * console or command, and whatever happens closes it, says why, and answers with the exit status.
 */

import { access, constants, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { WatchdogAction } from "@twinmetal/core";
import type { Io } from "./command.ts";
import { runCommand } from "./command-session.ts";
import { runConsole } from "./console-session.ts";
import { diskText } from "./disk-choice.ts";
import { watchDisks } from "./disk-watch.ts";
import { Ending } from "./ending.ts";
import { EXIT } from "./exit-status.ts";
import { type GdbChoice, gdbCommand } from "./gdb-choice.ts";
import { networkOptionsText } from "./network-choice.ts";
import { watchForPanic } from "./panic-watch.ts";
import { ProgressLine } from "./progress-line.ts";
import { inSandbox, type SandboxPlan } from "./sandbox.ts";
import { openSerialSink, type SerialSink, type SerialTarget } from "./serial-target.ts";
import { concludeOutcome, type Outcome, orTrouble } from "./session.ts";
import { shareText } from "./share-choice.ts";
import { formatStatistics, readStatistics } from "./statistics.ts";
import { CommandError } from "./usage-error.ts";
import {
  type ControlServer,
  cardUnderPolicy,
  type DiskOptions,
  type GdbServer,
  type MachineSpec,
  type NetworkOptions,
  type Policy,
  type ShareOptions,
  type Vm,
  VmControl,
  type VmProgress,
} from "./vm-library.ts";

const CLOSE_MS = 5000;
const LONG_MS = 2 ** 30;

export interface HostingPlan {
  /** Rejects where the host does not take one more. `saved`: of the state that it goes on from. */
  readonly admit?: ((saved?: MachineSpec) => Promise<void>) | undefined;
  readonly create: (signal: AbortSignal, onProgress: (progress: VmProgress) => void, control: VmControl) => Promise<Vm>;
  /** Asked for when the VM exists. */
  readonly command: ((signal: AbortSignal) => Promise<readonly string[]>) | undefined;
  readonly serial: SerialTarget;
  /** One line on standard error for people at a terminal. */
  readonly greeting: (vm: Vm) => string;
  /** Another one, where the VM runs slower than it could. Asked before the process is locked down. */
  readonly notice?: (vm: Vm) => string | undefined;
  readonly hasAgent: boolean;
  readonly endsWithInput: boolean;
  /** A kernel that panicked ends the run, where nobody sits at the console. */
  readonly endsWithPanic: boolean;
  /** Asked then: it is paused instead. */
  readonly pausesWithPanic?: () => boolean;
  readonly timeoutMs: number | undefined;
  readonly savePath: string | undefined;
  /** A saved VM is restored with the same ones. */
  readonly disks?: ((signal: AbortSignal) => Promise<readonly DiskOptions[]>) | undefined;
  readonly networks?: readonly NetworkOptions[] | undefined;
  /** Of network cards that come later. */
  readonly policy?: Policy | undefined;
  readonly shares?: readonly ShareOptions[] | undefined;
  /** Where the VM is asked and told what to do. */
  readonly controlSockets?: readonly string[];
  /** Where a debugger connects. */
  readonly gdb?: GdbChoice | undefined;
  /** Undefined: the process stays as it is. */
  readonly sandbox?: SandboxPlan | undefined;
  /** Everything is open, and the guest is about to start. */
  readonly onReady?: () => void;
  readonly wantsStatistics: boolean;
  /** Where they go; default: on standard error. */
  readonly onStatistics?: (counters: Readonly<Record<string, number>>) => void;
}

/** Rejects with what the library throws, and with CommandError. */
export async function hostVm(io: Io, given: HostingPlan): Promise<number> {
  const { plan, seal } = inSandbox(io, given);
  const startMs = performance.now();
  if (plan.savePath !== undefined) await checkSavePath(plan.savePath);
  const ending = new Ending(io, plan.timeoutMs);
  const progress = new ProgressLine(io);
  const say = (message: string): void => void io.stderr.write(`twinmetal: ${message}\n`);
  let vm: Vm | undefined;
  let sink: SerialSink | undefined;
  let unwatch = (): void => {};
  const servers: ControlServer[] = [];
  let gdb: GdbServer | undefined;
  const control = new VmControl();
  control.onPlug = (card) => cardUnderPolicy(card, plan.policy ?? {}, plan.networks ?? []);
  control.onUndecided = ({ message }) => say(message);
  control.giveUp = () => ending.end({ status: EXIT.OK, message: "ended before it ran." });
  try {
    for (const path of plan.controlSockets ?? []) servers.push(await io.library.serveControl(path, control));
    vm = await create(plan, ending, progress, control);
    control.vm = vm;
    if (vm === undefined) return concludeEnding(ending, say);
    unwatch = watchDisks(vm, say);
    vm.on("network", ({ message }) => say(message));
    vm.on("watchdog", (action) => say(watchdogText(action)));
    sink = await openSerialSink(vm, plan.serial);
    const isTerminal = io.stdin.isTTY && io.stderr.isTTY;
    const notice = isTerminal ? plan.notice?.(vm) : undefined;
    if (plan.gdb) {
      gdb = await io.library.serveGdb(vm, plan.gdb.address);
      const waits = plan.gdb.isWaiting ? "The guest waits for GDB" : "GDB finds the guest";
      say(`${waits}: ${gdbCommand(gdb.address)}`);
    }
    control.isSealed = seal(vm, say);
    if (isTerminal && plan.command === undefined) say(plan.greeting(vm));
    if (notice !== undefined) say(notice);
    plan.onReady?.();
    const outcome = await connect(io, vm, plan, ending, progress, sink);
    if (outcome?.kind === "left") await leave(io, vm, plan, progress, say);
    if (plan.wantsStatistics) await printStatistics(io, vm, startMs, plan.onStatistics);
    if (outcome === undefined) return concludeEnding(ending, say);
    const { status, message } = concludeOutcome(outcome);
    if (message !== "") say(message);
    return status;
  } finally {
    progress.clear();
    unwatch();
    if (vm !== undefined) await close(vm, sink);
    await gdb?.close();
    for (const server of servers) await server.close();
    ending.dispose();
  }
}

/** A save comes after the work that it is to keep: what can be wrong with its path is told before. */
async function checkSavePath(path: string): Promise<void> {
  try {
    await access(dirname(path), constants.W_OK);
    const existing = await stat(path).catch(() => undefined);
    if (existing?.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandError(`The VM could not be saved to ${path} (${code}). Name another file.`);
  }
}

/** Undefined when the end came first; what is being made is then given up, and closed should it still appear. */
async function create(
  plan: HostingPlan,
  ending: Ending,
  progress: ProgressLine,
  control: VmControl,
): Promise<Vm | undefined> {
  const onProgress = (report: VmProgress): void => {
    control.progress = report;
    if (ending.cause === undefined) progress.report(report);
  };
  const creation = plan.create(ending.signal, onProgress, control);
  try {
    // Not a race: the library answers the signal once nothing half-written is left.
    const vm = await creation;
    if (ending.cause === undefined) return vm;
    await vm.close();
    return undefined;
  } catch (error) {
    if (ending.cause !== undefined) return undefined;
    throw error;
  } finally {
    progress.clear();
  }
}

async function connect(
  io: Io,
  vm: Vm,
  plan: HostingPlan,
  ending: Ending,
  progress: ProgressLine,
  sink: SerialSink,
): Promise<Outcome | undefined> {
  const { command, hasAgent, endsWithInput } = plan;
  const isConsole = command === undefined && plan.serial.kind === "stdio";
  const watch = watchForPanic(vm);
  // Whoever sits at the console sees it, and may want to read what is above.
  const isAlone = plan.endsWithPanic && !(isConsole && io.stdin.isTTY);
  const fate = watch.panic.then(async (reason) => {
    if (!plan.pausesWithPanic?.()) return panicked(reason);
    await vm.pause().catch(() => {}); // It may have ended.
    io.stderr.write(`twinmetal: the guest's kernel panicked (${reason}); the VM is paused, to be looked at.\n`);
    return await new Promise<never>(() => {});
  });
  const troubles = [sink.failed, ...(isAlone ? [fate] : [])];
  const trouble = Promise.race(troubles);
  try {
    if (isConsole) return await runConsole(io, vm, ending, { hasAgent, endsWithInput, progress, trouble });
    if (command !== undefined) {
      return await runCommand(io, vm, ending, { command: await command(ending.signal), progress, trouble });
    }
    return await runUnattended(vm, ending, trouble);
  } finally {
    watch.stop();
  }
}

function panicked(reason: string): CommandError {
  return new CommandError(`The guest's kernel panicked and stands still: ${reason}`);
}

async function runUnattended(vm: Vm, ending: Ending, trouble: Promise<Error>): Promise<Outcome | undefined> {
  const end = vm.wait().then((exit): Outcome => ({ kind: "guest", exit }));
  // A machine that is paused gives Node nothing to wait for.
  const timer = setInterval(() => {}, LONG_MS);
  try {
    await vm.start();
    return await ending.race(orTrouble(end, trouble));
  } finally {
    clearInterval(timer);
  }
}

async function leave(
  io: Io,
  vm: Vm,
  plan: HostingPlan,
  progress: ProgressLine,
  say: (message: string) => void,
): Promise<void> {
  if (io.stdout.isTTY) io.stdout.write("\r\n");
  if (plan.savePath === undefined) return;
  await vm.save(plan.savePath, { onProgress: (report) => progress.report(report) });
  progress.clear();
  const given = (await plan.disks?.(new AbortController().signal)) ?? [];
  const disks = given.map((disk) => ` --disk ${diskText(disk)}`).join("");
  const nets = networkOptionsText(plan.networks ?? []);
  const shares = (plan.shares ?? []).map((share) => ` --share ${shareText(share)}`).join("");
  say(`saved to ${plan.savePath}; go on with: twinmetal restore ${plan.savePath}${disks}${nets}${shares}`);
}

function concludeEnding(ending: Ending, say: (message: string) => void): number {
  const { status, message } = ending.cause!;
  if (message !== "") say(message);
  return status;
}

async function printStatistics(
  io: Io,
  vm: Vm,
  startMs: number,
  take: HostingPlan["onStatistics"] = (counters) => void io.stderr.write(formatStatistics(counters)),
): Promise<void> {
  const counters = await readStatistics(vm);
  if (counters === undefined) io.stderr.write("twinmetal: the VM no longer answers, so there are no statistics.\n");
  else take({ ...counters, elapsedMs: Math.round(performance.now() - startMs) });
}

/** Bounded in time: a machine that does not end in order ends with the process. */
async function close(vm: Vm, sink: SerialSink | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_MS);
  });
  const ended = (async () => {
    await vm.kill().catch(() => {}); // It may have ended by itself.
    await sink?.close();
    await vm.close();
  })();
  await Promise.race([ended.catch(() => {}), late]);
  clearTimeout(timer);
}

function watchdogText(action: WatchdogAction): string {
  const done = {
    reset: "it is reset",
    poweroff: "it is turned off",
    pause: "it is paused: save or end it",
    none: "nothing is done",
  };
  return `the guest has not served its watchdog in time, and ${done[action]}.`;
}
