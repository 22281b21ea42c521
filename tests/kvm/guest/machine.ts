// A whole machine with the board's devices on KVM: boot, input, pause, reset, crash, save and restore, into either engine.

import { describe, it } from "vitest";
import type { EngineCheck } from "../../../packages/core/src/engine/contract-guest.ts";
import { guestContract } from "../../../packages/core/src/machine/guest-contract.ts";
import { onJit, onKvm, TSC_FREQUENCY_HZ, wallNs } from "./engines.ts";

const common = { wallNs, tscFrequencyHz: TSC_FREQUENCY_HZ };
const LIMIT_MS = 120_000;

function runAll(checks: readonly EngineCheck[]): void {
  for (const { name, run } of checks) it(name, run, LIMIT_MS);
}

/** Between different engines: what passes from one machine to another. */
const passing = (checks: readonly EngineCheck[]): EngineCheck[] => checks.filter(({ name }) => /restored/.test(name));

describe("on kvm", () => runAll(guestContract({ ...common, from: onKvm })));
describe("from kvm to jit", () => runAll(passing(guestContract({ ...common, from: onKvm, to: onJit }))));
describe("from jit to kvm", () => runAll(passing(guestContract({ ...common, from: onJit, to: onKvm }))));
