// Several vCPUs in parallel on KVM: all that several-vcpus.ts does in turn; saved and restored in either engine.

import { describe, it } from "vitest";
import type { EngineCheck } from "../../../packages/core/src/engine/contract-guest.ts";
import { severalVcpusContract } from "../../../packages/core/src/machine/several-vcpus-contract.ts";
import { onJit, onParallelKvm, TSC_FREQUENCY_HZ, wallNs } from "./engines.ts";

const common = { wallNs, tscFrequencyHz: TSC_FREQUENCY_HZ };
const LIMIT_MS = 600_000;

function runAll(checks: readonly EngineCheck[]): void {
  for (const { name, run } of checks) it(name, run, LIMIT_MS);
}

const passing = (checks: readonly EngineCheck[]): EngineCheck[] => checks.filter(({ name }) => /restored/.test(name));

describe("in parallel on kvm", () => runAll(severalVcpusContract({ ...common, from: onParallelKvm })));
describe("from parallel kvm to jit", () =>
  runAll(passing(severalVcpusContract({ ...common, from: onParallelKvm, to: onJit }))));
describe("from jit to parallel kvm", () =>
  runAll(passing(severalVcpusContract({ ...common, from: onJit, to: onParallelKvm }))));
