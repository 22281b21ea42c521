import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Io } from "./command.ts";
import type { EndValues } from "./end-actions.ts";
import type { HostingPlan, hostVm } from "./hosting.ts";
import { type KeptEnd, runKept } from "./kept-run.ts";
import { type Vm, VmControl, type VmExit } from "./vm-library.ts";

const OFF: VmExit = { kind: "off", reason: "the guest powered off" };
const CRASH: VmExit = { kind: "crashed", reason: "triple fault", report: "" };

/** How a run of the guest ends; an error is what hosting it rejects with after the start. */
type Script = (run: {
  readonly exit: (exit: VmExit) => void;
  readonly abort: () => void;
  readonly control: VmControl;
  readonly stopped: Promise<void>;
}) => Promise<number | Error>;

interface FakeVm {
  readonly exit: (exit: VmExit) => void;
  readonly stopped: Promise<void>;
}

function setUp(actions: EndValues, scripts: readonly Script[], expiresAtMs?: number) {
  let err = "";
  const signals = new Map<string, () => void>();
  const io = {
    stderr: { write: (text: string) => void (err += text) },
    onSignal: (name: string, listener: () => void) => {
      signals.set(name, listener);
      return () => void signals.delete(name);
    },
    library: { serveControl: async () => ({ close: async () => {} }) },
  } as unknown as Io;
  const restarts: string[] = [];
  const reboots: string[] = [];
  let runs = 0;
  const host = (async (_io: Io, plan: HostingPlan) => {
    const control = new VmControl();
    const abort = new AbortController();
    control.giveUp = () => abort.abort();
    const vm = (await plan.create(abort.signal, () => {}, control)) as unknown as FakeVm;
    const result = await scripts[runs++]!({ ...vm, abort: () => abort.abort(), control });
    if (result instanceof Error) throw result;
    return result;
  }) as typeof hostVm;
  const create = async (): Promise<Vm> => {
    const listeners: ((exit: VmExit) => void)[] = [];
    const exit = (given: VmExit): void => {
      for (const listener of listeners) listener(given);
    };
    const on = (_event: string, listener: (exit: VmExit) => void) => void listeners.push(listener);
    let resolve = (): void => {};
    const stopped = new Promise<void>((done) => {
      resolve = done;
    });
    const stop = async () => {
      exit(OFF);
      resolve();
    };
    const setOnReboot = async (action: string) => void reboots.push(action);
    return { state: "running", on, exit, stop, kill: stop, stopped, setOnReboot } as unknown as Vm;
  };
  const ended = runKept(
    io,
    {
      plan: { create, controlSockets: [] } as unknown as HostingPlan,
      actions,
      expiresAtMs,
      onRestart: (count, reason) => restarts.push(`${count} ${reason}`),
    },
    host,
  );
  return {
    ended,
    restarts,
    reboots,
    err: () => err,
    runs: () => runs,
    signal: (name: string) => signals.get(name)?.(),
  };
}

const ends =
  (exit: VmExit, status = 0): Script =>
  async (run) => {
    run.exit(exit);
    return status;
  };

async function within(ended: Promise<KeptEnd>, timeMs: number): Promise<KeptEnd | undefined> {
  let end: KeptEnd | undefined;
  void ended.then((given) => {
    end = given;
  });
  await vi.advanceTimersByTimeAsync(timeMs);
  return end;
}

