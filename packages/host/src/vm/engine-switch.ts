/**
 * A VM goes on in another engine of this process. The other machine is built beside the running one, over the same
 * memory; then the guest stands still, its state goes over without RAM, and it goes on there. Console, agent and VM
 * object stay what they were: what is typed meanwhile waits.
 *
 *   prepare --> stand still --state--> adopt --> go on there --> the old thread leaves, and waits to be gone back to
 *      |             |                   |
 *      +-------------+-------------------+--> whatever fails: the guest goes on where it was
 *
 * Memory that cannot be shared (between two jit engines, which keep their tables below it) is copied while the guest
 * stands still.
 */
import type { MigrationObstacle } from "@twinmetal/core";
import type { EngineKind } from "../engine/engine-explanation.ts";
import type { KvmProbe } from "../kvm/probe.ts";
import { formDifferences } from "../migration/form-differences.ts";
import { engineObstacles } from "./engine-obstacles.ts";
import { type IdleThread, type MachineEvents, MachineWorker } from "./machine-worker.ts";
import { goesOnInParallel } from "./parallel-choice.ts";
import { defaultSliceNs } from "./slice-time.ts";
import { plainError, VmError } from "./vm-error.ts";
import { type MachineDescription, monotonicUs, type StoodStill, type WorkerChoices } from "./worker-protocol.ts";

export interface EngineSwitchOptions {
  /** Compares the hashes of the whole state on both sides while the guest stands still, which takes seconds. Default: false. */
  readonly isVerified?: boolean;
  /** Gives it up, until the guest stands still. */
  readonly signal?: AbortSignal;
}

export interface EngineSwitchResult {
  readonly from: EngineKind;
  readonly to: EngineKind;
  /** How long the guest stood still. */
  readonly pausedMs: number;
  /** The making of the other machine included, beside which the guest runs. */
  readonly totalMs: number;
  /** Of RAM, copied while the guest stood still: 0 where both engines share it. */
  readonly movedPages: number;
  /** All that went over while the guest stood still: state, and pages. */
  readonly movedBytes: number;
  /** Of the state, on both sides; only where asked for. */
  readonly stateHash?: string;
}

export interface SwitchingVm {
  /** What the VM's thread was started with. */
  readonly start: WorkerChoices;
  readonly worker: MachineWorker;
  readonly events: MachineEvents;
  /** The other machine's, if there is one. */
  readonly takeIdle?: (() => Promise<IdleThread | undefined>) | undefined;
  readonly probe?: (cpuFeatures: readonly string[]) => KvmProbe;
}

/** A guest whose output nobody takes cannot be stopped at once. */
const STOP_MS = 10_000;
const PAGE_BYTES = 4096;

export class EngineSwitch {
  readonly #vm: SwitchingVm;
  readonly #to: EngineKind;
  readonly #startMs = performance.now();
  #source: MachineDescription | undefined;
  #isShared = false;
  #isLost = false;
  #target: { readonly worker: MachineWorker; readonly description: MachineDescription } | undefined;

  constructor(vm: SwitchingVm, to: EngineKind) {
    this.#vm = vm;
    this.#to = to;
  }

  /** Builds the other machine, or tells what speaks against it. The guest runs on. */
  async prepare(signal?: AbortSignal): Promise<readonly MigrationObstacle[]> {
    const { start, worker, probe } = this.#vm;
    const description = await worker.command("describe", undefined);
    const { isRecording } = description;
    const obstacles = engineObstacles({
      from: start.engine,
      to: this.#to,
      spec: start.spec,
      isRecording,
      ...(probe && { probe }),
    });
    if (obstacles.length > 0) return obstacles;
    return await this.build(description, signal);
  }

