import { expect, test } from "vitest";
import { bareMachine } from "../interp/bare-machine.ts";
import { handlerSet } from "../interp/core.ts";
import { checkFeatureChoice, featureSet, featuresOfKind } from "./features.ts";

const HLT = 0xf4;
const UD = 6;
/** clac */
const CLAC = [0x0f, 0x01, 0xca];
const CR4_SMAP = 1n << 21n;

/** The vector of the exception that `code` raises, or undefined. */
function exceptionOf(code: readonly number[], cpuFeatures: readonly string[]): number | undefined {
  const m = bareMachine({}, { cpuFeatures });
  m.load([...code, HLT]);
  m.vcpu.run(100);
  const at = Number(m.state().rip) - 1 - 0x50000;
  return at >= 0 && at < 0x1000 ? at / 16 : undefined;
}

test("an instruction exists with its feature alone", () => {
  expect(exceptionOf(CLAC, [])).toBe(UD);
  expect(exceptionOf(CLAC, ["smap"])).toBeUndefined();
  expect(exceptionOf(CLAC, ["umip"])).toBe(UD);
});

test("a bit of CR4 exists with its feature alone", () => {
  // mov rax, cr4; or rax, SMAP; mov cr4, rax
  const code = [0x0f, 0x20, 0xe0, 0x48, 0x0d, 0, 0, 0x20, 0, 0x0f, 0x22, 0xe0];
  expect(CR4_SMAP).toBe(0x200000n);
  expect(exceptionOf(code, [])).toBe(13);
  expect(exceptionOf(code, ["smap"])).toBeUndefined();
});

test("two machines with other features side by side keep theirs", () => {
  const all = handlerSet();
  expect(exceptionOf(CLAC, ["smap"])).toBeUndefined();
  expect(exceptionOf(CLAC, [])).toBe(UD);
  expect(exceptionOf(CLAC, ["smap"])).toBeUndefined();
  expect(handlerSet()).toBe(all);
});

test("every opt-in feature can be added, all together too", () => {
  for (const name of featuresOfKind("opt-in")) expect(checkFeatureChoice([name])).toBeUndefined();
  const all = [...featuresOfKind("opt-in")].sort();
  expect(checkFeatureChoice(all)).toBeUndefined();
  expect(featureSet(all).has("sha")).toBe(true);
  expect(featureSet([]).has("sha")).toBe(false);
  expect(featureSet(["-movbe"]).has("movbe")).toBe(false);
});
