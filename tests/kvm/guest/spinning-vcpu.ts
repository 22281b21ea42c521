/** A thread whose vCPU spins: `jmp $`. Counts in shared memory how often it has left the guest by a kick. */
import { workerData } from "node:worker_threads";
import { resetState, type VcpuBus } from "@twinmetal/core";
import { KvmEngine } from "../../../packages/host/src/kvm/kvm-engine.ts";
import { TSC_FREQUENCY_HZ } from "./engines.ts";

export interface SpinningStart {
  readonly cells: SharedArrayBuffer;
  /** 0: kicks that have arrived; 1: 1 from when the vCPU spins; 2: other ends of a run. */
  readonly counts: SharedArrayBuffer;
}

const LONG_NS = 2 ** 30;
const CODE = 0x1000;
const { cells, counts } = workerData as SpinningStart;
const counters = new Int32Array(counts);
const engine = new KvmEngine({ memoryBytes: 2 ** 20, tscFrequencyHz: TSC_FREQUENCY_HZ, isCpuChecked: false, cells });
const bus: VcpuBus = {
  readPort: () => 0xff,
  writePort: () => {},
  readMmio: () => 0,
  writeMmio: () => {},
  readMsr: () => undefined,
  writeMsr: () => false,
  readTsc: (retired) => BigInt(retired),
  randomBits: () => 0n,
};
const vcpu = engine.createVcpu(0, bus);
engine.memory.write(CODE, Uint8Array.of(0xeb, 0xfe));
const state = resetState(0);
vcpu.setState({ ...state, rip: BigInt(CODE), cs: { ...state.cs, selector: 0, base: 0n } });
Atomics.store(counters, 1, 1);
for (;;) {
  const { reason } = vcpu.run(LONG_NS);
  Atomics.add(counters, reason === "kick" ? 0 : 2, 1);
  Atomics.notify(counters, 0);
}
