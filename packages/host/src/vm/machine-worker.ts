/**
 * The VM object's end of the machine's thread: commands and their answers, input, and the thread's life. The thread
 * keeps the process alive only while the machine runs or a command waits for its answer. One that was left, as another one
 * goes on with its guest, is idle: it can be given the next machine, and has its code loaded then.
 */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type { ReachedMemory } from "../disk/block-ring.ts";
import { createCells, createKicker, type VcpuKicker } from "../kvm/kick-cells.ts";
import { ActivitySampler } from "./activity-sampler.ts";
import { KeptCode } from "./kept-code.ts";
import type { DebugReport } from "./machine-debugger.ts";
import { type KeptAnswer, startTranslationThread, type TranslationThread } from "./port-translator.ts";
import { startKeeper } from "./start-keeper.ts";
import { hintBranches } from "./v8-flags.ts";
import type { VmExit, VmProgress } from "./vm.ts";
import { errorFromPlain, VmError } from "./vm-error.ts";
import {
  CELL,
  type CommandName,
  type Commands,
  type FromMachine,
  MAX_PENDING_OUTPUT,
  type OutputPart,
  type ToMachine,
  type WorkerChoices,
  type WorkerStart,
} from "./worker-protocol.ts";
import { workerUrl } from "./worker-url.ts";

export interface MachineEvents {
  onOutput(parts: readonly OutputPart[]): void;
  onSerialTaken(bytes: number): void;
  onState(state: "running" | "paused"): void;
  onDebugStop?(report: DebugReport): void;
  onReplayEnd?(stateHash: string, retired: number): void;
  /** Called once, last of all. */
  onExit(exit: VmExit): void;
}

type Ports = MessagePort[];

/** Waits for a machine. */
export interface IdleThread {
  readonly worker: Worker;
  readonly translation: TranslationThread | undefined;
}

export async function endIdle({ worker, translation }: IdleThread): Promise<void> {
  await Promise.all([worker.terminate(), translation?.end()]);
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onProgress: ((progress: VmProgress) => void) | undefined;
}

export class MachineWorker {
  readonly #worker: Worker;
  #translation: TranslationThread | undefined;
  readonly #kicker: VcpuKicker | undefined;
  readonly #port: MessagePort;
  readonly #kept: MessagePort | undefined;
  readonly #cells: Int32Array;
  /** By which a vCPU is reached that is inside the processor; undefined on jit. */
  readonly vcpuCells: SharedArrayBuffer | undefined;
  /** Where the requests of its disks are carried out; undefined where it has none, or they are copied. */
  memory: ReachedMemory | undefined;
  readonly #events: MachineEvents;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #resolveExited: () => void = () => {};
  #sampler: ActivitySampler | undefined;
  #ready: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #nextId = 1;
  #isRunning = false;
  #hasEnded = false;
  /** Somebody waits for the thread's end: an answer that still comes does not let the process end before. */
  #isEnding = false;
  #isGone = false;