describe("a VM that is kept", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("ends with its guest where nothing else is said", async () => {
    const crashed = setUp({}, [ends(CRASH, 125)]);
    expect(await within(crashed.ended, 1)).toEqual({
      kind: "crashed",
      reason: "triple fault",
      status: 125,
      isOwn: true,
    });
    const off = setUp({ onCrash: "restart" }, [ends(OFF)]);
    expect(await within(off.ended, 1)).toMatchObject({ kind: "off", status: 0 });
  });

  it("starts again after a crash or a panic, later each time, until the guest turns off", async () => {
    const panic: Script = async () => new Error("The guest's kernel panicked: no init");
    const run = setUp({ onCrash: "restart" }, [ends(CRASH, 125), panic, ends(OFF)]);
    expect(await within(run.ended, 999)).toBeUndefined();
    expect(run.runs()).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(run.runs()).toBe(2);
    expect(await within(run.ended, 1999)).toBeUndefined();
    expect(await within(run.ended, 1)).toMatchObject({ kind: "off" });
    expect(run.restarts).toEqual(["1 triple fault", "2 The guest's kernel panicked: no init"]);
    expect(run.err()).toContain("the VM starts again in 2 s, for the 2nd time.");
  });

  it("does not start again what was ended by an order, or by a limit", async () => {
    const actions = { onCrash: "restart", onPoweroff: "restart" } as const;
    const killed = setUp(actions, [
      async (run) => {
        void run.control.answer({ command: "kill" }, { signal: new AbortController().signal });
        run.exit(OFF);
        return 0;
      },
    ]);
    expect(await within(killed.ended, 5000)).toMatchObject({ kind: "off" });
    const signalled = setUp(actions, [
      async (run) => {
        run.abort();
        run.exit(OFF);
        return 143;
      },
    ]);
    expect(await within(signalled.ended, 5000)).toMatchObject({ kind: "off", status: 143 });
    const limited = setUp(actions, [ends({ ...OFF, limit: "wallMs" } as VmExit, 124)]);
    expect(await within(limited.ended, 5000)).toMatchObject({ kind: "off", status: 124 });
  });

  it("does not try again what could not be started at first", async () => {
    const failing = runKept(
      { onSignal: () => () => {} } as unknown as Io,
      {
        plan: { create: () => Promise.reject(new Error("no disk")) } as unknown as HostingPlan,
        actions: { onCrash: "restart" },
        expiresAtMs: undefined,
        onRestart: () => {},
      },
      (async (_io: Io, plan: HostingPlan) => {
        await plan.create(new AbortController().signal, () => {}, new VmControl());
      }) as unknown as typeof hostVm,
    );
    expect(await within(failing, 5000)).toMatchObject({ kind: "failed", reason: "no disk" });
  });

  it("is ended by its time to live, while it runs and while it waits", async () => {
    const untilOff: Script = async ({ stopped }) => {
      await stopped;
      return 0;
    };
    const running = setUp({ onPoweroff: "restart" }, [untilOff], Date.now() + 7_200_000);
    expect(await within(running.ended, 7_199_999)).toBeUndefined();
    expect(await within(running.ended, 1)).toMatchObject({ kind: "off", reason: "its time to live is over" });
    const waiting = setUp({ onCrash: "restart" }, [ends(CRASH)], Date.now() + 500);
    expect(await within(waiting.ended, 501)).toMatchObject({
      kind: "off",
      reason: "its time to live is over",
      status: 124,
    });
  });

  it("hears of what is changed about its end, and a guest that starts again does", async () => {
    const told: Script = async (run) => {
      const change = {
        onCrash: "restart",
        onReboot: "stop",
        expiresAt: new Date(Date.now() + 5000).toISOString(),
      } as const;
      await run.control.answer({ command: "keep", change }, { signal: new AbortController().signal });
      run.exit(CRASH);
      return 125;
    };
    const untilOff: Script = async ({ stopped }) => {
      await stopped;
      return 0;
    };
    const run = setUp({}, [told, untilOff]);
    expect(await within(run.ended, 4999)).toBeUndefined();
    expect([run.runs(), run.reboots]).toEqual([2, ["stop", "stop"]]);
    expect(await within(run.ended, 1)).toMatchObject({ reason: "its time to live is over" });
  });

  it("refuses to start again by itself out of its sandbox", async () => {
    const sealed: Script = async ({ control, exit }) => {
      control.isSealed = true;
      control.vm = { name: "box" } as Vm;
      const { signal } = new AbortController();
      const refused = control.answer({ command: "keep", change: { onCrash: "restart" } }, { signal });
      await expect(refused).rejects.toThrow("VM box's process is in its sandbox");
      exit(CRASH);
      return 125;
    };
    expect(await within(setUp({}, [sealed]).ended, 1)).toMatchObject({ kind: "crashed" });
  });

  it("can be ended while it waits", async () => {
    const run = setUp({ onCrash: "restart" }, [ends(CRASH)]);
    await vi.advanceTimersByTimeAsync(500);
    run.signal("SIGTERM");
    expect(await within(run.ended, 1)).toMatchObject({ kind: "off", status: 143 });
  });
});
