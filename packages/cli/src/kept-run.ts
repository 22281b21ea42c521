/**
 * What the process of a VM that is kept does until its end: it runs the VM, and again where `--on-crash` or `--on-poweroff` say
 * so. Its time to live ends it at any moment.
 *
 *   run ---> the guest's own end ---> restart? ---> wait ---> run
 *      \---> an order, a limit, its time to live, a start that fails ---> end
 */
import type { Io } from "./command.ts";
import { type EndValues, RestartDelay } from "./end-actions.ts";
import { Ending } from "./ending.ts";
import { EXIT } from "./exit-status.ts";
import { type HostingPlan, hostVm } from "./hosting.ts";
import { LIFE_IS_OVER } from "./named-vms.ts";
import { type EndChange, type Vm, VmControl, type VmExit } from "./vm-library.ts";

/** A guest that does not turn off by itself when its time to live is over. */
const LAST_STOP_MS = 10_000;
/** Node's timers hold no more than 24 days, and clocks are put right. */
const MAX_SLEEP_MS = 3_600_000;

export interface KeptRun {
  readonly plan: HostingPlan;
  readonly actions: EndValues;
  readonly expiresAtMs: number | undefined;
  /** It starts again for the `count`th time. */
  readonly onRestart: (count: number, reason: string) => void;
}

export interface KeptEnd {
  readonly kind: VmExit["kind"] | "failed";
  readonly reason: string;
  readonly status: number;
  /** What it failed or crashed with, where that is not told yet. */
  readonly error?: unknown;
}

interface RunEnd extends KeptEnd {
  /** Nobody has asked for it. */
  readonly isOwn: boolean;
}

/** Never rejects. */
export async function runKept(io: Io, run: KeptRun, host: typeof hostVm = hostVm): Promise<KeptEnd> {
  const { onRestart } = run;
  const life = new TimeToLive(run.expiresAtMs);
  let { actions } = run;
  let vm: Vm | undefined;
  let onReboot: EndChange["onReboot"];
  const keep = async ({ expiresAt, ...change }: EndChange): Promise<void> => {
    if (change.onReboot !== undefined) await vm?.setOnReboot(change.onReboot);
    onReboot = change.onReboot ?? onReboot;
    actions = { ...actions, ...change };
    if (expiresAt !== undefined) life.endsAt(expiresAt === null ? undefined : Date.parse(expiresAt));
  };
  const plan: HostingPlan = {
    ...run.plan,
    pausesWithPanic: () => actions.onCrash === "pause",
    create: async (signal, onProgress, control) => {
      control.onKeep = keep;
      vm = await run.plan.create(signal, onProgress, control);
      if (onReboot !== undefined) await vm.setOnReboot(onReboot);
      return vm;
    },
  };
  const delay = new RestartDelay();
  try {
    for (let count = 1; ; count++) {
      const startedMs = performance.now();
      const end = await runOnce(io, plan, life, host);
      if (life.isOver) return { kind: "off", reason: LIFE_IS_OVER, status: EXIT.TIMEOUT };
      if (!isFollowed(end, actions, count)) return end;
      const delayMs = delay.after(performance.now() - startedMs);
      const reason = end.reason.split("\n", 1).join();
      io.stderr.write(
        `twinmetal: ${reason}; the VM starts again in ${delayMs / 1000} s, for the ${nth(count)} time.\n`,
      );
      onRestart(count, reason);
      vm = undefined;
      const given = await waited(io, plan, life, keep, delayMs, `waits ${delayMs / 1000} s to start again: ${reason}`);
      if (given !== undefined) return given;
    }
  } finally {
    life.dispose();
  }
}

/** A VM that has run once and then cannot be started is taken for one that crashed. */
function isFollowed({ isOwn, kind }: RunEnd, { onCrash, onPoweroff }: EndValues, count: number): boolean {
  if (!isOwn) return false;
  if (kind === "off") return onPoweroff === "restart";
  return onCrash === "restart" && (kind === "crashed" || (kind === "failed" && count > 1));
}

async function runOnce(io: Io, plan: HostingPlan, life: TimeToLive, host: typeof hostVm): Promise<RunEnd> {
  let vm: Vm | undefined;
  let seen: { readonly exit: VmExit; readonly isOwn: boolean } | undefined;
  const create: HostingPlan["create"] = async (signal, onProgress, control) => {
    life.onOver(() => control.giveUp());
    const made = await plan.create(signal, onProgress, control);
    vm = made;
    made.on("exit", (exit) => {
      const isLimit = exit.kind === "off" && exit.limit !== undefined;
      seen ??= { exit, isOwn: !(signal.aborted || control.isEnding || life.isOver || isLimit) };
    });
    life.onOver(() => void made.stop({ timeoutMs: LAST_STOP_MS, force: true }).catch(() => made.kill()));
    return made;
  };
  try {
    const status = await host(io, { ...plan, create });
    if (vm === undefined) return { kind: "failed", reason: "ended before it ran", status, isOwn: false };
    if (seen === undefined)
      return { kind: "off", reason: `ended from outside (status ${status})`, status, isOwn: false };
    const { exit, isOwn } = seen;
    return { kind: exit.kind, reason: exit.reason, status, isOwn };
  } catch (error) {
    const hasRun = vm !== undefined && vm.state !== "created";
    const { message: reason, status = EXIT.FAILED } = error as Error & { status?: number };
    return { kind: hasRun ? "crashed" : "failed", reason, status, error, isOwn: true };
  } finally {
    life.onOver(() => {});
  }
}

/** Undefined: the time has passed. Meanwhile it can be asked and killed. */
async function waited(
  io: Io,
  plan: HostingPlan,
  life: TimeToLive,
  keep: VmControl["onKeep"],
  delayMs: number,
  phase: string,
): Promise<KeptEnd | undefined> {
  const control = new VmControl();
  control.onKeep = keep;
  control.progress = { phase, done: 0, total: undefined };
  const ending = new Ending(io);
  control.giveUp = () => ending.end({ status: EXIT.OK, message: "" });
  life.onOver(() => control.giveUp());
  const paths = plan.controlSockets ?? [];
  const servers = await Promise.all(paths.map((path) => io.library.serveControl(path, control).catch(() => {})));
  let timer: NodeJS.Timeout | undefined;
  await ending.race(
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, delayMs);
    }),
  );
  clearTimeout(timer);
  const { cause } = ending;
  ending.dispose();
  for (const server of servers) await server?.close();
  if (life.isOver) return { kind: "off", reason: LIFE_IS_OVER, status: EXIT.TIMEOUT };
  return cause && { kind: "off", reason: "ended while it waited to start again", status: cause.status };
}

class TimeToLive {
  #endMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #end: () => void = () => {};
  isOver = false;

  constructor(endMs: number | undefined) {
    this.#endMs = endMs;
    this.#arm();
  }

  /** What ends the VM from here on. */
  onOver(end: () => void): void {
    this.#end = end;
    if (this.isOver) end();
  }

  endsAt(endMs: number | undefined): void {
    clearTimeout(this.#timer);
    this.#endMs = endMs;
    this.#arm();
  }

  dispose(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    if (this.#endMs === undefined) return;
    const leftMs = this.#endMs - Date.now();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#arm(), Math.min(leftMs, MAX_SLEEP_MS));
      return;
    }
    this.isOver = true;
    this.#end();
  }
}

function nth(count: number): string {
  const ending = { 1: "st", 2: "nd", 3: "rd" }[count % 100 > 10 && count % 100 < 14 ? 0 : count % 10] ?? "th";
  return `${count}${ending}`;
}
