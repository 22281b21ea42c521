/** Linux on the kvm engine: boot, commands, save and restore across engines, and an end that leaves nothing behind. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createVm, restoreVm, type Vm, VmError } from "@twinmetal/host";
import { afterEach, describe, expect, it } from "vitest";
import { unusableFeatures } from "./engines.ts";

const MINUTE_MS = 60_000;
const vms: Vm[] = [];
const cpuFeatures = unusableFeatures();

async function started(options: Parameters<typeof createVm>[0] = {}): Promise<Vm> {
  const vm = await createVm({ engine: "kvm", memoryBytes: 256 * 2 ** 20, cpuFeatures, append: "quiet", ...options });
  vms.push(vm);
  await vm.start();
  return vm;
}

async function text(vm: Vm, ...command: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(command);
  expect([exitCode, new TextDecoder().decode(stderr)]).toEqual([0, ""]);
  return new TextDecoder().decode(stdout).trim();
}

const openKvm = (): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    const { stdout } = spawnSync("readlink", [`/proc/${process.pid}/fd/${fd}`], { encoding: "utf8" });
    return /kvm/.test(stdout);
  }).length;

afterEach(async () => {
  for (const vm of vms.splice(0)) await vm.close();
});

describe("Linux on the kvm engine", () => {
  it("boots, runs commands, and turns off", { timeout: 5 * MINUTE_MS }, async () => {
    const startMs = performance.now();
    const vm = await started();
    expect(vm.engine).toBe("kvm");
    expect(await text(vm, "uname", "-s")).toBe("Linux");
    process.stdout.write(`first command after ${Math.round(performance.now() - startMs)} ms\n`);
    expect(await text(vm, "sh", "-c", "seq 100000 | sha256sum")).toMatch(/^[0-9a-f]{64}/);
    const hostMs = performance.now();
    const before = Number(await text(vm, "date", "+%s"));
    await text(vm, "sleep", "2");
    const passed = Number(await text(vm, "date", "+%s")) - before;
    expect(passed).toBeGreaterThanOrEqual(2);
    expect(passed).toBeLessThanOrEqual((performance.now() - hostMs) / 1000 + 2);
    process.stdout.write(`${JSON.stringify(await vm.stats())}\n`);
    await vm.stop();
    expect((await vm.wait()).kind).toBe("off");
  });

  it("saved there, goes on in jit, and back", { timeout: 10 * MINUTE_MS }, async () => {
    const vm = await started();
    await text(vm, "sh", "-c", "echo kept > /tmp/note; sleep 1000 & echo $! > /tmp/pid");
    await vm.pause();
    const hash = await vm.stateHash();
    await vm.save("/tmp/kvm.state");
    await vm.close();
    const onJit = await restoreVm("/tmp/kvm.state", { engine: "jit" });
    vms.push(onJit);
    expect(await onJit.stateHash()).toBe(hash);
    await onJit.start();
    expect(await text(onJit, "sh", "-c", "cat /tmp/note; kill -0 $(cat /tmp/pid) && seq 1000 | tail -1")).toBe(
      "kept\n1000",
    );
    await onJit.pause();
    const jitHash = await onJit.stateHash();
    await onJit.save("/tmp/jit.state");
    await onJit.close();
    const back = await restoreVm("/tmp/jit.state", { engine: "kvm" });
    vms.push(back);
    expect(back.engine).toBe("kvm");
    expect(await back.stateHash()).toBe(jitHash);
    await back.start();
    expect(await text(back, "sh", "-c", "cat /tmp/note; kill -0 $(cat /tmp/pid) && seq 1000 | tail -1")).toBe(
      "kept\n1000",
    );
  });

  it("closed in the middle of work, leaves no descriptor of KVM open", { timeout: 5 * MINUTE_MS }, async () => {
    const before = openKvm();
    const vm = await started();
    await text(vm, "true");
    void vm.exec(["sh", "-c", "while :; do :; done"]).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(openKvm()).toBeGreaterThan(before);
    const startMs = performance.now();
    await vm.close();
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect(openKvm()).toBe(before);
  });

  it("refuses what counts instructions", async () => {
    await expect(createVm({ engine: "kvm", clock: "virtual" })).rejects.toThrow(VmError);
  });
});
