// Several vCPUs on KVM, in turn and in parallel: start-up, interrupts between them, changed code, crashes; saved and restored in
// either engine.

import { describe, it } from "vitest";
import type { EngineCheck } from "../../../packages/core/src/engine/contract-guest.ts";
import { severalVcpusContract } from "../../../packages/core/src/machine/several-vcpus-contract.ts";
import { onJit, onKvm, onParallelKvm, TSC_FREQUENCY_HZ, wallNs } from "./engines.ts";

const common = { wallNs, tscFrequencyHz: TSC_FREQUENCY_HZ };
const LIMIT_MS = 120_000;

function runAll(checks: readonly EngineCheck[]): void {
  for (const { name, run } of checks) it(name, run, LIMIT_MS);
}

const passing = (checks: readonly EngineCheck[]): EngineCheck[] => checks.filter(({ name }) => /restored/.test(name));

describe("several vCPUs on kvm", () => runAll(severalVcpusContract({ ...common, from: onKvm })));
/** Each thread of theirs takes seconds to come on QEMU's processor: the rest is parallel-vcpus.ts's. */
describe("several vCPUs in parallel on kvm", () =>
  runAll(
    severalVcpusContract({ ...common, from: onParallelKvm }).filter(({ name }) => /^2 vCPUs|wake|crash/.test(name)),
  ));
describe("several vCPUs from kvm to jit", () =>
  runAll(passing(severalVcpusContract({ ...common, from: onKvm, to: onJit }))));
describe("several vCPUs from jit to kvm", () =>
  runAll(passing(severalVcpusContract({ ...common, from: onJit, to: onKvm }))));
