/**
 * The VM object over a machine in its own thread (current-machine.ts). State changes come from the machine and from
 * nowhere else; this side only mirrors them.
 *
 *   created --start--> running <--pause, resume--> paused        restored VMs begin as paused
 *                         |                           |
 *                         +-----> off, crashed <------+          `exit` fires once; `close` from any state
 *                                 migrated
 */
import {
  CONSOLE_WINDOW_BYTES,
  encodePortCommand,
  engineRamOf,
  type KeyboardLayout,
  type MachineSpec,
  type MigrationObstacle,
  type MigrationResult,
  type RebootAction,
} from "@twinmetal/core";
import {
  type AgentCall,
  AgentClient,
  AgentOfVm,
  CONTROL_PORT,
  ConsolePorts,
  QEMU_AGENT_PORT,
  QemuAgentClient,
} from "../agent/index.ts";
import { changeDisc, checkBays, type DiscChanging } from "../disk/change-disc.ts";
import { DisksOfVm } from "../disk/disk-limits.ts";
import type { DiskProblem } from "../disk/disk-protocol.ts";
import type { DiskThread } from "../disk/disk-thread.ts";
import type { VariableStore } from "../firmware/variable-store.ts";
import type { MigrateVmOptions, MigrationChoice, OutgoingVm } from "../migration/outgoing.ts";
import type { NetworkThread } from "../network/network-thread.ts";
import { NetworkOfVm } from "../network/vm-network.ts";
import { readHostMemory } from "../resources/memory-driver.ts";
import type { HardLimits, VmLimits } from "../resources/vm-limits.ts";
import { ResourcesOfVm } from "../resources/vm-resources.ts";
import type { ShareThread } from "../share/share-thread.ts";
import { SocketBridge } from "../vsock/socket-bridge.ts";
import { SocketsOfVm } from "../vsock/vm-sockets.ts";
import { AgentConnection } from "./agent-connection.ts";
import { CurrentMachine, type CurrentMachineEvents } from "./current-machine.ts";
import { endedWithin } from "./ended-within.ts";
import type { EngineSwitchOptions, EngineSwitchResult } from "./engine-switch.ts";
import { execInGuest } from "./guest-exec.ts";
import { CONTROL_SUFFIX, MachineOutput } from "./machine-output.ts";
import { VmSerialPort } from "./serial-port.ts";
import type { ExecOptions, ExecResult, Vm, VmEvents, VmExit, VmState } from "./vm.ts";
import { CpusOfVm } from "./vm-cpus.ts";
import { HostedDebugger } from "./vm-debugger.ts";
import { VmError } from "./vm-error.ts";
import { VmListeners } from "./vm-listeners.ts";
import { MemoryOfVm } from "./vm-memory.ts";
import { MigrationsOfVm } from "./vm-migrations.ts";
import { VmScreen } from "./vm-screen.ts";
import type { VmRegisters, WorkerChoices } from "./worker-protocol.ts";

const DEFAULT_STOP_TIMEOUT_MS = 10_000;
/** A guest that is still starting does not hear the button. */
const PRESS_AGAIN_MS = 3000;
/** What a machine gets to end its recording before its thread is terminated. */
const KILL_GRACE_MS = 2000;

export interface HostedVmOptions {
  readonly name: string;
  readonly start: WorkerChoices;
  readonly initialState: "created" | "paused";
  readonly startsPaused?: boolean | undefined;
  readonly signal?: AbortSignal;
  readonly limits?: VmLimits | undefined;
  readonly isBalloonAutomatic?: boolean | undefined;
  /** It comes from elsewhere, running. */
  readonly isIncoming?: boolean;
  /** Which has its disks' images open, and is closed with the VM; `start` names its ring. */
  readonly disks?: DiskThread | undefined;
  /** Which carries the frames of its network cards, and is closed with the VM; `start` names its rings. */
  readonly network?: NetworkThread | undefined;
  /** Where programs of the host reach its sockets. Default: nowhere. */
  readonly vsockPath?: string | undefined;
  /** Which has its shared folders, and is closed with the VM; `start` names its ring. */
  readonly shares?: ShareThread | undefined;
  /** Where what its firmware's flash chip holds is kept, and which is closed with the VM. Default: nowhere. */
  readonly variables?: VariableStore | undefined;
}

