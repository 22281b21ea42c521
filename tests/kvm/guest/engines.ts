/** For the tests of the nested guest: both engines as the contracts of core want them. */
import { JitEngine } from "@twinmetal/core/engine";
import type { EngineFactory } from "../../../packages/core/src/engine/contract-guest.ts";
import { KvmEngine } from "../../../packages/host/src/kvm/kvm-engine.ts";
import { probeKvm } from "../../../packages/host/src/kvm/probe.ts";
import { LONG_MODE_TABLES, longMode, longModeTables, notingBus } from "../../../packages/host/src/kvm/small-guest.ts";
import { VcpuThreads } from "../../../packages/host/src/vm/vcpu-threads.ts";

const { facts, findings } = probeKvm({ hasSelfTest: false });
if (facts === undefined) throw new Error(findings[0]?.reason);

/** QEMU's processor cannot scale its counter: machines get the frequency that it has. */
export const TSC_FREQUENCY_HZ: number = Math.round(facts.tscKhz / 1000) * 1e6;

export const wallNs = (): number => performance.now() * 1e6;

/**
 * What Linux has to be without: XSAVE, where the outer machine's XSETBV does not reach KVM (deviations.ts). The guest sets
 * CR4.OSXSAVE and an XCR0 of 3, and halts.
 */
export function unusableFeatures(): readonly string[] {
  const engine = new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: TSC_FREQUENCY_HZ, isCpuChecked: false });
  try {
    const vcpu = engine.createVcpu(0, notingBus());
    const setsXcr0 = "0f20e0 0d00000400 0f22e0 31c9 31d2 b803000000 0f01d1 f4";
    engine.memory.write(0x1000, Buffer.from(setsXcr0.replaceAll(" ", ""), "hex"));
    engine.memory.write(LONG_MODE_TABLES, longModeTables());
    vcpu.setState(longMode(0x1000));
    vcpu.run(1e9);
    return vcpu.getState().xcr0 === 3n ? [] : ["-xsave", "-xsaveopt"];
  } finally {
    engine.close();
  }
}

export const onKvm: EngineFactory = (options) => {
  const engine = new KvmEngine({ tscFrequencyHz: TSC_FREQUENCY_HZ, isCpuChecked: false, ...options });
  return { engine, close: () => engine.close() };
};

/** Each vCPU in a thread of its own. */
export const onParallelKvm: EngineFactory = ({ cpus = 1, ...options }) => {
  const wakes = new SharedArrayBuffer(4);
  const threads = new VcpuThreads({ cells: wakes }, new Int32Array(new SharedArrayBuffer(4 * cpus)));
  const engine = new KvmEngine({
    ...{ tscFrequencyHz: TSC_FREQUENCY_HZ, isCpuChecked: false, ...options, cpus },
    parallel: threads.forKvm,
  });
  return { engine, close: () => void threads.end().then(() => engine.close()) };
};

export const onJit: EngineFactory = (options) => ({
  engine: new JitEngine({ tscFrequencyHz: TSC_FREQUENCY_HZ, ...options }),
});
