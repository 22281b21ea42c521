import { describe, expect, it } from "vitest";
import type { KvmFacts, KvmFinding, KvmProbe } from "../kvm/probe.ts";
import { type EngineAnswer, type EngineQuestion, engineFor } from "./engine-choice.ts";
import { VmError } from "./vm-error.ts";

const FACTS: KvmFacts = {
  apiVersion: 12,
  hostKernel: "6.1",
  module: "kvm_intel",
  tscKhz: 2_596_132,
  canScaleTsc: false,
  missingFeatures: [],
  selfTest: undefined,
};
const GOOD: KvmProbe = { isUsable: true, isWorthwhile: true, findings: [], facts: FACTS };
const SLOW_FINDING: KvmFinding = { code: "slow", reason: "It interprets.", remedy: "Use jit." };
const SLOW: KvmProbe = { ...GOOD, isWorthwhile: false, findings: [SLOW_FINDING] };
const ABSENT: KvmProbe = {
  isUsable: false,
  isWorthwhile: false,
  findings: [{ code: "no-device", reason: "There is no /dev/kvm.", remedy: "Load kvm_intel." }],
  facts: undefined,
};

function answer(probe: KvmProbe, question: Partial<EngineQuestion> = {}): EngineAnswer {
  return engineFor({
    wish: "auto",
    clock: "wall",
    cpuFeatures: [],
    isRecorded: false,
    hasTier: false,
    probe: () => probe,
    ...question,
  });
}
const refused = (probe: KvmProbe, question: Partial<EngineQuestion> = {}): VmError => {
  try {
    answer(probe, { wish: "kvm", ...question });
  } catch (error) {
    if (error instanceof VmError) return error;
  }
  throw new Error("not refused");
};

describe("auto", () => {
  it("is kvm where that works and is quicker, with the host's time-stamp counter where it cannot be scaled", () => {
    expect(answer(GOOD)).toEqual({ engine: "kvm", tscFrequencyHz: 2_596_000_000 });
    expect(answer({ ...GOOD, facts: { ...FACTS, canScaleTsc: true } })).toEqual({
      engine: "kvm",
      tscFrequencyHz: undefined,
    });
  });

  it.each([
    ["kvm is slow", SLOW, {}],
    ["there is none", ABSENT, {}],
    ["the clock counts instructions", GOOD, { clock: "virtual" as const }],
    ["the run is recorded", GOOD, { isRecorded: true }],
    ["a tier is asked for", GOOD, { hasTier: true }],
    ["the VM's time-stamp counter has another frequency", GOOD, { tscFrequencyHz: 1e9 }],
    ["jit is asked for", GOOD, { wish: "jit" as const }],
  ])("is jit where %s", (_what, probe, question) => {
    expect(answer(probe, question).engine).toBe("jit");
  });

  it("asks nothing where the answer is known", () => {
    const probe = (): never => {
      throw new Error("asked");
    };
    expect(answer(GOOD, { clock: "virtual", probe }).engine).toBe("jit");
    expect(answer(GOOD, { wish: "jit", probe }).engine).toBe("jit");
  });
});

describe("kvm by name", () => {
  it("is taken where it is slow, too", () => {
    expect(answer(SLOW, { wish: "kvm" }).engine).toBe("kvm");
  });

  it("is refused with the reason and what to do", () => {
    expect(refused(ABSENT)).toMatchObject({
      code: "kvm-unavailable",
      message: "The VM cannot run on the kvm engine here. There is no /dev/kvm. Load kvm_intel.",
    });
    expect(refused(GOOD, { clock: "virtual" }).message).toMatch(/virtual clock/);
    expect(refused(GOOD, { isRecorded: true }).message).toMatch(/recording/);
    expect(refused(GOOD, { hasTier: true }).message).toMatch(/tier/);
    expect(refused(GOOD, { tscFrequencyHz: 1e9 }).message).toMatch(/1000 MHz.*2596\.132 MHz/);
  });

  it("is refused where the guest would not get its CPU", () => {
    const finding: KvmFinding = { code: "missing-features", reason: "bmi2 is missing.", remedy: "Leave it out." };
    expect(refused({ ...GOOD, isWorthwhile: false, findings: [finding] }).message).toMatch(/bmi2 is missing\. Leave/);
  });
});
