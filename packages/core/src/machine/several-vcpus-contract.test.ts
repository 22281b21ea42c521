import { describe, it } from "vitest";
import type { EngineFactory } from "../engine/contract-guest.ts";
import { JitEngine } from "../engine/jit-engine.ts";
import { severalVcpusContract } from "./several-vcpus-contract.ts";

const jit: EngineFactory = (options) => ({
  engine: new JitEngine({ tscFrequencyHz: 1e9, sharedMemory: false, tier: "interp", ...options }),
});

describe("a machine with several vCPUs on the jit engine, in wall time", () => {
  for (const { name, run } of severalVcpusContract({ from: jit, wallNs: () => performance.now() * 1e6 })) it(name, run);
});
