/**
 * The loop around a machine in its own thread: slices while it runs, sleep when it is idle, paused, over, or when the
 * other side is behind with its output. Ends when another thread goes on with the guest; else the thread is terminated
 * from outside.
 *
 * Messages are read at slice boundaries (worker-protocol.ts). A sleep is a wait for a change of CELL.KICK since before
 * the messages were last read, so that none is missed.
 */
import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import {
  type EventRecorder,
  type Machine,
  MachineError,
  type RebootAction,
  ReplayError,
  renderScreen,
  SERIAL_CHANNEL,
  type SliceResult,
  type StateSink,
  saveMachine,
  screenText,
  toHex,
  trayBytes,
  trayChannel,
  Uart16550,
  Vga,
} from "@twinmetal/core";
import { SPIN_MS } from "../disk/block-ring.ts";
import type { CpuPacing } from "../resources/cpu-pacing.ts";
import { formatCrashReport } from "./crash-report.ts";
import { type DebugReport, MachineDebugger } from "./machine-debugger.ts";
import { MachineMigration } from "./machine-migration.ts";
import { joined, processorStats, registersOf, trayOf } from "./machine-reports.ts";
import { OutputBatch } from "./output-batch.ts";
import { fillStateFile, saveStateFile, startRecording } from "./state-files.ts";
import type { OpenStateFile, VmExit } from "./vm.ts";
import { plainError, VmError } from "./vm-error.ts";
import {
  CELL,
  type CommandName,
  type Commands,
  type FromMachine,
  type HandedOver,
  MAX_PENDING_OUTPUT,
  type OutputPart,
  type StoodStill,
  type ToMachine,
} from "./worker-protocol.ts";

/** Output is sent when the machine sleeps, when this much is there, or when it is this old. */
const FLUSH_BYTES = 32 * 1024;
const FLUSH_AFTER_MS = 2;
/** In the middle of a slice the machine stops at this, until the other side has caught up. */
const MAX_PENDING_IN_SLICE = 16 * MAX_PENDING_OUTPUT;
/** A longer sleep than a timer can be set to is as good as for ever. */
const MAX_WAIT_MS = 2 ** 30;
const RECORD_FLUSH_MS = 1000;
/** What moves a machine on, which one that is handed over does not. */
const MOVES: ReadonlySet<CommandName> = new Set([
  "start",
  "startPaused",
  "step",
  "setVcpuState",
  "writeMemory",
  "pause",
  "resume",
  "reset",
  "powerButton",
  "sleepButton",
  "save",
  "record",
]);

export interface MachineThreadOptions {
  readonly cells: Int32Array;
  readonly port: MessagePort;
  readonly send: (message: FromMachine, transfer?: ArrayBuffer[]) => void;
  /** Called once, when the machine runs no more. */
  readonly onEnd?: () => void;
  /** The engine that the guest has left does not use its memory any more. */
  readonly onAlone?: () => void;
  /** When its vCPUs rest. */
  readonly pacing: CpuPacing;
}

export class MachineThread {
  readonly #cells: Int32Array;
  readonly #port: MessagePort;
  readonly #send: MachineThreadOptions["send"];
  readonly #onEnd: MachineThreadOptions["onEnd"];
  readonly #onAlone: MachineThreadOptions["onAlone"];
  readonly #batch = new OutputBatch();
  #machine: Machine | undefined;
  #migration: MachineMigration | undefined;
  #debugger: MachineDebugger | undefined;
  readonly #pacing: CpuPacing;
  /** The vCPUs beside the first one rest with it. */
  #isHolding = false;
  #uart: Uart16550 | undefined;
  #vga: Vga | undefined;
  #recorder: { readonly log: EventRecorder; readonly close: () => void } | undefined;
  #isReplay = false;
  #serial: Uint8Array[] = [];
  #inputs: OutputPart[] = [];
  #batchSinceMs = 0;
  #recordFlushedMs = 0;
  #exit: VmExit | undefined;
  #hasLeft = false;
  #busyMs = 0;
  #idleMs = 0;
  #slices = 0;
  #outputBytes = 0;

  constructor(options: MachineThreadOptions) {
    this.#cells = options.cells;
    this.#port = options.port;
    this.#send = options.send;
    this.#onEnd = options.onEnd;
    this.#onAlone = options.onAlone;
    this.#pacing = options.pacing;
  }

