// A running VM changes its engine, there and back, on KVM: the state's hashes on both sides, memory that is not copied.
import { afterEach, expect, it } from "vitest";
import { checks, closeAll, other, started } from "./small-vms.ts";

const LIMIT_MS = 600_000;
const CHANGES = 2;

afterEach(closeAll);

it("a guest that writes without end goes from engine to engine", { timeout: LIMIT_MS }, async () => {
  const vm = await started("dirtying");
  await checks(vm, 1);
  expect(await vm.canMigrate("kvm")).toMatchObject([{ code: "engine" }]);
  for (let i = 0; i < CHANGES; i++) {
    const to = other(vm.engine);
    const { pausedMs, totalMs, movedPages, movedBytes, stateHash } = await vm.switchEngine(to, { isVerified: true });
    expect([vm.engine, vm.state, movedPages]).toEqual([to, "running", 0]);
    expect(stateHash).toMatch(/^[0-9a-f]{64}$/);
    console.log(
      `to ${to}: stood still ${pausedMs.toFixed(1)} ms of ${Math.round(totalMs)}, ${movedPages} pages, ${movedBytes} bytes`,
    );
    await checks(vm, 2);
  }
});
