/**
 * Threads of the vCPUs that run beside the machine's own: started from the machine's thread, with which they end. What
 * one of them fails of comes on a port of its own, since the machine's thread has no event loop.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { ParallelEngineOptions, VcpuThreadStart } from "@twinmetal/core/engine";
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

/** The host's monotonic clock since `epochNs`: the same in all threads that have that. */
export const hostClock =
  (epochNs: bigint): (() => number) =>
  () =>
    Number(process.hrtime.bigint() - epochNs);

export function vcpuThreads(
  { cells, vcpuTranslators = [] }: Pick<WorkerStart, "cells" | "vcpuTranslators">,
  threadIds: Int32Array,
): Pick<ParallelEngineOptions, "hostNs" | "startThread" | "failureOf" | "doorbell"> {
  const epochNs = process.hrtime.bigint();
  const failures = new Map<number, MessagePort>();
  return {
    hostNs: hostClock(epochNs),
    doorbell: new Int32Array(cells as SharedArrayBuffer, 0, 1),
    failureOf: (vcpu) => {
      const port = failures.get(vcpu);
      return String((port && receiveMessageOnPort(port)?.message) ?? "no reason is known");
    },
    startThread: (start) => {
      const { port1, port2 } = new MessageChannel();
      failures.set(start.vcpu, port1);
      const translator = vcpuTranslators[start.vcpu - 1];
      new Worker(workerUrl("vcpu-worker"), {
        workerData: { start, translator, failures: port2, epochNs, threadIds } satisfies VcpuWorkerStart,
        transferList: [port2, ...(translator ? [translator] : [])],
        execArgv: [],
        resourceLimits: { maxYoungGenerationSizeMb: 6, maxOldGenerationSizeMb: 256 },
        name: `twinmetal vCPU ${start.vcpu}`,
      });
    },
  };
}
