// A running VM changes its engine, there and back, on KVM: the state's hashes on both sides, memory that is not copied,
// and migrations between engines.
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createVm, receiveVm, replayVm, type Vm } from "@twinmetal/host";
import { afterEach, describe, expect, it } from "vitest";
import { bareKernel, GUESTS } from "../../guest/bare-kernel.ts";
import { dirtyingKernel, memoryBytesOf } from "../../guest/migration/dirtying-guest.ts";

type Engine = "jit" | "kvm";

const LIMIT_MS = 420_000;
const GUEST = { pages: 512, delay: 20 };
const directory = mkdtempSync("/tmp/switch-");
const vms: Vm[] = [];
const KERNELS = { dirtying: dirtyingKernel(GUEST), echoing: bareKernel(GUESTS.echoing) };
for (const [name, bytes] of Object.entries(KERNELS)) writeFileSync(join(directory, name), bytes);

const path = (name: string): string => join(directory, name);
const other = (engine: Engine): Engine => (engine === "kvm" ? "jit" : "kvm");

/** Created for KVM, whose frequency the time-stamp counter then has: it runs on both engines. */
async function started(kernel: keyof typeof KERNELS): Promise<Vm> {
  const vm = await createVm({
    engine: "kvm",
    kernel: path(kernel),
    memoryBytes: memoryBytesOf(GUEST),
    cpuFeatures: ["-xsave", "-xsaveopt"],
  });
  vms.push(vm);
  await vm.start();
  return vm;
}

/** Its memory is whole so often. */
async function checks(vm: Vm, count: number): Promise<void> {
  for (let i = 0; i < count; i++) expect(await vm.serial.waitFor(/[.X]/, { timeoutMs: 60_000 })).not.toContain("X");
}

afterEach(async () => {
  for (const vm of vms.splice(0)) await vm.close();
});

describe("a VM changes its engine", () => {
  it("under a guest that writes without end", { timeout: LIMIT_MS }, async () => {
    const vm = await started("dirtying");
    await checks(vm, 1);
    expect(await vm.canMigrate("jit")).toEqual([]);
    for (let i = 0; i < 4; i++) {
      const to = other(vm.engine);
      const { pausedMs, totalMs, movedPages, movedBytes, stateHash } = await vm.switchEngine(to, {
        isVerified: i < 2,
      });
      expect([vm.engine, vm.state, movedPages]).toEqual([to, "running", 0]);
      if (i < 2) expect(stateHash).toMatch(/^[0-9a-f]{64}$/);
      console.log(
        `to ${to}: stood still ${pausedMs.toFixed(1)} ms of ${Math.round(totalMs)}, ${movedPages} pages, ${movedBytes} bytes`,
      );
      await checks(vm, 2);
    }
  });

  it("and loses nothing that is typed", { timeout: LIMIT_MS }, async () => {
    const vm = await started("echoing");
    await vm.serial.waitFor("ready\n");
    for (const letter of "abcd") {
      const change = vm.switchEngine(other(vm.engine));
      void vm.serial.write(letter);
      await change;
      await vm.serial.waitFor(letter, { timeoutMs: 20_000 });
    }
    await vm.serial.write("q");
    expect((await vm.wait()).kind).toBe("off");
  });

  it("and is recorded from there", { timeout: LIMIT_MS }, async () => {
    const vm = await started("echoing");
    await vm.serial.waitFor("ready\n");
    const files = { state: path("recorded.state") };
    await expect(vm.record(path("run"), files)).rejects.toThrow(/jit/);
    await vm.switchEngine("jit");
    await vm.record(path("run"), files);
    expect((await vm.canMigrate("kvm")).map(({ code }) => code)).toEqual(["recording"]);
    await vm.serial.write("xyz");
    await vm.serial.waitFor("xyz");
    await vm.serial.write("q");
    await vm.wait();
    const hash = await vm.stateHash();
    let replayed = "";
    const replay = await replayVm(path("run"), {
      kernel: path("echoing"),
      ...files,
      onSerial: (bytes) => {
        replayed += new TextDecoder().decode(bytes);
      },
    });
    expect(replayed).toBe("xyzq");
    expect(replay.stateHash).toBe(hash);
  });
});

describe("a running VM moves", () => {
  for (const [from, to] of [
    ["kvm", "jit"],
    ["jit", "kvm"],
    ["kvm", "kvm"],
  ] as const)
    it(`from ${from} to ${to}`, { timeout: LIMIT_MS }, async () => {
      const vm = await started("dirtying");
      if (from === "jit") await vm.switchEngine("jit");
      await checks(vm, 1);
      const address = `unix:${path(`${from}-${to}`)}`;
      const migrate = async (): Promise<void> => {
        expect(await vm.canMigrate(address)).toEqual([]);
        const { downtimeMs, rounds, sentPages, leastShare } = await vm.migrate(address, { maxDowntimeMs: 300 });
        console.log(
          `${from} to ${to}: stood still ${Math.round(downtimeMs)} ms, ${rounds} rounds, ${sentPages} pages, share ${leastShare}`,
        );
      };
      let begin = (): void => {};
      const listening = new Promise<void>((resolve) => {
        begin = resolve;
      });
      const arriving = receiveVm(address, { engine: to, kernel: path("dirtying"), onListening: () => begin() });
      const [there] = await Promise.all([arriving, listening.then(migrate)]);
      vms.push(there);
      expect([vm.state, there.engine, there.state]).toEqual(["migrated", to, "running"]);
      await checks(there, 3);
    });
});