export class HostedVm implements Vm {
  readonly name: string;
  readonly serial: VmSerialPort;
  readonly agent: AgentOfVm;
  readonly screen: VmScreen;
  readonly debug: HostedDebugger;
  readonly memory: MemoryOfVm;
  readonly cpus: CpusOfVm;
  readonly disks: DisksOfVm;
  readonly resources: ResourcesOfVm;
  readonly sockets: SocketsOfVm;
  readonly network: NetworkOfVm;
  #bridge: SocketBridge | undefined;
  /** The guest comes from elsewhere, and does not know yet that its connections are gone. */
  #hasOldConnections: boolean;
  readonly #machine: CurrentMachine;
  readonly #agentConnection: AgentConnection;
  readonly #output: MachineOutput;
  readonly #listeners = new VmListeners();
  readonly #ended: Promise<VmExit>;
  #resolveEnded!: (exit: VmExit) => void;
  #state: VmState;
  /** Its start leaves it paused. */
  #isHeld: boolean;
  #exit: VmExit | undefined;
  readonly #variables: VariableStore | undefined;
  readonly #disks: DiskThread | undefined;
  readonly #network: NetworkThread | undefined;
  readonly #shares: ShareThread | undefined;
  #isBlocked = false;
  #saving: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  readonly #isIncoming: boolean;
  readonly #spec: MachineSpec;
  readonly #migrations: MigrationsOfVm;

