/**
 * The machine that serves a VM now, in its own thread (machine-worker.ts): commands and input go to it, and outlive a
 * change to a machine in another engine (engine-switch.ts). While the guest stands still between two, both wait.
 */
import { MigrationError, type MigrationObstacle, type RebootAction } from "@twinmetal/core";
import type { DiskThread } from "../disk/disk-thread.ts";
import type { NetworkThread } from "../network/network-thread.ts";
import type { VmLimits } from "../resources/vm-limits.ts";
import type { ShareThread } from "../share/share-thread.ts";
import { EngineSwitch, type EngineSwitchOptions, type EngineSwitchResult, type SwitchingVm } from "./engine-switch.ts";
import { LeftThread } from "./left-thread.ts";
import { type MachineEvents, MachineWorker } from "./machine-worker.ts";
import { type Stats, statsSince } from "./stats-sum.ts";
import type { OpenStateFile, VmProgress } from "./vm.ts";
import { plainError, VmError } from "./vm-error.ts";
import { CELL, type CommandName, type Commands, type OutputPart, type WorkerChoices } from "./worker-protocol.ts";

/** What the machines of a VM tell, and that one takes the other's place. */
export interface CurrentMachineEvents extends MachineEvents {
  /** The guest stands still; serial input is to wait. */
  onStandStill(): void;
  /** The guest goes on in another machine, which knows nothing of what the one before was told about debugging. */
  onMoved(): void;
  /** Serial input may come again. */
  onGoOn(): void;
}

/** The threads that serve its devices, and wake it. */
export interface ServingThreads {
  readonly disks?: DiskThread | undefined;
  readonly network?: NetworkThread | undefined;
  readonly shares?: ShareThread | undefined;
}

export class CurrentMachine {
  readonly #events: CurrentMachineEvents;
  readonly #serving: ServingThreads;
  #worker: MachineWorker;
  #start: WorkerChoices;
  /** Counted by the machines that the guest has left. */
  #leftStats: Promise<Stats> = Promise.resolve({});
  readonly #leftThread = new LeftThread();
  #changing: Promise<unknown> | undefined;
  /** The guest stands still between two machines. */
  #between: Promise<unknown> | undefined;
  #heldInputs: OutputPart[] | undefined;
  #isClosing = false;

  private constructor(
    worker: MachineWorker,
    start: WorkerChoices,
    events: CurrentMachineEvents,
    serving: ServingThreads,
  ) {
    this.#worker = worker;
    this.#start = start;
    this.#events = events;
    this.#serving = serving;
    this.#wakeByServing();
  }

  /** Resolves when the machine is built; rejects with what it could not be built for. */
  static async start(
    start: WorkerChoices,
    events: CurrentMachineEvents,
    serving: ServingThreads,
    signal?: AbortSignal,
  ): Promise<CurrentMachine> {
    const worker = await MachineWorker.start(start, events, signal);
    return new CurrentMachine(worker, start, events, serving);
  }

  get engine(): "jit" | "kvm" {
    return this.#start.engine;
  }

  /** The VM is changing its engine. */
  get isChanging(): boolean {
    return this.#changing !== undefined;
  }

  async command<K extends CommandName>(
    name: K,
    args: Commands[K]["args"],
    onProgress?: (progress: VmProgress) => void,
  ): Promise<Commands[K]["result"]> {
    await this.settled();
    return await this.#worker.command(name, args, onProgress);
  }

  /** Resolves when the guest is in one machine. */
  async settled(): Promise<void> {
    await this.#between;
  }