  /** The machine's output. Blocks the machine while far too much is pending. */
  output(channel: string, bytes: Uint8Array): void {
    this.#batch.add(channel, bytes);
    this.#outputBytes += bytes.length;
    if (this.#batch.cost < MAX_PENDING_OUTPUT) return;
    this.#flush();
    while (this.#pendingOutput > MAX_PENDING_IN_SLICE) this.#waitForOutput(Atomics.load(this.#cells, CELL.KICK));
  }

  /** Returns when it is left: the other side has been told, and hears no more. */
  run(
    machine: Machine,
    recorder?: { readonly log: EventRecorder; readonly close: () => void },
    isReplay = false,
  ): void {
    this.#machine = machine;
    this.#migration = new MachineMigration(machine);
    this.#debugger = new MachineDebugger(machine);
    this.#recorder = recorder;
    this.#isReplay = isReplay;
    this.#vga = machine.board.devices.find((device) => device instanceof Vga);
    this.#uart = machine.board.devices.find((device) => device instanceof Uart16550);
    for (;;) {
      const kick = Atomics.load(this.#cells, CELL.KICK);
      this.#takeMessages();
      if (this.#hasLeft) return;
      if (this.#exit || machine.state !== "running") {
        this.#flush();
        Atomics.wait(this.#cells, CELL.KICK, kick);
      } else if (this.#pendingOutput > MAX_PENDING_OUTPUT) this.#waitForOutput(kick);
      else if (this.#pacing.restMs > 0) this.#rest(machine, kick, this.#pacing.restMs);
      else this.#runSlice(machine, kick);
    }
  }

  get #pendingOutput(): number {
    return Atomics.load(this.#cells, CELL.PENDING_OUTPUT);
  }

  #runSlice(machine: Machine, kick: number): void {
    if (this.#isHolding) machine.engine.parallel?.release();
    this.#isHolding = false;
    this.#feed(machine);
    const startMs = performance.now();
    let result: SliceResult;
    try {
      result = machine.runSlice(Number.POSITIVE_INFINITY, () => this.#hasOther(kick, startMs));
    } catch (error) {
      this.#failed(machine, error);
      return;
    }
    const endMs = performance.now();
    this.#busyMs += endMs - startMs;
    this.#slices++;
    this.#pacing.ran(endMs - startMs, this.#migration!.share);
    if (this.#debugger!.hasHalted && result.kind !== "stopped") {
      this.#debugStop(this.#debugger!.halted());
      return;
    }
    if (result.kind !== "stopped" && this.#isUsedUp()) return;
    switch (result.kind) {
      case "ran":
        break;
      case "debug":
        this.#debugStop(this.#debugger!.stopped(result.stop, result.vcpu));
        return;
      case "idle":
      case "blocked": {
        this.#flush();
        const waitNs = result.kind === "idle" ? result.waitNs : undefined;
        this.#sleep(kick, waitNs === undefined ? MAX_WAIT_MS : waitNs / 1e6);
        return;
      }
      case "stopped":
        this.#stopped(machine);
        return;
      case "replay-end":
        this.#flush();
        this.#send({ type: "replay-end", stateHash: toHex(machine.stateHash()), retired: machine.retired });
        this.#end({ kind: "off", reason: "the recording ends here" });
        return;
    }
    const { cost } = this.#batch;
    if (cost > FLUSH_BYTES || (cost > 0 && endMs - this.#batchSinceMs > FLUSH_AFTER_MS)) this.#flush(endMs);
    if (this.#recorder && endMs - this.#recordFlushedMs > RECORD_FLUSH_MS) {
      this.#recorder.log.flush();
      this.#recordFlushedMs = endMs;
    }
  }

  #setOnReboot(machine: Machine, action: RebootAction): undefined {
    if (action === "stop" && this.#recorder)
      throw new VmError("bad-state", "A recorded VM starts again when its guest reboots. End the recording first.");
    machine.onReboot = action;
  }

  #limit({ limits, spent }: Commands["limit"]["args"]): undefined {
    this.#pacing.set(limits, spent);
  }

  /** It has reached a limit that ends it. */
  #isUsedUp(): boolean {
    const { limits, spentBefore } = this.#pacing;
    const { outputBytes, cpuTimeMs } = limits;
    if (outputBytes !== undefined && this.#outputBytes + (spentBefore.outputBytes ?? 0) >= outputBytes)
      this.#powerOff({ reason: `it has written the ${outputBytes} bytes that it may`, limit: "outputBytes" });
    else if (this.#pacing.isUsedUp)
      this.#powerOff({ reason: `it has used the ${cpuTimeMs} ms of processor time that it may`, limit: "cpuTimeMs" });
    return this.#exit !== undefined;
  }

  #debugStop(report: DebugReport): void {
    this.#flush();
    // One message: nothing keeps the process for a second one of a machine that is paused.
    this.#send({ type: "debug-stop", report });
  }

  /** Somebody kicks, or output is old: slices on kvm are long. */
  #hasOther(kick: number, sinceMs: number): boolean {
    if (Atomics.load(this.#cells, CELL.KICK) !== kick) return true;
    return this.#batch.cost > 0 && performance.now() - sinceMs > FLUSH_AFTER_MS;
  }

  /** The guest is slowed down: its threads rest between two slices. */
  #rest(machine: Machine, kick: number, restMs: number): void {
    this.#flush();
    if (!this.#isHolding) machine.engine.parallel?.hold();
    this.#isHolding = true;
    const startMs = performance.now();
    Atomics.wait(this.#cells, CELL.KICK, kick, restMs);
    this.#pacing.rested(performance.now() - startMs);
  }

  /** The guest waits. */
  #sleep(kick: number, timeoutMs: number): void {
    const startMs = performance.now();
    if (this.#machine?.requestsUnderWay) {
      const endMs = startMs + Math.min(timeoutMs, SPIN_MS);
      while (performance.now() < endMs && Atomics.load(this.#cells, CELL.KICK) === kick);
    }
    this.#pacing.idle();
    Atomics.store(this.#cells, CELL.ASLEEP, 1);
    Atomics.wait(this.#cells, CELL.KICK, kick, timeoutMs);
    Atomics.store(this.#cells, CELL.ASLEEP, 0);
    this.#idleMs += performance.now() - startMs;
  }

  /** Hands the machine what has arrived; the serial port only what its queue takes. */
  #feed(machine: Machine): void {
    if (this.#inputs.length > 0) {
      for (const { channel, bytes } of this.#inputs) machine.input(channel, bytes);
      this.#inputs = [];
    }
    if (this.#serial.length === 0) return;
    let room = this.#uart?.inputRoom ?? 0;
    let taken = 0;
    for (let first = this.#serial[0]; first !== undefined && room > 0; first = this.#serial[0]) {
      const part = first.subarray(0, room);
      machine.input(SERIAL_CHANNEL, part);
      room -= part.length;
      taken += part.length;
      if (part.length === first.length) this.#serial.shift();
      else this.#serial[0] = first.subarray(part.length);
    }
    if (taken > 0) this.#send({ type: "serial-taken", bytes: taken });
  }

  #flush(nowMs: number = performance.now()): void {
    this.#batchSinceMs = nowMs;
    if (this.#batch.cost === 0) return;
    const { parts, cost } = this.#batch.take();
    Atomics.add(this.#cells, CELL.PENDING_OUTPUT, cost);
    this.#send(
      { type: "output", parts, cost },
      parts.map(({ bytes }) => bytes.buffer as ArrayBuffer),
    );
  }

  #waitForOutput(kick: number): void {
    this.#flush();
    Atomics.store(this.#cells, CELL.OUTPUT_BLOCKED, 1);
    if (this.#pendingOutput > MAX_PENDING_OUTPUT) Atomics.wait(this.#cells, CELL.KICK, kick);
    Atomics.store(this.#cells, CELL.OUTPUT_BLOCKED, 0);
  }

  #stopped(machine: Machine): void {
    const { crash } = machine;
    if (machine.state === "crashed" && crash) {
      this.#finishRecording();
      this.#end({ kind: "crashed", reason: crash.reason, report: formatCrashReport(crash) });
      return;
    }
    this.#finishRecording();
    if (this.#isReplay) {
      this.#flush();
      this.#send({ type: "replay-end", stateHash: toHex(machine.stateHash()), retired: machine.retired });
    }
    this.#end({ kind: "off", reason: machine.offReason ?? "the guest turned itself off" });
  }

  /** The machine's own code threw: a replay that diverged, a full disk under a recording, or a mistake of ours. */
  #failed(machine: Machine, error: unknown): void {
    this.#flush();
    const plain = plainError(error);
    const isOurs = error instanceof ReplayError || error instanceof VmError;
    const reason = isOurs ? plain.message : `Twinmetal's machine failed: ${plain.stack ?? plain.message}`;
    const report = machine.crash ? formatCrashReport(machine.crash) : `${reason}\n`;
    this.#recorder?.close();
    this.#recorder = undefined;
    this.#end({ kind: "crashed", reason, report, ...(plain.code ? { code: plain.code } : {}) });
  }

  #end(exit: VmExit): void {
    if (this.#exit) return;
    this.#flush();
    this.#exit = exit;
    this.#serial = [];
    this.#inputs = [];
    this.#onEnd?.();
    this.#send({ type: "exit", exit });
  }

  /** Another machine goes on with the guest: nobody is told an end. */
  #leave(): void {
    this.#exit = { kind: "migrated", reason: "another engine runs it now" };
    this.#hasLeft = true;
    this.#serial = [];
    this.#inputs = [];
    this.#onEnd?.();
  }

  #finishRecording(): void {
    const recorder = this.#recorder;
    if (!recorder) return;
    this.#recorder = undefined;
    this.#machine?.finishLog();
    recorder.close();
  }

  #takeMessages(): void {
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      const message = next.message as ToMachine;
      if (message.type === "command") this.#answer(message.id, message.name, message.args);
      else if (this.#exit || this.#isReplay) continue;
      else if (message.type === "serial") this.#serial.push(message.bytes);
      else this.#inputs.push(message);
    }
  }

  #answer<K extends CommandName>(id: number, name: K, args: unknown): void {
    try {
      const result = this.#carryOut(id, name, args as Commands[K]["args"]);
      this.#send({ type: "reply", id, result });
    } catch (error) {
      this.#send({ type: "reply", id, error: plainError(error instanceof MachineError ? badState(error) : error) });
    }
  }

  #carryOut(id: number, name: CommandName, args: unknown): unknown {
    const machine = this.#machine!;
    const migration = this.#migration!;
    if (migration.isStopped && MOVES.has(name)) {
      throw new VmError("bad-state", "The VM is being handed over to another process, which decides how it goes on.");
    }
    switch (name) {
      case "start":
        if (machine.state === "paused") machine.resume();
        else machine.start();
        this.#send({ type: "state", state: "running" });
        return undefined;
      case "startPaused":
        machine.start();
        machine.pause();
        this.#send({ type: "state", state: "paused" });
        return undefined;
      case "debug":
        this.#requireGuest();
        return this.#debugger!.set((args as Commands["debug"]["args"]).request);
      case "step":
        this.#requireGuest();
        this.#debugger!.step();
        this.#send({ type: "state", state: "running" });
        return undefined;
      case "vcpuState":
        return this.#debugger!.state((args as Commands["vcpuState"]["args"]).vcpu);
      case "setVcpuState": {
        const { vcpu, state } = args as Commands["setVcpuState"]["args"];
        return this.#debugger!.setState(vcpu, state);
      }
      case "readMemory": {
        const { place, length } = args as Commands["readMemory"]["args"];
        return this.#debugger!.read(place, length);
      }
      case "writeMemory": {
        const { place, bytes } = args as Commands["writeMemory"]["args"];
        return this.#debugger!.write(place, bytes);
      }
      case "pause":
        this.#debugger!.giveUp();
        if (machine.state !== "paused") machine.pause();
        this.#flush();
        this.#send({ type: "state", state: "paused" });
        return undefined;
      case "resume":
        if (machine.state !== "running") machine.resume();
        this.#send({ type: "state", state: "running" });
        return undefined;
      case "reset":
        return machine.requestPower("reset");
      case "powerButton":
        return machine.requestPower("button");
      case "sleepButton":
        return machine.requestPower("sleep");
      case "powerOff":
        return this.#powerOff(args as Commands["powerOff"]["args"]);
      case "save":
        return this.#whilePaused(() => this.#save(id, (args as Commands["save"]["args"]).file));
      case "record": {
        const { path, statePath } = args as Commands["record"]["args"];
        return this.#whilePaused(() => this.#record(id, path, statePath));
      }
      case "stateHash":
        return this.#whilePaused(() => toHex(machine.stateHash()));
      case "stats":
        return this.#stats(machine);
      case "limit":
        return this.#limit(args as Commands["limit"]["args"]);
      case "onReboot":
        return this.#setOnReboot(machine, (args as Commands["onReboot"]["args"]).action);
      case "registers":
        return registersOf(machine);
      case "tray": {
        const { disk, action } = args as Commands["tray"]["args"];
        const tray = trayOf(machine, disk);
        if (tray && action) machine.input(trayChannel(disk), trayBytes(action));
        return tray;
      }
      case "screen":
        return this.#vga && renderScreen(this.#vga.view);
      case "screenText":
        return this.#vga && screenText(this.#vga.view);
      case "describe":
        return migration.describe(this.#recorder !== undefined);
      case "track":
        this.#requireGuest();
        return migration.track((args as Commands["track"]["args"]).isOn);
      case "takeDirty":
        this.#requireGuest();
        return migration.takeDirty((args as Commands["takeDirty"]["args"]).into);
      case "throttle":
        migration.share = (args as Commands["throttle"]["args"]).share;
        return undefined;
      case "handOver":
        return this.#handOver(machine, migration, (args as Commands["handOver"]["args"]).into);
      case "goOn":
        this.#requireGuest();
        migration.goOn();
        return undefined;
      case "give":
        this.#end({ kind: "migrated", reason: `it runs at ${(args as Commands["give"]["args"]).to} now` });
        return undefined;
      case "standStill": {
        const stopped = this.#handOver(machine, migration, undefined);
        const { stoppedUs: sinceUs } = migration;
        return { ...stopped, sinceUs, inputs: this.#inputs, waiting: machine.waitingEvents } satisfies StoodStill;
      }
      case "isAlone":
        return this.#onAlone?.();
      case "leave":
        if (!migration.isStopped) throw new VmError("bad-state", "The machine runs, so it cannot be left.");
        this.#leave();
        return undefined;
      case "adopt": {
        const { sections, waiting } = args as Commands["adopt"]["args"];
        return migration.adopt(sections, waiting);
      }
      case "goOnHere": {
        const how = args as Commands["goOnHere"]["args"];
        migration.goOnHere(how);
        if (!how.isPaused) this.#send({ type: "state", state: "running" });
        return undefined;
      }
    }
  }

  #requireGuest(): void {
    if (this.#exit) throw new VmError("guest-ended", `The guest has ended: ${this.#exit.reason}.`);
  }

  /** One slice more, which what waits outside enters the machine with; then it stands still, all output told. */
  #handOver(machine: Machine, migration: MachineMigration, into: SharedArrayBuffer | undefined): HandedOver {
    if (machine.state === "running" && !migration.isStopped) {
      this.#feed(machine);
      try {
        if (machine.runSlice().kind === "stopped") this.#stopped(machine);
      } catch (error) {
        this.#failed(machine, error);
      }
    }
    this.#requireGuest();
    const stopped = migration.stop(into);
    this.#flush();
    return { ...stopped, input: joined(this.#serial) };
  }

  /** The plug is pulled between two slices; a recording ends here, with the state's hash. */
  #powerOff({ reason, limit }: Commands["powerOff"]["args"]): void {
    this.#finishRecording();
    this.#end({ kind: "off", reason, ...(limit && { limit }) });
  }

  #save(id: number, file: string | OpenStateFile): void {
    const machine = this.#machine!;
    if (this.#exit) throw new VmError("bad-state", "The machine has ended: there is nothing left to save.");
    const checkpoint = (): void => {
      if (Atomics.load(this.#cells, CELL.ABORT_SAVE)) throw new VmError("closed", "The save was given up.");
    };
    const onProgress = (done: number, total: number): void =>
      this.#send({ type: "progress", id, progress: { phase: "save", done, total } });
    const write = (sink: StateSink): void => saveMachine(machine, sink);
    if (typeof file === "string") saveStateFile(file, { checkpoint, onProgress }, write);
    else fillStateFile(file, { checkpoint, onProgress }, write);
  }

  /** From the present state on, which is saved for whoever replays it. */
  #record(id: number, path: string, statePath: string): void {
    const machine = this.#machine!;
    if (this.#recorder || this.#isReplay)
      throw new VmError("bad-state", "The VM is being recorded or replayed already.");
    if (!machine.engine.supportsReplay()) {
      throw new VmError(
        "bad-state",
        "A recording is by instructions, which the kvm engine does not count. Change to the jit engine first.",
      );
    }
    this.#save(id, statePath);
    this.#recorder = startRecording(machine, path, machine.stateHash());
  }

  /** Guest time stands still meanwhile, so that nothing of it is seen inside. */
  #whilePaused<T>(action: () => T): T {
    const machine = this.#machine!;
    const wasRunning = machine.state === "running";
    if (wasRunning) machine.pause();
    try {
      return action();
    } finally {
      if (wasRunning) machine.resume();
    }
  }

  #stats(machine: Machine): Readonly<Record<string, number>> {
    return {
      retired: machine.retired,
      guestNs: machine.clock.nowNs(),
      calendarSeconds: machine.clock.epochSeconds + Math.floor(machine.clock.nowNs() / 1e9),
      events: machine.eventCount,
      memoryBytes: machine.spec.memoryBytes,
      ...processorStats(machine),
      slices: this.#slices,
      busyMs: Math.round(this.#busyMs),
      idleMs: Math.round(this.#idleMs),
      cpuMs: Math.round(this.#pacing.cpuMs),
      waitedMs: Math.round(this.#pacing.waitedMs),
      throttledMs: Math.round(this.#pacing.throttledMs),
      outputBytes: this.#outputBytes,
      ...machine.engine.stats(),
    };
  }
}

function badState(error: MachineError): VmError {
  return new VmError("bad-state", error.message, { cause: error });
}
