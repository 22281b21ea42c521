/**
 * What keeps a VM that exists from going on in another engine of this host, in words. Features, the time source and
 * KVM itself are asked about here; memory and devices by building the machine (engine-switch.ts). Paravirtual leaves of
 * CPUID are never in the way: none are offered on either engine (docs/decisions/0009-guest-time-on-kvm.md).
 */
import type { MachineSpec, MigrationObstacle } from "@twinmetal/core";
import { chooseEngine, type EngineKind } from "../engine/engine-explanation.ts";
import { type KvmProbe, probeKvm } from "../kvm/probe.ts";
import { wrongFrequency } from "./engine-choice.ts";

export interface EngineChange {
  readonly from: EngineKind;
  readonly to: EngineKind;
  readonly spec: Pick<MachineSpec, "clock" | "cpuFeatures" | "tscFrequencyHz">;
  readonly isRecording: boolean;
  /** For tests. Default: asked now. */
  readonly probe?: (cpuFeatures: readonly string[]) => KvmProbe;
}

export function engineObstacles(change: EngineChange): MigrationObstacle[] {
  const { from, to, spec, isRecording } = change;
  if (from === to) return [{ code: "engine", message: `The VM runs on the ${to} engine already.` }];
  return [
    ...(isRecording ? [RECORDING] : []),
    ...(to === "kvm" ? kvmObstacles(spec, (change.probe ?? ask)(spec.cpuFeatures)) : []),
  ];
}

const RECORDING: MigrationObstacle = {
  code: "recording",
  message: "The VM is being recorded, and a recording is of one run on the jit engine. End it first.",
};

const VIRTUAL_CLOCK: MigrationObstacle = {
  code: "clock",
  message: "The VM has a virtual clock, which counts instructions; the kvm engine does not count them.",
};

const ask = (cpuFeatures: readonly string[]): KvmProbe => probeKvm({ cpuFeatures });

function kvmObstacles({ clock, tscFrequencyHz }: EngineChange["spec"], probe: KvmProbe): MigrationObstacle[] {
  const { findings, facts } = probe;
  const isUsable = chooseEngine("kvm", probe) === "kvm";
  const missing = findings.filter(({ code }) => code === "missing-features");
  const others = isUsable ? [] : findings.filter(({ code }) => code !== "missing-features");
  const frequency = facts && wrongFrequency(tscFrequencyHz, facts);
  return [
    ...(clock === "virtual" ? [VIRTUAL_CLOCK] : []),
    ...others.map(({ reason, remedy }) => ({ code: "engine", message: `${reason} ${remedy}` }) as const),
    ...missing.map(({ reason, remedy }) => ({ code: "cpu-feature", message: `${reason} ${remedy}` }) as const),
    ...(frequency === undefined ? [] : [{ code: "clock", message: frequency } as const]),
  ];
}
