/** For the tests of the nested guest: both engines as the contracts of core want them. */
import { JitEngine } from "@twinmetal/core";
import type { EngineFactory } from "../../../packages/core/src/engine/contract-guest.ts";
import { KvmEngine } from "../../../packages/host/src/kvm/kvm-engine.ts";
import { probeKvm } from "../../../packages/host/src/kvm/probe.ts";

const { facts, findings } = probeKvm({ hasSelfTest: false });
if (facts === undefined) throw new Error(findings[0]?.reason);

/** QEMU's processor cannot scale its counter: machines get the frequency that it has. */
export const TSC_FREQUENCY_HZ: number = Math.round(facts.tscKhz / 1000) * 1e6;

export const wallNs = (): number => performance.now() * 1e6;

export const onKvm: EngineFactory = (options) => {
  const engine = new KvmEngine({ tscFrequencyHz: TSC_FREQUENCY_HZ, isCpuChecked: false, ...options });
  return { engine, close: () => engine.close() };
};

export const onJit: EngineFactory = (options) => ({
  engine: new JitEngine({ tscFrequencyHz: TSC_FREQUENCY_HZ, ...options }),
});