  private constructor(options: HostedVmOptions, machine: CurrentMachine) {
    this.name = options.name;
    this.#machine = machine;
    this.#state = options.initialState;
    this.#isHeld = options.startsPaused ?? false;
    this.#isIncoming = options.isIncoming ?? false;
    this.#spec = options.start.spec;
    this.#variables = options.variables;
    this.#disks = options.disks;
    this.disks = new DisksOfVm(options.disks, this.#spec);
    this.#network = options.network;
    this.network = new NetworkOfVm({
      cards: options.network,
      spec: this.#spec,
      tray: (...action) => this.#changing().tray(...action),
      interfaces: (call) => this.#agentConnection.call(call, () => this.agent.interfaces(call)),
    });
    this.#shares = options.shares;
    this.#migrations = new MigrationsOfVm({
      source: () => this.#outgoing(),
      hasEnded: () => this.#exit !== undefined,
      becomes: (state) => this.#changeState(state),
    });
    if (options.network) options.network.onProblem = (problem) => this.#listeners.emit("network", problem);
    if (options.disks) options.disks.onProblem = (problem) => this.#onDiskProblem(problem);
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    const backend = {
      send: (bytes: Uint8Array) => this.#machine.sendSerial(bytes),
      release: (cost: number) => this.#machine.release(cost),
    };
    this.serial = new VmSerialPort(backend, this.#isIncoming);
    const ports = new ConsolePorts({
      windowBytes: CONSOLE_WINDOW_BYTES,
      sendData: (port, bytes) => this.#machine.sendInput(port, bytes),
      sendCommand: (port, kind) => this.#machine.sendInput(port + CONTROL_SUFFIX, encodePortCommand({ kind })),
    });
    const names = new Set(portNames(this.#spec));
    this.agent = new AgentOfVm([
      ...(names.has(CONTROL_PORT) ? [new AgentClient(ports)] : []),
      ...(names.has(QEMU_AGENT_PORT) ? [new QemuAgentClient(ports.port(QEMU_AGENT_PORT))] : []),
    ]);
    this.#agentConnection = new AgentConnection({
      agent: this.agent,
      needsFreshening: options.initialState === "paused" && !this.#isIncoming && this.#spec.clock === "wall",
      requireRunning: () => {
        if (this.#exit) throw new VmError("guest-ended", `The guest has ended: ${this.#exit.reason}.`);
        this.#require(["running"], "ask its agent");
      },
      calendarSeconds: async () => (await this.stats())["calendarSeconds"]!,
    });
    this.debug = new HostedDebugger({
      command: (command, args) => this.#machine.command(command, args),
      resume: () => this.resume(),
      ended: () => this.#exit?.reason,
      stopped: (stop) => this.#listeners.emit("debug", stop),
    });
    this.#hasOldConnections = options.initialState === "paused" || this.#isIncoming;
    const vsock = this.#spec.devices.find((device) => device.kind === "virtio-vsock");
    this.sockets = new SocketsOfVm({
      guestCid: vsock?.guestCid,
      send: (channel, bytes) => this.#machine.sendInput(channel, bytes),
      ended: () => this.#exit?.reason,
    });
    this.cpus = new CpusOfVm({
      atStart: this.#spec.cpusAtStart ?? this.#spec.cpus,
      max: this.#spec.cpus,
      send: (channel, bytes) => this.#machine.sendInput(channel, bytes),
      ended: () => this.#exit?.reason,
    });
    this.memory = new MemoryOfVm({
      hasBalloon: this.#spec.devices.some(({ kind }) => kind === "virtio-balloon"),
      memoryBytes: this.#spec.memoryBytes,
      maxBytes: engineRamOf(this.#spec).memoryBytes,
      send: (channel, bytes) => this.#machine.sendInput(channel, bytes),
      isRunning: () => this.#state === "running",
      hostAvailableBytes: () => readHostMemory()?.availableBytes ?? Number.POSITIVE_INFINITY,
      ended: () => this.#exit?.reason,
    });
    this.resources = new ResourcesOfVm({
      limit: async (limits) => {
        if (!this.#exit) await this.#machine.limit(limits);
      },
      end: (reason, limit) => void this.#kill(reason, limit),
      vm: this,
    });
    this.screen = new VmScreen({
      hasScreen: this.#spec.vga !== undefined,
      image: () => this.#machine.command("screen", undefined),
      text: () => this.#machine.command("screenText", undefined),
      send: (channel, bytes) => this.#machine.sendInput(channel, bytes),
      ended: () => this.#exit?.reason,
    });
    this.#output = new MachineOutput({
      ...{ serial: this.serial, ports, portNames: names, sockets: this.sockets, memory: this.memory, cpus: this.cpus },
      variables: options.variables,
      onWatchdog: (action) => {
        // An error: it has ended, or stands still for another reason.
        if (action === "pause" && this.#state === "running") this.pause().catch(() => {});
        this.#listeners.emit("watchdog", action);
      },
      // It would start otherwise than it was set up.
      onLostVariables: (reason) => void this.#kill(reason),
      release: (cost) => this.#machine.release(cost),
    });
  }

  static async create(options: HostedVmOptions): Promise<HostedVm> {
    const vms: HostedVm[] = [];
    const events = HostedVm.#events(() => vms[0]!);
    const machine = await CurrentMachine.start(options.start, events, options, options.signal);
    const vm = new HostedVm(options, machine);
    vms.push(vm);
    const { vsockPath, limits, isBalloonAutomatic } = options;
    try {
      if (vsockPath !== undefined) vm.#bridge = await SocketBridge.open(vsockPath, vm.sockets);
      if (limits) await vm.resources.set(limits);
      if (isBalloonAutomatic) await vm.memory.balloon("auto");
    } catch (error) {
      await vm.close();
      throw error;
    }
    return vm;
  }

  get engine(): "jit" | "kvm" {
    return this.#machine.engine;
  }

  /** What a machine of this VM tells. */
  static #events(vm: () => HostedVm): CurrentMachineEvents {
    return {
      onOutput: (parts) => vm().#output.take(parts),
      onSerialTaken: (bytes) => vm().serial.taken(bytes),
      onState: (state) => vm().#changeState(state),
      onDebugStop: (report) => vm().debug.onStop(report),
      onExit: (exit) => vm().#onExit(exit),
      onStandStill: () => vm().serial.cork(),
      onMoved: () => {
        vm()
          .debug.moved()
          .catch(() => {}); // It may have ended meanwhile.
      },
      onGoOn: () => vm().serial.uncork(),
    };
  }

  get state(): VmState {
    return this.#state;
  }

  on<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): () => void {
    return this.#listeners.on(event, listener);
  }

  /** For the side of the migration that fills it. */
  get machine(): CurrentMachine {
    return this.#machine;
  }

