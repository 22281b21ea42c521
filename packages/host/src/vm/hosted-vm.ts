/**
 * The VM object over a machine in its own thread (machine-worker.ts). State changes come from the machine and from
 * nowhere else; this side only mirrors them.
 *
 *   created --start--> running <--pause, resume--> paused        restored VMs begin as paused
 *                         |                           |
 *                         +-----> off, crashed <------+          `exit` fires once; `close` from any state
 *                                 migrated
 */
import { randomBytes } from "node:crypto";
import {
  CONSOLE_WINDOW_BYTES,
  decodePortReport,
  encodePortCommand,
  type MachineSpec,
  type MigrationObstacle,
  type MigrationResult,
  SERIAL_CHANNEL,
} from "@twinmetal/core";
import { AGENT_PORT_NAMES, AgentClient, AgentError, ConsolePorts } from "../agent/index.ts";
import {
  type MigrateVmOptions,
  type MigrationChoice,
  OutgoingMigration,
  type OutgoingVm,
} from "../migration/outgoing.ts";
import { execInGuest } from "./guest-exec.ts";
import { MachineWorker } from "./machine-worker.ts";
import { VmSerialPort } from "./serial-port.ts";
import type { ExecOptions, ExecResult, Vm, VmEvents, VmExit, VmProgress, VmState } from "./vm.ts";
import { VmError } from "./vm-error.ts";
import { type OutputPart, PART_COST, type VmRegisters, type WorkerChoices } from "./worker-protocol.ts";

const CONTROL_SUFFIX = ".ctl";
const DEFAULT_STOP_TIMEOUT_MS = 10_000;
/** A guest that is still starting does not hear the button. */
const PRESS_AGAIN_MS = 3000;
/** What a machine gets to end its recording before its thread is terminated. */
const KILL_GRACE_MS = 2000;
const AGENT_TIMEOUT_MS = 180_000;

export interface HostedVmOptions {
  readonly name: string;
  readonly start: WorkerChoices;
  readonly initialState: "created" | "paused";
  readonly signal?: AbortSignal;
  /** It comes from elsewhere, running. */
  readonly isIncoming?: boolean;
}

type Listener<K extends keyof VmEvents> = (...args: VmEvents[K]) => void;

export class HostedVm implements Vm {
  readonly name: string;
  readonly engine: "jit" | "kvm";
  readonly serial: VmSerialPort;
  readonly agent: AgentClient;
  readonly #worker: MachineWorker;
  readonly #ports: ConsolePorts;
  readonly #listeners: { readonly [K in keyof VmEvents]: Set<Listener<K>> } = { state: new Set(), exit: new Set() };
  readonly #ended: Promise<VmExit>;
  #resolveEnded!: (exit: VmExit) => void;
  #state: VmState;
  #exit: VmExit | undefined;
  #saving: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  readonly #needsFreshening: boolean;
  readonly #isIncoming: boolean;
  readonly #spec: MachineSpec;
  #migration: OutgoingMigration | undefined;
  #freshening: Promise<void> | undefined;

  private constructor(options: HostedVmOptions, worker: MachineWorker) {
    this.name = options.name;
    this.engine = options.start.engine;
    this.#worker = worker;
    this.#state = options.initialState;
    this.#isIncoming = options.isIncoming ?? false;
    this.#spec = options.start.spec;
    this.#needsFreshening = options.initialState === "paused" && !this.#isIncoming && this.#spec.clock === "wall";
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    const backend = {
      send: (bytes: Uint8Array) => worker.sendSerial(bytes),
      release: (cost: number) => worker.release(cost),
    };
    this.serial = new VmSerialPort(backend, this.#isIncoming);
    this.#ports = new ConsolePorts({
      windowBytes: CONSOLE_WINDOW_BYTES,
      sendData: (port, bytes) => worker.sendInput(port, bytes),
      sendCommand: (port, kind) => worker.sendInput(port + CONTROL_SUFFIX, encodePortCommand({ kind })),
    });
    this.agent = new AgentClient(this.#ports);
  }

  static async create(options: HostedVmOptions): Promise<HostedVm> {
    const vms: HostedVm[] = [];
    const worker = await MachineWorker.start(
      options.start,
      {
        onOutput: (parts) => vms[0]!.#output(parts),
        onSerialTaken: (bytes) => vms[0]!.serial.taken(bytes),
        onState: (state) => vms[0]!.#changeState(state),
        onExit: (exit) => vms[0]!.#onExit(exit),
      },
      options.signal,
    );
    const vm = new HostedVm(options, worker);
    vms.push(vm);
    return vm;
  }

  get state(): VmState {
    return this.#state;
  }

  on<K extends keyof VmEvents>(event: K, listener: Listener<K>): () => void {
    const own: Listener<K> = (...args) => listener(...args);
    this.#listeners[event].add(own);
    return () => void this.#listeners[event].delete(own);
  }

