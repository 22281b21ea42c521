/**
 * The vCPUs of a machine, which take turns in one thread (docs/architecture.md, "Several vCPUs"). One that is alone runs as
 * if this were not here.
 *
 * A turn is TURN_INSTRUCTIONS, or ends before: at HLT, at PAUSE, at an INIT. Whose turn it is, and how much of it is left, is
 * a function of the guest's state and the event log alone: turns go round in order, past those that wait, and
 * where a slice ends plays no part. Events that wake a vCPU come where every slicing of the run has an end.
 *
 * INIT and start-up (Intel SDM vol. 3, 9.4 and 11.6.1) are noted when the message comes, which may be in the middle of an
 * instruction, and carried out before the vCPU runs or is looked at. Left out: INIT to the first one, which resets the machine.
 */
import type { Engine, ParallelVcpus, Vcpu, VcpuBus } from "../engine/engine.ts";
import { initState, startUpState } from "../engine/vcpu-state-block.ts";
import type { Board, ProcessorPins, ProcessorSide } from "./board-interface.ts";
import type { GuestClock } from "./guest-clock.ts";
import { VcpuRunner, type VcpuStop } from "./vcpu-runner.ts";

/**
 * About 50 us of the guest's time. The exchange of two vCPUs, and the end of a turn at the exact instruction, cost some
 * microseconds; and as long as a turn may an interrupt for another vCPU take to get there, if all compute.
 */
export const TURN_INSTRUCTIONS = 50_000;

/**
 * Where the processor itself runs the guest: the way out of it and in again costs some ten microseconds. A turn ends before
 * when another vCPU gets an interrupt, for the one that has sent it likely waits.
 */
export const TURN_NS = 1_000_000;

/** A state may come from either kind of engine. */
export const MAX_TURN = Math.max(TURN_INSTRUCTIONS, TURN_NS);

/** In one run: a guest that only yields shall not keep the thread from what else it has to do. */
const MAX_TURNS = 256;

const HALTED: VcpuStop = { kind: "halted" };
const RAN: VcpuStop = { kind: "ran" };
const SHUTDOWN: VcpuStop = { kind: "shutdown" };

export interface ProcessorsState {
  readonly current: number;
  readonly turnLeft: number;
  /** Those that wait for a start-up message. */
  readonly waiting: readonly boolean[];
}

export class Processors {
  readonly vcpus: readonly Vcpu[];
  readonly #runners: readonly VcpuRunner[];
  readonly #clock: GuestClock;
  readonly #unit: Engine["unit"];
  readonly #turn: number;
  /** All but the first one run by themselves. */
  readonly #parallel: ParallelVcpus | undefined;
  #current = 0;
  #turnLeft = 1;
  /** The turn ends with the run that is under way. */
  #isGivenUp = false;
  /** Instructions of all but the current one. */
  #others = 0;
  /** Of all, when the run ends; 0 between runs. */
  #target = 0;
  readonly #isWaiting: boolean[];
  readonly #isReset: boolean[];
  readonly #startAt: (number | undefined)[];
  /** Turns that were given, for statistics. */
  turns = 0;

