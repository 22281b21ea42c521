/**
 * The loop of a vCPU in a thread of its own: KVM runs it until it is kicked, then it takes what the machine's thread tells it,
 * and sleeps where it has halted or waits for a start-up message. All devices, its local APIC among them, are in the machine's
 * thread and reached by mail (core's engine/parallel).
 *
 * Its place is RUNNING while it may be in KVM_RUN, INSIDE while it waits for an answer, and BOUNDARY while it rests: the
 * machine's thread may then ask KVM about it. See docs/decisions/0019-vcpus-in-parallel-on-kvm.md.
 */
import type { MemorySegment, RamHolder, VcpuBus } from "@twinmetal/core";
import { BOUNDARY, DeviceMail, featureSet, INSIDE, ParallelCells, Ram, RUNNING } from "@twinmetal/core/vcpu";
import { codeAt } from "../guest-address.ts";
import { TscPlace } from "../guest-tsc.ts";
import { HostTime } from "../host-time.ts";
import { VcpuCells, VcpuSignal } from "../kick-cells.ts";
import { KvmVcpu } from "../kvm-vcpu.ts";
import type { LinuxCalls } from "../linux-calls.ts";
import { TurnTime } from "../turn-time.ts";
import { KICK_SIGNAL, VcpuHandle } from "../vcpu-handle.ts";
import { RESTS_HALTED } from "./resting-kvm-vcpu.ts";

/** What the machine's thread hands to a vCPU's; can be sent to a thread. The descriptors stay the engine's. */
export interface KvmVcpuThreadStart {
  readonly vcpu: number;
  readonly cells: SharedArrayBuffer;
  readonly kickCells: SharedArrayBuffer;
  readonly vmFd: number;
  readonly vcpuFd: number;
  readonly runAddress: bigint;
  readonly runBytes: number;
  readonly cpuFeatures: readonly string[];
  readonly tscFrequencyHz: number;
  readonly segments: readonly MemorySegment[];
  readonly romBytes: number;
  readonly holder: RamHolder;
  /** Counted up to wake the machine's thread where that sleeps: its first word. */
  readonly doorbell: Int32Array<SharedArrayBuffer>;
}

/** Runs last until a kick: a number that guest time never reaches. */
const NO_BUDGET = 2 ** 52;

/** One letter, and its answer. */
function send({ vcpu, doorbell }: KvmVcpuThreadStart, cells: ParallelCells, machine: VcpuSignal | undefined): void {
  cells.setState(vcpu, INSIDE);
  cells.postMail(vcpu);
  machine?.signal();
  Atomics.add(doorbell, 0, 1);
  Atomics.notify(doorbell, 0);
  cells.waitForAnswer(vcpu);
  cells.setState(vcpu, RUNNING);
}

/** Tells the machine's thread that this one is over. `calls`: undefined where there are none. */
export function vcpuFailed(start: KvmVcpuThreadStart, calls: LinuxCalls | undefined): void {
  const cells = new ParallelCells(start.cells);
  const machine = calls && new VcpuSignal(calls, start.kickCells);
  new DeviceMail(cells, start.vcpu, () => send(start, cells, machine)).failed();
  cells.setParked(start.vcpu, true);
  cells.setState(start.vcpu, BOUNDARY);
}

export class KvmVcpuThread {
  readonly #vcpu: number;
  readonly #start: KvmVcpuThreadStart;
  readonly #cells: ParallelCells;
  readonly #mail: DeviceMail;
  readonly #machine: VcpuSignal;
  readonly #kvm: KvmVcpu;

