import { describe, expect, test } from "vitest";
import { createBoard, SERIAL_CHANNEL } from "./board.ts";
import { ISA_IRQ, MEMORY_MAP, PM_BLOCK, PORT_MAP } from "./board-map.ts";
import { createFakeEngine, createFakeRam, type FakeInstruction, type FakeProgram } from "./fake-machine.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { restoreMachine, saveMachine } from "./machine-state.ts";
import { machineSpec } from "./spec.ts";
import { testKernel } from "./test-kernel.ts";

const MIB = 2 ** 20;
const IDLE: FakeProgram = { code: [{ op: "sti" }, { op: "hlt" }, { op: "jmp", to: 1 }], handlers: {} };
const DEVICES = [
  {
    kind: "virtio-console",
    name: "console0",
    ports: [
      { name: "hvc0", isConsole: true },
      { name: "agent", isConsole: false },
    ],
  },
  { kind: "virtio-rng", name: "rng0" },
] as const;

function boardMachine(options: Partial<MachineOptions> & { program?: FakeProgram; pages?: number } = {}) {
  const memory = createFakeRam(options.pages ?? 1024);
  const output: [string, number[]][] = [];
  const machine = new Machine({
    spec: machineSpec({ memoryBytes: 16 * MIB, clock: "virtual", devices: DEVICES }),
    memory,
    engine: createFakeEngine(memory, options.program ?? IDLE),
    createBoard,
    output: (channel, bytes) => output.push([channel, [...bytes]]),
    ...options,
  });
  return { machine, bus: machine.board.bus, output };
}

/** Programs the pair as a PC's firmware does: vectors 0x20 and 0x28, everything masked but `unmasked`. */
function initPic(bus: Machine["board"]["bus"], unmasked: readonly number[]): void {
  for (const [base, vector, wiring] of [
    [PORT_MAP.pic0, 0x20, 4],
    [PORT_MAP.pic1, 0x28, 2],
  ] as const) {
    bus.writePort(base, 1, 0x11);
    for (const icw of [vector, wiring, 1]) bus.writePort(base + 1, 1, icw);
  }
  let mask = 0xffff & ~4;
  for (const irq of unmasked) mask &= ~(1 << irq);
  bus.writePort(PORT_MAP.pic0 + 1, 1, mask & 0xff);
  bus.writePort(PORT_MAP.pic1 + 1, 1, mask >> 8);
}

/** The local APIC passes what the pair asks for. */
function initVirtualWire(bus: Machine["board"]["bus"]): void {
  bus.writeMmio(MEMORY_MAP.localApicStart + 0xf0, 4, 0x1ff);
  bus.writeMmio(MEMORY_MAP.localApicStart + 0x350, 4, 0x700);
}

describe("direct boot", () => {
  const kernel = testKernel(new Uint8Array(64).fill(0x5a));
  const boot = { kernel: { sha256: "00".repeat(32), sizeBytes: kernel.length }, commandLine: "quiet" };
  const spec = machineSpec({ memoryBytes: 16 * MIB, clock: "virtual", devices: DEVICES, boot });

  test("the chipset is set up, the kernel loaded, and a reset does both again", () => {
    const { machine, bus } = boardMachine({
      spec,
      program: { code: [{ op: "nop" }], handlers: {} },
      pages: 4096,
      createBoard: (wiring) => createBoard(wiring, { kernel }),
    });
    machine.start();
    for (const round of [1, 2]) {
      const { rip, retired } = machine.vcpu.getState();
      expect(machine.memory.read8(Number(rip)), `round ${round}`).toBe(0x5a);
      expect(retired).toBe(round === 1 ? 0 : 5);
      bus.writePort(PORT_MAP.pciConfigAddress, 4, 0x8000_0820);
      const bar4 = (bus.readPort(PORT_MAP.pciConfigData, 4) & ~0xf) >>> 0;
      expect(bar4).toBeGreaterThanOrEqual(MEMORY_MAP.pci32Start);
      expect(bus.readMmio(MEMORY_MAP.mmconfigStart, 4)).toBe(0x29c0_8086);
      expect(bus.readPort(PORT_MAP.powerManagement + PM_BLOCK.pm1Control, 2) & 1).toBe(1);
      const rsdp = new Uint8Array(8);
      machine.memory.read(0xe_0000, rsdp);
      expect(new TextDecoder().decode(rsdp)).toBe("RSD PTR ");
      if (round === 2) break;
      machine.memory.write8(Number(rip), 0);
      while (machine.vcpu.retired < 5) machine.runSlice(5);
      machine.requestPower("reset");
      machine.runSlice(5);
    }
  });

  test("a kernel that does not fit is refused with what it needs", () => {
    const { machine } = boardMachine({ spec, pages: 256, createBoard: (wiring) => createBoard(wiring, { kernel }) });
    expect(() => machine.start()).toThrow(/at least \d+ MiB/);
    expect(machine.state).toBe("created");
  });
});

