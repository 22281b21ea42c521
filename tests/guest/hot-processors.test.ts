// Processors that come and go while Linux runs: found and used, let go, through a reboot and a saved state, in turn and in parallel.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { createVm, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { tinyGuest } from "./tiny-guest.ts";

const OPTIONS = { memoryBytes: 128 * 2 ** 20, cpus: 1, maxCpus: 3, append: "twinmetal.shell=off" } as const;

async function sh(vm: Vm, line: string): Promise<string> {
  const { stdout, stderr, exitCode } = await vm.exec(["sh", "-c", line]);
  if (exitCode !== 0) throw new Error(`${line}: ${Buffer.from(stderr).toString()}`);
  return Buffer.from(stdout).toString().trim();
}

/** Those that Linux uses, once they are these. */
async function online(vm: Vm, wanted: string): Promise<string> {
  const file = "/sys/devices/system/cpu/online";
  const look = `for i in $(seq 100); do [ "$(cat ${file})" = ${wanted} ] && break; sleep 0.1; done; cat ${file}`;
  return await sh(vm, look);
}

it("processors come and go while a guest runs", { timeout: 240_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-hot-processors-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const saved = join(folder, "state");
  {
    await using vm = await createVm({ ...OPTIONS, ...keptTranslations() });
    await vm.start();
    expect(await sh(vm, "cat /sys/devices/system/cpu/possible /sys/devices/system/cpu/online")).toBe("0-2\n0");
    await expect(vm.cpus.set(4)).rejects.toThrow("Give 1 to 3.");
    expect(await vm.cpus.set(3)).toBe(3);
    expect(await online(vm, "0-2")).toBe("0-2");
    expect(await sh(vm, "for i in 0 1 2; do taskset -c $i sh -c 'echo here' & done; wait")).toBe("here\nhere\nhere");
    expect(await vm.cpus.set(2)).toBe(2);
    expect(await online(vm, "0-1")).toBe("0-1");
    await vm.save(saved);
  }
  await using vm = await restoreVm(saved);
  await vm.start();
  expect(await online(vm, "0-1")).toBe("0-1");
  expect(vm.cpus.count).toBe(2);
  expect(await vm.cpus.set(1)).toBe(1);
  expect(await vm.cpus.set(2)).toBe(2);
  expect(await online(vm, "0-1")).toBe("0-1");
  expect((await vm.resources.usage()).cpus).toBe(2);
});

it("a VM without room for more says so", async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  await using vm = await createVm({ memoryBytes: 128 * 2 ** 20, cpus: 2, ...keptTranslations() });
  expect(await vm.cpus.set(2)).toBe(2);
  await expect(vm.cpus.set(1)).rejects.toMatchObject({ code: "no-hot-cpus" });
});
