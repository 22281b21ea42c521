/**
 * A machine: memory, processor, board, clock and event log, and the one place where they meet. The host calls `runSlice`
 * again and again in the vCPU's own thread and sleeps when it says so; everything else is called between slices.
 *
 *              start                    pause
 *   created ----------> running <-----------------> paused
 *      |                 |  |  ^        resume        |  ^
 *      |                 |  |  | reset (keeps RAM)    |  |
 *      |                 |  |  +--+                   |  |
 *      |  restore        |  +-----+                   |  |
 *      +-----------------|----------------------------|--+
 *                        |
 *                        +--> off      power-off by the guest or the host
 *                        +--> crashed  triple fault, a device's report, a diverged replay, a restore that failed half-way
 *
 * Determinism (docs/architecture.md, "Time"): a slice's length depends on the host, what the guest sees does not. At each
 * boundary due timers fire, then events of the log, each followed by due timers; interrupts are delivered in front of an
 * instruction that runs in the same slice.
 */

import type { DeviceContext } from "../devices/device.ts";
import type { Engine, Vcpu } from "../engine/engine.ts";
import type { Ram } from "../memory/ram.ts";
import { encodeState } from "../state/codec.ts";
import { crc32c } from "../state/crc32c.ts";
import { hashState } from "../state/state-hash.ts";
import { vcpuToState } from "../state/vcpu-state.ts";
import type { Board } from "./board-interface.ts";
import {
  type EventLog,
  type EventPosition,
  LiveLog,
  MAX_INPUT_BYTES,
  type MachineEvent,
  type PowerRequest,
  ReplayError,
} from "./events.ts";
import { DEFAULT_PS_PER_INSTRUCTION, GuestClock, MAX_BUDGET } from "./guest-clock.ts";
import { MachineChannels } from "./machine-channels.ts";
import {
  type CrashReport,
  MachineError,
  type MachineOptions,
  type MachineState,
  type RebootAction,
  type SliceResult,
} from "./machine-contract.ts";
import { machineSections } from "./machine-state.ts";
import { Processors } from "./processors.ts";
import { MachineRandom } from "./random.ts";
import { SliceLength } from "./slice-length.ts";
import { type MachineSpec, seedBytes } from "./spec.ts";
import type { VcpuStop } from "./vcpu-runner.ts";
import { WallPacer } from "./wall-pacer.ts";

export {
  type CrashReport,
  MachineError,
  type MachineOptions,
  type MachineState,
  type SliceResult,
} from "./machine-contract.ts";

interface PowerAction {
  readonly action: "off" | "reset" | "crashed";
  readonly reason: string;
}

const DEFAULT_SLICE_NS = 50_000;
/** So many instructions before its end a slice may be over, if nothing is due there. */
const SLACK = 2048;
/** Runs, timer rounds or skips of time in one slice. */
const MAX_ROUNDS = 256;
const RAN: SliceResult = { kind: "ran" };

export class Machine {
  readonly spec: MachineSpec;
  readonly memory: Ram;
  readonly engine: Engine;
  readonly board: Board;
  readonly clock: GuestClock;
  readonly processors: Processors;
  readonly random: MachineRandom;
  #log: EventLog;
  readonly #options: MachineOptions;
  #pacer: WallPacer | undefined;
  readonly #sliceLength: SliceLength;
  /** Time passes with the host's: the engine counts nanoseconds. */
  readonly #followsHost: boolean;
  readonly #channels: MachineChannels;
  #waiting: MachineEvent[] = [];
  #state: MachineState = "created";
  #power: PowerAction | undefined;
  #crash: CrashReport | undefined;
  #offReason: string | undefined;
  #eventCount = 0;
  #skips = 0;
  #skipsAtRetired = -1;
  #replayEnded = false;
  /** As `MachineOptions.onReboot`, from here on. */
  onReboot: RebootAction | undefined;

