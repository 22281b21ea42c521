// `twinmetal/browser` in Chromium, with guests of a few instructions: with cross-origin isolation and without.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumMissing } from "./chromium.ts";
import { BrowserRig } from "./rig.ts";

const missing = chromiumMissing();

describe.each([
  { name: "cross-origin isolated", isIsolated: true },
  { name: "not isolated", isIsolated: false },
])("$name", ({ isIsolated }) => {
  let rig: BrowserRig;

  beforeAll(async () => {
    if (missing === null) rig = await BrowserRig.start(isIsolated);
  });

  afterAll(() => rig?.close());

  function browserTest(name: string, body: () => Promise<void>): void {
    it(name, async ({ skip }) => {
      if (missing !== null) skip(missing);
      await body();
      expect(rig.page.errors).toEqual([]);
    });
  }

  browserTest("shares memory exactly where it may", async () => {
    const shared = await rig.run(`
      const { vm } = await t.bare("hello");
      vm.close();
      return [crossOriginIsolated, vm.hasSharedMemory];
    `);
    expect(shared).toEqual([isIsolated, isIsolated]);
  });

  browserTest("runs a guest until it turns itself off", async () => {
    const result = await rig.run(`
      const { vm, console } = await t.bare("hello");
      const states = [vm.state];
      await vm.start();
      const end = await vm.wait();
      states.push(vm.state);
      return { end, states, text: console.text, again: await t.codeOf(vm.start()) };
    `);
    expect(result).toEqual({
      end: { kind: "off", reason: "the guest powered off through ACPI" },
      states: ["created", "off"],
      text: "hello, world\n",
      again: "state",
    });
  });

  browserTest("types into the guest's serial port, more than it holds", async () => {
    const text = await rig.run<string>(`
      const { vm, console } = await t.bare("echoing");
      await vm.start();
      await console.waitFor("ready");
      await vm.serial.write("0123456789".repeat(1000));
      await vm.serial.write(new Uint8Array([0x71]));
      await vm.wait();
      return console.text;
    `);
    expect(text).toBe(`ready\n${"0123456789".repeat(1000)}q`);
  });

  browserTest("stops a guest whose output the page does not take in time, and loses none of it", async () => {
    const { inFlight, isRight, turns } = await rig.run<{ inFlight: number; isRight: boolean; turns: number }>(`
      const { vm } = await t.bare("flooding");
      let taken = 0, isRight = true;
      vm.serial.onData((bytes) => {
        const until = performance.now() + 20; // A slow page.
        while (performance.now() < until);
        for (const byte of bytes) isRight &&= byte === taken++ % 256;
      });
      await vm.start();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const before = taken;
      const { outputBytes, turns } = await vm.stats();
      vm.close();
      return { inFlight: outputBytes - before, isRight, turns };
    `);
    expect(isRight).toBe(true);
    expect(turns).toBeGreaterThan(1);
    expect(inFlight).toBeLessThan(2 ** 20);
  });

  browserTest("answers while the guest spins, and pauses it", async () => {
    const result = await rig.run<{ retired: number[]; states: string[]; ended: string }>(`
      const { vm, console } = await t.bare("spinning");
      await vm.start();
      await console.waitFor("spinning");
      const states = [vm.state];
      const retired = [(await vm.stats()).retired];
      await vm.pause();
      states.push(vm.state);
      for (let i = 0; i < 2; i++) {
        retired.push((await vm.stats()).retired);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await vm.resume();
      states.push(vm.state);
      await new Promise((resolve) => setTimeout(resolve, 50));
      retired.push((await vm.stats()).retired);
      await vm.stop({ timeoutMs: 50 });
      return { retired, states, ended: (await vm.wait()).reason };
    `);
    expect(result.states).toEqual(["running", "paused", "running"]);
    const [running, paused, later, resumed] = result.retired;
    expect(paused).toBeGreaterThanOrEqual(running ?? Number.NaN);
    expect(later).toBe(paused);
    expect(resumed).toBeGreaterThan(later ?? Number.NaN);
    expect(result.ended).toBe("turned off from outside");
  });

  browserTest("runs hot code translated, unless it is told not to", async () => {
    const [auto, interp] = await rig.run<Record<string, number>[]>(`
      const results = [];
      for (const [tier, least] of [["auto", 1e6], ["interp", 0]]) {
        const { vm, console } = await t.bare("spinning", { tier });
        await vm.start();
        await console.waitFor("spinning");
        let stats = await vm.stats();
        for (let i = 0; i < 300 && stats.instructionsInRegions < least; i++) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          stats = await vm.stats();
        }
        vm.close();
        results.push(stats);
      }
      return results;
    `);
    expect(auto?.["instructionsInRegions"]).toBeGreaterThan(1e6);
    expect(interp?.["instructionsInRegions"]).toBe(0);
  });

  browserTest("sleeps while the guest does", async () => {
    const turns = await rig.run<number[]>(`
      const { vm, console } = await t.bare("asleep");
      await vm.start();
      await console.waitFor("asleep");
      const turns = [(await vm.stats()).turns];
      await new Promise((resolve) => setTimeout(resolve, 300));
      turns.push((await vm.stats()).turns);
      vm.close();
      return turns;
    `);
    // Each question wakes it once.
    expect((turns[1] ?? Number.NaN) - (turns[0] ?? Number.NaN)).toBeLessThan(10);
  });

  browserTest("tells of a crash", async () => {
    const result = await rig.run(`
      const { vm, console } = await t.bare("tripleFaulting");
      await vm.start();
      const { kind, reason } = await vm.wait();
      return { kind, reason, text: console.text, state: vm.state };
    `);
    expect(result).toMatchObject({ kind: "crashed", text: "falling\n", state: "crashed" });
    expect(result).toMatchObject({ reason: expect.stringContaining("shut down") });
  });

  browserTest("refuses what cannot run, with a code", async () => {
    const codes = await rig.run(`
      const kernel = new Uint8Array(4096);
      const codes = [await t.codeOf(t.createVm({ kernel, memoryBytes: 1 })), await t.codeOf(t.bare("hello", { seed: "x" }))];
      const vm = await t.createVm({ kernel });
      codes.push(await t.codeOf(vm.start()), await t.codeOf(vm.pause()));
      const asked = t.codeOf(vm.stats());
      vm.close();
      vm.close();
      codes.push(await asked, await t.codeOf(vm.start()), (await vm.wait()).reason);
      return codes;
    `);
    expect(codes).toEqual(["memory", "seed", "not-a-bzimage", "state", "closed", "closed", "The VM was closed."]);
  });

  browserTest("is a function of its instructions with a virtual clock", async () => {
    const counts = await rig.run<number[]>(`
      const counts = [];
      for (let i = 0; i < 2; i++) {
        const { vm } = await t.bare("hello", { clock: "virtual", seed: "00", epochSeconds: 0 });
        await vm.start();
        await vm.wait();
        counts.push((await vm.stats()).retired);
        vm.close();
      }
      return counts;
    `);
    expect(counts[0]).toBeGreaterThan(10);
    expect(counts[1]).toBe(counts[0]);
  });
});
