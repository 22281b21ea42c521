import { describe, expect, it } from "vitest";
import { createAcpiPm } from "./acpi-pm.ts";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";

const [STS, EN, CNT, TMR, GPE_STS, GPE_EN] = [0x00, 0x02, 0x04, 0x08, 0x20, 0x28] as const;
const TMR_EN = 0x0001;
const PWRBTN = 0x0100;

function setUp() {
  const context = new FakeContext();
  const pm = createAcpiPm(context, { sci: context.line("sci") });
  return {
    context,
    pm,
    sci: context.line("sci"),
    read: (offset: number, size: 1 | 2 | 4 = 2) => pm.registers.read(offset, size) >>> 0,
    write: (offset: number, value: number, size: 1 | 2 | 4 = 2) => pm.registers.write(offset, size, value),
  };
}

describe("ACPI power management", () => {
  it("counts at 3.579545 MHz in 24 bits", () => {
    const { context, read } = setUp();
    context.clock.advance(1_000_000_000);
    expect(read(TMR, 4)).toBe(3_579_545);
    expect([read(TMR, 1), read(TMR + 1, 1), read(TMR + 2, 2)]).toEqual([0x99, 0x9e, 0x36]);
    context.clock.advance(4_000_000_000);
    expect(read(TMR, 4)).toBe((5 * 3_579_545) % 2 ** 24);
  });

  it("sets TMR_STS when the highest bit changes, and interrupts if asked to", () => {
    const { context, read, write, sci } = setUp();
    context.clock.advance(2_400_000_000);
    expect(read(STS)).toBe(1);
    expect(context.clock.nextDeadlineNs()).toBeUndefined();
    write(STS, 1);
    write(EN, TMR_EN);
    expect(read(STS)).toBe(0);
    context.clock.advance(2_400_000_000);
    expect(sci.level).toBe(true);
    write(STS, 1);
    expect(sci.level).toBe(false);
    expect(context.clock.jump(24_000_000_000)).toBe(1);
    expect(sci.rises).toBe(2);
  });

  it("asks the operating system to shut down when the power button is pressed", () => {
    const { pm, read, write, sci } = setUp();
    write(EN, PWRBTN);
    pm.pressPowerButton();
    expect(sci.level).toBe(true);
    expect(read(STS)).toBe(PWRBTN);
    write(STS, PWRBTN);
    expect(sci.level).toBe(false);
  });

  it("powers off for SLP_TYP 7 with SLP_EN only, and wakes at once from states it does not have", () => {
    const { context, read, write } = setUp();
    write(CNT, 0x1c01);
    expect(context.powerActions).toEqual([]);
    write(CNT, 0x2401);
    expect(read(STS)).toBe(0x8000);
    write(CNT, 0x3c01);
    expect(context.powerActions).toEqual(["off"]);
    expect(read(CNT)).toBe(0x1c01);
  });

  it("starts in ACPI mode and switches by the APM port", () => {
    const { pm, read, write, sci } = setUp();
    expect(read(CNT)).toBe(1);
    write(EN, PWRBTN);
    pm.pressPowerButton();
    pm.apm.write(0, 1, 0x03);
    expect(read(CNT)).toBe(0);
    expect(sci.level).toBe(false);
    pm.apm.write(0, 1, 0x02);
    expect(sci.level).toBe(true);
  });

  it("raises general-purpose events", () => {
    const { pm, read, write, sci } = setUp();
    pm.raiseGpe(9);
    expect(sci.level).toBe(false);
    write(GPE_EN, 0x0200);
    expect(sci.level).toBe(true);
    expect(read(GPE_STS, 4)).toBe(0x200);
    write(GPE_STS + 1, 0x02, 1);
    expect(sci.level).toBe(false);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const pm = createAcpiPm(context, { sci: context.line("sci") });
    return {
      device: pm,
      ranges: [
        { handler: pm.registers, length: 0x80 },
        { handler: pm.registers, length: 0x10 },
        { handler: pm.apm, length: 2, sizes: [1] },
      ],
      setUp: () => pm.registers.write(EN, 2, 0x0121),
      events: [(random) => pm.raiseGpe(random & 63), () => pm.pressPowerButton(), () => pm.pressSleepButton()],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
