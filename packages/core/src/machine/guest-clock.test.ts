import { expect, test } from "vitest";
import { GuestClock, MAX_BUDGET } from "./guest-clock.ts";

function clockAt(options: { psPerInstruction?: number; tscFrequencyHz?: number; onArmed?: (ns: number) => void } = {}) {
  const cpu = { retired: 0 };
  const clock = new GuestClock({
    epochSeconds: 1_700_000_000,
    tscFrequencyHz: 2_000_000_000,
    retired: () => cpu.retired,
    ...options,
  });
  return { cpu, clock };
}

test("time is the exact function of the count, wherever the base was moved", () => {
  for (const ps of [1, 333, 1000, 16_667, 1_000_000]) {
    const { cpu, clock } = clockAt({ psPerInstruction: ps });
    for (let i = 0; i < 500; i++) {
      cpu.retired += (i * 7919) % 100_003;
      if (i % 3 === 0) clock.rebase();
      expect(clock.nowNs()).toBe(Number((BigInt(cpu.retired) * BigInt(ps)) / 1000n));
    }
  }
});

test("the budget to a deadline is the first count at which the deadline is reached", () => {
  for (const ps of [1, 7, 999, 1000, 1001, 16_667]) {
    const { cpu, clock } = clockAt({ psPerInstruction: ps });
    for (const ahead of [0, 1, 2, 17, 1000, 12_345]) {
      cpu.retired += 1237;
      const deadline = clock.nowNs() + ahead;
      const budget = clock.instructionsUntil(deadline);
      cpu.retired += budget;
      expect(clock.nowNs()).toBeGreaterThanOrEqual(deadline);
      if (budget > 0) {
        cpu.retired--;
        expect(clock.nowNs()).toBeLessThan(deadline);
        cpu.retired++;
      }
      clock.rebase();
    }
  }
});

test("a far deadline asks for the largest budget", () => {
  const { clock } = clockAt();
  expect(clock.instructionsUntil(Number.POSITIVE_INFINITY)).toBe(MAX_BUDGET);
  expect(clock.instructionsUntil(2 ** 52)).toBe(MAX_BUDGET);
});

test("the time-stamp counter is exact, also after a month", () => {
  for (const hz of [100_000_000, 1_193_182_000, 2_999_999_000, 8_000_000_000]) {
    const { cpu, clock } = clockAt({ tscFrequencyHz: hz });
    for (const ns of [0, 1, 999_999_999, 1_000_000_000, 86_400_123_456_789, 2_600_000_000_000_001]) {
      clock.skipTo(ns);
      expect(clock.tsc(cpu.retired)).toBe((BigInt(ns) * BigInt(hz)) / 1_000_000_000n);
    }
  }
});

test("nsOfTsc is the first moment at which the counter has the value", () => {
  const { cpu, clock } = clockAt({ tscFrequencyHz: 2_999_999_000 });
  for (const tsc of [1n, 2n, 3n, 1_000_000_007n, 2n ** 40n + 1n]) {
    const ns = clock.nsOfTsc(tsc);
    const { clock: other } = clockAt({ tscFrequencyHz: 2_999_999_000 });
    other.skipTo(ns - 1);
    expect(other.tsc(0)).toBeLessThan(tsc);
    clock.skipTo(ns);
    expect(clock.tsc(cpu.retired)).toBeGreaterThanOrEqual(tsc);
  }
  expect(clock.nsOfTsc(2n ** 64n - 1n)).toBeGreaterThan(2 ** 52);
});

test("timers fire in order of deadline, then of creation", () => {
  const { cpu, clock } = clockAt();
  const fired: string[] = [];
  const make = (name: string) => clock.timer((at) => fired.push(`${name}@${at}`));
  const [a, b, c, d] = [make("a"), make("b"), make("c"), make("d")];
  d.arm(50);
  b.arm(100);
  a.arm(100);
  c.arm(60);
  c.disarm();
  expect(c.deadlineNs).toBeUndefined();
  expect(clock.nextDueNs).toBe(50);
  cpu.retired = 99;
  expect(clock.fireDue()).toBe(true);
  expect(fired).toEqual(["d@50"]);
  cpu.retired = 100;
  clock.fireDue();
  expect(fired).toEqual(["d@50", "a@100", "b@100"]);
  expect(clock.fireDue()).toBe(false);
});

test("a callback that arms in the past lets one nanosecond pass", () => {
  const { cpu, clock } = clockAt();
  let count = 0;
  const timer = clock.timer((at) => {
    count++;
    timer.arm(at + 10);
  });
  timer.arm(10);
  cpu.retired = 1000;
  clock.fireDue();
  clock.fireDue();
  expect(count).toBe(1);
  expect(timer.deadlineNs).toBe(20);
  cpu.retired = 1001;
  clock.fireDue();
  expect(count).toBe(2);
});

test("tells of each deadline, so that a running budget can be cut", () => {
  const earlier: number[] = [];
  const { clock } = clockAt({ onArmed: (ns) => earlier.push(ns) });
  const [a, b] = [clock.timer(() => {}), clock.timer(() => {})];
  a.arm(100);
  b.arm(200);
  void clock.nextDueNs;
  b.arm(50);
  expect(earlier).toEqual([100, 200, 50]);
});

test("corrections go forward and change the ratio from here on", () => {
  const { cpu, clock } = clockAt();
  cpu.retired = 1000;
  clock.correct(500, 2000);
  expect(clock.nowNs()).toBe(1500);
  cpu.retired = 1010;
  expect(clock.nowNs()).toBe(1520);
  clock.skipTo(1000);
  expect(clock.nowNs()).toBe(1520);
  clock.correctEpoch(3600);
  expect(clock.epochSeconds).toBe(1_700_003_600);
});

test("a restored clock goes on where the saved one stopped", () => {
  const { cpu, clock } = clockAt({ psPerInstruction: 333 });
  cpu.retired = 1001;
  const { cpu: cpu2, clock: clock2 } = clockAt();
  cpu2.retired = 1001;
  clock2.restore(clock.save());
  for (const more of [0, 1, 2, 3, 1000]) {
    cpu.retired = cpu2.retired = 1001 + more;
    expect(clock2.nowNs()).toBe(clock.nowNs());
  }
});
