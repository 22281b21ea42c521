import { describe, it } from "vitest";
import type { EngineCheck, EngineFactory } from "../engine/contract-guest.ts";
import { JitEngine, type Tier } from "../engine/jit-engine.ts";
import { guestContract } from "./guest-contract.ts";

const wallNs = (): number => performance.now() * 1e6;
const jit =
  (tier: Tier): EngineFactory =>
  (options) => ({ engine: new JitEngine({ tscFrequencyHz: 1e9, sharedMemory: false, tier, ...options }) });

function runAll(checks: readonly EngineCheck[]): void {
  for (const { name, run } of checks) it(name, run);
}

describe("a machine on the jit engine, interpreting", () => runAll(guestContract({ from: jit("interp"), wallNs })));

describe("a machine that goes from interpreter to translator", () =>
  runAll(guestContract({ from: jit("interp"), to: jit("jit"), wallNs })));
