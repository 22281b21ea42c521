// The tiers of the CPU as subjects of the rig.

import { featuresOfKind } from "../../packages/core/src/cpu/features.ts";
import { type CoreHost, createCore } from "../../packages/core/src/interp/core.ts";
import { createEvaluatorCore } from "../../packages/core/src/interp/evaluator-cpu.ts";
import { type HandlerSet, makeHandlers } from "../../packages/core/src/isa/handlers.ts";
import { type InstructionRecord, RECORDS } from "../../packages/core/src/isa/record.ts";
import { RegionTier } from "../../packages/core/src/jit/tier.ts";
import { LocalTranslator } from "../../packages/core/src/jit/translator.ts";
import type { CpuSubject } from "./subject.ts";
import { tierSubject } from "./tier-subject.ts";
import { RAM_BYTES } from "./user-machine.ts";

/** No device is there, and no case can reach one: user mode has no ports, and only RAM is mapped. */
const NO_DEVICES: CoreHost = {
  mmioRead: () => {},
  mmioWrite: () => {},
  portRead: () => 0xffff_ffff,
  portWrite: () => {},
  readMsr: () => 1,
  writeMsr: () => 1,
  readTsc: () => 0,
  cpuid: () => {},
} as unknown as CoreHost;

/** The compiled core, with the opt-in features too; of other records when given. */
export function interpreter(records: readonly InstructionRecord[] = RECORDS): CpuSubject {
  const handlers: HandlerSet = makeHandlers(records);
  return tierSubject("interpreter", createCore(RAM_BYTES, NO_DEVICES, false, handlers));
}

/** The reference evaluator. */
export function evaluator(): CpuSubject {
  return tierSubject("evaluator", createEvaluatorCore(RAM_BYTES, NO_DEVICES, false, makeHandlers(RECORDS)));
}

/** Translated to a region at the first execution; what regions leave is the interpreter's. */
export function translated(): CpuSubject {
  const core = createCore(RAM_BYTES, NO_DEVICES, false);
  const tier = new RegionTier(core, {
    heat: 0,
    isImmediate: true,
    cpuFeatures: featuresOfKind("opt-in"),
    translator: new LocalTranslator(),
  });
  const run = (budget: number): number => {
    tier.poll();
    return core.exports.run(budget);
  };
  return tierSubject("translated", { ...core, exports: { ...core.exports, run } }, "budget");
}