  /** For the side of the migration that fills it. */
  get worker(): MachineWorker {
    return this.#worker;
  }

  async start(): Promise<void> {
    if (this.#isIncoming && this.#state === "running") return;
    this.#require(["created", "paused"], "start");
    this.#requireDecided();
    await this.#worker.command("start", undefined);
  }

  async pause(): Promise<void> {
    this.#require(["running", "paused"], "pause");
    await this.#worker.command("pause", undefined);
  }

  async resume(): Promise<void> {
    this.#require(["running", "paused"], "resume");
    this.#requireDecided();
    await this.#worker.command("resume", undefined);
  }

  async reset(): Promise<void> {
    this.#require(["running", "paused"], "reset");
    await this.#worker.command("reset", undefined);
  }

  async stop(options: { timeoutMs?: number; force?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const { timeoutMs = DEFAULT_STOP_TIMEOUT_MS, force = true, signal } = options;
    signal?.throwIfAborted();
    if (this.#exit) return;
    if (this.#state === "created") return await this.kill();
    if (this.#state === "paused") await this.resume();
    for (const deadlineMs = performance.now() + timeoutMs; ; ) {
      await this.#worker.command("powerButton", undefined);
      const leftMs = Math.max(0, deadlineMs - performance.now());
      if (await endedWithin(this.#ended, Math.min(leftMs, PRESS_AGAIN_MS), signal)) return;
      if (leftMs <= PRESS_AGAIN_MS) break;
    }
    if (force) return await this.kill();
    throw new VmError(
      "timeout",
      `The guest did not turn itself off within ${timeoutMs / 1000} s of the power button. Wait longer, or end it with force.`,
    );
  }

  async kill(): Promise<void> {
    await this.#kill("ended by the host");
  }

  async save(
    path: string,
    options: { signal?: AbortSignal; onProgress?: (progress: VmProgress) => void } = {},
  ): Promise<void> {
    const { signal, onProgress } = options;
    const before = this.#saving;
    let done!: () => void;
    this.#saving = new Promise((resolve) => {
      done = resolve;
    });
    try {
      await before;
      signal?.throwIfAborted();
      this.#require(["running", "paused"], "be saved");
      await this.#save(path, signal, onProgress);
    } finally {
      done();
    }
  }

  async exec(command: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    await this.#connectAgent(options);
    return await execInGuest(this.agent, command, options);
  }

  async writeFile(
    path: string,
    data: Uint8Array,
    options: { mode?: number; signal?: AbortSignal } = {},
  ): Promise<void> {
    await this.#connectAgent(options);
    await this.agent.putFile(path, data, options);
  }

  async readFile(path: string, options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    await this.#connectAgent(options);
    return await this.agent.getFile(path, options);
  }

  async wait(options: { signal?: AbortSignal } = {}): Promise<VmExit> {
    const { signal } = options;
    if (!signal) return await this.#ended;
    await endedWithin(this.#ended, undefined, signal);
    return await this.#ended;
  }

  async stateHash(): Promise<string> {
    return await this.#worker.command("stateHash", undefined);
  }

  async stats(): Promise<Readonly<Record<string, number>>> {
    return await this.#worker.stats();
  }

  async registers(): Promise<VmRegisters> {
    return await this.#worker.command("registers", undefined);
  }

  async migrate(target: string, options: MigrateVmOptions = {}): Promise<MigrationResult> {
    this.#require(["running", "paused"], "migrate");
    this.#requireDecided();
    if (this.#migration) throw new VmError("bad-state", "The VM is being migrated already.");
    const migration = new OutgoingMigration(this.#outgoing(), target, options);
    this.#migration = migration;
    try {
      return await migration.run();
    } finally {
      if (migration.isUndecided && !this.#exit) this.#changeState("paused");
      else this.#migration = undefined;
    }
  }

  async canMigrate(target: string, options: MigrateVmOptions = {}): Promise<readonly MigrationObstacle[]> {
    this.#require(["running", "paused"], "migrate");
    return await new OutgoingMigration(this.#outgoing(), target, options).probe();
  }

  async decideMigration(choice: MigrationChoice): Promise<void> {
    const migration = this.#migration;
    if (!migration?.isUndecided) throw new VmError("bad-state", "No migration of this VM waits for a decision.");
    this.#migration = undefined;
    await migration.decide(choice);
    if (choice === "run" && migration.wasRunning) this.#changeState("running");
  }

  #outgoing(): OutgoingVm {
    const { agent, serial } = this;
    return { name: this.name, spec: this.#spec, worker: this.#worker, serial, hasSession: agent.isBusy };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#worker.abortSave(true);
    if (!this.#exit) await this.#kill("closed by the host");
    await this.#worker.terminate();
  }

  /** At once, but a machine that still answers may end its recording. */
  async #kill(reason: string): Promise<void> {
    if (this.#exit) return;
    this.#worker.abortSave(true);
    const asked = this.#worker.command("powerOff", { reason }).catch(() => {}); // Ended by itself in the meantime.
    if (await endedWithin(this.#ended, KILL_GRACE_MS)) {
      await asked;
      return;
    }
    this.#onExit({ kind: "off", reason });
    await this.#worker.terminate();
  }

  async #save(path: string, signal: AbortSignal | undefined, onProgress?: (p: VmProgress) => void): Promise<void> {
    const onAbort = (): void => this.#worker.abortSave(true);
    this.#worker.abortSave(false);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#worker.command("save", { path }, onProgress);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (!this.#closing) this.#worker.abortSave(false);
    }
  }

  async #connectAgent(options: { signal?: AbortSignal; agentTimeoutMs?: number }): Promise<void> {
    if (this.#exit) throw new VmError("guest-ended", `The guest has ended: ${this.#exit.reason}.`);
    this.#require(["running"], "run a command");
    const { signal, agentTimeoutMs = AGENT_TIMEOUT_MS } = options;
    signal?.throwIfAborted();
    const deadlineMs = performance.now() + agentTimeoutMs;
    for (let isConnected = false; !isConnected; ) {
      const timeoutMs = Math.max(1, deadlineMs - performance.now());
      isConnected = await this.agent.connect({ signal, timeoutMs }).then(
        () => true,
        (error: unknown) => {
          // A guest that starts again closes its end first.
          if (!(error instanceof AgentError) || error.code !== "AGENT_LOST" || this.#exit) throw error;
          return false;
        },
      );
    }
    this.#freshening ??= this.#freshen();
    await this.#freshening;
  }

  /** A restored guest's own clock stood still, and its random pool may have been restored before. */
  async #freshen(): Promise<void> {
    if (!this.#needsFreshening) return;
    try {
      const { calendarSeconds } = await this.stats();
      await this.agent.setClock(calendarSeconds!);
      await this.agent.addEntropy(randomBytes(64));
    } catch (error) {
      if (!(error instanceof AgentError)) throw error; // A guest that cannot is as it was.
    }
  }

  #output(parts: readonly OutputPart[]): void {
    let freeCost = 0;
    for (const { channel, bytes } of parts) {
      const cost = bytes.length + PART_COST;
      if (channel === SERIAL_CHANNEL) {
        this.serial.receive(bytes, cost);
        continue;
      }
      freeCost += cost;
      if (AGENT_PORT_NAMES.includes(channel)) this.#ports.receiveData(channel, bytes);
      else this.#reports(channel.slice(0, -CONTROL_SUFFIX.length), bytes);
    }
    this.#worker.release(freeCost);
  }

  /** Reports of one port, which may have been joined. */
  #reports(port: string, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const report = decodePortReport(bytes.subarray(at));
      if (!report) return;
      at += "bytes" in report ? 5 : 1;
      this.#ports.receiveReport(port, report);
    }
  }

  #changeState(state: VmState): void {
    if (this.#exit || state === this.#state) return;
    this.#state = state;
    this.#emit("state", state);
  }

  #onExit(exit: VmExit): void {
    if (this.#exit) return;
    this.#changeState(exit.kind);
    this.#exit = exit;
    this.agent.shut(`The guest has ended: ${exit.reason}.`);
    this.serial.end(exit.reason);
    this.#resolveEnded(exit);
    this.#emit("exit", exit);
  }

  #emit<K extends keyof VmEvents>(event: K, ...args: VmEvents[K]): void {
    for (const listener of [...this.#listeners[event]]) listener(...args);
  }

  #requireDecided(): void {
    if (!this.#migration?.isUndecided) return;
    throw new VmError(
      "bad-state",
      "The VM may run at the target of its migration, so it does not go on here: decide the migration first.",
    );
  }

  #require(states: readonly VmState[], what: string): void {
    if (states.includes(this.#state)) return;
    throw new VmError(
      "bad-state",
      `The VM is ${this.#state} and cannot ${what}; it would have to be ${states.join(" or ")}.`,
    );
  }
}

/** Whether `ended` settles in this time. Leaves no timer behind. */
async function endedWithin(
  ended: Promise<unknown>,
  timeoutMs: number | undefined,
  signal?: AbortSignal,
): Promise<boolean> {
  signal?.throwIfAborted();
  let timer: NodeJS.Timeout | undefined;
  let onAbort = (): void => {};
  const others = new Promise<boolean>((resolve, reject) => {
    if (timeoutMs !== undefined) timer = setTimeout(() => resolve(false), timeoutMs);
    onAbort = () => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([ended.then(() => true), others]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
