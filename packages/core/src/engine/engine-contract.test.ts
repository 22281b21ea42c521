import { describe, it } from "vitest";
import { type EngineFactory, engineContract } from "./engine-contract.ts";
import { JitEngine, type JitEngineOptions } from "./jit-engine.ts";
import { handOverContract } from "./state-contract.ts";

const jit =
  (options: Partial<JitEngineOptions>): EngineFactory =>
  (given) => ({ engine: new JitEngine({ tscFrequencyHz: 1e9, ...given, ...options }) });

const interpreter = jit({ tier: "interp" });
const translator = jit({ tier: "jit" });

describe("contract of the jit engine, interpreting", () =>
  void it.each(engineContract(interpreter))("$name", ({ run }) => run()));

describe("contract of the jit engine, translating everything", () =>
  void it.each(engineContract(translator))("$name", ({ run }) => run()));

describe("from interpreter to translator", () =>
  void it.each(handOverContract(interpreter, translator))("$name", ({ run }) => run()));
