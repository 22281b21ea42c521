// What a change of engines takes along (typed input, recordings from behind it), and migrations between engines, on KVM.
import { receiveVm, replayVm } from "@twinmetal/host";
import { afterEach, describe, expect, it } from "vitest";
import { checks, closeAll, kept, other, path, started, WAIT_MS } from "./small-vms.ts";

const LIMIT_MS = 1_200_000;
/** Of a processor in software that may be shared with much else: this is no measure of the link. */
const LINK = { maxDowntimeMs: 3000, stallMs: 60_000 };

afterEach(closeAll);

describe("a VM changes its engine", () => {
  it("and loses nothing that is typed", { timeout: LIMIT_MS }, async () => {
    const vm = await started("echoing");
    await vm.serial.waitFor("ready\n", { timeoutMs: WAIT_MS });
    expect(await vm.canMigrate("jit")).toEqual([]);
    for (const letter of "abcd") {
      const change = vm.switchEngine(other(vm.engine));
      void vm.serial.write(letter);
      await change;
      await vm.serial.waitFor(letter, { timeoutMs: WAIT_MS });
    }
    await vm.serial.write("q");
    expect((await vm.wait()).kind).toBe("off");
  });

  it("and is recorded from there", { timeout: LIMIT_MS }, async () => {
    const vm = await started("echoing");
    await vm.serial.waitFor("ready\n", { timeoutMs: WAIT_MS });
    const files = { state: path("recorded.state") };
    await expect(vm.record(path("run"), files)).rejects.toThrow(/jit/);
    await vm.switchEngine("jit");
    await vm.record(path("run"), files);
    expect((await vm.canMigrate("kvm")).map(({ code }) => code)).toEqual(["recording"]);
    await vm.serial.write("xyz");
    await vm.serial.waitFor("xyz", { timeoutMs: WAIT_MS });
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
        const { downtimeMs, rounds, sentPages, leastShare } = await vm.migrate(address, LINK);
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
      kept(there);
      expect([vm.state, there.engine, there.state]).toEqual(["migrated", to, "running"]);
      await checks(there, 3);
    });
});
