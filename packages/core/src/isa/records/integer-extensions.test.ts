import { describe, expect, test } from "vitest";
import { type BareMachine, bareMachine, HANDLERS } from "../../interp/bare-machine.ts";
import { createCore } from "../../interp/core.ts";
import { createEvaluatorCore } from "../../interp/evaluator-cpu.ts";
import { legacyMachine } from "../../interp/legacy-machine.ts";

const HLT = 0xf4;
const UD = 6;
const GP = 13;
const FSGSBASE = 1n << 16n;
const OSXSAVE = 1n << 18n;
const CF = 1n;
const RBX = 3;

const TIERS = { interpreter: createCore, evaluator: createEvaluatorCore };

describe.each(Object.entries(TIERS))("what the host's CPU does not show, %s", (_, create) => {
  const machine = (cpuFeatures: readonly string[] = [], bus = {}): BareMachine =>
    bareMachine(bus, { createCore: create, cpuFeatures });

  /** The vector of the exception that code raises, or undefined after its HLT. */
  function run(m: BareMachine, code: readonly number[]): number | undefined {
    m.load([...code, HLT]);
    m.change((s) => {
      s.halted = false;
    });
    m.vcpu.run(100);
    const vector = (Number(m.state().rip) - 1 - HANDLERS) / 16;
    return vector >= 0 && vector < 256 ? vector : undefined;
  }

  test("RDRAND and RDSEED give the machine's random bits, and CF", () => {
    let next = 0x1122_3344_5566_7788n;
    const m = machine(["rdseed"], { randomBits: () => next++ });
    // rdrand rbx; rdseed ecx; rdrand dx
    expect(run(m, [0x48, 0x0f, 0xc7, 0xf3, 0x0f, 0xc7, 0xf9, 0x66, 0x0f, 0xc7, 0xf2])).toBeUndefined();
    const { gpr, rflags } = m.state();
    expect(gpr[RBX]).toBe(0x1122_3344_5566_7788n);
    expect(gpr[1]).toBe(0x5566_7789n);
    expect((gpr[2] ?? 0n) & 0xffffn).toBe(0x778an);
    expect(rflags & 0x8d5n).toBe(CF);
    expect(run(machine(), [0x0f, 0xc7, 0xf9])).toBe(UD);
    expect(run(m, [0xf3, 0x0f, 0xc7, 0xf3])).toBe(UD);
  });

  test("FS and GS bases need CR4.FSGSBASE and a canonical address", () => {
    const m = machine();
    const wrfsbase = [0xf3, 0x48, 0x0f, 0xae, 0xd3];
    expect(run(m, wrfsbase)).toBe(UD);
    m.change((s) => {
      s.cr4 |= FSGSBASE;
      s.gpr[RBX] = 0xffff_8000_1234_5678n;
    });
    // wrfsbase rbx; wrgsbase ebx; rdfsbase rcx; rdgsbase rdx
    const code = [...wrfsbase, 0xf3, 0x0f, 0xae, 0xdb, 0xf3, 0x48, 0x0f, 0xae, 0xc1, 0xf3, 0x48, 0x0f, 0xae, 0xca];
    expect(run(m, code)).toBeUndefined();
    expect(m.state().fs.base).toBe(0xffff_8000_1234_5678n);
    expect(m.state().gpr.slice(1, 3)).toEqual([0xffff_8000_1234_5678n, 0x1234_5678n]);
    m.change((s) => {
      s.gpr[RBX] = 0x8000_0000_0000n;
    });
    expect(run(m, wrfsbase)).toBe(GP);
    expect(run(machine(["-fsgsbase"]), wrfsbase)).toBe(UD);
  });

  test("MONITOR and MWAIT are hints of CPL 0 that check their operands", () => {
    const m = machine(["monitor"]);
    const set = (rax: bigint, rcx: bigint): void =>
      m.change((s) => {
        s.gpr[0] = rax;
        s.gpr[1] = rcx;
      });
    const [monitor, mwait] = [
      [0x0f, 0x01, 0xc8],
      [0x0f, 0x01, 0xc9],
    ] as const;
    set(0x1000n, 0n);
    expect(run(m, [...monitor, ...mwait])).toBeUndefined();
    set(0x1000n, 1n);
    expect(run(m, mwait)).toBeUndefined();
    expect(run(m, monitor)).toBe(GP);
    set(0x1000n, 2n);
    expect(run(m, mwait)).toBe(GP);
    set(0x8000_0000_0000n, 0n);
    expect(run(m, monitor)).toBe(GP);
    expect(run(machine(), monitor)).toBe(UD);
  });

  test("XGETBV of register 1 is there with its feature", () => {
    for (const features of [[], ["xgetbv1"]]) {
      const m = machine(features);
      m.change((s) => {
        s.cr4 |= OSXSAVE;
        s.xcr0 = 3n;
        s.gpr[1] = 1n;
      });
      expect(run(m, [0x0f, 0x01, 0xd0])).toBe(features.length ? undefined : GP);
      if (features.length) expect(m.state().gpr[0]).toBe(3n);
    }
  });

  test("F3 BC without BMI1 is BSF, and VEX without it #UD", () => {
    const tzcnt = [0xf3, 0x0f, 0xbc, 0xcb];
    for (const [features, expected] of [
      [[], 32n],
      [["-bmi1"], 7n],
    ] as const) {
      const m = machine(features);
      m.change((s) => {
        s.gpr[RBX] = 0n;
        s.gpr[1] = 7n;
      });
      expect(run(m, tzcnt)).toBeUndefined();
      expect(m.state().gpr[1]).toBe(expected);
    }
    // blsr ecx, ebx
    const blsr = [0xc4, 0xe2, 0x70, 0xf3, 0xcb];
    expect(run(machine(), blsr)).toBeUndefined();
    expect(run(machine(["-bmi1"]), blsr)).toBe(UD);
  });

  test("outside 64-bit mode C4 is VEX in protected mode, and LES where it names memory", () => {
    const m = legacyMachine({}, { createCore: create });
    m.change((s) => {
      s.gpr[RBX] = 12n;
    });
    // shlx-like: blsr ecx, ebx, with W and the upper bit of vvvv, which are ignored
    m.load([0xc4, 0xe2, 0xf0, 0xf3, 0xcb, HLT]);
    m.vcpu.run(10);
    expect(m.state().gpr[1]).toBe(8n);
  });
});
