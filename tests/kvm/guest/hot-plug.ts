/**
 * Processors and memory that come and go under Linux on the kvm engine: they go along to jit and back, into a saved state, and
 * over a link. The state's hashes are equal each time.
 */
import { createVm, receiveVm, restoreVm, type Vm } from "@twinmetal/host";
import { afterAll, expect, it } from "vitest";
import { unusableFeatures } from "./engines.ts";
import { booted, lapOf, textOf } from "./linux-commands.ts";

const MINUTE_MS = 60_000;
const MIB = 2 ** 20;
const [SMALL, LARGE] = [96 * MIB, 224 * MIB];
const STATE = "/tmp/hot-plug.state";
/** Of a processor in software that may be shared with much else: this is no measure of the guest. */
const PATIENCE = { timeoutMs: 5 * MINUTE_MS };
const LINK = { maxDowntimeMs: 3000, stallMs: MINUTE_MS };
/** Time goes on while hashes are made, which a watchdog would have to say something about. */
const KERNEL_WORDS = "quiet nowatchdog rcupdate.rcu_cpu_stall_suppress=1 init_on_free=1";
const vms: Vm[] = [];

function kept(vm: Vm): Vm {
  vms.push(vm);
  return vm;
}

afterAll(async () => {
  for (const vm of vms) await vm.close();
});

async function has(vm: Vm, cpus: number, memoryBytes: number): Promise<void> {
  const online = cpus === 1 ? "0" : `0-${cpus - 1}`;
  const file = "/sys/devices/system/cpu/online";
  expect(
    await textOf(vm, `for i in $(seq 600); do [ "$(cat ${file})" = ${online} ] && break; sleep 0.2; done; cat ${file}`),
  ).toBe(online);
  const works = Array.from({ length: cpus }, (_, i) => `taskset -c ${i} sh -c 'seq 300 | tail -1'`).join("; ");
  expect(await textOf(vm, works)).toBe(Array(cpus).fill("300").join("\n"));
  expect([vm.cpus.count, vm.memory.sizeBytes]).toEqual([cpus, memoryBytes]);
}

it("processors and memory come, move with the guest, and go", { timeout: 25 * MINUTE_MS }, async () => {
  const cpuFeatures = unusableFeatures();
  const room = { cpus: 1, maxCpus: 3, memoryBytes: SMALL, maxMemoryBytes: LARGE };
  const vm = kept(await createVm({ engine: "kvm", ...room, cpuFeatures, append: KERNEL_WORDS }));
  await vm.start();
  await booted(vm);
  const lap = lapOf();
  expect(await vm.cpus.set(3, PATIENCE)).toBe(3);
  expect(await vm.memory.resize(LARGE, PATIENCE)).toBe(LARGE);
  await has(vm, 3, LARGE);
  lap("came");
  expect(await textOf(vm, "dmesg | grep -iE 'BUG:|WARNING:|detected stall' || true")).toBe("");

  for (const to of ["jit", "kvm"] as const) {
    const { stateHash } = await vm.switchEngine(to, { isVerified: true });
    expect([vm.engine, stateHash]).toEqual([to, expect.stringMatching(/^[0-9a-f]{64}$/)]);
    await has(vm, 3, LARGE);
    lap(`to ${to}`);
  }
  expect(await vm.cpus.set(2, PATIENCE)).toBe(2);
  await vm.pause();
  const hash = await vm.stateHash();
  await vm.save(STATE);
  await vm.close();
  const restored = kept(await restoreVm(STATE, { engine: "kvm" }));
  expect(await restored.stateHash()).toBe(hash);
  await restored.start();
  await has(restored, 2, LARGE);
  lap("saved and restored");

  // The guest's agent takes a moment to end the last command's session.
  for (let looks = 0; restored.agent.isBusy && looks < 600; looks++)
    await new Promise((resolve) => setTimeout(resolve, 100));
  let begin = (): void => {};
  const listening = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const address = "unix:/tmp/hot-plug";
  const arriving = receiveVm(address, { engine: "kvm", onListening: () => begin() });
  const [there] = await Promise.all([arriving, listening.then(() => restored.migrate(address, LINK))]);
  expect([restored.state, kept(there).engine, there.state]).toEqual(["migrated", "kvm", "running"]);
  await has(there, 2, LARGE);
  lap("moved");
  expect([await there.cpus.set(3, PATIENCE), await there.memory.resize(SMALL, PATIENCE)]).toEqual([3, SMALL]);
  await has(there, 3, SMALL);
});
