/**
 * Linux on the kvm engine: boot, commands, power-off; a running one carried to jit and back; and an end that leaves nothing
 * behind. It is booted once, and each test goes on from what the one before has saved: everything takes long in here.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { AgentError, createVm, restoreVm, type Vm, VmError } from "@twinmetal/host";
import { afterAll, describe, expect, it } from "vitest";
import { unusableFeatures } from "./engines.ts";

const MINUTE_MS = 60_000;
const [FROM_KVM, FROM_JIT] = ["/tmp/kvm.state", "/tmp/jit.state"];
const cpuFeatures = unusableFeatures();
const vms: Vm[] = [];

function kept(vm: Vm): Vm {
  vms.push(vm);
  return vm;
}

async function text(vm: Vm, ...command: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(command);
  expect([exitCode, new TextDecoder().decode(stderr)]).toEqual([0, ""]);
  return new TextDecoder().decode(stdout).trim();
}

/** However long the boot takes in here. */
async function booted(vm: Vm): Promise<Vm> {
  for (;;) {
    try {
      expect(await text(vm, "uname", "-s")).toBe("Linux");
      return vm;
    } catch (error) {
      if (!(error instanceof AgentError && error.code === "AGENT_TIMEOUT")) throw error;
    }
  }
}

/** Saves what stands still. Answers its hash. */
async function saved(vm: Vm, path: string): Promise<string> {
  await vm.pause();
  const hash = await vm.stateHash();
  await vm.save(path);
  return hash;
}

const isStillThere = (vm: Vm): Promise<string> =>
  text(vm, "sh", "-c", "cat /tmp/note; kill -0 $(cat /tmp/pid) && seq 1000 | tail -1");

const openKvm = (): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    const { stdout } = spawnSync("readlink", [`/proc/${process.pid}/fd/${fd}`], { encoding: "utf8" });
    return /kvm/.test(stdout);
  }).length;

let lapMs = performance.now();
function lap(what: string): void {
  process.stdout.write(`${what}: ${Math.round(performance.now() - lapMs)} ms\n`);
  lapMs = performance.now();
}

afterAll(async () => {
  for (const vm of vms) await vm.close();
});

describe("Linux on the kvm engine", () => {
  let hash = "";

  it("boots, runs commands, and turns off", { timeout: 8 * MINUTE_MS }, async () => {
    lapMs = performance.now();
    const vm = kept(await createVm({ engine: "kvm", memoryBytes: 128 * 2 ** 20, cpuFeatures, append: "quiet" }));
    await vm.start();
    expect(vm.engine).toBe("kvm");
    await booted(vm);
    lap("first command");
    expect(await text(vm, "sh", "-c", "seq 100000 | sha256sum")).toMatch(/^[0-9a-f]{64}/);
    const hostMs = performance.now();
    const before = Number(await text(vm, "date", "+%s"));
    await text(vm, "sleep", "2");
    const passed = Number(await text(vm, "date", "+%s")) - before;
    expect(passed).toBeGreaterThanOrEqual(2);
    expect(passed).toBeLessThanOrEqual((performance.now() - hostMs) / 1000 + 2);
    await text(vm, "sh", "-c", "echo kept > /tmp/note; sleep 10000 & echo $! > /tmp/pid");
    lap("commands");
    hash = await saved(vm, FROM_KVM);
    lap("hash and save");
    process.stdout.write(`${JSON.stringify(await vm.stats())}\n`);
    await vm.resume();
    await vm.stop();
    expect((await vm.wait()).kind).toBe("off");
    await vm.close();
  });

  it("goes on in jit", { timeout: 8 * MINUTE_MS }, async () => {
    lapMs = performance.now();
    // Interpreted: V8's compilers take longer in here than what they would save.
    const vm = kept(await restoreVm(FROM_KVM, { engine: "jit", tier: "interp" }));
    expect(vm.engine).toBe("jit");
    expect(await vm.stateHash()).toBe(hash);
    lap("in jit");
    await vm.start();
    expect(await isStillThere(vm)).toBe("kept\n1000");
    lap("a command in jit");
    hash = await saved(vm, FROM_JIT);
    await vm.close();
  });

  it("goes on in kvm again, and closed in the middle of work leaves no descriptor of KVM open", {
    timeout: 8 * MINUTE_MS,
  }, async () => {
    lapMs = performance.now();
    const before = openKvm();
    const vm = kept(await restoreVm(FROM_JIT, { engine: "kvm" }));
    expect(vm.engine).toBe("kvm");
    expect(await vm.stateHash()).toBe(hash);
    await vm.start();
    expect(await isStillThere(vm)).toBe("kept\n1000");
    lap("in kvm again, and a command");
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
