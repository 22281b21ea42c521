import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createUart16550, type Uart16550 } from "./uart-16550.ts";

const [RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const [THR, FCR] = [0, 2] as const;

function createUart(context: FakeContext): Uart16550 {
  return createUart16550(context, { name: "uart0", channel: "serial0", irq: context.line("irq4") });
}

function setUp() {
  const context = new FakeContext();
  const uart = createUart(context);
  return {
    context,
    uart,
    irq: context.line("irq4"),
    read: (offset: number) => uart.read(offset, 1),
    write: (offset: number, value: number) => uart.write(offset, 1, value),
    type: (text: string) => context.input("serial0", new TextEncoder().encode(text)),
  };
}

describe("16550A", () => {
  it("has the data sheet's reset values", () => {
    const { read } = setUp();
    expect([IER, IIR, LCR, MCR, LSR, MSR].map(read)).toEqual([0, 1, 0, 0, 0x60, 0xb0]);
  });

  it("transmits at once and reports the empty holding register once", () => {
    const { context, write, read, irq } = setUp();
    write(IER, 2);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0x02);
    expect(irq.level).toBe(false);
    expect(read(IIR)).toBe(0x01);
    write(THR, 0x41);
    expect(irq.level).toBe(true);
    expect(context.sent("serial0")).toEqual(Uint8Array.of(0x41));
    write(THR, 0x42);
    expect(irq.rises).toBe(3);
  });

  it("gives a new edge for each byte that follows without FIFOs", () => {
    const { read, write, type, irq } = setUp();
    write(IER, 1);
    type("abc");
    expect(irq.rises).toBe(1);
    expect(read(IIR)).toBe(0x04);
    expect([read(RBR), read(RBR), read(RBR)]).toEqual([0x61, 0x62, 0x63]);
    expect(irq.rises).toBe(3);
    expect(irq.level).toBe(false);
    expect(read(LSR)).toBe(0x60);
  });

  it("interrupts at the trigger level, and below it after four character times", () => {
    const { context, read, write, type, irq } = setUp();
    write(LCR, 0x83);
    write(0, 1); // 115200 baud
    write(LCR, 0x03);
    write(FCR, 0x81); // trigger at 8
    write(IER, 1);
    type("1234567");
    expect(irq.level).toBe(false);
    context.clock.advance(347_000);
    expect(irq.level).toBe(false);
    context.clock.advance(1000);
    expect(read(IIR)).toBe(0xcc);
    expect(read(RBR)).toBe(0x31);
    expect(irq.level).toBe(false);
    type("89");
    expect(read(IIR)).toBe(0xc4);
    read(RBR);
    expect(irq.level).toBe(false);
  });

  it("keeps what does not fit into the FIFO, and reports an overrun when the queue is full too", () => {
    const { context, uart, read, write } = setUp();
    write(FCR, 1);
    const room = uart.inputRoom;
    context.input(
      "serial0",
      Uint8Array.from({ length: room }, (_, i) => i),
    );
    expect(read(LSR)).toBe(0x61);
    expect(uart.inputRoom).toBe(16);
    context.input("serial0", new Uint8Array(17));
    expect(read(LSR)).toBe(0x63);
    expect(read(LSR)).toBe(0x61);
    for (let i = 0; i < room; i++) expect(read(RBR)).toBe(i & 0xff);
  });

  it("shows a break with its own character", () => {
    const { context, read, write, type } = setUp();
    write(FCR, 1);
    write(IER, 5);
    type("a");
    context.input("serial0.break", new Uint8Array(0));
    expect(read(LSR)).toBe(0xe1);
    read(RBR);
    expect(read(IIR)).toBe(0xc6);
    expect(read(LSR)).toBe(0xf1);
    expect(read(RBR)).toBe(0);
    expect(read(LSR)).toBe(0x60);
  });

  it("loops data and modem lines back without telling the outside", () => {
    const { context, read, write } = setUp();
    write(MCR, 0x1a);
    expect(read(MSR) & 0xf0).toBe(0x90);
    write(THR, 0x55);
    expect(read(LSR)).toBe(0x61);
    expect(read(RBR)).toBe(0x55);
    expect(context.outputs).toEqual([]);
    write(IER, 8);
    read(MSR);
    write(MCR, 0x14); // ring indicator on
    expect(read(MSR)).toBe(0x40 | 0x08 | 0x01);
    write(MCR, 0x10);
    expect(read(MSR)).toBe(0x04);
  });

  it("finds the divisor latch behind DLAB, and keeps the scratch register", () => {
    const { read, write, context } = setUp();
    write(LCR, 0x80);
    write(0, 0x34);
    write(1, 0x12);
    expect([read(0), read(1)]).toEqual([0x34, 0x12]);
    write(LCR, 0);
    expect(read(IER)).toBe(0);
    write(SCR, 0xa5);
    expect(read(SCR)).toBe(0xa5);
    expect(context.outputs).toEqual([]);
  });

  it("identifies its FIFOs as a 16550A does, and drops received bytes on request", () => {
    const { read, write, type } = setUp();
    write(FCR, 0xe7);
    expect(read(IIR)).toBe(0xc1);
    type("x");
    write(FCR, 0x03);
    expect(read(LSR)).toBe(0x60);
    write(FCR, 0);
    expect(read(IIR)).toBe(0x01);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const uart = createUart(context);
    return {
      device: uart,
      ranges: [{ handler: uart, length: 8, sizes: [1] }],
      setUp: () => uart.write(IER, 1, 0x0f),
      observe: () => uart.inputRoom,
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