  /** As `prepare`, without a look at what speaks against it. */
  async build(description?: MachineDescription, signal?: AbortSignal): Promise<readonly MigrationObstacle[]> {
    const { worker, events, takeIdle } = this.#vm;
    const source = description ?? (await worker.command("describe", undefined));
    this.#isShared = source.engine !== this.#to && source.holder !== undefined;
    let built: MachineWorker;
    const idle = await takeIdle?.();
    try {
      built = await MachineWorker.start(this.#choices(source), events, signal, worker, idle);
    } catch (error) {
      signal?.throwIfAborted();
      const { code, message } = error as VmError;
      const obstacle = OBSTACLES[code];
      if (obstacle === undefined) throw error;
      return [{ code: obstacle, message }];
    }
    this.#source = source;
    this.#target = { worker: built, description: await built.command("describe", undefined) };
    const obstacles = [
      ...formDifferences(source.forms, this.#target.description.forms),
      ...(source.ram && this.#target.description.ram ? [] : [NOT_SHARED]),
    ];
    if (obstacles.length > 0) await this.discard();
    return obstacles;
  }

  /**
   * The guest stands still for it. Resolves when the guest runs there, with the thread that it runs in; rejects when it
   * goes on where it was. Precondition: `prepare` has found nothing; what is typed is kept back by the caller.
   */
  async carryOut(isVerified = false): Promise<{ readonly worker: MachineWorker; readonly result: EngineSwitchResult }> {
    const from = this.#vm.worker;
    const { worker: to } = this.#target!;
    let stood: StoodStill;
    try {
      stood = await withinTime(from.command("standStill", undefined));
    } catch (error) {
      // A machine that stops later than that goes on at once.
      void from.command("goOn", undefined).catch(() => {});
      throw error;
    }
    try {
      const movedBytes = this.#copyRam();
      const stateHash = isVerified ? await from.command("stateHash", undefined) : undefined;
      const adopted = to.command("adopt", { sections: stood.sections, waiting: stood.waiting });
      if (stateHash !== undefined) await this.#verify(adopted, stateHash);
      const stoodUs = monotonicUs() - stood.sinceUs;
      const goesOn = to.command("goOnHere", { stoodUs, isPaused: stood.isPaused });
      await Promise.all([adopted, goesOn]);
      const nowUs = monotonicUs();
      for (const { channel, bytes } of stood.inputs) to.sendInput(channel, bytes);
      if (stood.input.length > 0) to.sendSerial(stood.input);
      const result: EngineSwitchResult = {
        from: this.#vm.start.engine,
        to: this.#to,
        pausedMs: (nowUs - stood.sinceUs) / 1000,
        totalMs: performance.now() - this.#startMs,
        movedPages: movedBytes / PAGE_BYTES,
        movedBytes: movedBytes + stood.sections.length,
        ...(stateHash !== undefined && { stateHash }),
      };
      this.#target = undefined;
      return { worker: to, result };
    } catch (error) {
      if (to.isGone && this.#isShared) {
        this.#isLost = true;
        throw new VmError(
          "internal",
          `The guest's machine in the ${this.#to} engine was lost: ${plainError(error).message}`,
        );
      }
      await from.command("goOn", undefined);
      throw error;
    }
  }

  /** The other machine may have run, and is gone: there is no guest any more. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Nothing comes of it. */
  async discard(): Promise<void> {
    const target = this.#target;
    this.#target = undefined;
    target?.worker.discard();
    await target?.worker.terminate();
  }

  /** Where it is not the same memory: how many bytes. */
  #copyRam(): number {
    if (this.#isShared) return 0;
    const from = this.#source!.ram!;
    this.#target!.description.ram!.set(from);
    return from.length;
  }

  async #verify(adopted: Promise<unknown>, expected: string): Promise<void> {
    await adopted;
    const hash = await this.#target!.worker.command("stateHash", undefined);
    if (hash === expected) return;
    throw new VmError(
      "internal",
      `The state in the ${this.#to} engine is not the one that the guest had in the other (${hash.slice(0, 16)}, not ${expected.slice(0, 16)}). The guest goes on where it was.`,
    );
  }

  #choices({ holder }: MachineDescription): WorkerChoices {
    const { start } = this.#vm;
    const isDefault = start.sliceNs === defaultSliceNs(start.engine);
    return {
      ...start,
      engine: this.#to,
      isParallel: goesOnInParallel(start, this.#to),
      holder: this.#isShared ? holder : undefined,
      sliceNs: isDefault ? defaultSliceNs(this.#to) : start.sliceNs,
      statePath: undefined,
      advanceCalendarSeconds: 0,
      recordPath: undefined,
      replayPath: undefined,
    };
  }
}

const OBSTACLES: Readonly<Record<string, MigrationObstacle["code"]>> = {
  "memory-unavailable": "memory",
  "kvm-unavailable": "engine",
};

const NOT_SHARED: MigrationObstacle = {
  code: "memory",
  message: "The VM's memory is not shared between threads, so no other engine can reach it.",
};

async function withinTime<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = `The VM's machine has not answered for ${STOP_MS / 1000} s. Is its output taken? It goes on where it was.`;
      reject(new VmError("timeout", message));
    }, STOP_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
    promise.catch(() => {}); // Where the time was up.
  }
}