  /** In the thread that will run it. */
  constructor(start: KvmVcpuThreadStart, calls: LinuxCalls) {
    const { vcpu, kickCells, vmFd, vcpuFd, runAddress, runBytes, holder } = start;
    this.#vcpu = vcpu;
    this.#start = start;
    this.#cells = new ParallelCells(start.cells);
    this.#mail = new DeviceMail(this.#cells, vcpu, () => this.#send());
    this.#machine = new VcpuSignal(calls, kickCells);
    const handle = new VcpuHandle(calls, vmFd, vcpuFd, runAddress, runBytes);
    const memory = new Ram({
      buffer: holder.memory.buffer as SharedArrayBuffer,
      byteOffset: holder.ramOffset,
      segments: start.segments,
      romBytes: start.romBytes,
    });
    const kicks = new VcpuCells(kickCells, vcpu);
    // The engine places the counter, from the machine's thread.
    const place = new TscPlace();
    place.isFixed = true;
    this.#kvm = new KvmVcpu({
      ...{ index: 0, handle, kickedRun: handle.run, cells: kicks, timer: undefined, minRunNs: 0, memory },
      time: new TurnTime(new HostTime(() => performance.now() * 1e6), place, 1),
      bus: this.#bus(),
      features: featureSet(start.cpuFeatures),
      tscFrequencyHz: start.tscFrequencyHz,
      scratch: new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer, 0, 8),
      codeAt: (linear) => codeAt(handle, memory, linear),
    });
    calls.blockSignal(KICK_SIGNAL, true);
    kicks.join(calls.threadId());
    this.#cells.setState(vcpu, BOUNDARY);
  }

  /** Returns when the vCPU can not go on: why, in whole sentences. The thread is else ended from outside. */
  run(): string {
    const cells = this.#cells;
    const vcpu = this.#vcpu;
    for (;;) {
      const seen = cells.wakes(vcpu);
      if (this.#mustRest) {
        cells.waitForWake(vcpu, seen);
        continue;
      }
      cells.setState(vcpu, RUNNING);
      // Looked at again: whoever holds the vCPUs looks whether they are RUNNING afterwards.
      let isResting: boolean = this.#mustRest;
      if (!isResting) {
        this.#kvm.takeOver((cells.rest(vcpu) & RESTS_HALTED) !== 0);
        const end = this.#runUntilRest();
        if (end?.message !== undefined) return end.message;
        isResting = end !== undefined;
      }
      cells.setState(vcpu, BOUNDARY);
      if (isResting) cells.waitForWake(vcpu, seen);
    }
  }
  get #mustRest(): boolean {
    return this.#cells.isHeld || this.#cells.isParked(this.#vcpu);
  }

  /** RUNNING. Undefined: it has to rest; else there is nothing to run until it is woken. */
  #runUntilRest(): { readonly message?: string } | undefined {
    const kvm = this.#kvm;
    let idle: { readonly message?: string } | undefined;
    while (!idle && !this.#mustRest) {
      this.#takePins();
      const exit = kvm.run(NO_BUDGET);
      switch (exit.reason) {
        case "interrupt-window": {
          const vector = this.#mail.acknowledge();
          if (vector === undefined) kvm.requestInterrupt(false);
          else kvm.interrupt(vector);
          break;
        }
        case "halt":
          idle = {};
          break;
        case "shutdown":
          this.#cells.setParked(this.#vcpu, true);
          this.#mail.shutdown();
          idle = {};
          break;
        case "error":
          idle = { message: exit.message };
          break;
      }
    }
    this.#cells.setRest(this.#vcpu, kvm.handOver() ? RESTS_HALTED : 0);
    return idle;
  }

  #takePins(): void {
    const cells = this.#cells;
    const priority = cells.takeTaskPriority(this.#vcpu);
    if (priority !== undefined) this.#kvm.setTaskPriority(priority);
    if (cells.takeNmi(this.#vcpu)) this.#kvm.nmi();
    this.#kvm.requestInterrupt(cells.interrupt(this.#vcpu));
  }

  #send(): void {
    send(this.#start, this.#cells, this.#machine);
    this.#takePins();
  }

  #bus(): VcpuBus {
    const mail = this.#mail;
    return {
      readPort: (port, size) => mail.readPort(port, size),
      writePort: (port, size, value) => mail.writePort(port, size, value),
      readMmio: (gpa, size) => mail.readMmio(gpa, size),
      writeMmio: (gpa, size, value) => mail.writeMmio(gpa, size, value),
      readMsr: (index) => mail.readMsr(index),
      writeMsr: (index, value) => mail.writeMsr(index, value),
      readTsc: () => {
        throw new Error("the processor keeps this counter");
      },
      randomBits: () => mail.randomBits(),
    };
  }
}
