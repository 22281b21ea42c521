// Guests that want all they can get, beside each other and without end.

import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { createVm } from "../../packages/host/src/index.ts";
import { OPTIONS, spinning, useOver } from "./spinning-guest.ts";
import { tinyGuest } from "./tiny-guest.ts";

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
