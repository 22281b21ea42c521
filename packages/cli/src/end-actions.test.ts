import { expect, it } from "vitest";
import { checkEndActions, RestartDelay } from "./end-actions.ts";

it("waits twice as long each time, up to five minutes, and begins anew after a good run", () => {
  const delay = new RestartDelay();
  const delays = Array.from({ length: 11 }, () => delay.after(3000));
  expect(delays.slice(0, 4)).toEqual([1000, 2000, 4000, 8000]);
  expect(delays.at(-1)).toBe(300_000);
  expect(delay.after(600_000)).toBe(1000);
});

it.each([
  [{ onCrash: "restart" }, "--on-crash is for a VM that stays: give -d"],
  [{ onPoweroff: "stop" }, "--on-poweroff is for a VM that stays"],
  [{ ttl: 1000 }, "--timeout ends a VM"],
  [{ onReboot: "stop", record: "a.rec" }, "--record is of one run"],
] as const)("refuses %j on a terminal", (values, message) => {
  expect(() => checkEndActions(values, false)).toThrow(message);
});

it("takes all of them for a VM that stays, and a reboot's on a terminal, too", () => {
  checkEndActions({ onCrash: "restart", onReboot: "stop", onPoweroff: "restart", ttl: 1 }, true);
  checkEndActions({ onReboot: "stop" }, false);
  expect(() => checkEndActions({ onCrash: "restart", record: "a.rec" }, true)).toThrow("--record is of one run");
});
