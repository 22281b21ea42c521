import { describe, it } from "vitest";
import type { EngineFactory } from "../engine/contract-guest.ts";
import { JitEngine, type Tier } from "../engine/jit-engine.ts";
import { guestContract } from "./guest-contract.ts";

const wallNs = (): number => performance.now() * 1e6;
const jit =
  (tier: Tier): EngineFactory =>
  (options) => ({ engine: new JitEngine({ tscFrequencyHz: 1e9, sharedMemory: false, tier, ...options }) });

describe("a machine on the jit engine, interpreting", () =>
  void it.each(guestContract({ from: jit("interp"), wallNs }))("$name", ({ run }) => run()));

describe("a machine that goes from interpreter to translator", () =>
  void it.each(guestContract({ from: jit("interp"), to: jit("jit"), wallNs }))("$name", ({ run }) => run()));
