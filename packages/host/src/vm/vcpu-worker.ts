/** The entry of the thread of one of several vCPUs in parallel; it is ended from outside. */
import { workerData } from "node:worker_threads";
import { VcpuThread } from "@twinmetal/core/engine";
import { ownThreadId } from "../resources/thread-time.ts";
import { PortTranslator } from "./port-translator.ts";
import { hostClock, type VcpuWorkerStart } from "./vcpu-threads.ts";

const { start, translator, failures, epochNs, threadIds } = workerData as VcpuWorkerStart;
Atomics.store(threadIds, start.vcpu, ownThreadId());
const thread = new VcpuThread(start, {
  hostNs: hostClock(epochNs),
  translator: translator && new PortTranslator(translator),
});
try {
  thread.run();
} catch (error) {
  const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
  failures.postMessage(`The thread of vCPU ${start.vcpu} has ended: ${why}`);
  thread.failed();
}
