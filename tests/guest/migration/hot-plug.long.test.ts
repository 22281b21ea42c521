// Processors and memory that have come while a guest runs go along when it moves, and come and go there; so do those that the
// guest is about to take or give back.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { createVm, receiveVm, restoreVm, type Vm } from "../../../packages/host/src/index.ts";
import { shell } from "../shell.ts";
import { tinyGuest } from "../tiny-guest.ts";

const MIB = 2 ** 20;
const SMALL = 128 * MIB;
const OPTIONS = {
  ...{ memoryBytes: SMALL, maxMemoryBytes: SMALL + 256 * MIB, cpus: 1, maxCpus: 4 },
  append: "twinmetal.shell=off",
} as const;
const LINK = { maxDowntimeMs: 1000, stallMs: 30_000 };

async function online(vm: Vm, wanted: string): Promise<string> {
  const file = "/sys/devices/system/cpu/online";
  return await shell(
    vm,
    `for i in $(seq 300); do [ "$(cat ${file})" = ${wanted} ] && break; sleep 0.1; done; cat ${file}`,
  );
}

const totalMib = async (vm: Vm): Promise<number> => Number(await shell(vm, "free -m | awk '/Mem/ { print $2 }'"));

/** It has moved to another machine of this process. */
async function moved(vm: Vm, address: string, meanwhile: () => void = () => {}): Promise<Vm> {
  let begin = (): void => {};
  const listening = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const arriving = receiveVm(address, { onListening: () => begin() });
  await listening;
  // It takes a moment to end the last command.
  await expect.poll(() => vm.agent.isBusy, { timeout: 30_000 }).toBe(false);
  const leaving = vm.migrate(address, LINK);
  meanwhile();
  const [there] = await Promise.all([arriving, leaving]);
  expect([vm.state, there.state]).toEqual(["migrated", "running"]);
  await vm.close();
  return there;
}

it("hot-plugged processors and memory go along, come and go", { timeout: 900_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-hot-plug-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string): string => `unix:${join(folder, name)}`;

  const first = await createVm(OPTIONS);
  await first.start();
  const small = await totalMib(first);
  expect([await first.cpus.set(3), await first.memory.resize(SMALL + 256 * MIB)]).toEqual([3, SMALL + 256 * MIB]);
  expect(await online(first, "0-2")).toBe("0-2");
  // More than there was at first, and work on a processor that has come.
  await shell(first, "mount -t tmpfs -o size=250m none /tmp; head -c 160000000 /dev/zero | tr '\\0' x >/tmp/x");
  await shell(first, "taskset -c 2 sh -c 'while :; do :; done' >/dev/null 2>&1 &");

  const second = await moved(first, at("a"));
  expect(await online(second, "0-2")).toBe("0-2");
  expect([second.cpus.count, second.memory.sizeBytes]).toEqual([3, SMALL + 256 * MIB]);
  expect(await totalMib(second)).toBe(small + 256);
  expect(await shell(second, "tr -d x </tmp/x | wc -c; wc -c </tmp/x; rm /tmp/x; killall sh 2>/dev/null; true")).toBe(
    "0\n160000000",
  );
  expect(await second.cpus.set(4)).toBe(4);
  expect(await second.memory.resize(SMALL + 128 * MIB)).toBe(SMALL + 128 * MIB);

  // What the guest is told just before it leaves, it does at the other side.
  let asked: Promise<PromiseSettledResult<number>[]> | undefined;
  const third = await moved(second, at("b"), () => {
    asked = Promise.allSettled([second.cpus.set(2), second.memory.resize(SMALL + 256 * MIB)]);
  });
  for (const answer of (await asked)!) if (answer.status === "rejected") expect(answer.reason.code).toBe("guest-ended");
  expect(await online(third, "0-1")).toBe("0-1");
  await expect.poll(() => [third.cpus.count, third.memory.sizeBytes]).toEqual([2, SMALL + 256 * MIB]);

  const state = join(folder, "state");
  await third.save(state);
  await third.close();
  await using restored = await restoreVm(state);
  await restored.start();
  expect(await online(restored, "0-1")).toBe("0-1");
  expect([await restored.cpus.set(1), await restored.memory.resize(SMALL)]).toEqual([1, SMALL]);
  expect(await online(restored, "0")).toBe("0");
  expect(await totalMib(restored)).toBeLessThanOrEqual(small);
});
