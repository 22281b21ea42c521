// What VMs may use of their host, measured at the threads that use it, with guests that want all they can get.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { createImage, createVm, type DiskProblem, type Vm, type VmOptions } from "../../packages/host/src/index.ts";
import { tinyGuest } from "./tiny-guest.ts";

const OPTIONS: VmOptions = { memoryBytes: 128 * 2 ** 20, isQuiet: true, append: "twinmetal.shell=off" };
const SPIN = "(while :; do :; done) >/dev/null 2>&1 &";

async function spinning(options: VmOptions = {}): Promise<Vm> {
  const vm = await createVm({ ...OPTIONS, ...options });
  await vm.start();
  await vm.exec(["sh", "-c", SPIN]);
  return vm;
}

interface Use {
  readonly cpu: number;
  readonly waited: number;
  readonly guestTime: number;
}

/** Parts of so long a time. */
async function useOver(vms: readonly Vm[], ms: number): Promise<readonly Use[]> {
  const look = async () => ({ nowMs: performance.now(), stats: await Promise.all(vms.map((vm) => vm.stats())) });
  const before = await look();
  await sleep(ms);
  const after = await look();
  const tookMs = after.nowMs - before.nowMs;
  return after.stats.map((stats, index) => {
    const part = (name: string): number => (stats[name]! - before.stats[index]![name]!) / tookMs;
    return { cpu: part("cpuMs"), waited: part("waitedMs"), guestTime: part("guestNs") / 1e6 };
  });
}

it("keeps a guest below its share of a processor, and changes it while it runs", {
  timeout: 120_000,
}, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  await using vm = await spinning({ limits: { cpu: 0.25 } });
  const [quarter] = await useOver([vm], 5000);
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
  await using vm = await createVm({ ...OPTIONS, disks: [{ path, limits }] });
  await vm.start();
  await vm.exec(["sh", "-c", "dd if=/dev/vda of=/dev/null bs=64k >/dev/null 2>&1 &"]);
  await sleep(1000);
  const before = { nowMs: performance.now(), usage: (await vm.disks.usage())[0]! };
  await sleep(5000);
  const after = { nowMs: performance.now(), usage: (await vm.disks.usage())[0]! };
  const rate = (after.usage.readBytes - before.usage.readBytes) / ((after.nowMs - before.nowMs) / 1000);
  // Requests are of 128 KiB: one at either end may count or not.
  expect(rate).toBeLessThan(1.08e6);
  if (after.usage.heldMs - before.usage.heldMs > 3000) expect(rate).toBeGreaterThan(0.92e6);
  await vm.disks.limit(0, { spaceBytes: 2 * 2 ** 20 });
  const paused = new Promise<DiskProblem>((resolve) => vm.on("disk", resolve));
  const written = vm.exec(["sh", "-c", "dd if=/dev/zero of=/dev/vda bs=1M count=8 && sync"]);
  expect(await paused).toMatchObject({ code: "no-space", isBlocked: true });
  expect(statSync(path).blocks * 512).toBeLessThanOrEqual(2 * 2 ** 20);
  await vm.disks.limit(0, {});
  await vm.resume();
  expect((await written).exitCode).toBe(0);
});

it("ends guests that use up what they may, and stays well", { timeout: 240_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  await using vm = await createVm({ ...OPTIONS, limits: { cpu: 0.8 } });
  await vm.start();
  // All the memory that there is, and more: the guest's own kernel ends it.
  expect((await vm.exec(["tail", "/dev/zero"])).exitCode).not.toBe(0);
  void vm.exec(["sh", "-c", "f() { f | f & }; f"]).catch(() => {});
  await sleep(2000);
  const { cpu, memory } = await vm.resources.usage();
  expect(memory.promisedBytes).toBe(OPTIONS.memoryBytes);
  await vm.resources.set({ cpuTimeMs: Math.round(cpu.cpuMs) + 500 });
  expect(await vm.wait()).toMatchObject({ kind: "off", limit: "cpuTimeMs" });
  await using talker = await createVm({ ...OPTIONS, limits: { outputBytes: 50_000 } });
  let bytes = 0;
  talker.serial.onData((data) => {
    bytes += data.length;
  });
  await talker.start();
  void talker.exec(["sh", "-c", "yes | head -c 1000000 >/dev/ttyS0"]).catch(() => {});
  expect(await talker.wait()).toMatchObject({ kind: "off", limit: "outputBytes" });
  expect(bytes).toBeLessThan(500_000);
});

it("divides one processor by weight", { timeout: 120_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  await using one = await spinning({ limits: { cpuWeight: 100 } });
  await using three = await spinning({ limits: { cpuWeight: 300 } });
  await promisify(execFile)("taskset", ["-a", "-p", "-c", "0", String(process.pid)]).catch(() => skip("no taskset"));
  await sleep(1000);
  const [less, more] = await useOver([one, three], 5000);
  await promisify(execFile)("taskset", ["-a", "-p", "-c", "0-1023", String(process.pid)]);
  expect(more!.cpu / less!.cpu).toBeGreaterThan(2.6);
  expect(more!.cpu / less!.cpu).toBeLessThan(3.4);
});
