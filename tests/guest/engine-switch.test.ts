// A VM goes on in another machine of its process. The other engine needs KVM, which tests/kvm has; here another jit
// machine takes the guest over, whose memory is copied, and what is impossible is refused in words.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm, MigrationError, replayVm, type Vm, type VmOptions } from "../../packages/host/src/index.ts";
import type { HostedVm } from "../../packages/host/src/vm/hosted-vm.ts";
import { keptTranslations } from "../kept-translations.ts";
import { bareKernel, GUESTS } from "./bare-kernel.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;
const tiny = await tinyGuest();
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-switch-"));
  for (const [name, code] of Object.entries(GUESTS)) await writeFile(join(directory, name), bareKernel(code));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function started(guest: keyof typeof GUESTS, options: VmOptions = {}): Promise<HostedVm> {
  const vm = await createVm({ kernel: join(directory, guest), memoryBytes: 16 * MIB, ...options });
  await vm.start();
  return vm as HostedVm;
}

async function text(vm: Vm, ...command: string[]): Promise<string> {
  const { exitCode, stdout } = await vm.exec(command);
  expect(exitCode).toBe(0);
  return new TextDecoder().decode(stdout).trim();
}

describe("another machine takes the guest over", () => {
  it("with its whole state, while it runs, and what is typed meanwhile", async () => {
    await using vm = await started("echoing");
    await vm.serial.waitFor("ready");
    const states: string[] = [];
    vm.on("state", (state) => states.push(state));
    const counted = await vm.stats();
    for (const letter of "abc") {
      const change = vm.renewMachine("jit", { isVerified: true });
      void vm.serial.write(letter);
      const result = await change;
      expect(result.stateHash).toMatch(/^[0-9a-f]{64}$/);
      expect(result.movedPages).toBe((16 * MIB) / 4096);
      await vm.serial.waitFor(letter, { timeoutMs: 20_000 });
    }
    expect(states).toEqual([]);
    const { retired, slices, outputBytes, blocksDecoded } = await vm.stats();
    expect(retired).toBeGreaterThan(counted["retired"]!);
    expect(slices).toBeGreaterThan(counted["slices"]!);
    expect(outputBytes).toBe(counted["outputBytes"]! + "abc".length);
    expect(blocksDecoded).toBeGreaterThan(counted["blocksDecoded"]!);
    await vm.serial.write("q");
    expect((await vm.wait()).kind).toBe("off");
  });

  it("and what it may write and compute counts on", async () => {
    await using vm = await started("echoing");
    await vm.serial.waitFor("ready");
    const { outputBytes = 0, cpuMs = 0 } = await vm.stats();
    await vm.resources.set({ outputBytes: outputBytes + 3, cpuTimeMs: cpuMs + 600_000 });
    for (const letter of "ab") {
      await vm.renewMachine("jit");
      await vm.serial.write(letter);
      await vm.serial.waitFor(letter, { timeoutMs: 20_000 });
    }
    await vm.serial.write("c");
    expect(await vm.wait()).toMatchObject({ kind: "off", limit: "outputBytes" });
  });

  it("paused, and stays so; commands wait for the change", async () => {
    await using vm = await started("spinning");
    await vm.serial.waitFor("spinning");
    await vm.pause();
    const before = await vm.stateHash();
    await vm.renewMachine("jit");
    expect(vm.state).toBe("paused");
    expect(await vm.stateHash()).toBe(before);
    const change = vm.renewMachine("jit");
    await vm.resume();
    await change;
    expect(vm.state).toBe("running");
    const { retired } = await vm.registers();
    await expect.poll(async () => (await vm.registers()).retired).toBeGreaterThan(retired);
  });

  it("a reset that was asked for while it was paused comes with it", async () => {
    await using vm = await started("spinning");
    await vm.serial.waitFor("spinning");
    await vm.pause();
    await vm.reset();
    await vm.renewMachine("jit");
    await vm.resume();
    await vm.serial.waitFor("spinning", { timeoutMs: 20_000 });
  });

  it("closed in the middle of it, everything ends", async () => {
    const vm = await started("spinning");
    await vm.serial.waitFor("spinning");
    const change = vm.renewMachine("jit").catch((error: unknown) => error);
    await vm.close();
    await change;
    expect(vm.state).toBe("off");
  });
});

