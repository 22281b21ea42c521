/**
 * Linux on several vCPUs on the kvm engine: it finds them all and works on all; a running one goes to jit and back, and is
 * saved and restored in either. The state's hashes are equal each time.
 */
import { createVm, receiveVm, restoreVm, type Vm } from "@twinmetal/host";
import { afterAll, describe, expect, it } from "vitest";
import { unusableFeatures } from "./engines.ts";
import { booted, lapOf, textOf } from "./linux-commands.ts";

const MINUTE_MS = 60_000;
const MIB = 2 ** 20;
const STATE = "/tmp/vcpus.state";
/** Of a processor in software that may be shared with much else: this is no measure of the link. */
const LINK = { maxDowntimeMs: 3000, stallMs: 60_000 };
/** Time goes on while hashes are made, which a watchdog would have to say something about. */
const KERNEL_WORDS = "quiet nowatchdog rcupdate.rcu_cpu_stall_suppress=1 init_on_free=1";
const cpuFeatures = unusableFeatures();
const vms: Vm[] = [];

function kept(vm: Vm): Vm {
  vms.push(vm);
  return vm;
}

afterAll(async () => {
  for (const vm of vms) await vm.close();
});

/** A pipe for each processor and more, and a counter that all add to under a lock: what comes out is known. */
const JOBS = `
  echo 0 >/tmp/count; rm -rf /tmp/lock
  for job in 1 2 3 4; do
    (seq 400 | while read i; do echo $((i*job)); done | { sum=0; while read n; do sum=$((sum+n)); done; echo $sum >/tmp/sum$job; }) &
    (for i in 1 2 3 4 5; do until mkdir /tmp/lock 2>/dev/null; do :; done; read n </tmp/count; echo $((n+1)) >/tmp/count; rmdir /tmp/lock; done) &
  done
  wait
  cat /tmp/sum1 /tmp/sum2 /tmp/sum3 /tmp/sum4 /tmp/count`;
const RESULT = [...[1, 2, 3, 4].map((job) => (job * 400 * 401) / 2), 20].join("\n");

/** Interrupts of a kind on each processor. */
const counts = (text: string, kind: string): number[] =>
  (new RegExp(`${kind}:((?: +\\d+)+)`).exec(text)?.[1] ?? "").trim().split(/ +/).map(Number);

async function works(vm: Vm, cpus: number): Promise<void> {
  expect(await textOf(vm, "nproc; grep -c ^processor /proc/cpuinfo")).toBe(`${cpus}\n${cpus}`);
  expect(await textOf(vm, JOBS)).toBe(RESULT);
}

describe.each([2, 4])("Linux on %i vCPUs on the kvm engine", (cpus) => {
  it("works on all, goes to jit and back, is saved and restored", { timeout: 20 * MINUTE_MS }, async () => {
    const lap = lapOf();
    const vm = kept(await createVm({ engine: "kvm", cpus, memoryBytes: 96 * MIB, cpuFeatures, append: KERNEL_WORDS }));
    await vm.start();
    expect(vm.engine).toBe("kvm");
    await booted(vm);
    lap(`${cpus} vCPUs: booted`);
    await works(vm, cpus);
    lap("jobs");
    const interrupts = await textOf(vm, "cat /proc/interrupts");
    for (const kind of ["LOC", "RES", "CAL"]) {
      expect(counts(interrupts, kind)).toHaveLength(cpus);
      for (const count of counts(interrupts, kind)) expect(count, `${kind}\n${interrupts}`).toBeGreaterThan(0);
    }
    expect(await textOf(vm, "dmesg | grep -iE 'BUG:|WARNING:|detected stall|unstable|warp' || true")).toBe("");
    expect(await textOf(vm, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource")).toBe("tsc");
    console.log(JSON.stringify(await vm.stats()));

    for (const to of ["jit", "kvm"] as const) {
      const { pausedMs, movedPages, stateHash } = await vm.switchEngine(to, { isVerified: true });
      expect([vm.engine, vm.state, movedPages]).toEqual([to, "running", 0]);
      expect(stateHash).toMatch(/^[0-9a-f]{64}$/);
      lap(`to ${to}, stood still ${Math.round(pausedMs)} ms`);
      expect(await textOf(vm, "nproc; seq 1000 | tail -1")).toBe(`${cpus}\n1000`);
      lap("a command there");
    }
    await vm.pause();
    const hash = await vm.stateHash();
    await vm.save(STATE);
    await vm.close();
    lap("saved");
    const restored = kept(await restoreVm(STATE, { engine: "kvm" }));
    expect(await restored.stateHash()).toBe(hash);
    await restored.start();
    await works(restored, cpus);
    lap("restored, and jobs");

    // The guest's agent takes a moment to end the last command's session.
    for (let looks = 0; restored.agent.isBusy && looks < 600; looks++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    const address = `unix:/tmp/vcpus-${cpus}`;
    let begin = (): void => {};
    const listening = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const arriving = receiveVm(address, { engine: "kvm", onListening: () => begin() });
    const [there, { downtimeMs }] = await Promise.all([
      arriving,
      listening.then(() => restored.migrate(address, LINK)),
    ]);
    expect([restored.state, kept(there).engine, there.state]).toEqual(["migrated", "kvm", "running"]);
    lap(`moved, stood still ${Math.round(downtimeMs)} ms`);
    await works(there, cpus);
    lap("jobs there");
    await there.stop();
    expect((await there.wait()).kind).toBe("off");
    await there.close();
  });
});
