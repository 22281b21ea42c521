import { expect, it } from "vitest";
import { statsSince } from "./stats-sum.ts";

it("counts on through engines, and tells what is now as it is", () => {
  const onKvm = { retired: 1000, busyMs: 30, portExits: 5, memoryBytes: 64 };
  const onJit = {
    retired: 1500,
    busyMs: 12,
    blocksDecoded: 7,
    memoryBytes: 64,
    regionsQueued: 9,
    regionsQueuedMost: 9,
  };
  const afterJit = statsSince(onKvm, onJit);
  expect(afterJit).toEqual({ ...onJit, busyMs: 42, portExits: 5 });
  const back = { retired: 1600, busyMs: 1, portExits: 2, memoryBytes: 64 };
  expect(statsSince(afterJit, back)).toEqual({
    ...back,
    busyMs: 43,
    portExits: 7,
    blocksDecoded: 7,
    regionsQueuedMost: 9,
  });
});