describe.skipIf("missing" in tiny)("Linux", () => {
  it("works on in its third machine, with the same agent and the same clock", { timeout: 120_000 }, async () => {
    const vm = (await createVm({ memoryBytes: 96 * MIB, append: "quiet", ...keptTranslations() })) as HostedVm;
    try {
      await vm.start();
      const work = vm.exec(["sh", "-c", "for i in 1 2 3 4 5 6; do seq 20000 | sha256sum; done | sort -u | wc -l"]);
      const before = Number((await text(vm, "cat", "/proc/uptime")).split(" ")[0]);
      const startMs = performance.now();
      for (let i = 0; i < 2; i++) {
        const { pausedMs } = await vm.renewMachine("jit", { isVerified: true });
        expect(pausedMs).toBeGreaterThan(0);
        expect(await text(vm, "uname", "-s")).toBe("Linux");
      }
      const translated = async (): Promise<number> => (await vm.stats())["regionsTranslated"]!;
      const translatedBefore = await translated();
      await text(vm, "sh", "-c", "seq 50000 | sha256sum");
      await expect.poll(translated, { timeout: 20_000 }).toBeGreaterThan(translatedBefore);
      const { stdout } = await work;
      expect(new TextDecoder().decode(stdout).trim()).toBe("1");
      const passed = Number((await text(vm, "cat", "/proc/uptime")).split(" ")[0]) - before;
      expect(Math.abs(passed - (performance.now() - startMs) / 1000)).toBeLessThan(1);
    } finally {
      await vm.close();
    }
  });
});

it("a run is recorded from its middle, and replayed", async () => {
  await using vm = await started("echoing", { engine: "jit" });
  await vm.serial.waitFor("ready\n");
  const [run, state] = [join(directory, "run"), join(directory, "start.state")];
  await vm.record(run, { state });
  await expect(vm.record(run, { state })).rejects.toThrow(/already/);
  await vm.serial.write("xyz");
  await vm.serial.waitFor("xyz");
  await vm.serial.write("q");
  await vm.wait();
  let text = "";
  const onSerial = (bytes: Uint8Array): void => {
    text += new TextDecoder().decode(bytes);
  };
  const { stateHash } = await replayVm(run, { kernel: join(directory, "echoing"), state, onSerial });
  expect([stateHash, text]).toEqual([await vm.stateHash(), "xyzq"]);
});

describe("is refused, and the guest runs on", () => {
  const codes = async (vm: Vm, engine: "jit" | "kvm"): Promise<string[]> => {
    const obstacles = await vm.canMigrate(engine);
    for (const { message } of obstacles) expect(message).toMatch(/^[A-Z/].*\.$/s);
    const error = await vm.switchEngine(engine).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(MigrationError);
    expect(error).toMatchObject({ code: "refused", obstacles: obstacles.map(({ code }) => ({ code })) });
    expect(vm.state).toBe("running");
    return obstacles.map(({ code }) => code);
  };

  it("to the engine that it has", async () => {
    await using vm = await started("echoing", { engine: "jit" });
    expect(await codes(vm, "jit")).toEqual(["engine"]);
    await vm.serial.write("z");
    await vm.serial.waitFor("z");
  });

  it("to kvm, with a virtual clock, or while it is recorded", async () => {
    await using counting = await started("spinning", { clock: "virtual" });
    expect(await codes(counting, "kvm")).toContain("clock");
    await using recorded = await started("spinning", { engine: "jit", record: join(directory, "recording") });
    expect(await codes(recorded, "kvm")).toContain("recording");
  });
});
