// A thread whose vCPU spins with interrupts off, for kicks.test.ts: each kick that it comes out for is counted, and told.
// workerData: cells (the vCPU's, for the kicker), counter (an Int32Array's memory), memoryBytes.
import { parentPort, workerData } from "node:worker_threads";
import { KvmEngine } from "../../packages/host/dist/kvm/kvm-engine.js";
import { probeKvm } from "../../packages/host/dist/kvm/probe.js";
import { notingBus, realMode } from "../../packages/host/dist/kvm/small-guest.js";

const { cells, counter } = workerData;
const { facts } = probeKvm({ hasSelfTest: false });
const tscFrequencyHz = Math.round(facts.tscKhz / 1000) * 1e6;
const engine = new KvmEngine({ memoryBytes: 2 ** 24, tscFrequencyHz, isCpuChecked: false, cells });
const vcpu = engine.createVcpu(0, notingBus());
engine.memory.write(0x1000, Uint8Array.of(0xeb, 0xfe)); // jmp .
vcpu.setState(realMode(0x1000));
const kicks = new Int32Array(counter);
parentPort.postMessage("ready");
for (;;) {
  const { reason } = vcpu.run(2 ** 30);
  if (reason !== "kick") continue;
  Atomics.add(kicks, 0, 1);
  Atomics.notify(kicks, 0);
}