  private constructor(start: WorkerChoices, events: MachineEvents, before?: MachineWorker, idle?: IdleThread) {
    const cells = before?.cells ?? new SharedArrayBuffer(CELL.sizeBytes);
    const { port1, port2 } = new MessageChannel();
    this.#cells = new Int32Array(cells);
    this.#port = port1;
    this.#exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    this.#events = events;
    hintBranches();
    // Code of vCPUs in parallel is another one's, for each.
    const cache = start.engine === "jit" && !start.isParallel ? start.translationCache : undefined;
    const keptCode = cache && new KeptCode(cache);
    const core = keptCode?.core();
    const kept = cache && new MessageChannel();
    const hasTranslation = start.engine === "jit" && start.tier === "auto";
    const vcpuCells = start.engine === "kvm" ? createCells() : undefined;
    this.vcpuCells = vcpuCells;
    if (vcpuCells) this.#kicker = createKicker(vcpuCells);
    this.#translation = idle?.translation;
    let translator = hasTranslation ? this.#translation?.nextPort() : undefined;
    if (hasTranslation && !translator) {
      this.#translation = startTranslationThread(cache, startKeeper);
      translator = this.#translation.port;
    }
    const others = start.isParallel && hasTranslation ? start.spec.cpus - 1 : 0;
    const vcpuTranslators = Array.from({ length: others }, () => this.#translation!.vcpuPort());
    const workerData: WorkerStart = {
      ...start,
      cells,
      vcpuCells,
      port: port2,
      translator,
      vcpuTranslators,
      kept: kept?.port2,
      core,
    };
    const transferList = [
      port2,
      ...vcpuTranslators,
      ...(translator ? [translator] : []),
      ...(kept ? [kept.port2] : []),
    ];
    this.#worker = wakened(idle?.worker, workerData, transferList) ?? newThread(workerData, transferList);
    // While the threads load their code.
    const { modules, sources } = (hasTranslation ? keptCode?.regions() : undefined) ?? { modules: [], sources: [] };
    kept?.port1.postMessage({ kept: modules } satisfies KeptAnswer);
    kept?.port1.unref();
    this.#kept = kept?.port1;
    if (cache) this.#translation?.tell({ type: "known", sources, hasCore: core !== undefined });
    this.#worker.on("message", this.#receive);
    this.#worker.on("error", this.#failed);
    this.#worker.on("exit", this.#lose);
  }

  /**
   * Resolves when the machine is built; rejects with what it could not be built for. `before`: whose guest it will go on
   * with, and what that has written and nobody has taken yet counts for this one. `idle`: the thread that it is built in.
   */
  static async start(
    start: WorkerChoices,
    events: MachineEvents,
    signal?: AbortSignal,
    before?: MachineWorker,
    idle?: IdleThread,
  ): Promise<MachineWorker> {
    if (signal?.aborted && idle) await endIdle(idle);
    signal?.throwIfAborted();
    const worker = new MachineWorker(start, events, before, idle);
    const ready = new Promise<void>((resolve, reject) => {
      worker.#ready = { resolve, reject };
    });
    const onAbort = (): void => worker.#ready?.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await ready;
    } catch (error) {
      await worker.terminate();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
    worker.#ready = undefined;
    worker.#hold();
    return worker;
  }

  /** By which both threads are reached. */
  get cells(): SharedArrayBuffer {
    return this.#cells.buffer as SharedArrayBuffer;
  }

  /** The thread has ended, with its machine. */
  get isGone(): boolean {
    return this.#isGone;
  }

  async command<K extends CommandName>(
    name: K,
    args: Commands[K]["args"],
    onProgress?: (progress: VmProgress) => void,
  ): Promise<Commands[K]["result"]> {
    if (this.#isGone) throw new VmError("closed", "The VM was closed.");
    const id = this.#nextId++;
    const reply = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject, onProgress }));
    this.#hold();
    this.#post({ type: "command", id, name, args });
    return (await reply) as Commands[K]["result"];
  }

  /** The machine's counters, and how its thread's time was spent. */
  async stats(): Promise<Readonly<Record<string, number>>> {
    const counters = await this.command("stats", undefined);
    const { user, system } = process.cpuUsage();
    const processCpuMs = Math.round((user + system) / 1000);
    return { ...counters, ...this.#sampler?.timeByActivity(counters["busyMs"] ?? 0), processCpuMs };
  }

  sendInput(channel: string, bytes: Uint8Array): void {
    if (!this.#hasEnded) this.#post({ type: "input", channel, bytes });
  }

  sendSerial(bytes: Uint8Array): void {
    if (!this.#hasEnded) this.#post({ type: "serial", bytes });
  }

  /** The cost of output that nobody holds any more. */
  release(cost: number): void {
    if (cost === 0) return;
    const before = Atomics.sub(this.#cells, CELL.PENDING_OUTPUT, cost);
    if (before - cost <= MAX_PENDING_OUTPUT && Atomics.load(this.#cells, CELL.OUTPUT_BLOCKED)) this.#kick();
  }

  /** The save in progress ends soon, without a file. */
  abortSave(isAborted: boolean): void {
    Atomics.store(this.#cells, CELL.ABORT_SAVE, isAborted ? 1 : 0);
  }

  /** Whatever the machine does, its thread is gone when this resolves. */
  async terminate(): Promise<void> {
    this.#kicker?.stop();
    this.#isEnding = true;
    if (!this.#isGone) await this.#worker.terminate();
    await this.#exited;
  }

  /** Another one goes on with the guest, so nobody hears of this one's end. Resolves with its thread, if that is still there. */
  async leave(): Promise<IdleThread | undefined> {
    const hasLeft = await this.command("leave", undefined).then(
      () => true,
      () => false, // It may have ended by itself.
    );
    const translation = this.#translation?.isReusable ? this.#translation : undefined;
    if (translation && hasLeft) this.#translation = undefined;
    this.discard();
    if (!hasLeft || this.#isGone) return void (await Promise.all([this.terminate(), translation?.end()]));
    this.#worker.off("message", this.#receive).off("error", this.#failed).off("exit", this.#lose);
    this.#lose();
    await this.#exited;
    return { worker: this.#worker, translation };
  }

  /** Its end is nobody's business: a machine that was built for nothing. */
  discard(): void {
    this.#hasEnded = true;
    this.#isRunning = false;
    this.#sampler?.stop();
    this.#hold();
    void this.#translation?.end();
  }

  #post(message: ToMachine): void {
    if (this.#isGone) return;
    this.#port.postMessage(message);
    this.#kick();
  }

  #kick(): void {
    Atomics.add(this.#cells, CELL.KICK, 1);
    Atomics.notify(this.#cells, CELL.KICK);
    this.#kicker?.kick();
  }

  #hold(): void {
    if (this.#isGone) return;
    if (this.#isRunning || this.#isEnding || this.#pending.size > 0) this.#worker.ref();
    else this.#worker.unref();
  }

  readonly #receive = (message: FromMachine): void => {
    switch (message.type) {
      case "ready":
        if (message.error) this.#ready?.reject(errorFromPlain(message.error));
        else this.#ready?.resolve();
        this.memory = message.memory;
        if (message.activity) this.#sampler = new ActivitySampler(message.activity, this.#cells);
        break;
      case "output":
        this.#events.onOutput(message.parts);
        break;
      case "serial-taken":
        this.#events.onSerialTaken(message.bytes);
        break;
      case "state":
        this.#changeState(message.state);
        break;
      case "replay-end":
        this.#events.onReplayEnd?.(message.stateHash, message.retired);
        break;
      case "debug-stop":
        this.#changeState("paused");
        this.#events.onDebugStop?.(message.report);
        break;
      case "exit":
        this.#ended(message.exit);
        break;
      case "progress":
        this.#pending.get(message.id)?.onProgress?.(message.progress);
        break;
      case "reply": {
        const pending = this.#pending.get(message.id);
        this.#pending.delete(message.id);
        this.#hold();
        if ("error" in message) pending?.reject(errorFromPlain(message.error));
        else pending?.resolve(message.result);
        break;
      }
    }
  };

  #changeState(state: "running" | "paused"): void {
    this.#isRunning = state === "running";
    if (this.#isRunning) this.#sampler?.start();
    else this.#sampler?.stop();
    this.#hold();
    this.#events.onState(state);
  }

  #ended(exit: VmExit): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#isRunning = false;
    this.#sampler?.stop();
    this.#hold();
    void this.#translation?.end();
    this.#events.onExit(exit);
  }

  readonly #failed = (error: Error): void =>
    this.#lost(`its thread ended with an error: ${error.stack ?? error.message}`);

  /** The thread has ended, or has nothing to do with this machine any more. */
  readonly #lose = (): void => {
    this.#isGone = true;
    this.#kicker?.release();
    this.#port.close();
    this.#kept?.close();
    this.#lost("its thread ended");
    void Promise.resolve(this.#translation?.end()).then(this.#resolveExited);
  };

  /** The thread is gone, on our own wish or not. */
  #lost(why: string): void {
    if (this.#ready) {
      this.#hasEnded = true; // There is no VM yet that could be told.
      this.#ready.reject(new VmError("internal", `Twinmetal's machine could not be started: ${why}.`));
    }
    const error = new VmError("closed", "The VM was closed.");
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    const reason = `Twinmetal's machine was lost: ${why}.`;
    this.#ended({ kind: "crashed", reason, report: `${reason}\n` });
  }
}

/** Undefined where there is none any more. */
function wakened(idle: Worker | undefined, start: WorkerStart, transferList: Ports): Worker | undefined {
  if (idle === undefined || idle.threadId < 0) return undefined;
  idle.ref();
  idle.postMessage(start, transferList);
  return idle;
}

function newThread(workerData: WorkerStart, transferList: Ports): Worker {
  const worker = new Worker(workerUrl("vm-worker"), {
    workerData,
    transferList,
    execArgv: [],
    // What the machine's thread makes lives either for a slice or for long: more room is no quicker, and stays in memory.
    // Of old objects it has 25 MiB; how far V8 lets them grow between collections is a share of the limit.
    resourceLimits: { maxYoungGenerationSizeMb: 6, maxOldGenerationSizeMb: 256 },
    name: "twinmetal machine",
  });
  worker.on("error", () => {}); // Of an idle one it is nobody's business.
  return worker;
}
