/** The legacy devices wired as a board does it: interrupts arrive where an operating system expects them. */
import { expect, it } from "vitest";
import { createAcpiPm } from "../devices/acpi-pm.ts";
import { ApicSystemBus } from "../devices/apic/apic-bus.ts";
import { createLocalApic, type LocalApic } from "../devices/apic/local-apic.ts";
import type { Device, StateValue } from "../devices/device.ts";
import { FakeContext } from "../devices/fake-context.ts";
import { attachHpet, createHpet } from "../devices/hpet.ts";
import { attachIoApic, createIoApic } from "../devices/ioapic.ts";
import { attachPic, createPic } from "../devices/pic.ts";
import { attachPit, createPit } from "../devices/pit.ts";
import { attachRtc, createRtc } from "../devices/rtc.ts";
import { attachSystemControl, createSystemControl } from "../devices/system-control.ts";
import { attachUart16550, createUart16550 } from "../devices/uart-16550.ts";
import { GSI, gsiOfIntx, ISA_IRQ, MEMORY_MAP, PCI_SLOT, PM_BLOCK, PORT_MAP, pirqOf } from "../machine/board-map.ts";
import { InterruptWires } from "./interrupt-wires.ts";
import { MmioBus, PortBus } from "./io-bus.ts";
import { fanOut } from "./irq.ts";
import { assignPciResources, initialiseChipset } from "./pci/assign.ts";
import { PciBus } from "./pci/bus.ts";
import { PciFunction } from "./pci/function.ts";
import { createHostBridge } from "./pci/host-bridge.ts";
import { createLpcBridge, type LpcBridge } from "./pci/lpc-bridge.ts";

function createBoard(nowNs = 0) {
  const context = new FakeContext({ nowNs });
  const [ports, mmio, apicBus] = [new PortBus(), new MmioBus(), new ApicSystemBus()];
  const ioApic = createIoApic({ bus: apicBus });
  apicBus.attachEoiListener((vector) => ioApic.endOfInterrupt(vector));
  const intr = fanOut({ set: (level) => localApic.lint[0].set(level) }, ioApic.inputs[0]!);
  const pic = createPic({ intr });
  const localApic: LocalApic = createLocalApic(context, {
    id: 0,
    isBootstrapProcessor: true,
    bus: apicBus,
    pic,
    tsc: { tscFrequencyHz: 1e9, tscToNs: Number },
    physicalAddressBits: 40,
    hasX2apic: true,
    virtualWire: true,
    cpu: { requestInterrupt: () => {}, nmi: () => {}, init: () => {}, startup: () => {} },
  });
  apicBus.attach(localApic);
  const wires = new InterruptWires({ pic: pic.inputs, ioApic: ioApic.inputs });
  const hpet = createHpet(context, {
    irq0: wires.isa(ISA_IRQ.pit),
    irq8: wires.isa(ISA_IRQ.rtc),
    routes: [20, 21, 22, 23].map((input) => wires.gsi(input)),
  });
  const pit = createPit(context, { irq: hpet.pitInput });
  const rtc = createRtc(context, { irq: hpet.rtcInput });
  const uart = createUart16550(context, { name: "uart0", channel: "serial0", irq: wires.isa(ISA_IRQ.uart0) });
  const pm = createAcpiPm(context, { sci: wires.isa(ISA_IRQ.sci) });
  const control = createSystemControl(context);
  const pci: PciBus = new PciBus({
    ports,
    mmio,
    msi: apicBus.msi,
    intx: (device, pin) => lpc.pirq(pirqOf(device, pin)),
    underAddressPort: control.resetControl,
  });
  const host = createHostBridge(pci.ecam);
  const lpc: LpcBridge = createLpcBridge({
    powerManagement: pm.registers,
    picInputs: Array.from({ length: 16 }, (_, input) => wires.pic(input)),
    pirqInputs: Array.from({ length: 8 }, (_, pirq) => wires.gsi(GSI.pirqA + pirq)),
  });
  pci.plugOwn(PCI_SLOT.hostBridge.device, PCI_SLOT.hostBridge.function, host);
  pci.plugOwn(PCI_SLOT.lpcBridge.device, PCI_SLOT.lpcBridge.function, lpc.pci);
  const card = new PciFunction({ name: "card", vendorId: 1, deviceId: 2, classCode: 0, interruptPin: 1 });
  pci.plug(5, 0, card);
  ports.claim(PORT_MAP.pciConfigAddress, 4, pci.addressPort);
  ports.claim(PORT_MAP.pciConfigData, 4, pci.dataPort);
  attachPic(pic, ports, PORT_MAP);
  attachPit(pit, ports, PORT_MAP);
  attachRtc(rtc, ports, PORT_MAP);
  attachUart16550(uart, ports, PORT_MAP.uart0);
  attachSystemControl(control, ports, PORT_MAP);
  attachHpet(hpet, mmio, MEMORY_MAP);
  attachIoApic(ioApic, mmio, MEMORY_MAP);
  mmio.claim(MEMORY_MAP.localApicStart, MEMORY_MAP.localApicSizeBytes, localApic.registers);
  initialiseChipset(host, lpc.pci);
  assignPciResources(pci);
  const cardDevice: Device = {
    name: "card",
    schema: { id: "test-card", version: 1 },
    reset: () => card.reset(),
    save: () => card.save(),
    restore: (state) => card.restore(state, "card"),
  };
  const devices: Device[] = [uart, pit, rtc, pm, control, pci, cardDevice, hpet, pic, ioApic, localApic];
  return { context, ports, mmio, pic, localApic, card, pci, lpc, devices, uart };
}