  constructor(options: MachineOptions) {
    const { spec, memory, engine } = options;
    this.#options = options;
    this.onReboot = options.onReboot;
    this.#channels = new MachineChannels(options, () => this.#log.mode);
    this.spec = spec;
    this.memory = memory;
    this.engine = engine;
    this.#followsHost = engine.unit === "nanosecond";
    this.#sliceLength = new SliceLength(options.sliceNs ?? DEFAULT_SLICE_NS, !this.#followsHost);
    if (this.#followsHost && spec.clock === "virtual") {
      throw new MachineError(
        "engine",
        `The ${engine.kind} engine cannot run a machine with a virtual clock, which counts instructions. Use the jit engine.`,
      );
    }
    this.random = new MachineRandom(seedBytes(spec));
    this.clock = new GuestClock({
      epochSeconds: spec.epochSeconds,
      tscFrequencyHz: spec.tscFrequencyHz,
      retired: () => this.processors.retired,
      onArmed: (dueNs) => this.processors.armed(dueNs),
    });
    // The vCPUs exist before the board, whose devices may already drive pins and read the clock.
    let board: Board | undefined;
    this.processors = new Processors(
      this.clock,
      spec.cpus,
      (index, bus) => engine.createVcpu(index, bus),
      () => board,
      engine.unit,
      engine.parallel,
    );
    board = options.createBoard({
      spec,
      clock: this.clock,
      context: this.#deviceContext(),
      setInterrupt: (pending) => this.processors.setInterrupt(0, pending),
      setTaskPriority: (cr8) => this.vcpu.setTaskPriority(cr8),
      nmi: () => this.vcpu.nmi(),
      others: this.processors.others,
    });
    this.board = board;
    this.#log = options.log ?? new LiveLog();
    this.attachLog(this.#log);
  }

  get state(): MachineState {
    return this.#state;
  }

  /** The first one, which starts the machine. */
  get vcpu(): Vcpu {
    return this.processors.vcpus[0]!;
  }

  get vcpus(): readonly Vcpu[] {
    return this.processors.vcpus;
  }

  /** Instructions of all vCPUs since power-on. */
  get retired(): number {
    return this.processors.retired;
  }

  /** Why the machine crashed. */
  get crash(): CrashReport | undefined {
    return this.#crash;
  }

  get offReason(): string | undefined {
    return this.#offReason;
  }

  /** Where the machine stands between two slices. */
  get position(): EventPosition {
    const { retired } = this;
    return { retired, skips: this.#skipsAtRetired === retired ? this.#skips : 0 };
  }

  /** Events that have entered since power-on. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /**
   * Another event log from here on: a recording or a replay that starts at power-on ("created") or from the present state
   * ("paused"), whose hash its header names. Events that wait and have not entered stay.
   */
  attachLog(log: EventLog): void {
    this.#require(["created", "paused"], "change its event log");
    const { spec, wallNs, engine } = this.#options;
    if (log.mode !== "live" && !engine.supportsReplay()) {
      throw new MachineError(
        "engine",
        `The ${engine.kind} engine can neither record nor replay: it does not count the guest's instructions. Use the jit engine; a saved state of this machine goes on there.`,
      );
    }
    this.#log = log;
    this.#pacer = undefined;
    if (this.#followsHost) return;
    if (spec.clock !== "wall" || log.mode === "replay") return;
    if (!wallNs) {
      throw new MachineError("wall-clock", "A machine in wall mode needs the host's clock (wallNs).");
    }
    this.#pacer = new WallPacer(wallNs, this.clock.psPerInstruction);
  }

  /** Power on. */
  start(): void {
    this.#require(["created"], "start");
    this.#bootUp();
    this.#anchorTime();
    this.#state = "running";
    this.engine.parallel?.release();
  }

  pause(): void {
    this.#require(["running"], "pause");
    this.engine.parallel?.hold();
    for (const device of this.board.devices) device.pause?.();
    this.#options.blocks?.settle?.();
    this.#state = "paused";
  }

  /** `stoodNs`: the guest's time catches up with so much of the time that it stood still, on the wall clock. */
  resume(stoodNs = 0): void {
    this.#require(["paused"], "resume");
    for (const device of this.board.devices) device.resume?.();
    this.#anchorTime(stoodNs);
    this.#state = "running";
    this.engine.parallel?.release();
  }

  /** Bytes from the outside, delivered at the next boundary. */
  input(channel: string, bytes: Uint8Array): void {
    this.#channels.requireInput(channel);
    for (let at = 0; at < bytes.length || at === 0; at += MAX_INPUT_BYTES) {
      this.#offer({ kind: "input", channel, bytes: bytes.slice(at, at + MAX_INPUT_BYTES) });
    }
  }

  /** A button on the case, pressed at the next boundary. */
  requestPower(action: PowerRequest): void {
    this.#offer({ kind: "power", action });
  }

  requestNmi(): void {
    this.#offer({ kind: "nmi" });
  }

  /** After a restore: the guest's calendar (not its monotonic time) catches up with the time that has passed outside. */
  advanceCalendar(seconds: number): void {
    this.#offer({ kind: "epoch", advanceSeconds: Math.max(0, Math.floor(seconds)) });
  }

  /** Requests to disks and shared folders that have left the machine, and whose completion has not entered. */
  get requestsUnderWay(): number {
    return this.#channels.requestsUnderWay;
  }

  /** What was asked for and has not entered: no part of a saved state, so whoever takes the machine over takes it, too. */
  get waitingEvents(): readonly MachineEvent[] {
    return this.#waiting;
  }

  /** `waitingEvents` of the machine that this one goes on from. */
  offerEvents(events: readonly MachineEvent[]): void {
    for (const event of events) this.#offer(event);
  }

  /** Ends a running slice after the current instruction. The guest does not notice. Only from the vCPU's thread. */
  kick(): void {
    this.processors.kick();
  }

  /**
   * Runs the guest for a short while, at most until `untilRetired` instructions have retired in all. Preconditions: state
   * is "running", "off" or "crashed". `isWanted`: the thread has something else to do, so the slice ends at its next
   * round; asked only now and then. Throws ReplayError.
   */
  runSlice(untilRetired: number = Number.POSITIVE_INFINITY, isWanted?: () => boolean): SliceResult {
    const ended = this.#ended();
    if (ended) return ended;
    this.#require(["running"], "run");
    try {
      return this.#slice(untilRetired, isWanted);
    } catch (error) {
      if (error instanceof ReplayError) this.#stop("crashed", { code: "replay", reason: error.message });
      throw error;
    }
  }

  /**
   * Does what belongs to this boundary and needs no event: due timers, and what a device has asked for. Doing it twice is
   * doing it once. Slices begin with it; states are saved and hashed after it.
   */
  settle(): void {
    if (this.#state !== "running" && this.#state !== "paused") return;
    this.clock.rebase();
    this.clock.fireDue();
    this.processors.settle();
    if (this.#power) this.#carryOut(this.#power);
  }

  /** SHA-256 of everything that a guest could ever observe: equal hashes, equal machines. */
  stateHash(): Uint8Array {
    this.settle();
    return hashState(machineSections(this), this.memory.regions, this.#options.sha256?.());
  }

  /** Record mode: the recording ends here. Nothing in the other modes. */
  finishLog(): void {
    if (this.#log.mode === "record") this.#log.finish(this.position, this.stateHash());
  }

  /** CRC-32C of the processors' states: cheap, for finding where two runs part. */
  vcpuDigest(): number {
    const states = this.vcpus.map((vcpu) => vcpuToState(vcpu.getState()));
    return crc32c(encodeState(states.length === 1 ? states[0]! : states));
  }

  /** The machine continues from a state that somebody has put into its parts: see machine-state.ts. */
  restored(position: EventPosition, eventCount: number): void {
    this.#require(["created"], "restore");
    this.#skips = position.skips;
    this.#skipsAtRetired = position.retired;
    this.#eventCount = eventCount;
    this.#state = "paused";
  }

  /** A restore failed half-way: this machine can do nothing any more. */
  abandon(reason: string): void {
    this.#state = "crashed";
    this.#crash = { code: "restore", reason, retired: this.retired, vcpu: this.vcpu.getState() };
  }

  #slice(untilRetired: number, isWanted?: () => boolean): SliceResult {
    this.processors.followTime(false);
    this.#takeEvents();
    const sliceLength = this.#sliceLength.instructions(this.clock.psPerInstruction);
    const sliceEnd = Math.min(this.retired + sliceLength, untilRetired);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      this.settle();
      const ended = this.#ended();
      if (ended) return ended;
      const limit = this.#limit(sliceEnd);
      const left = sliceEnd - this.retired;
      const slack = sliceEnd < untilRetired && sliceLength > 8 * SLACK ? SLACK : 0;
      if (limit <= 0 || (left <= slack && round > 0)) return RAN;
      const result = this.#stopped(this.processors.run(limit, limit === left ? slack : 0));
      if (result) return result;
      if (isWanted?.()) return RAN;
    }
    return RAN;
  }

  #ended(): SliceResult | undefined {
    if (this.#replayEnded) return { kind: "replay-end" };
    return this.#state === "off" || this.#state === "crashed" ? { kind: "stopped", state: this.#state } : undefined;
  }

  /** Instructions until the slice, a timer or a recorded event ends the run; 0 if something waits right now. */
  #limit(sliceEnd: number): number {
    const { retired } = this;
    let limit = Math.min(sliceEnd - retired, MAX_BUDGET, this.clock.instructionsUntil(this.clock.nextDueNs));
    const { next } = this.#log;
    if (next) {
      const { skips } = this.position;
      if (next.retired > retired) limit = Math.min(limit, next.retired - retired);
      else if (next.retired < retired || next.skips <= skips) return 0;
    }
    return limit;
  }

  #stopped(stop: VcpuStop): SliceResult | undefined {
    switch (stop.kind) {
      case "ran":
      case "yielded":
        return undefined;
      case "halted":
        return this.#power ? undefined : this.#halted();
      case "debug":
        return { ...stop, vcpu: this.processors.current };
      case "error":
        this.#stop("crashed", { code: "engine", reason: stop.message });
        return this.#ended();
      case "shutdown":
        this.#stop("crashed", {
          code: "triple-fault",
          reason: "The guest's processor shut down: an exception came up while it called the double-fault handler.",
        });
        return this.#ended();
    }
  }

  /** Time goes on from here: what has passed outside was not the guest's. */
  #anchorTime(stoodNs = 0): void {
    this.#pacer?.anchor(this.clock.nowNs() + stoodNs);
    if (!this.#followsHost) return;
    this.processors.followTime(true);
    if (stoodNs > 0 || this.clock.psPerInstruction !== DEFAULT_PS_PER_INSTRUCTION)
      this.clock.correct(Math.round(stoodNs), DEFAULT_PS_PER_INSTRUCTION);
  }

  /** HLT: time passes until something happens. */
  #halted(): SliceResult | undefined {
    const dueNs = this.clock.nextDueNs;
    const nowNs = this.clock.nowNs();
    if (dueNs <= nowNs) return undefined;
    const { next, mode } = this.#log;
    const position = this.position;
    if (next?.retired === position.retired && next.skips === position.skips) return RAN;
    if (this.#channels.hasArrivals) return RAN;
    // Time that is counted stands still while a disk works: how long that takes is the host's.
    if (this.spec.clock === "virtual" && dueNs !== Number.POSITIVE_INFINITY && this.requestsUnderWay === 0) {
      this.clock.skipTo(dueNs);
      this.#skips = position.skips + 1;
      this.#skipsAtRetired = position.retired;
      return undefined;
    }
    if (mode === "replay")
      throw this.#diverged(`the guest waits, but the recording's next event is at instruction ${next?.retired}`);
    if (this.spec.clock === "virtual") return { kind: "blocked" };
    this.#pacer?.idle();
    return { kind: "idle", waitNs: dueNs === Number.POSITIVE_INFINITY ? undefined : dueNs - nowNs };
  }

  #takeEvents(): void {
    this.settle();
    if (this.#log.mode === "replay") {
      while (this.#state === "running") {
        const event = this.#log.take(this.position);
        if (event === undefined) return;
        this.#apply(event);
      }
      return;
    }
    // Off by now, if the slice before ended between the guest's wish and this: nothing enters any more.
    if (this.#state !== "running") return;
    const { retired } = this;
    const correction = this.#pacer?.correction(this.clock.nowNs(), retired, this.clock.psPerInstruction);
    if (correction) this.#enter({ kind: "clock", ...correction });
    if (this.#log.wantsCheck(retired)) this.#enter({ kind: "check", digest: this.vcpuDigest() });
    const waiting = this.#waiting;
    this.#sliceLength.look(waiting.length > 0 || this.requestsUnderWay > 0 || this.#channels.hasArrivals);
    this.#waiting = [];
    for (const event of waiting) if (this.#state === "running") this.#enter(event);
    if (this.#state === "running") this.#channels.takeArrivals(this.#enterArrival);
  }

  readonly #enterArrival = (event: MachineEvent): boolean => {
    this.#enter(event);
    return this.#state === "running";
  };

  #offer(event: MachineEvent): void {
    if (this.#log.mode === "replay") this.#log.enter(this.position, event);
    if (this.#state === "off" || this.#state === "crashed") return;
    this.#waiting.push(event);
  }

  #enter(event: MachineEvent): void {
    this.#log.enter(this.position, event);
    this.#apply(event);
  }

  #apply(event: MachineEvent): void {
    switch (event.kind) {
      case "clock":
        this.clock.correct(event.advanceNs, event.psPerInstruction);
        break;
      case "epoch":
        this.clock.correctEpoch(event.advanceSeconds);
        break;
      case "input":
      case "block":
      case "file": {
        const missing = this.#channels.deliver(event);
        if (missing !== undefined) throw this.#diverged(`the recording has ${missing}, which this machine has not`);
        break;
      }
      case "power":
        if (event.action === "button") this.board.pressPowerButton();
        else if (event.action === "sleep") this.board.pressSleepButton();
        else this.#requestPower(event.action, "by the host");
        break;
      case "nmi":
        this.vcpu.nmi();
        break;
      case "check":
        if (this.vcpuDigest() !== event.digest)
          throw this.#diverged("the processor is in another state than the recorded one");
        return;
      case "end":
        this.#checkHash(event.stateHash);
        this.#replayEnded = true;
        this.pause();
        return;
    }
    this.#eventCount++;
    this.settle();
  }

  #carryOut({ action, reason }: PowerAction): void {
    this.#power = undefined;
    if (action === "crashed") this.#stop("crashed", { code: "device", reason });
    else if (action === "off") {
      this.#offReason = reason;
      this.#stop("off");
    } else {
      this.engine.parallel?.hold();
      for (const device of this.board.devices) device.reset();
      this.#bootUp();
      this.engine.parallel?.release();
    }
  }

  /** The run ends by itself; a recording of it ends here too. */
  #stop(state: "off" | "crashed", crash?: Pick<CrashReport, "code" | "reason">): void {
    if (this.#state === "running") this.engine.parallel?.hold();
    this.#state = state;
    if (crash) {
      const { current } = this.processors;
      const vcpu = this.vcpus[current]!;
      const recentBranches = vcpu.recentBranches?.();
      const others = this.vcpus.flatMap((other, index) =>
        index === current ? [] : [{ index, state: other.getState() }],
      );
      this.#crash = {
        ...crash,
        retired: this.retired,
        vcpu: vcpu.getState(),
        ...(others.length > 0 && { index: current, others }),
        ...(recentBranches ? { recentBranches } : {}),
      };
    }
    if (this.#log.mode !== "replay" || crash?.code === "replay") return;
    const event = this.#log.take(this.position);
    if (event?.kind !== "end") throw this.#diverged(`the machine is ${state}, but the recorded one ran on`);
    this.#checkHash(event.stateHash);
  }

  #checkHash(recorded: Uint8Array): void {
    const hash = this.stateHash();
    if (hash.some((byte, i) => byte !== recorded[i]))
      throw this.#diverged("the final state is another than the recorded one");
  }

