import { expect, test } from "vitest";
import { GuestClock } from "./guest-clock.ts";
import { WallPacer } from "./wall-pacer.ts";

/** A guest that runs slices of about 50 us on a host of the given speed. */
function simulate(options: { hostPs: (slice: number) => number; slices: number; stallNs?: (slice: number) => number }) {
  const host = { wallNs: 5e9 };
  const cpu = { retired: 0 };
  const clock = new GuestClock({ epochSeconds: 0, tscFrequencyHz: 1e9, retired: () => cpu.retired });
  const pacer = new WallPacer(() => host.wallNs, clock.psPerInstruction);
  pacer.anchor(0);
  const errorsNs: number[] = [];
  let corrections = 0;
  let last = 0;
  for (let slice = 0; slice < options.slices; slice++) {
    const correction = pacer.correction(clock.nowNs(), cpu.retired, clock.psPerInstruction);
    if (correction) {
      corrections++;
      clock.correct(correction.advanceNs, correction.psPerInstruction);
    }
    expect(clock.nowNs()).toBeGreaterThanOrEqual(last);
    last = clock.nowNs();
    errorsNs.push(host.wallNs - 5e9 - last);
    const count = Math.floor(50_000_000 / clock.psPerInstruction);
    cpu.retired += count;
    host.wallNs += (count * options.hostPs(slice)) / 1000 + (options.stallNs?.(slice) ?? 0);
  }
  return { errorsNs, corrections };
}

test("guest time follows a slow host without running backwards", () => {
  const { errorsNs } = simulate({ hostPs: () => 12_000, slices: 400 });
  for (const error of errorsNs.slice(100)) expect(Math.abs(error)).toBeLessThan(5_000);
});

test("and one that becomes four times faster", () => {
  const { errorsNs } = simulate({ hostPs: (slice) => (slice < 300 ? 8_000 : 2_000), slices: 1200 });
  for (const error of errorsNs.slice(700)) expect(Math.abs(error)).toBeLessThan(10_000);
});

test("a stall of the host is made up at once", () => {
  const { errorsNs } = simulate({
    hostPs: () => 5_000,
    slices: 600,
    stallNs: (slice) => (slice === 300 ? 20_000_000 : 0),
  });
  expect(Math.abs(errorsNs[301]!)).toBeLessThan(5_000);
  for (const error of errorsNs.slice(500)) expect(Math.abs(error)).toBeLessThan(5_000);
});

test("a steady guest needs few events", () => {
  const { corrections } = simulate({ hostPs: () => 5_000, slices: 2000 });
  expect(corrections).toBeLessThan(400);
});

test("a host clock that goes backwards is taken as standing still", () => {
  const host = { wallNs: 1000 };
  const pacer = new WallPacer(() => host.wallNs, 1000);
  pacer.anchor(0);
  host.wallNs = 10;
  expect(pacer.correction(0, 0, 1000)).toBeUndefined();
});