  async start(): Promise<void> {
    if (this.#isIncoming && this.#state === "running") return;
    this.#require(["created", "paused"], "start");
    this.#migrations.requireDecided();
    await this.#unblock();
    const isHeld = this.#isHeld;
    this.#isHeld = false;
    if (isHeld && this.#state === "paused") this.#listeners.emit("state", "paused");
    else await this.#machine.command(isHeld ? "startPaused" : "start", undefined);
  }

  async pause(): Promise<void> {
    this.#require(["running", "paused"], "pause");
    await this.#machine.command("pause", undefined);
  }

  async resume(): Promise<void> {
    this.#require(["running", "paused"], "resume");
    this.#migrations.requireDecided();
    await this.#unblock();
    await this.#machine.command("resume", undefined);
  }

  async reset(): Promise<void> {
    this.#require(["running", "paused"], "reset");
    await this.#machine.command("reset", undefined);
    this.agent.restarts();
  }

  async setOnReboot(action: RebootAction): Promise<void> {
    this.#require(["created", "running", "paused"], "be told what a reboot does");
    await this.#machine.setOnReboot(action);
  }

  async stop(options: { timeoutMs?: number; force?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const { timeoutMs = DEFAULT_STOP_TIMEOUT_MS, force = true, signal } = options;
    signal?.throwIfAborted();
    if (this.#exit) return;
    if (this.#state === "created") return await this.kill();
    if (this.#state === "paused") await this.resume();
    for (const deadlineMs = performance.now() + timeoutMs; ; ) {
      await this.#machine.command("powerButton", undefined);
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

  async pressSleepButton(): Promise<void> {
    this.#require(["running", "paused"], "be put to sleep");
    await this.#machine.command("sleepButton", undefined);
  }

  async kill(): Promise<void> {
    await this.#kill("ended by the host");
  }

  async save(...[file, { signal, onProgress } = {}]: Parameters<Vm["save"]>): Promise<void> {
    const before = this.#saving;
    let done!: () => void;
    this.#saving = new Promise((resolve) => {
      done = resolve;
    });
    try {
      await before;
      signal?.throwIfAborted();
      this.#require(["running", "paused"], "be saved");
      await this.#machine.save(file, signal, onProgress);
    } finally {
      done();
    }
  }

  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    return this.network.fetch(input, init);
  }

  async exec(command: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return await this.#agentConnection.call(options, () => execInGuest(this.agent, command, options));
  }

  async writeFile(
    path: string,
    data: Uint8Array,
    options: { mode?: number; signal?: AbortSignal } = {},
  ): Promise<void> {
    await this.#agentConnection.call(options, () => this.agent.putFile(path, data, options));
  }

  async readFile(path: string, options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    return await this.#agentConnection.call(options, () => this.agent.getFile(path, options));
  }

  async freeze(options: AgentCall = {}): Promise<number> {
    return await this.#agentConnection.call(options, () => this.agent.freeze(options));
  }

  async thaw(options: AgentCall = {}): Promise<number> {
    return await this.#agentConnection.call(options, () => this.agent.thaw(options));
  }

  async setTime(unixMs: number = Date.now(), options: AgentCall = {}): Promise<void> {
    await this.#agentConnection.call(options, () => this.agent.setTime(unixMs, options));
  }

  async shutdown(options: AgentCall & { isReboot?: boolean } = {}): Promise<void> {
    const { agent } = this;
    await this.#agentConnection.call(options, () =>
      options.isReboot ? agent.reboot(options) : agent.powerOff(options),
    );
  }

  async wait(options: { signal?: AbortSignal } = {}): Promise<VmExit> {
    const { signal } = options;
    if (!signal) return await this.#ended;
    await endedWithin(this.#ended, undefined, signal);
    return await this.#ended;
  }

  async stateHash(): Promise<string> {
    return await this.#machine.command("stateHash", undefined);
  }

  async stats(): Promise<Readonly<Record<string, number>>> {
    return await this.#machine.stats();
  }

  async registers(): Promise<VmRegisters> {
    return await this.#machine.command("registers", undefined);
  }

  async screenshot(): Promise<Uint8Array> {
    return await this.screen.png();
  }

  async type(text: string, options: { layout?: KeyboardLayout } = {}): Promise<void> {
    this.#require(["running", "paused"], "be typed at");
    this.screen.type(text, options.layout);
  }

  async press(keys: string): Promise<void> {
    this.#require(["running", "paused"], "be typed at");
    this.screen.press(keys);
  }

  /** Of one that was restored, or has come: the images that were named are those in its bays. Rejects with VmError. */
  async checkBays(): Promise<void> {
    await checkBays(this.#changing());
  }

  async eject(disk: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    this.#require(["running", "paused"], "give a disc back");
    await changeDisc(this.#changing(), disk, { force });
  }

  async insert(disk: string, path: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    this.#require(["running", "paused"], "take a disc");
    await changeDisc(this.#changing(), disk, { force, path });
  }

  #changing(): DiscChanging {
    return {
      spec: this.#spec,
      disks: this.#disks,
      tray: (disk, action) => this.#machine.command("tray", { disk, ...(action && { action }) }),
    };
  }

  async migrate(target: string, options: MigrateVmOptions = {}): Promise<MigrationResult> {
    this.#require(["running", "paused"], "migrate");
    if (this.#machine.isChanging)
      throw new VmError("bad-state", "The VM is changing its engine; migrate it afterwards.");
    return await this.#migrations.run(target, options);
  }

  async canMigrate(target: string, options: MigrateVmOptions = {}): Promise<readonly MigrationObstacle[]> {
    this.#require(["running", "paused"], "migrate");
    if (target === "jit" || target === "kvm") return await this.#machine.canSwitch(target, options.signal);
    return await this.#migrations.probe(target, options);
  }

  async switchEngine(engine: "jit" | "kvm", options: EngineSwitchOptions = {}): Promise<EngineSwitchResult> {
    this.#require(["running", "paused"], "change its engine");
    options.signal?.throwIfAborted();
    this.#migrations.requireMovable();
    return await this.#machine.switchEngine(engine, options);
  }

  /** Another machine of any engine, whatever speaks against it: for tests on hosts with one engine. */
  async renewMachine(engine: "jit" | "kvm", options: EngineSwitchOptions = {}): Promise<EngineSwitchResult> {
    this.#migrations.requireMovable();
    return await this.#machine.renew(engine, options);
  }

  async record(path: string, options: { readonly state: string }): Promise<void> {
    this.#require(["running", "paused"], "be recorded");
    await this.#machine.command("record", { path, statePath: options.state });
  }

  #onDiskProblem(problem: DiskProblem): void {
    if (this.#exit) return;
    if (problem.isBlocked) {
      if (this.#isBlocked) return; // One request of many that find no space.
      this.#isBlocked = true;
      void this.#machine.command("pause", undefined).catch(() => {}); // It has ended, or goes on elsewhere.
    }
    this.#listeners.emit("disk", problem);
  }

  /** What found no space is tried again; if there is still none, the VM is paused again. */
  async #unblock(): Promise<void> {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    await this.#disks?.retry();
  }

  async decideMigration(choice: MigrationChoice): Promise<void> {
    await this.#migrations.decide(choice);
  }

  #outgoing(): OutgoingVm {
    const { agent, serial, name } = this;
    const [spec, machine, disks, shares] = [this.#spec, this.#machine, this.#disks, this.#shares];
    return { name, spec, machine, serial, disks, shares, hasSession: agent.isBusy };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#machine.beginClose();
    if (!this.#exit) await this.#kill("closed by the host");
    await this.#machine.close();
    await this.#bridge?.close();
    await this.#variables?.close();
    await this.#network?.close();
    await this.#shares?.close();
    await this.#disks?.close();
  }

  /** At once, but a machine that still answers may end its recording. */
  async #kill(reason: string, limit?: keyof HardLimits): Promise<void> {
    if (this.#exit) return;
    this.#machine.abortSave();
    await this.#machine.settled();
    const asked = this.#machine.command("powerOff", { reason, ...(limit && { limit }) }).catch(() => {}); // Ended by itself in the meantime.
    if (await endedWithin(this.#ended, KILL_GRACE_MS)) {
      await asked;
      return;
    }
    this.#onExit({ kind: "off", reason, ...(limit && { limit }) });
    await this.#machine.terminate();
  }

  #changeState(state: VmState): void {
    if (this.#exit || state === this.#state) return;
    this.#state = state;
    this.resources.onState(state);
    if (state === "running" && this.#hasOldConnections) {
      this.#hasOldConnections = false;
      this.sockets.tellReset();
      this.memory.askSize();
      this.cpus.askCount();
    }
    this.#listeners.emit("state", state);
  }

  #onExit(exit: VmExit): void {
    if (this.#exit) return;
    this.#changeState(exit.kind);
    this.#exit = exit;
    this.agent.shut(`The guest has ended: ${exit.reason}.`);
    this.serial.end(exit.reason);
    this.debug.onEnd(exit.reason);
    this.memory.look();
    this.cpus.look();
    this.sockets.end(exit.reason);
    // Whoever calls `close` hears of an image that could not be closed.
    void this.#network?.close().catch(() => {});
    void this.#disks?.close().catch(() => {});
    void this.#shares?.close().catch(() => {});
    this.#resolveEnded(exit);
    this.#listeners.emit("exit", exit);
  }

  #require(states: readonly VmState[], what: string): void {
    if (states.includes(this.#state)) return;
    throw new VmError(
      "bad-state",
      `The VM is ${this.#state} and cannot ${what}; it would have to be ${states.join(" or ")}.`,
    );
  }
}

function portNames({ devices }: MachineSpec): string[] {
  return devices.flatMap((device) => (device.kind === "virtio-console" ? device.ports.map(({ name }) => name) : []));
}
