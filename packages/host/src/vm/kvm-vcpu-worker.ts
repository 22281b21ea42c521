/** The entry of the thread of one of several vCPUs that KVM runs in parallel; it is ended from outside. */
import { workerData } from "node:worker_threads";
import { isNoCalls, linuxCalls } from "../kvm/koffi-calls.ts";
import { KvmVcpuThread, vcpuFailed } from "../kvm/parallel/kvm-vcpu-thread.ts";
import { ownThreadId } from "../resources/thread-time.ts";
import type { KvmVcpuWorkerStart } from "./vcpu-threads.ts";

const { start, failures, threadIds } = workerData as KvmVcpuWorkerStart;
Atomics.store(threadIds, start.vcpu, ownThreadId());
const calls = linuxCalls();
let why: string;
try {
  why = isNoCalls(calls) ? `It cannot call KVM (${calls.detail}).` : new KvmVcpuThread(start, calls).run();
} catch (error) {
  why = error instanceof Error ? (error.stack ?? error.message) : String(error);
}
failures.postMessage(`The thread of vCPU ${start.vcpu} has ended: ${why}`);
vcpuFailed(start, isNoCalls(calls) ? undefined : calls);
