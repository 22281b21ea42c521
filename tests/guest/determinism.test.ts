// With a virtual clock a boot is a function of its files, its memory and its seed: the same instructions to the same
// state, however the host slices it and whatever else the host does.

import { expect, it } from "vitest";
import { createVm } from "../../packages/host/src/index.ts";
import { tinyGuest } from "./tiny-guest.ts";

interface End {
  readonly retired: number | undefined;
  readonly stateHash: string;
}

async function boot(seed: string, sliceNs: number): Promise<End> {
  await using vm = await createVm({
    memoryBytes: 96 * 2 ** 20,
    clock: "virtual",
    seed,
    epochSeconds: 1_700_000_000,
    append: "quiet rdinit=/bin/busybox -- poweroff -f",
    sliceNs,
  });
  await vm.start();
  const exit = await vm.wait();
  expect(exit).toMatchObject({ kind: "off" });
  return { retired: (await vm.stats())["retired"], stateHash: await vm.stateHash() };
}

it("boots twice to the same state, and with another seed to another", { timeout: 180_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) skip(guest.missing);
  // All at once: each is the others' load.
  const [first, second, other] = await Promise.all([
    boot("0123456789abcdef", 50_000),
    boot("0123456789abcdef", 1_234_567),
    boot("fedcba9876543210", 200_000),
  ]);
  expect(second).toEqual(first);
  expect(other.stateHash).not.toBe(first.stateHash);
});
