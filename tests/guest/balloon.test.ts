// A guest that gives memory back: by its balloon, by reporting what is free, and through a saved state.

import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { createVm, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import { driveMemory, type HostMemory } from "../../packages/host/src/resources/memory-driver.ts";
import { type MemoryOfVm, whyNothingIsGivenBack } from "../../packages/host/src/vm/vm-memory.ts";
import { keptTranslations } from "../kept-translations.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;
const FILLED = 360 * MIB;
const INFLATED = 300 * MIB;

/** Memory of this process that no file is behind. */
function residentBytes(): number {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
}

async function sh(vm: Vm, line: string): Promise<string> {
  const { stdout, stderr, exitCode } = await vm.exec(["sh", "-c", line]);
  if (exitCode !== 0) throw new Error(`${line}: ${Buffer.from(stderr).toString()}`);
  return Buffer.from(stdout).toString();
}

async function within(ms: number, isSo: () => boolean): Promise<boolean> {
  for (const endMs = performance.now() + ms; ; ) {
    if (isSo()) return true;
    if (performance.now() > endMs) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The balloon takes more for a host that is short of memory, gives it back to a guest that fills its own, and to one of a host that has plenty. */
async function drives(vm: Vm, host: HostMemory): Promise<void> {
  const { memory } = vm;
  let now = host;
  const stop = driveMemory(memory as MemoryOfVm, { intervalMs: 100, readHost: () => now });
  expect(await within(20_000, () => memory.balloonBytes > INFLATED + 40 * MIB)).toBe(true);
  await sh(vm, "dd if=/dev/zero bs=1M count=150 2>/dev/null | tr '\\0' x >/tmp/y");
  expect(await sh(vm, "tail -c 3 /tmp/y; rm /tmp/y")).toBe("xxx");
  now = { ...host, availableBytes: 12 * 1024 * MIB };
  expect(await within(20_000, () => memory.balloonBytes === 0)).toBe(true);
  stop();
}

it("what a guest does without is the host's again", { timeout: 240_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const why = whyNothingIsGivenBack();
  if (why !== undefined) return skip(why);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-balloon-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const fill = `mount -t tmpfs -o size=450m none /tmp && dd if=/dev/zero bs=1M count=${FILLED / MIB} 2>/dev/null | tr '\\0' x >/tmp/x`;
  const saved = join(folder, "state");
  {
    await using vm = await createVm({
      memoryBytes: 512 * MIB,
      hasBalloon: true,
      append: "twinmetal.shell=off",
      ...keptTranslations(),
    });
    await vm.start();
    await sh(vm, fill);
    const full = residentBytes();
    await sh(vm, "rm /tmp/x");
    expect(await vm.memory.balloon(INFLATED)).toBe(INFLATED);
    expect(await within(2000, () => full - residentBytes() >= 0.9 * INFLATED)).toBe(true);
    const { freeBytes = 0, totalBytes = 0 } = await vm.memory.statistics();
    expect([totalBytes > 400 * MIB, freeBytes < 200 * MIB]).toEqual([true, true]);
    const host = { totalBytes: 16 * 1024 * MIB, availableBytes: 1024 * MIB, pressure: 0 };
    await drives(vm, host);
    await vm.memory.set({ sizeBytes: 512 * MIB - INFLATED });
    expect(vm.memory.balloonBytes).toBe(INFLATED);
    await vm.save(saved);
    expect(full - residentBytes()).toBeGreaterThan(0.8 * INFLATED);
    expect(statSync(saved).blocks * 512).toBeLessThan(200 * MIB);
  }
  await using vm = await restoreVm(saved);
  await vm.start();
  expect(await vm.memory.balloon(0)).toBe(0);
  // What is free is reported, and given back without a balloon.
  await sh(vm, `umount /tmp; ${fill}`);
  const full = residentBytes();
  expect(await sh(vm, "tail -c 3 /tmp/x; rm /tmp/x")).toBe("xxx");
  expect(await within(30_000, () => full - residentBytes() >= 0.7 * FILLED)).toBe(true);
});
