/**
 * The machine's thread's end of vCPUs that run in threads of their own, whatever runs them: makes them rest and go on, answers
 * what they ask of devices, and hears of those that can not go on. The first vCPU is the machine's thread's own.
 */
import type { ParallelVcpus, VcpuBus, VcpuExit } from "../engine.ts";
import { ABSENT, BOUNDARY, MAIL_POSTED, type ParallelCells } from "./cells.ts";
import { answerMail } from "./mail.ts";

const NAP_MS = 0.05;
const SPINS = 1000;
const KICK_EVERY = 256;
/** For a thread to come, on a busy host. */
const COMING_MS = 120_000;

export interface VcpuDeskOptions {
  readonly cells: ParallelCells;
  readonly vcpus: number;
  /** Makes a vCPU that runs come to a boundary soon. It is repeated until the vCPU is there. */
  readonly kick: (vcpu: number) => void;
  readonly bus: (vcpu: number) => VcpuBus;
  readonly readMsr: (vcpu: number, index: number) => bigint | undefined;
  readonly writeMsr: (vcpu: number, index: number, value: bigint) => boolean;
  /** Why a vCPU can not go on, in whole sentences: asked when its thread says so. */
  readonly failureOf: (vcpu: number) => string;
  /** All rest, and are about to go on. */
  readonly beforeRelease: () => void;
}

export class VcpuDesk implements ParallelVcpus {
  /** Letters that were answered. */
  letters = 0;
  readonly #options: VcpuDeskOptions;
  readonly #cells: ParallelCells;
  #bell = 0;
  #holds = 0;
  #stop: { readonly vcpu: number; readonly exit: VcpuExit } | undefined;
  #isServing = false;

  /** All rest until they are released, and their threads are on their way. */
  constructor(options: VcpuDeskOptions) {
    this.#options = options;
    this.#cells = options.cells;
    this.#cells.setState(0, BOUNDARY);
    for (let vcpu = 1; vcpu < options.vcpus; vcpu++) {
      this.#cells.setState(vcpu, ABSENT);
      this.#cells.setParked(vcpu, true);
    }
    this.#cells.setHeld(true);
    this.#holds = 1;
  }

  hold(): void {
    if (this.#holds++ > 0) return;
    const cells = this.#cells;
    cells.setHeld(true);
    for (let vcpu = 1; vcpu < this.#options.vcpus; vcpu++)
      for (let spins = 0; !this.#isResting(vcpu); spins++) {
        if (spins % KICK_EVERY === 0) this.#options.kick(vcpu);
        this.serve();
        if (spins > SPINS) cells.waitForState(vcpu, cells.state(vcpu), NAP_MS);
      }
    // What they have posted belongs to what they have done.
    this.serve();
  }
  release(): void {
    if (this.#holds === 0 || --this.#holds > 0) return;
    for (let vcpu = 1; vcpu < this.#options.vcpus; vcpu++) this.#awaitThread(vcpu);
    this.#options.beforeRelease();
    this.#cells.setHeld(false);
    for (let vcpu = 1; vcpu < this.#options.vcpus; vcpu++) this.#cells.wake(vcpu);
  }
  #isResting(vcpu: number): boolean {
    const place = this.#cells.state(vcpu);
    return place === BOUNDARY || place === ABSENT;
  }
  /** A guest that has to wait for its other processors gives them up. */
  #awaitThread(vcpu: number): void {
    for (let waits = 0; this.#cells.state(vcpu) === ABSENT; waits++) {
      if (waits * NAP_MS > COMING_MS) {
        this.#stop ??= { vcpu, exit: { reason: "error", message: `The thread of vCPU ${vcpu} did not start.` } };
        return;
      }
      this.#cells.waitForState(vcpu, ABSENT, NAP_MS);
    }
  }
  whileHeld<T>(work: () => T): T {
    this.hold();
    try {
      return work();
    } finally {
      this.release();
    }
  }

  hasMail(): boolean {
    return this.#cells.bell !== this.#bell;
  }

  /** Not within a device's access. */
  serve(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    try {
      this.#bell = this.#cells.bell;
      for (let vcpu = 1; vcpu < this.#options.vcpus; vcpu++) {
        if (this.#cells.mail(vcpu) !== MAIL_POSTED) continue;
        this.letters++;
        this.#answer(vcpu);
        this.#cells.answerMail(vcpu);
      }
    } finally {
      this.#isServing = false;
    }
  }
  #answer(vcpu: number): void {
    const { bus, readMsr, writeMsr, failureOf } = this.#options;
    answerMail(this.#cells.mailWords(vcpu), {
      bus: bus(vcpu),
      readMsr: (index) => readMsr(vcpu, index),
      writeMsr: (index, value) => writeMsr(vcpu, index, value),
      stopped: (how) => {
        const exit: VcpuExit =
          how === "shutdown" ? { reason: "shutdown" } : { reason: "error", message: failureOf(vcpu) };
        this.#stop ??= { vcpu, exit };
      },
    });
  }

  takeStop(): { readonly vcpu: number; readonly exit: VcpuExit } | undefined {
    const stop = this.#stop;
    this.#stop = undefined;
    return stop;
  }

  isParked(vcpu: number): boolean {
    return this.#cells.isParked(vcpu);
  }
  setParked(vcpu: number, isParked: boolean): void {
    this.#cells.setParked(vcpu, isParked);
    this.#cells.wake(vcpu);
    this.#options.kick(vcpu);
  }
}
