import { describe, expect, it } from "vitest";
import { bareMachine } from "../interp/bare-machine.ts";
import { GuestClock } from "../machine/guest-clock.ts";
import { TimeStampCounter } from "../machine/time-stamp-counter.ts";

/** rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rbx;  then the same into %rcx;  hlt */
const READ_TWICE = [
  ...[0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x89, 0xc3],
  ...[0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x89, 0xc1, 0xf4],
];

/** What both reads must give, and what they gave, for a clock that `prepare` has set. */
function reads(
  hz: number,
  psPerInstruction: number,
  prepare: (clock: GuestClock, tsc: TimeStampCounter) => void,
  code = READ_TWICE,
) {
  let asked = 0;
  const machine = bareMachine({
    readTsc: (retired) => tsc.at(retired),
    tscLine: () => {
      asked++;
      return tsc.line();
    },
    writeMsr: (index, value) => tsc.writeMsr(index, value),
  });
  const clock = new GuestClock({
    epochSeconds: 0,
    tscFrequencyHz: hz,
    retired: () => machine.vcpu.retired,
    psPerInstruction,
  });
  const tsc = new TimeStampCounter(clock, hz, () => {});
  prepare(clock, tsc);
  machine.load(code);
  const before = machine.vcpu.retired;
  machine.vcpu.run(100);
  const { gpr } = machine.state();
  return { asked, got: [gpr[3], gpr[1]], wanted: [tsc.at(before + 1), tsc.at(before + 5)] };
}

describe("RDTSC", () => {
  it.each([
    [1_000_000_000, 1000],
    [2_999_999_000, 1],
    [8_000_000_000, 999_983],
    [1_234_567_000, 7],
  ])("follows the clock's line at %i Hz and %i ps, asking once in a run", (hz, ps) => {
    for (const ns of [0, 1, 999_999_999, 1_000_000_000, 86_400_123_456_789, 2 ** 52]) {
      const { asked, got, wanted } = reads(hz, ps, (clock) => clock.skipTo(ns));
      expect({ ns, got }).toEqual({ ns, got: wanted });
      expect(asked).toBe(1);
    }
  });

  it("is what was written, from the next instruction on", () => {
    // rdtsc; mov $0x10, %ecx; mov $5, %eax; xor %edx, %edx; wrmsr; rdtsc; mov %rax, %rcx; hlt
    const code = [
      ...[0x0f, 0x31, 0xb9, 0x10, 0, 0, 0, 0xb8, 5, 0, 0, 0, 0x31, 0xd2, 0x0f, 0x30],
      ...[0x0f, 0x31, 0x48, 0x89, 0xc1, 0xf4],
    ];
    const { asked, got } = reads(1_000_000_000, 1000, (clock) => clock.skipTo(1000), code);
    expect(got[1]).toBe(6n);
    expect(asked).toBe(2);
  });

  it("has the written adjustment, modulo 2^64", () => {
    const { got, wanted } = reads(3_000_000_000, 333, (clock, tsc) => {
      clock.skipTo(5_000_000_000);
      tsc.writeMsr(0x10, 2n ** 64n - 2n);
    });
    expect(got).toEqual(wanted);
  });

  it("follows time that moved between two runs, though nobody asks for it again", () => {
    const clock = new GuestClock({
      epochSeconds: 0,
      tscFrequencyHz: 1_000_000_000,
      retired: () => machine.vcpu.retired,
    });
    const tsc = new TimeStampCounter(clock, 1_000_000_000, () => {});
    const machine = bareMachine({ readTsc: (retired) => tsc.at(retired), tscLine: () => tsc.line() });
    // rdtsc; jmp to itself
    machine.load([0x0f, 0x31, 0xeb, 0xfc]);
    for (const ns of [0, 5_000_000_000, 2 ** 52, 2 ** 52 + 7]) {
      clock.skipTo(ns);
      const before = machine.vcpu.retired;
      machine.vcpu.run(2);
      const { gpr } = machine.state();
      expect((gpr[2]! << 32n) | gpr[0]!).toBe(tsc.at(before + 1));
    }
  });
});
