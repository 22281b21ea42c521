/**
 * A guest on KVM with a disk and a VGA, in the middle of its requests: changes of its engine with equal hashes, saves that
 * either engine goes on from. And SeaBIOS where there is nothing to boot from.
 */
import { restoreVm, type Vm } from "@twinmetal/host";
import { afterEach, expect, it } from "vitest";
import { countingDisk, countOf, countsOn, firmwareVm, pathOf, WAIT_MS } from "./counting-disk.ts";
import { other } from "./small-vms.ts";

const LIMIT_MS = 5 * WAIT_MS;
const CHANGES = 4;
const SAVES = 4;
const vms: Vm[] = [];

function kept(vm: Vm): Vm {
  vms.push(vm);
  return vm;
}

afterEach(async () => {
  for (const vm of vms.splice(0)) await vm.close();
});

async function counting(path: string): Promise<Vm> {
  const vm = kept(await firmwareVm(path));
  await vm.start();
  await vm.serial.waitFor("BEGIN", { timeoutMs: WAIT_MS });
  await countsOn(path);
  return vm;
}

const screenOf = async (vm: Vm): Promise<string> => ((await vm.screen.text()) ?? []).join("\n");

it("SeaBIOS finds nothing to boot from", { timeout: LIMIT_MS }, async () => {
  const vm = kept(await firmwareVm());
  await vm.start();
  await vm.serial.waitFor("No bootable device", { timeoutMs: WAIT_MS });
  expect(await screenOf(vm)).toMatch(/SeaBIOS \(version .*No bootable device/s);
});

it("SeaBIOS starts from the disk again after a reset in the middle of requests", { timeout: LIMIT_MS }, async () => {
  const path = countingDisk("reset.img");
  const vm = await counting(path);
  await vm.reset();
  await vm.serial.waitFor("BEGIN", { timeoutMs: WAIT_MS });
  await countsOn(path);
});

it("a guest with a disk and a screen goes from engine to engine", { timeout: LIMIT_MS }, async () => {
  const path = countingDisk("changing.img");
  const vm = await counting(path);
  for (let i = 0; i < CHANGES; i++) {
    const to = other(vm.engine);
    const { pausedMs, movedPages, stateHash } = await vm.switchEngine(to, { isVerified: true });
    expect([vm.engine, vm.state, movedPages]).toEqual([to, "running", 0]);
    expect(stateHash).toMatch(/^[0-9a-f]{64}$/);
    await countsOn(path);
    expect(await screenOf(vm)).toMatch(/BEGIN\.+/);
    console.log(`to ${to}: stood still ${pausedMs.toFixed(0)} ms, counted on to ${countOf(path)}`);
  }
});

it("is saved in the middle of requests, and goes on in the other engine", { timeout: LIMIT_MS }, async () => {
  const path = countingDisk("saved.img");
  let vm = await counting(path);
  for (let i = 0; i < SAVES; i++) {
    const [state, engine] = [pathOf(`${i}.state`), other(vm.engine)];
    await vm.pause();
    const [hash, screen] = [await vm.stateHash(), await screenOf(vm)];
    await vm.save(state);
    await vm.close();
    vm = kept(await restoreVm(state, { engine, disks: [{ path, format: "raw" }] }));
    expect([vm.engine, await vm.stateHash(), await screenOf(vm)]).toEqual([engine, hash, screen]);
    await vm.start();
    await countsOn(path);
  }
});
