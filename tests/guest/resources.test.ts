// What a VM may use of its host, measured at the threads that use it, with guests that want all they can get.

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { createImage, createVm, type DiskProblem } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { OPTIONS, spinning, useOver } from "./spinning-guest.ts";
import { tinyGuest } from "./tiny-guest.ts";

it("keeps a guest below its share of a processor, and changes it while it runs", {
  timeout: 120_000,
}, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  await using vm = await spinning();
  await vm.resources.set({ cpu: 0.25 });
  const [quarter] = await useOver([vm], 3000);
  expect(quarter!.cpu).toBeLessThan(0.275);
  // A host that is busy gives less.
  if (quarter!.waited < 0.1) expect(quarter!.cpu).toBeGreaterThan(0.2);
  expect(quarter!.guestTime).toBeCloseTo(1, 1);
  await vm.resources.set({ cpu: 0.05 });
  const [little] = await useOver([vm], 1000);
  expect(little!.cpu).toBeLessThan(0.1);
  await vm.resources.set({ cpu: null });
  const [all] = await useOver([vm], 1000);
  expect(all!.cpu + all!.waited).toBeGreaterThan(0.7);
  expect(vm.resources.limits).toEqual({});
  await expect(vm.resources.set({ cpu: 0 })).rejects.toMatchObject({ code: "bad-option" });
});

it("keeps a disk at its rate and below its space", { timeout: 180_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-resources-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "disk.img");
  await createImage(path, { format: "raw", sizeBytes: 64 * 2 ** 20 });
  const limits = { bytesPerSecond: 1e6 };
  await using vm = await createVm({ ...OPTIONS, ...keptTranslations(), disks: [{ path, limits }] });
  await vm.start();
  await vm.exec(["sh", "-c", "dd if=/dev/vda of=/dev/null bs=64k >/dev/null 2>&1 &"]);
  await sleep(1000);
  const before = { nowMs: performance.now(), usage: (await vm.disks.usage())[0]! };
  await sleep(3000);
  const after = { nowMs: performance.now(), usage: (await vm.disks.usage())[0]! };
  const rate = (after.usage.readBytes - before.usage.readBytes) / ((after.nowMs - before.nowMs) / 1000);
  // Requests are of 128 KiB: one at either end may count or not.
  expect(rate).toBeLessThan(1.08e6);
  if (after.usage.heldMs - before.usage.heldMs > 2000) expect(rate).toBeGreaterThan(0.92e6);
  await vm.disks.limit(0, { spaceBytes: 2 * 2 ** 20 });
  const paused = new Promise<DiskProblem>((resolve) => vm.on("disk", resolve));
  const written = vm.exec(["sh", "-c", "dd if=/dev/zero of=/dev/vda bs=1M count=8 && sync"]);
  expect(await paused).toMatchObject({ code: "no-space", isBlocked: true });
  expect(statSync(path).blocks * 512).toBeLessThanOrEqual(2 * 2 ** 20);
  await vm.disks.limit(0, {});
  await vm.resume();
  expect((await written).exitCode).toBe(0);
});
