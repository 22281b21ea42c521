import { ACTIVITY_NAMES } from "@twinmetal/core";
import { expect, test } from "vitest";
import { ActivitySampler } from "./activity-sampler.ts";
import { CELL } from "./worker-protocol.ts";

test("time is divided by what was seen, and the guest's waiting is not busy time", () => {
  const activity = new Int32Array(1);
  const cells = new Int32Array(CELL.sizeBytes / 4);
  const sampler = new ActivitySampler(activity, cells);
  expect(sampler.timeByActivity(1000)).toEqual({});
  for (const name of ["interpreter", "regions", "regions", "regions"] as const) {
    activity[0] = ACTIVITY_NAMES.indexOf(name);
    sampler.look();
  }
  cells[CELL.ASLEEP] = 1;
  sampler.look();
  cells[CELL.ASLEEP] = 0;
  activity[0] = 77; // No guest can write there, but the memory is its own.
  sampler.look();
  expect(sampler.timeByActivity(1000)).toMatchObject({
    interpreterMs: 250,
    regionsMs: 750,
    devicesMs: 0,
    activitySamples: 4,
  });
});
