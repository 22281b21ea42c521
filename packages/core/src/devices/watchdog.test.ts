import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createWatchdog, type WatchdogAction } from "./watchdog.ts";

const PRELOAD_1 = 0;
const PRELOAD_2 = 4;
const INTERRUPT_STATUS = 8;
const RELOAD = 12;
const CONFIG = 0x60;
const LOCK = 0x68;
/** One tick of the slow clock, 2^15 / 33 MHz. */
const TICK_NS = 2 ** 15 / 0.033;

function setUp(action: WatchdogAction = "reset") {
  const context = new FakeContext();
  const device = createWatchdog(context, { name: "watchdog0", action });
  const write = (offset: number, value: number): void => {
    device.registers.write(RELOAD, 2, 0x80);
    device.registers.write(RELOAD, 2, 0x86);
    device.registers.write(offset, offset === RELOAD ? 2 : 4, value);
  };
  const start = (first = 10, second = 20): void => {
    write(PRELOAD_1, first);
    write(PRELOAD_2, second);
    device.pci.writeConfig(LOCK, 1, 2);
  };
  const pass = (ticks: number): void => void context.clock.advance(Math.ceil(ticks * TICK_NS));
  const read = (offset: number): number => device.registers.read(offset, 2);
  const told = (): string[] => context.outputs.map(([, bytes]) => Buffer.from(bytes).toString());
  return { context, device, write, start, pass, read, told };
}

describe("the watchdog", () => {
  it("resets the machine when both stages have ended, and knows it afterwards", () => {
    const { context, device, start, pass, read, write, told } = setUp();
    start();
    pass(11);
    expect([read(INTERRUPT_STATUS), context.powerActions]).toEqual([1, []]);
    pass(20);
    expect([told(), context.powerActions.length, read(RELOAD)]).toEqual([["reset"], 1, 0x200]);
    expect(context.powerActions[0]).toMatch(/^reset/);
    device.reset();
    expect(read(RELOAD)).toBe(0x200);
    write(RELOAD, 0x200);
    expect(read(RELOAD)).toBe(0);
  });

  it("is content while it is served", () => {
    const { context, write, start, pass } = setUp();
    start();
    for (let i = 0; i < 10; i++) {
      pass(25);
      write(RELOAD, 0x100);
    }
    expect(context.powerActions).toEqual([]);
  });

  it.each<[WatchdogAction, number]>([
    ["poweroff", 1],
    ["pause", 0],
    ["none", 0],
  ])("tells of %s", (action, powers) => {
    const { context, start, pass, told } = setUp(action);
    start();
    pass(40);
    expect([told(), context.powerActions.length]).toEqual([[action], powers]);
  });

  it("takes writes behind the two keys alone", () => {
    const { device, write } = setUp();
    device.registers.write(PRELOAD_1, 4, 5);
    device.registers.write(RELOAD, 2, 0x86);
    device.registers.write(PRELOAD_1, 4, 5);
    expect(device.registers.read(PRELOAD_1, 4)).toBe(0xf_ffff);
    write(PRELOAD_1, 5);
    expect(device.registers.read(PRELOAD_1, 4)).toBe(5);
  });

  it("cannot be stopped once it is locked, and does nothing where its output is off", () => {
    const locked = setUp();
    locked.start();
    locked.device.pci.writeConfig(LOCK, 1, 3);
    locked.device.pci.writeConfig(LOCK, 1, 0);
    expect(locked.device.pci.config.read(LOCK, 1)).toBe(3);
    locked.pass(40);
    expect(locked.told()).toEqual(["reset"]);
    const silent = setUp();
    silent.device.pci.writeConfig(CONFIG, 2, 0x20);
    silent.start();
    silent.pass(40);
    expect(silent.told()).toEqual([]);
  });

  it("starts its first stage again in free-running mode", () => {
    const { device, start, pass, told } = setUp();
    start();
    device.pci.writeConfig(LOCK, 1, 6);
    pass(200);
    expect(told()).toEqual([]);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createWatchdog(context, { name: "watchdog0", action: "none" });
    return {
      device,
      ranges: [{ handler: device.registers, length: 16 }],
      survivesReset: true,
      setUp: () => device.pci.writeConfig(LOCK, 1, 2),
      events: [
        (random) => device.pci.writeConfig(LOCK, 1, random & 6),
        (random) => {
          device.registers.write(RELOAD, 2, 0x80);
          device.registers.write(RELOAD, 2, 0x86);
          device.registers.write((random & 3) * 4, 4, random >>> 8);
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
