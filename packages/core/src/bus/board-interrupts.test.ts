/** The legacy devices on the real board: interrupts and resets arrive where an operating system expects them. */
import { expect, it } from "vitest";
import type { StateValue } from "../devices/device.ts";
import { FakeContext } from "../devices/fake-context.ts";
import { createBoard } from "../machine/board.ts";
import { GSI, gsiOfIntx, ISA_IRQ, MEMORY_MAP, PM_BLOCK, PORT_MAP } from "../machine/board-map.ts";
import { GuestClock } from "../machine/guest-clock.ts";
import { machineSpec } from "../machine/spec.ts";
import { LPC } from "./pci/lpc-bridge.ts";

const CARD_SLOT = 1;

function setUp() {
  const fake = new FakeContext();
  const inputs = new Map<string, (bytes: Uint8Array) => void>();
  const spec = machineSpec({
    memoryBytes: 2 ** 24,
    clock: "virtual",
    boot: { kernel: { sha256: "0".repeat(64), sizeBytes: 1 }, commandLine: "" },
    devices: [{ kind: "virtio-rng", name: "card" }],
  });
  const clock = new GuestClock({
    epochSeconds: spec.epochSeconds,
    tscFrequencyHz: spec.tscFrequencyHz,
    retired: () => 0,
  });
  const pins = { interrupt: false };
  const board = createBoard({
    spec,
    clock,
    context: {
      clock,
      memory: fake.memory,
      random: (into) => fake.random(into),
      onInput: (channel, handler) => inputs.set(channel, handler),
      output: () => {},
      openDisk: (channel, onDone) => fake.openDisk(channel, onDone),
      openNetwork: (channel, port) => fake.openNetwork(channel, port),
      openShare: (channel, onDone) => fake.openShare(channel, onDone),
      protectShadow: () => {},
      power: (action) => fake.power(action),
    },
    setInterrupt: (pending) => {
      pins.interrupt = pending;
    },
    setTaskPriority: () => {},
    nmi: () => {},
  });
  const { bus } = board;
  const out = (port: number, ...values: number[]) => {
    for (const value of values) bus.writePort(port, 1, value);
  };
  const writeConfig = (device: number, offset: number, size: 1 | 2 | 4, value: number) => {
    bus.writePort(PORT_MAP.pciConfigAddress, 4, (0x8000_0000 | (device << 11) | (offset & ~3)) >>> 0);
    bus.writePort(PORT_MAP.pciConfigData + (offset & 3), size, value);
  };
  writeConfig(31, LPC.PMBASE, 4, PORT_MAP.powerManagement);
  writeConfig(31, LPC.ACPI_CNTL, 1, 0x80);
  const card = board.devices.find(({ name }) => name === "card") as unknown as {
    pci: { intx: { set(level: boolean): void } };
  };
  return {
    board,
    bus,
    clock,
    pins,
    out,
    hpet: (offset: number, value: number) => bus.writeMmio(MEMORY_MAP.hpetStart + offset, 4, value),
    powerActions: fake.powerActions,
    input: (channel: string, ...bytes: number[]) => inputs.get(channel)!(Uint8Array.from(bytes)),
    setIntx: (level: boolean) => card.pci.intx.set(level),
    advance: (ns: number) => {
      const end = clock.nowNs() + ns;
      for (let due = clock.nextDueNs; due <= end; due = clock.nextDueNs) {
        clock.skipTo(due);
        clock.fireDue();
      }
      clock.skipTo(end);
    },
    programPic: (mask: number) => {
      out(0x20, 0x11);
      out(0x21, 0x30, 4, 1, mask & 0xff);
      out(0xa0, 0x11);
      out(0xa1, 0x38, 2, 1, mask >>> 8);
    },
    programIoApic: (input: number, low: number) => {
      bus.writeMmio(MEMORY_MAP.ioApicStart, 4, 0x10 + 2 * input);
      bus.writeMmio(MEMORY_MAP.ioApicStart + 0x10, 4, low);
    },
    /** The processor takes an interrupt and its handler ends it at the local APIC. */
    take: () => {
      if (!pins.interrupt) return undefined;
      const vector = board.acknowledgeInterrupt();
      bus.writeMmio(MEMORY_MAP.localApicStart + 0xb0, 4, 0);
      return vector;
    },
  };
}

