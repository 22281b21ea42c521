import { describe, expect, it } from "vitest";
import { StateError } from "../state/errors.ts";
import { deviceContract } from "./contract.ts";
import { CPUS_CHANNEL, createCpuHotplug } from "./cpu-hotplug.ts";
import { FakeContext } from "./fake-context.ts";
import { HOTPLUG } from "./hotplug-registers.ts";

function setUp() {
  const context = new FakeContext();
  const seen = { events: 0, ejected: [] as number[], count: 0 };
  const device = createCpuHotplug(context, {
    count: 4,
    atStart: 2,
    onChange: () => void seen.events++,
    onEject: (index) => void seen.ejected.push(index),
    onCount: (count) => {
      seen.count = count;
    },
  });
  return {
    seen,
    device,
    want: (count: number) => context.input(CPUS_CHANNEL, Uint8Array.of(count)),
    told: () => [...context.sent(CPUS_CHANNEL)].at(-1),
    registers: () => [0, 1, 2, 3].map((offset) => device.registers.read(offset, 1)),
    write: (offset: number, value: number) => device.registers.write(offset, 1, value),
  };
}

describe("processors that come and go", () => {
  it("come at once, lowest number first, no more than there is room for", () => {
    const { seen, want, told, registers, write } = setUp();
    expect([registers(), seen.count]).toEqual([[0b0011, 0, 0, 0], 2]);
    want(3);
    expect([registers(), told(), seen.events]).toEqual([[0b0111, 0b0100, 0, 0], 3, 1]);
    want(200);
    expect([registers(), told(), seen.events]).toEqual([[0b1111, 0b1100, 0, 0], 4, 2]);
    write(HOTPLUG.ARRIVED, 0b0100);
    expect([registers(), seen.count]).toEqual([[0b1111, 0b1000, 0, 0], 4]);
  });

  it("go when the guest lets go, never the first one", () => {
    const { seen, want, told, registers, write } = setUp();
    want(0);
    expect([registers(), told(), seen.events]).toEqual([[0b0011, 0, 0b0010, 0], 2, 1]);
    write(HOTPLUG.LEAVING, 0b0010);
    write(HOTPLUG.EJECT, 0b1111);
    expect([registers(), told(), seen.ejected]).toEqual([[0b0001, 0, 0, 0], 1, [1]]);
    write(HOTPLUG.EJECT, 0b1111);
    expect(seen.ejected).toEqual([1]);
  });

  it("a later wish takes back what the guest has not heard", () => {
    const { want, registers } = setUp();
    want(1);
    want(2);
    expect(registers()).toEqual([0b0011, 0, 0, 0]);
  });

  it("a reset leaves those that are there", () => {
    const { device, want, registers } = setUp();
    want(4);
    device.reset();
    expect(registers()).toEqual([0b1111, 0, 0, 0]);
  });

  it.each([
    { present: 0b0110, arrived: 0, leaving: 0 },
    { present: 0b0011, arrived: 0b0100, leaving: 0 },
    { present: 0b0011, arrived: 0, leaving: 0b0100 },
    { present: 0b0011, arrived: 0, leaving: 0b0001 },
  ])("refuses a state that no board has: %o", (state) => {
    expect(() => setUp().device.restore(state)).toThrow(StateError);
  });

  describe("contract", () =>
    it.each(
      deviceContract((context) => {
        const device = createCpuHotplug(context, {
          count: 8,
          atStart: 3,
          onChange: () => {},
          onEject: () => {},
          onCount: () => {},
        });
        return {
          device,
          ranges: [{ handler: device.registers, length: 4 }],
          survivesReset: true,
          events: [(random) => context.input(CPUS_CHANNEL, Uint8Array.of(random % 10))],
        };
      }),
    )("$name", ({ run }) => run()));
});
