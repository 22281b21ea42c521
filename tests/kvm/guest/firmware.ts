// SeaBIOS on KVM boots from a disk, draws on its screen, and its requests reach it without this thread.

import { expect, it } from "vitest";
import { countingDisk, countOf, countsOn, firmwareVm, WAIT_MS } from "./counting-disk.ts";

const ROUNDS = 32;
const REQUESTS = 2 * ROUNDS;
const LOOK_MS = 20;

/** This thread's event loop does nothing meanwhile. */
function standUntil(isThere: () => boolean): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (const endMs = performance.now() + WAIT_MS; !isThere() && performance.now() < endMs; )
    Atomics.wait(cell, 0, 0, LOOK_MS);
}

it("SeaBIOS starts from a disk, which needs no other thread to wake it", { timeout: 2 * WAIT_MS }, async () => {
  const path = countingDisk("counting.img");
  await using vm = await firmwareVm(path);
  expect(vm.engine).toBe("kvm");
  const startMs = performance.now();
  await vm.start();
  await vm.serial.waitFor("BEGIN", { timeoutMs: WAIT_MS });
  console.log(`from power-on to the boot sector: ${Math.round(performance.now() - startMs)} ms`);
  await countsOn(path, 16);
  const screen = ((await vm.screen.text()) ?? []).join(" ");
  expect(screen).toContain("Booting from Hard Disk...");
  expect(screen).toMatch(/BEGIN\.+/);

  const { kicks: before = 0 } = await vm.stats();
  const from = countOf(path);
  const standingMs = performance.now();
  standUntil(() => countOf(path) >= from + ROUNDS);
  const tookMs = performance.now() - standingMs;
  expect(countOf(path)).toBeGreaterThanOrEqual(from + ROUNDS);
  const { kicks: after = 0 } = await vm.stats();
  console.log(`${REQUESTS} requests: ${tookMs.toFixed(0)} ms, ${after - before} kicks`);
  // Some complete while the vCPU is outside, and are seen there.
  expect(after - before).toBeGreaterThan(REQUESTS / 4);
});