it("brings the 8254 through the 8259A to the processor in virtual wire mode", () => {
  const { out, programPic, board, pins, advance } = setUp();
  programPic(0);
  out(0x43, 0x34);
  out(0x40, 0xff, 0x00);
  // The control word alone makes the output rise.
  expect(board.acknowledgeInterrupt()).toBe(0x30);
  out(0x20, 0x20);
  expect(pins.interrupt).toBe(false);
  advance(1_000_000);
  expect(board.acknowledgeInterrupt()).toBe(0x30);
});

it("brings interrupts through the IO-APIC once the 8259A is masked", () => {
  const { out, programPic, programIoApic, take, advance, bus, board, setIntx } = setUp();
  programPic(0xffff);
  programIoApic(GSI.pit, 0x40);
  programIoApic(ISA_IRQ.uart0, 0x44);
  programIoApic(GSI.sci, 0x8049);
  programIoApic(gsiOfIntx(CARD_SLOT, 0), 0xa055);
  out(0x43, 0x34);
  out(0x40, 0xff, 0xff);
  advance(100_000_000);
  expect(take()).toBe(0x40);
  out(PORT_MAP.uart0 + 1, 2);
  expect(take()).toBe(0x44);
  bus.writePort(PORT_MAP.powerManagement + PM_BLOCK.pm1Event + 2, 2, 0x100);
  board.pressPowerButton();
  expect(take()).toBe(0x49);
  expect(take()).toBe(0x49);
  bus.writePort(PORT_MAP.powerManagement, 2, 0x100);
  take();
  setIntx(true);
  expect(take()).toBe(0x55);
  setIntx(false);
  take();
  expect(take()).toBeUndefined();
});

it("gives the 8254's wire to the HPET in legacy replacement mode", () => {
  const { programPic, programIoApic, take, advance, hpet, out } = setUp();
  programPic(0xffff);
  programIoApic(GSI.pit, 0x40);
  hpet(0x010, 3);
  hpet(0x100, 0x14c);
  hpet(0x108, 1000);
  hpet(0x108, 1000);
  out(0x43, 0x34);
  out(0x40, 0x10, 0x00);
  advance(9_999);
  expect(take()).toBeUndefined();
  advance(1);
  expect(take()).toBe(0x40);
  expect(take()).toBeUndefined();
});

it("powers off and resets where the tables say", () => {
  const { bus, out, powerActions } = setUp();
  bus.writePort(PORT_MAP.powerManagement + PM_BLOCK.pm1Control, 2, 0x3c01);
  out(PORT_MAP.resetControl, 0x06);
  out(PORT_MAP.i8042Command, 0xfe);
  expect(powerActions).toEqual(["off", "reset", "reset"]);
});

it("restores as a whole, with interrupts in flight, to the same state and the same future", () => {
  const original = setUp();
  original.programPic(0);
  original.out(0x43, 0x36);
  original.out(0x40, 0x00, 0x20);
  original.programIoApic(20, 0xa055);
  original.hpet(0x010, 1);
  original.hpet(0x140, 0x106 | (20 << 9));
  original.hpet(0x148, 1000);
  original.out(PORT_MAP.uart0 + 1, 3);
  original.input("serial0", 1, 2, 3);
  original.advance(50_000_000);
  original.board.acknowledgeInterrupt();
  const save = ({ board }: typeof original): StateValue[] => board.devices.map((device) => device.save());
  const copy = setUp();
  copy.clock.skipTo(original.clock.nowNs());
  for (const [i, state] of save(original).entries()) copy.board.devices[i]!.restore(state);
  expect(save(copy)).toEqual(save(original));
  expect(copy.pins).toEqual(original.pins);
  const future = (one: typeof original): unknown[] => {
    const seen: unknown[] = [];
    for (let step = 0; step < 50; step++) {
      one.advance(3_000_000);
      seen.push(one.pins.interrupt ? one.board.acknowledgeInterrupt() : -1);
      if (step === 20) one.hpet(0x020, 4);
      one.out(0xa0, 0x20);
      one.out(0x20, 0x20);
      seen.push(one.bus.readPort(PORT_MAP.uart0, 1));
    }
    return [seen, save(one)];
  };
  expect(future(copy)).toEqual(future(original));
});