describe("board", () => {
  test("an x87 error outside the processor is IRQ 13", () => {
    const { machine, bus } = boardMachine();
    initPic(bus, [13]);
    initVirtualWire(bus);
    expect(bus.floatError?.(true)).toBe(false);
    expect(machine.board.acknowledgeInterrupt()).toBe(0x2d);
    bus.writePort(PORT_MAP.coprocessorError, 1, 0);
    expect(bus.floatError?.(true)).toBe(true);
  });

  test("every device has a name and a schema of its own", () => {
    const { machine } = boardMachine();
    const names = machine.board.devices.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("local-apic0");
    expect(names.at(-1)).toBe("local-apic0");
  });

  test("serial output and input pass", () => {
    const { machine, bus, output } = boardMachine();
    bus.writePort(PORT_MAP.uart0, 1, 0x41);
    expect(output).toEqual([[SERIAL_CHANNEL, [0x41]]]);
    machine.start();
    machine.input(SERIAL_CHANNEL, Uint8Array.of(0x42));
    machine.runSlice();
    expect(bus.readPort(PORT_MAP.uart0 + 5, 1) & 1).toBe(1);
    expect(bus.readPort(PORT_MAP.uart0, 1)).toBe(0x42);
  });

  test("a serial interrupt reaches the processor through the pair, and through the IO-APIC", () => {
    const uartVector = 0x20 + ISA_IRQ.uart0;
    const handlers = { [uartVector]: 3, 81: 3 };
    const program: FakeProgram = { code: [...IDLE.code, { op: "add", n: 1 }, { op: "hlt" }], handlers };
    const viaPic = boardMachine({ program });
    initPic(viaPic.bus, [ISA_IRQ.uart0]);
    initVirtualWire(viaPic.bus);
    viaPic.bus.writePort(PORT_MAP.uart0 + 1, 1, 1);
    viaPic.machine.start();
    viaPic.machine.input(SERIAL_CHANNEL, Uint8Array.of(1));
    viaPic.machine.runSlice();
    expect(viaPic.machine.vcpu.getState().gpr[0]).toBe(1n);

    const viaIoApic = boardMachine({ program });
    const { bus } = viaIoApic;
    bus.writeMmio(MEMORY_MAP.localApicStart + 0xf0, 4, 0x1ff);
    bus.writeMmio(MEMORY_MAP.ioApicStart, 4, 0x10 + 2 * ISA_IRQ.uart0);
    bus.writeMmio(MEMORY_MAP.ioApicStart + 0x10, 4, 0x51);
    bus.writePort(PORT_MAP.uart0 + 1, 1, 1);
    viaIoApic.machine.start();
    viaIoApic.machine.input(SERIAL_CHANNEL, Uint8Array.of(1));
    viaIoApic.machine.runSlice();
    expect(viaIoApic.machine.vcpu.getState().gpr[0]).toBe(1n);
  });

  test("the interval timer wakes a halted processor at the right time", () => {
    const program: FakeProgram = { code: [...IDLE.code, { op: "hlt" }], handlers: { 32: 3 } };
    const { machine, bus } = boardMachine({ program });
    initPic(bus, [ISA_IRQ.pit]);
    initVirtualWire(bus);
    bus.writePort(PORT_MAP.pit + 3, 1, 0x30);
    bus.writePort(PORT_MAP.pit, 1, 0xa9);
    bus.writePort(PORT_MAP.pit, 1, 0x04);
    machine.start();
    while (machine.runSlice().kind === "ran");
    expect(machine.clock.nowNs() / 1000).toBeGreaterThan(999);
    expect(machine.clock.nowNs() / 1000).toBeLessThan(1003);
  });

  test("PCI: chipset and devices answer, absent ones are all ones", () => {
    const { bus } = boardMachine();
    const idOf = (device: number): number => {
      bus.writePort(PORT_MAP.pciConfigAddress, 4, 0x8000_0000 + device * 0x800);
      return bus.readPort(PORT_MAP.pciConfigData, 4);
    };
    expect(idOf(0)).toBe(0x29c0_8086);
    expect(idOf(1)).toBe(0x1043_1af4);
    expect(idOf(2)).toBe(0x1044_1af4);
    expect(idOf(3)).toBe(0xffff_ffff);
    expect(idOf(31)).toBe(0x2918_8086);
  });

  test("reset register, power button and soft-off", () => {
    const code: FakeInstruction[] = [{ op: "out", port: PORT_MAP.resetControl, value: 6 }, { op: "nop" }];
    const { machine } = boardMachine({ program: { code, handlers: {} } });
    machine.start();
    // The fake processor writes four bytes; the register is one: nothing happens.
    machine.runSlice(4);
    expect(machine.state).toBe("running");
    const { bus } = machine.board;
    bus.writePort(PORT_MAP.uart0 + 7, 1, 0x5a);
    expect(bus.readPort(PORT_MAP.uart0 + 7, 1)).toBe(0x5a);
    bus.writePort(PORT_MAP.resetControl, 1, 6);
    machine.runSlice();
    expect(bus.readPort(PORT_MAP.uart0 + 7, 1)).toBe(0);
    expect(machine.state).toBe("running");

    const off = boardMachine();
    off.bus.writePort(PORT_MAP.pciConfigAddress, 4, 0x8000_f840);
    off.bus.writePort(PORT_MAP.pciConfigData, 4, PORT_MAP.powerManagement);
    off.bus.writePort(PORT_MAP.pciConfigAddress, 4, 0x8000_f844);
    off.bus.writePort(PORT_MAP.pciConfigData, 1, 0x80);
    off.machine.start();
    off.machine.requestPower("button");
    off.machine.runSlice();
    expect(off.bus.readPort(PORT_MAP.powerManagement + PM_BLOCK.pm1Event, 2) & 0x100).toBe(0x100);
    off.bus.writePort(PORT_MAP.powerManagement + PM_BLOCK.pm1Control, 2, 0x2000 | (7 << 10));
    expect(off.machine.runSlice()).toEqual({ kind: "stopped", state: "off" });
    expect(off.machine.offReason).toMatch(/ACPI/);
  });

  test("the time-stamp counter can be written, and its deadline follows", () => {
    const { machine, bus } = boardMachine();
    expect(bus.writeMsr(0x10, 5_000_000n)).toBe(true);
    expect(bus.readMsr(0x10)).toBe(5_000_000n);
    expect(bus.readTsc(0)).toBe(5_000_000n);
    bus.writeMmio(MEMORY_MAP.localApicStart + 0xf0, 4, 0x1ff);
    bus.writeMmio(MEMORY_MAP.localApicStart + 0x320, 4, 0x4_0051);
    bus.writeMsr(0x6e0, 5_000_777n);
    expect(machine.clock.nextDueNs).toBe(777);
    bus.writeMsr(0x3b, 0n);
    expect(machine.clock.nextDueNs).toBe(5_000_777);
    expect(bus.readMsr(0x9999)).toBeUndefined();
    expect(bus.writeMsr(0x9999, 0n)).toBe(false);
  });

  test("a state of the whole board survives a file, in the middle of its work", () => {
    const { machine, bus } = boardMachine();
    initPic(bus, [ISA_IRQ.uart0, ISA_IRQ.pit]);
    initVirtualWire(bus);
    bus.writePort(PORT_MAP.uart0 + 1, 1, 3);
    bus.writePort(PORT_MAP.pit + 3, 1, 0x34);
    bus.writePort(PORT_MAP.pit, 1, 0xa9);
    bus.writePort(PORT_MAP.pit, 1, 0x04);
    machine.start();
    machine.input(SERIAL_CHANNEL, Uint8Array.of(1, 2, 3));
    for (let i = 0; i < 50; i++) machine.runSlice();
    const file = { bytes: new Uint8Array(0), sizeBytes: 0 };
    saveMachine(machine, {
      setSize: (sizeBytes) => {
        file.bytes = new Uint8Array(sizeBytes);
        file.sizeBytes = sizeBytes;
      },
      writeAt: (offset, bytes) => file.bytes.set(bytes, offset),
    });
    const copy = boardMachine().machine;
    restoreMachine(copy, {
      sizeBytes: file.sizeBytes,
      readAt: (offset, into) => into.set(file.bytes.subarray(offset, offset + into.length)),
    });
    expect(copy.stateHash()).toEqual(machine.stateHash());
    copy.resume();
    for (const each of [machine, copy]) while (each.clock.nowNs() < 20e6) each.runSlice();
    expect(copy.stateHash()).toEqual(machine.stateHash());
  });
});
