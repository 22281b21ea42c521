import { describe, it } from "vitest";
import { debugContract } from "./debug-contract.ts";
import { type EngineCheck, type EngineFactory, engineContract } from "./engine-contract.ts";
import { JitEngine, type JitEngineOptions } from "./jit-engine.ts";
import { handOverContract } from "./state-contract.ts";

const jit =
  (options: Partial<JitEngineOptions>): EngineFactory =>
  (given) => ({ engine: new JitEngine({ tscFrequencyHz: 1e9, ...given, ...options }) });

const interpreter = jit({ tier: "interp" });
const translator = jit({ tier: "jit" });

function runAll(checks: readonly EngineCheck[]): void {
  for (const { name, run } of checks) it(name, run);
}

describe("contract of the jit engine, interpreting", () => runAll(engineContract(interpreter)));

describe("contract of the jit engine, translating everything", () => runAll(engineContract(translator)));

describe("debugging on the jit engine, interpreting", () => runAll(debugContract(interpreter)));

describe("debugging on the jit engine, translating everything", () => runAll(debugContract(translator)));

describe("from interpreter to translator", () => runAll(handOverContract(interpreter, translator)));
