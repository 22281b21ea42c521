import { expect, it } from "vitest";
import { HostTime } from "./host-time.ts";

it("counts the host's nanoseconds, and none of those before an anchor", () => {
  let now = 1000;
  const time = new HostTime(() => now);
  now += 500;
  expect(time.refresh()).toBe(500);
  now += 500;
  expect(time.count).toBe(500);
  time.anchor();
  now += 10;
  expect(time.refresh()).toBe(510);
  time.anchor(7);
  now += 10;
  expect(time.refresh()).toBe(17);
});

it("never runs backwards when the host's clock does", () => {
  let now = 1000;
  const time = new HostTime(() => now);
  now = 2000;
  time.refresh();
  now = 1500;
  expect(time.refresh()).toBe(1000);
});

it("comes to follow a counter that runs at another rate, to within a microsecond", () => {
  let now = 0;
  const time = new HostTime(() => now);
  time.anchor(0);
  const counter = (): number => now * 1.0002;
  time.measured(counter());
  for (let second = 0; second < 10; second++) {
    now += 1e9;
    time.measured(counter());
  }
  now += 5e8;
  expect(Math.abs(time.refresh() - counter())).toBeLessThan(1000);
});

it("is never led beyond twice or half the host's speed", () => {
  let now = 0;
  const time = new HostTime(() => now);
  time.measured(0);
  now += 1e9;
  time.measured(1e15);
  const before = time.count;
  now += 1e6;
  expect(time.refresh() - before).toBeLessThanOrEqual(2e6);
});