type Board = ReturnType<typeof createBoard>;

function programPic({ ports }: Board): void {
  for (const [port, ...values] of [
    [0x20, 0x11],
    [0x21, 0x30, 4, 1, 0],
    [0xa0, 0x11],
    [0xa1, 0x38, 2, 1, 0],
  ] as const) {
    for (const value of values) ports.write(port, 1, value);
  }
}

function programIoApic({ mmio }: Board, input: number, low: number): void {
  for (const [register, value] of [
    [0x11 + 2 * input, 0],
    [0x10 + 2 * input, low],
  ] as const) {
    mmio.write(MEMORY_MAP.ioApicStart, 4, register);
    mmio.write(MEMORY_MAP.ioApicStart + 0x10, 4, value);
  }
}

function take({ localApic, mmio }: Board): number | undefined {
  if (!localApic.isPending) return undefined;
  const vector = localApic.acknowledge();
  mmio.write(MEMORY_MAP.localApicStart + 0xb0, 4, 0);
  return vector;
}

it("brings the 8254 through the 8259A to the processor in virtual wire mode", () => {
  const board = createBoard();
  programPic(board);
  for (const [port, value] of [
    [0x43, 0x34],
    [0x40, 0xff],
    [0x40, 0x00],
  ] as const) {
    board.ports.write(port, 1, value);
  }
  // The control word alone makes the output rise.
  expect(board.localApic.acknowledge()).toBe(0x30);
  board.ports.write(0x20, 1, 0x20);
  expect(board.localApic.isPending).toBe(false);
  board.context.clock.advance(1_000_000);
  expect(board.localApic.acknowledge()).toBe(0x30);
});

it("brings interrupts through the IO-APIC once the 8259A is masked", () => {
  const board = createBoard();
  programPic(board);
  board.ports.write(0x21, 1, 0xff);
  board.ports.write(0xa1, 1, 0xff);
  programIoApic(board, GSI.pit, 0x40);
  programIoApic(board, ISA_IRQ.uart0, 0x44);
  programIoApic(board, GSI.sci, 0x8049);
  programIoApic(board, gsiOfIntx(5, 0), 0xa055);
  board.ports.write(0x43, 1, 0x34);
  board.ports.write(0x40, 2, 0xffff);
  board.ports.write(0x40, 1, 0x10);
  board.context.clock.advance(100_000_000);
  expect(take(board)).toBe(0x40);
  board.ports.write(PORT_MAP.uart0 + 1, 1, 2);
  expect(take(board)).toBe(0x44);
  board.ports.write(PORT_MAP.powerManagement + PM_BLOCK.pm1Event + 2, 2, 0x100);
  board.context.input("power-button", new Uint8Array(0));
  expect(take(board)).toBe(0x49);
  expect(take(board)).toBe(0x49);
  board.ports.write(PORT_MAP.powerManagement, 2, 0x100);
  take(board);
  board.card.intx.set(true);
  expect(take(board)).toBe(0x55);
  board.card.intx.set(false);
  take(board);
  expect(take(board)).toBeUndefined();
});

it("powers off and resets where the tables say", () => {
  const { context, ports } = createBoard();
  ports.write(PORT_MAP.powerManagement + PM_BLOCK.pm1Control, 2, 0x3c01);
  ports.write(PORT_MAP.resetControl, 1, 0x06);
  ports.write(PORT_MAP.i8042Command, 1, 0xfe);
  expect(context.powerActions).toEqual(["off", "reset", "reset"]);
});

it("restores as a whole, with interrupts in flight, to the same state and the same future", () => {
  const board = createBoard();
  programPic(board);
  board.ports.write(0x43, 1, 0x36);
  board.ports.write(0x40, 1, 0x00);
  board.ports.write(0x40, 1, 0x20);
  programIoApic(board, gsiOfIntx(5, 0), 0xa055);
  board.lpc.pci.writeConfig(0x68 + (pirqOf(5, 0) - 4), 1, 0x0b);
  board.ports.write(PORT_MAP.uart0 + 1, 1, 3);
  board.context.input("serial0", Uint8Array.of(1, 2, 3));
  board.card.intx.set(true);
  board.context.clock.advance(50_000_000);
  board.localApic.acknowledge();
  const save = ({ devices }: Board): StateValue[] => devices.map((device) => device.save());
  const copy = createBoard(board.context.clock.nowNs());
  for (const [i, state] of save(board).entries()) copy.devices[i]!.restore(state);
  expect(save(copy)).toEqual(save(board));
  const future = (one: Board): unknown[] => {
    const seen: unknown[] = [];
    for (let step = 0; step < 50; step++) {
      one.context.clock.advance(3_000_000);
      seen.push(one.localApic.isPending ? one.localApic.acknowledge() : -1);
      if (step === 20) one.card.intx.set(false);
      one.ports.write(0xa0, 1, 0x20);
      one.ports.write(0x20, 1, 0x20);
      seen.push(one.ports.read(PORT_MAP.uart0, 1));
    }
    return [seen, save(one)];
  };
  expect(future(copy)).toEqual(future(board));
});