  sendInput(channel: string, bytes: Uint8Array): void {
    if (this.#heldInputs) this.#heldInputs.push({ channel, bytes });
    else this.#worker.sendInput(channel, bytes);
  }

  /** Precondition: the guest does not stand still between two machines. */
  sendSerial(bytes: Uint8Array): void {
    this.#worker.sendSerial(bytes);
  }

  /** The cost of output that nobody holds any more. */
  release(cost: number): void {
    this.#worker.release(cost);
  }

  /** Of all machines that the guest was in. */
  async stats(): Promise<Stats> {
    await this.settled();
    const [left, now] = await Promise.all([this.#leftStats, this.#worker.stats()]);
    return statsSince(left, now);
  }

  /** Precondition: no other such call is under way. */
  async limit(limits: VmLimits): Promise<void> {
    const { limits: before } = this.#start;
    // At once, as a machine that takes this one's place meanwhile is told of them, too.
    this.#start = { ...this.#start, limits };
    try {
      await this.settled();
      await this.command("limit", { limits, spent: await this.#leftStats });
    } catch (error) {
      this.#start = { ...this.#start, limits: before };
      throw error;
    }
  }

  async setOnReboot(action: RebootAction): Promise<void> {
    await this.settled();
    await this.command("onReboot", { action });
    this.#start = { ...this.#start, onReboot: action };
  }

  /** Precondition: no other save is in progress. Throws the signal's reason. */
  async save(
    file: string | OpenStateFile,
    signal: AbortSignal | undefined,
    onProgress?: (p: VmProgress) => void,
  ): Promise<void> {
    const onAbort = (): void => this.abortSave();
    this.#worker.abortSave(false);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await this.command("save", { file }, onProgress);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (!this.#isClosing) this.#worker.abortSave(false);
    }
  }

  /** The save in progress ends soon, without a file. */
  abortSave(): void {
    this.#worker.abortSave(true);
  }

  /** What speaks against a change to this engine. */
  async canSwitch(engine: "jit" | "kvm", signal: AbortSignal | undefined): Promise<readonly MigrationObstacle[]> {
    const change = this.#engineSwitch(engine);
    try {
      return await change.prepare(signal);
    } finally {
      await change.discard();
    }
  }

  /** Throws MigrationError `refused`, VmError `bad-state`. */
  async switchEngine(engine: "jit" | "kvm", options: EngineSwitchOptions): Promise<EngineSwitchResult> {
    return await this.#exclusively(async () => {
      const change = this.#engineSwitch(engine, () => this.#leftThread.take());
      const obstacles = await change.prepare(options.signal);
      if (obstacles.length === 0) return await this.#carryOut(change, engine, options);
      const list = obstacles.map(({ message }) => message).join(" ");
      throw new MigrationError("refused", `The VM cannot go on in the ${engine} engine: ${list}`, { obstacles });
    });
  }

  /** Another machine of any engine, whatever speaks against it. */
  async renew(engine: "jit" | "kvm", options: EngineSwitchOptions): Promise<EngineSwitchResult> {
    return await this.#exclusively(async () => {
      const change = this.#engineSwitch(engine, () => this.#leftThread.take());
      await change.build();
      return await this.#carryOut(change, engine, options);
    });
  }

  /** No other machine takes its place any more. `close` follows. */
  beginClose(): void {
    this.#isClosing = true;
    this.abortSave();
  }

  /** Whatever the machine does, its thread is gone when this resolves. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Precondition: `beginClose` was called. */
  async close(): Promise<void> {
    await this.terminate();
    await this.#changing;
    await this.terminate();
    await this.#leftThread.end();
  }

  #engineSwitch(engine: "jit" | "kvm", takeIdle?: SwitchingVm["takeIdle"]): EngineSwitch {
    return new EngineSwitch({ start: this.#start, worker: this.#worker, events: this.#events, takeIdle }, engine);
  }

  async #exclusively<T>(action: () => Promise<T>): Promise<T> {
    if (this.#changing) throw new VmError("bad-state", "The VM is changing its engine already.");
    const done = action();
    this.#changing = done.catch(() => {});
    try {
      return await done;
    } finally {
      this.#changing = undefined;
    }
  }

  async #carryOut(
    change: EngineSwitch,
    engine: "jit" | "kvm",
    { isVerified, signal }: EngineSwitchOptions,
  ): Promise<EngineSwitchResult> {
    this.#events.onStandStill();
    this.#heldInputs = [];
    try {
      signal?.throwIfAborted();
      if (this.#isClosing) throw new VmError("closed", "The VM was closed.");
      const carriedOut = change.carryOut(isVerified);
      this.#between = carriedOut.catch(() => {});
      const { worker, result } = await carriedOut;
      this.#goOnIn(worker, engine);
      return result;
    } catch (error) {
      await change.discard();
      const { message } = plainError(error);
      if (change.isLost) this.#events.onExit({ kind: "crashed", reason: message, report: `${message}\n` });
      throw error;
    } finally {
      this.#between = undefined;
      const held = this.#heldInputs;
      this.#heldInputs = undefined;
      for (const { channel, bytes } of held) this.sendInput(channel, bytes);
      this.#events.onGoOn();
    }
  }

  #goOnIn(worker: MachineWorker, engine: "jit" | "kvm"): void {
    const before = this.#worker;
    this.#worker = worker;
    this.#start = { ...this.#start, engine };
    this.#wakeByServing();
    this.#events.onMoved();
    const earlier = this.#leftStats;
    this.#leftStats = before.stats().then(
      async (stats) => statsSince(await earlier, stats),
      () => earlier, // Its thread has ended.
    );
    void this.#leftStats.then((spent) => {
      const { limits } = this.#start;
      // It may have ended meanwhile.
      if (limits && worker === this.#worker) worker.command("limit", { limits, spent }).catch(() => {});
    });
    const left = this.#leftStats.then(async () => {
      const idle = await before.leave();
      await worker.command("isAlone", undefined).catch(() => {}); // It may have ended meanwhile.
      return idle;
    });
    this.#leftThread.keep(left);
  }

  #wakeByServing(): void {
    const { cells, vcpuCells, memory } = this.#worker;
    if (memory) this.#serving.disks?.reach(memory);
    for (const thread of [this.#serving.disks, this.#serving.network, this.#serving.shares])
      thread?.wakes(cells, CELL.KICK, vcpuCells);
  }
}