  #diverged(what: string): ReplayError {
    const { retired } = this;
    return new ReplayError("diverged", `The replay diverged at instruction ${retired}: ${what}.`, retired);
  }

  #bootUp(): void {
    this.processors.reset();
    const { retired } = this.vcpu;
    const state = this.board.boot();
    if (state) this.vcpu.setState({ ...state, retired });
    else {
      this.vcpu.reset();
      this.vcpu.setState({ ...this.vcpu.getState(), retired });
    }
  }

  #requestPower(action: PowerAction["action"], reason: string): void {
    this.#power ??= { action, reason };
    this.processors.kick();
  }

  #deviceContext(): DeviceContext {
    return {
      clock: this.clock,
      memory: this.memory,
      random: (into) => this.random.fill(into),
      ...this.#channels.forDevices,
      output: (channel, bytes) => this.#options.output(channel, bytes),
      deviceMemory: (sizeBytes, kind) => this.engine.deviceMemory?.(sizeBytes, kind),
      protectShadow: (parts) => this.engine.protectShadow(parts),
      power: (action, reason) => {
        const turnsOff = action === "reset" && this.onReboot === "stop";
        this.#requestPower(turnsOff ? "off" : action, reason);
      },
    };
  }

  #require(states: readonly MachineState[], what: string): void {
    if (states.includes(this.#state)) return;
    throw new MachineError(
      "state",
      `The machine is ${this.#state} and cannot ${what}; it would have to be ${states.join(" or ")}.`,
    );
  }
}
