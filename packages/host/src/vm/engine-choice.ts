/**
 * Which engine a VM gets: "auto" takes kvm where this host's works, is quicker, and can run just this VM, and jit
 * otherwise; "kvm" says why it cannot be. What counts instructions (a virtual clock, recordings, a chosen tier) is jit's.
 */
import { chooseEngine } from "../engine/engine-explanation.ts";
import { type KvmFacts, type KvmProbe, probeKvm } from "../kvm/probe.ts";
import { VmError } from "./vm-error.ts";

export type EngineWish = "auto" | "jit" | "kvm";

export interface EngineQuestion {
  readonly wish: EngineWish | undefined;
  readonly clock: "wall" | "virtual";
  readonly cpuFeatures: readonly string[];
  readonly isRecorded: boolean;
  /** A tier of the jit engine was asked for. */
  readonly hasTier: boolean;
  /** Of a VM that exists; undefined where it can be chosen. */
  readonly tscFrequencyHz?: number;
  /** For tests. Default: asked now. */
  readonly probe?: (cpuFeatures: readonly string[]) => KvmProbe;
}

export interface EngineAnswer {
  readonly engine: "jit" | "kvm";
  /** What the time-stamp counter of a new VM has to be; undefined: as it is by default. */
  readonly tscFrequencyHz: number | undefined;
}

const JIT: EngineAnswer = { engine: "jit", tscFrequencyHz: undefined };
/** Within this KVM takes two frequencies for the same: its own tolerance, and the steps that CPUID can tell. */
const SAME_FREQUENCY_HZ = 500_000;
const STEP_HZ = 1_000_000;

/** Throws VmError "kvm-unavailable" where kvm was asked for by name and cannot be. */
export function engineFor(question: EngineQuestion): EngineAnswer {
  const { wish = "auto", cpuFeatures, tscFrequencyHz } = question;
  const why = needsJit(question);
  if (wish === "jit" || (wish === "auto" && why !== undefined)) return JIT;
  if (why !== undefined) throw refusal(`${why} Leave that out, or use the jit engine.`);
  const ask = question.probe ?? ((features) => probeKvm({ cpuFeatures: features, isBrief: wish === "auto" }));
  const probe = ask(cpuFeatures);
  if (chooseEngine(wish, probe) === "jit") {
    if (wish === "auto") return JIT;
    throw refusal(probe.findings.map(({ reason, remedy }) => `${reason} ${remedy}`).join(" "));
  }
  const facts = probe.facts!;
  const missing = probe.findings.find(({ code }) => code === "missing-features");
  if (missing) throw refusal(`${missing.reason} ${missing.remedy}`);
  const wrong = wrongFrequency(tscFrequencyHz, facts);
  if (wrong === undefined) return { engine: "kvm", tscFrequencyHz: facts.canScaleTsc ? undefined : nearestHz(facts) };
  if (wish === "auto") return JIT;
  throw refusal(wrong);
}

function needsJit({ clock, isRecorded, hasTier }: EngineQuestion): string | undefined {
  if (clock === "virtual") return "A virtual clock counts instructions, which the kvm engine does not.";
  if (isRecorded) return "A recording is by instructions, which the kvm engine does not count.";
  return hasTier ? "A tier (interp, jit) is a part of the jit engine." : undefined;
}

/** Why a VM with this frequency cannot run on this host's KVM. */
export function wrongFrequency(tscFrequencyHz: number | undefined, facts: KvmFacts): string | undefined {
  if (tscFrequencyHz === undefined || facts.canScaleTsc) return undefined;
  const hostHz = facts.tscKhz * 1000;
  if (Math.abs(hostHz - tscFrequencyHz) <= SAME_FREQUENCY_HZ) return undefined;
  return `The VM's time-stamp counter runs at ${tscFrequencyHz / 1e6} MHz, this host's at ${hostHz / 1e6} MHz, and its processor cannot scale it. Use the jit engine; a VM that is created with --engine kvm on this host gets this host's frequency, and runs on both.`;
}

const nearestHz = ({ tscKhz }: KvmFacts): number => Math.round((tscKhz * 1000) / STEP_HZ) * STEP_HZ;

function refusal(why: string): VmError {
  return new VmError("kvm-unavailable", `The VM cannot run on the kvm engine here. ${why}`);
}
