/**
 * Threads of the vCPUs that run beside the machine's own: started from the machine's thread, with which they end. What
 * one of them fails of comes on a port of its own, since the machine's thread has no event loop.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { ParallelEngineOptions, VcpuThreadStart } from "@twinmetal/core/engine";
import type { KvmParallelOptions } from "../kvm/parallel/kvm-parallel.ts";
import type { KvmVcpuThreadStart } from "../kvm/parallel/kvm-vcpu-thread.ts";
import type { WorkerStart } from "./worker-protocol.ts";
import { workerUrl } from "./worker-url.ts";

export interface VcpuWorkerStart {
  readonly start: VcpuThreadStart;
  readonly translator: MessagePort | undefined;
  readonly failures: MessagePort;
  readonly epochNs: bigint;
  /** At the vCPU's number: where the thread writes its own (resources/thread-time.ts). */
  readonly threadIds: Int32Array;
}
export interface KvmVcpuWorkerStart {
  readonly start: KvmVcpuThreadStart;
  readonly failures: MessagePort;
  /** As VcpuWorkerStart's. */
  readonly threadIds: Int32Array;
}

/** The host's monotonic clock since `epochNs`: the same in all threads that have that. */
export const hostClock =
  (epochNs: bigint): (() => number) =>
  () =>
    Number(process.hrtime.bigint() - epochNs);

export class VcpuThreads {
  /** Of the machine's thread. */
  readonly doorbell: Int32Array<SharedArrayBuffer>;
  readonly #epochNs = process.hrtime.bigint();
  readonly #failures = new Map<number, MessagePort>();
  readonly #workers: Worker[] = [];
  readonly #translators: readonly MessagePort[];
  readonly #threadIds: Int32Array;

  constructor({ cells, vcpuTranslators = [] }: Pick<WorkerStart, "cells" | "vcpuTranslators">, threadIds: Int32Array) {
    this.#threadIds = threadIds;
    this.doorbell = new Int32Array(cells as SharedArrayBuffer, 0, 1);
    this.#translators = vcpuTranslators;
  }

  get forJit(): Pick<ParallelEngineOptions, "hostNs" | "startThread" | "failureOf" | "doorbell"> {
    const epochNs = this.#epochNs;
    return {
      ...{ hostNs: hostClock(epochNs), doorbell: this.doorbell, failureOf: this.#failureOf },
      startThread: (start) => {
        const translator = this.#translators[start.vcpu - 1];
        const failures = this.#failuresOf(start.vcpu);
        const data: VcpuWorkerStart = { start, translator, failures, epochNs, threadIds: this.#threadIds };
        this.#start("vcpu-worker", start.vcpu, data, [failures, ...(translator ? [translator] : [])]);
      },
    };
  }

  get forKvm(): KvmParallelOptions {
    return {
      ...{ doorbell: this.doorbell, failureOf: this.#failureOf },
      startThread: (start) => {
        const failures = this.#failuresOf(start.vcpu);
        this.#start(
          "kvm-vcpu-worker",
          start.vcpu,
          { start, failures, threadIds: this.#threadIds } satisfies KvmVcpuWorkerStart,
          [failures],
        );
      },
    };
  }

  /** Precondition: the vCPUs rest. Another engine goes on with the guest, and this thread is left with its code. */
  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #start(
    entry: string,
    vcpu: number,
    workerData: VcpuWorkerStart | KvmVcpuWorkerStart,
    transferList: MessagePort[],
  ): void {
    const worker = new Worker(workerUrl(entry), {
      ...{ workerData, transferList, execArgv: [], name: `twinmetal vCPU ${vcpu}` },
      resourceLimits: { maxYoungGenerationSizeMb: 6, maxOldGenerationSizeMb: 256 },
    });
    this.#workers.push(worker);
  }
  #failuresOf(vcpu: number): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#failures.set(vcpu, port1);
    return port2;
  }
  readonly #failureOf = (vcpu: number): string => {
    const port = this.#failures.get(vcpu);
    const message = port && (receiveMessageOnPort(port)?.message as string | undefined);
    return message ?? `The thread of vCPU ${vcpu} has ended, and no reason is known.`;
  };
}
