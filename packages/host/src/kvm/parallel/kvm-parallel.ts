/**
 * vCPUs of KVM's in parallel: the first one runs in the machine's thread like one that is alone, each other one in a thread of
 * its own (kvm-vcpu-thread.ts), with the places, holds and letters of core's engine/parallel. Their time-stamp counters are
 * placed from here, before they go on and when a guest writes one.
 */
import type { MemorySegment, RamHolder, Vcpu, VcpuBus } from "@twinmetal/core";
import { RemoteVcpu, VcpuDesk } from "@twinmetal/core/engine";
import { constantMsr, ignoresMsrWrite, ParallelCells } from "@twinmetal/core/vcpu";
import { VcpuSignal } from "../kick-cells.ts";
import type { KvmVcpu } from "../kvm-vcpu.ts";
import type { LinuxCalls } from "../linux-calls.ts";
import { IA32_TSC, IA32_TSC_ADJUST } from "../vcpu-exits.ts";
import type { VcpuHandle } from "../vcpu-handle.ts";
import type { KvmVcpuThreadStart } from "./kvm-vcpu-thread.ts";
import { RestingKvmVcpu } from "./resting-kvm-vcpu.ts";

export interface KvmParallelOptions {
  /** Starts a thread with a KvmVcpuThread. */
  readonly startThread: (start: KvmVcpuThreadStart) => void;
  /** Why a vCPU can not go on, in whole sentences: asked when its thread says so. */
  readonly failureOf: (vcpu: number) => string;
  /** The word by which the machine's thread is woken. */
  readonly doorbell: Int32Array<SharedArrayBuffer>;
}

export interface KvmParallelPlace extends KvmParallelOptions {
  readonly calls: LinuxCalls;
  readonly cpus: number;
  readonly kickCells: SharedArrayBuffer;
  readonly vmFd: number;
  readonly handles: readonly VcpuHandle[];
  readonly runBytes: number;
  readonly holder: RamHolder;
  readonly segments: readonly MemorySegment[];
  readonly romBytes: number;
  readonly tscFrequencyHz: number;
  readonly cpuFeatures: readonly string[];
  readonly features: ReadonlySet<string>;
  /** As they are made: the first one, and one of this thread for each other, that never runs. */
  readonly vcpus: readonly KvmVcpu[];
}

export class KvmParallel {
  readonly desk: VcpuDesk;
  readonly #place: KvmParallelPlace;
  readonly #cells = new ParallelCells();
  readonly #signals: readonly VcpuSignal[];
  readonly #buses: VcpuBus[] = [];

  constructor(place: KvmParallelPlace) {
    this.#place = place;
    const { calls, cpus, kickCells, vcpus, failureOf } = place;
    this.#signals = Array.from({ length: cpus }, (_, vcpu) => new VcpuSignal(calls, kickCells, vcpu));
    this.desk = new VcpuDesk({
      ...{ cells: this.#cells, vcpus: cpus, failureOf, kick: (vcpu) => this.#kick(vcpu) },
      bus: (vcpu) => this.#buses[vcpu]!,
      readMsr: (vcpu, index) => this.#readMsr(vcpu, index),
      writeMsr: (vcpu, index, value) => this.#writeMsr(vcpu, index, value),
      // The first one's counter says where the others' are to be.
      beforeRelease: () => {
        for (const vcpu of vcpus) vcpu.settle();
      },
    });
  }

  /** The vCPU for the machine, and for all but the first one its thread. */
  connect(vcpu: number, kvm: KvmVcpu, bus: VcpuBus): Vcpu {
    this.#buses.push(bus);
    if (vcpu === 0) return kvm;
    const { handles, vmFd, runBytes, kickCells, holder, segments, romBytes, tscFrequencyHz, cpuFeatures, doorbell } =
      this.#place;
    const { vcpuFd, runAddress } = handles[vcpu]!;
    this.#place.startThread({
      ...{ vcpu, cells: this.#cells.buffer, kickCells, vmFd, vcpuFd, runAddress, runBytes, holder, segments },
      ...{ romBytes, tscFrequencyHz, cpuFeatures, doorbell },
    });
    return new RemoteVcpu({
      ...{ vcpu, cells: this.#cells, resting: new RestingKvmVcpu(vcpu, this.#cells, kvm) },
      kick: (index) => this.#kick(index),
      whileHeld: (work) => this.desk.whileHeld(work),
    });
  }

  /** Of the first one's run: false where nobody has asked. */
  serve(): boolean {
    if (!this.desk.hasMail()) return false;
    this.desk.serve();
    return true;
  }

  #kick(vcpu: number): void {
    this.#signals[vcpu]!.kick();
  }

  #readMsr(vcpu: number, index: number): bigint | undefined {
    const { features, vcpus } = this.#place;
    return this.#buses[vcpu]!.readMsr(index) ?? vcpus[vcpu]!.keptMsrs.read(index) ?? constantMsr(index, features);
  }
  #writeMsr(vcpu: number, index: number, value: bigint): boolean {
    const kvm = this.#place.vcpus[vcpu]!;
    const isDone = this.#buses[vcpu]!.writeMsr(index, value) || kvm.keptMsrs.write(index, value);
    if (isDone && (index === IA32_TSC || index === IA32_TSC_ADJUST)) kvm.forgetTsc();
    return isDone || ignoresMsrWrite(index, value);
  }
}
