// What every engine keeps, on KVM; and runs that one engine begins and the other ends.

import { describe, it } from "vitest";
import type { EngineCheck } from "../../../packages/core/src/engine/contract-guest.ts";
import { debugContract } from "../../../packages/core/src/engine/debug-contract.ts";
import { engineContract } from "../../../packages/core/src/engine/engine-contract.ts";
import { handOverContract } from "../../../packages/core/src/engine/state-contract.ts";
import { onJit, onKvm } from "./engines.ts";

function runAll(checks: readonly EngineCheck[]): void {
  for (const { name, run } of checks) it(name, run);
}

describe("contract of the kvm engine", () => runAll(engineContract(onKvm)));
describe("debugging on the kvm engine", () => runAll(debugContract(onKvm)));
describe("from jit to kvm", () => runAll(handOverContract(onJit, onKvm)));
describe("from kvm to jit", () => runAll(handOverContract(onKvm, onJit)));