  constructor(
    clock: GuestClock,
    cpus: number,
    createVcpu: (index: number, bus: VcpuBus) => Vcpu,
    board: () => Board | undefined,
    unit: Engine["unit"] = "instruction",
    parallel?: ParallelVcpus,
  ) {
    this.#parallel = parallel;
    this.#clock = clock;
    this.#unit = unit;
    this.#turn = unit === "instruction" ? TURN_INSTRUCTIONS : TURN_NS;
    this.#turnLeft = this.#turn;
    const each = Array.from({ length: cpus }, (_, index) => index);
    const sideOf = (index: number): ProcessorSide | undefined => (index === 0 ? board() : board()?.others?.[index - 1]);
    this.vcpus = each.map((index) =>
      createVcpu(
        index,
        this.#busOf(() => sideOf(index)!),
      ),
    );
    this.#runners = this.vcpus.map(
      (vcpu, index) =>
        new VcpuRunner(vcpu, clock, { acknowledgeInterrupt: () => sideOf(index)?.acknowledgeInterrupt() }),
    );
    this.#isWaiting = each.map((index) => index > 0);
    this.#isReset = each.map(() => false);
    this.#startAt = each.map(() => undefined);
  }

  get current(): number {
    return this.#current;
  }

  /** Instructions of all vCPUs together, which guest time goes by. Exact within callbacks. */
  get retired(): number {
    return this.#others + this.vcpus[this.#current]!.retired;
  }

  /** What the board drives of the others. */
  get others(): readonly ProcessorPins[] {
    return this.vcpus.slice(1).map((vcpu, i): ProcessorPins => {
      const index = i + 1;
      return {
        setInterrupt: (pending) => this.setInterrupt(index, pending),
        setTaskPriority: (cr8) => vcpu.setTaskPriority(cr8),
        nmi: () => vcpu.nmi(),
        init: () => this.#init(index),
        startup: (vector) => this.#startUp(index, vector),
      };
    });
  }

  /**
   * The vCPU's interrupt pin. Where the host's time counts, a vCPU whose turn it is gives it up for one that gets something
   * to do, as it is likely to wait for that; turns of counted instructions go on to their end.
   */
  setInterrupt(index: number, pending: boolean): void {
    this.vcpus[index]!.requestInterrupt(pending);
    if (!pending || this.#unit === "instruction" || this.#target === 0 || index === this.#current) return;
    this.#isGivenUp = true;
    this.kick();
  }

  /** As Vcpu's: whoever has the turn counts the time. */
  followTime(isAnchor: boolean): void {
    this.vcpus[this.#current]!.followTime?.(isAnchor);
  }

  /** Makes the run that is under way end after the current instruction. */
  kick(): void {
    this.vcpus[this.#current]!.kick();
  }

  /** A timer was armed: a target beyond it is too far. */
  armed(dueNs: number): void {
    const left = this.#target - this.retired;
    if (left > 0 && this.#clock.instructionsUntil(dueNs) < left) this.kick();
  }

  /** As VcpuRunner's, of all vCPUs: `limit` and `slack` count the instructions of all. */
  run(limit: number, slack = 0): VcpuStop {
    this.#target = this.retired + limit;
    try {
      if (this.#parallel) return this.#runFirst(this.#parallel, limit);
      return this.vcpus.length === 1 ? this.#runners[0]!.run(limit, slack) : this.#takeTurns(slack);
    } finally {
      this.#target = 0;
    }
  }

  /** INIT and start-up messages are carried out. Doing it twice is doing it once. */
  settle(): void {
    for (let index = 1; index < this.vcpus.length; index++) this.#carryOut(index);
  }

  /** Power-on and reset: the first one, whose state is the caller's business, begins, and the others wait. */
  reset(): void {
    for (let index = 0; index < this.vcpus.length; index++) {
      this.#isWaiting[index] = index > 0;
      this.#isReset[index] = false;
      this.#startAt[index] = undefined;
      if (index > 0) this.#parallel?.setParked(index, true);
      if (index > 0) this.vcpus[index]!.reset();
    }
    this.#begin(0);
  }

  save(): ProcessorsState {
    return { current: this.#current, turnLeft: this.#turnLeft, waiting: [...this.#isWaiting] };
  }

  /** Precondition: the vCPUs have their states. */
  restore({ current, turnLeft, waiting }: ProcessorsState): void {
    for (let index = 0; index < this.vcpus.length; index++) {
      this.#isWaiting[index] = waiting[index] ?? false;
      this.#isReset[index] = false;
      this.#startAt[index] = undefined;
      if (index > 0) this.#parallel?.setParked(index, this.#isWaiting[index]!);
    }
    this.#begin(this.#parallel ? 0 : current);
    this.#turnLeft = turnLeft;
  }

  /** The first one's run, beside which the others run. */
  #runFirst(parallel: ParallelVcpus, limit: number): VcpuStop {
    parallel.serve();
    const stop = this.#runners[0]!.run(limit);
    const other = parallel.takeStop();
    if (other) {
      this.#current = other.vcpu;
      return other.exit.reason === "error" ? { kind: "error", message: other.exit.message } : SHUTDOWN;
    }
    return stop.kind === "halted" && parallel.hasMail() ? RAN : stop;
  }

  #takeTurns(slack: number): VcpuStop {
    for (let turns = 0; turns < MAX_TURNS; turns++) {
      const left = this.#target - this.retired;
      if (left <= 0) return RAN;
      if (!this.#pick()) return HALTED;
      const vcpu = this.vcpus[this.#current]!;
      const before = vcpu.retired;
      const turn = Math.min(left, this.#turnLeft);
      const stop = this.#runners[this.#current]!.run(turn, turn === left ? slack : 0);
      this.#turnLeft -= vcpu.retired - before;
      const isOver = this.#turnLeft <= 0 || stop.kind === "yielded" || this.#isGivenUp;
      const isShort = stop.kind === "ran" && vcpu.retired - before < turn;
      if (stop.kind !== "ran" && stop.kind !== "yielded" && stop.kind !== "halted") return stop;
      if (isOver) this.#begin((this.#current + 1) % this.vcpus.length);
      // A kick, or near enough to the end.
      if (isShort) return RAN;
    }
    return RAN;
  }

  /** Gives the turn to the next vCPU that does not wait. False if all do: then it stays where it is. */
  #pick(): boolean {
    const count = this.vcpus.length;
    for (let i = 0; i < count; i++) {
      const index = (this.#current + i) % count;
      if (!this.#canRun(index)) continue;
      if (i > 0) this.#begin(index);
      this.#carryOut(index);
      return true;
    }
    return false;
  }

  #canRun(index: number): boolean {
    if (this.#startAt[index] !== undefined) return true;
    return !this.#isWaiting[index] && !this.vcpus[index]!.isWaiting;
  }

  #begin(index: number): void {
    this.#turnLeft = this.#turn;
    this.#isGivenUp = false;
    this.turns++;
    this.#current = index;
    this.#others = this.vcpus.reduce((sum, vcpu, i) => (i === index ? sum : sum + vcpu.retired), 0);
  }

  #init(index: number): void {
    this.#isWaiting[index] = true;
    this.#isReset[index] = true;
    this.#startAt[index] = undefined;
    this.#parallel?.setParked(index, true);
    // Its own: not an instruction more.
    if (index === this.#current || this.#parallel) this.kick();
  }

  #startUp(index: number, vector: number): void {
    if (!this.#isWaiting[index]) return;
    this.#isWaiting[index] = false;
    this.#startAt[index] = vector;
    if (this.#parallel) this.kick();
  }

  #carryOut(index: number): void {
    const vcpu = this.vcpus[index]!;
    if (this.#isReset[index]) vcpu.setState(initState(vcpu.getState()));
    this.#isReset[index] = false;
    const vector = this.#startAt[index];
    this.#startAt[index] = undefined;
    if (vector === undefined) return;
    vcpu.setState(startUpState(vcpu.getState(), vector));
    this.#parallel?.setParked(index, false);
  }

  /** A board's side for a vCPU, whose count of instructions is not the machine's where there are several. */
  #busOf(side: () => ProcessorSide): VcpuBus {
    const bus = (): VcpuBus => side().bus;
    return {
      acknowledgeInterrupt: () => side().acknowledgeInterrupt(),
      readPort: (port, size) => bus().readPort(port, size),
      writePort: (port, size, value) => bus().writePort(port, size, value),
      readMmio: (gpa, size) => bus().readMmio(gpa, size),
      writeMmio: (gpa, size, value) => bus().writeMmio(gpa, size, value),
      readMsr: (index) => bus().readMsr(index),
      writeMsr: (index, value) => bus().writeMsr(index, value),
      readTsc: (retired) => bus().readTsc(this.#others + retired),
      tscLine: () => {
        const line = bus().tscLine?.();
        if (!line || this.#others === 0) return line;
        return { ...line, retired: line.retired - this.#others };
      },
      floatError: (asserted) => bus().floatError?.(asserted) ?? false,
      randomBits: () => bus().randomBits(),
    };
  }
}
