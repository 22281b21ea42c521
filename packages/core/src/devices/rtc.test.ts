import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createRtc } from "./rtc.ts";
import { decodeTime, encodeTime } from "./rtc-calendar.ts";

const [A, B, C, D] = [10, 11, 12, 13] as const;
const [UIE, AIE, PIE, SET, BINARY, HOURS_24] = [0x10, 0x20, 0x40, 0x80, 0x04, 0x02] as const;

/** The fake clock starts at 2026-01-02 03:04:05 UTC, a Friday. */
function setUp() {
  const context = new FakeContext();
  const rtc = createRtc(context, { irq: context.line("irq8"), cmos: { 95: 0x42 } });
  const read = (register: number) => {
    rtc.write(0, 1, register | 0x80);
    return rtc.read(1, 1);
  };
  const write = (register: number, value: number) => {
    rtc.write(0, 1, register);
    rtc.write(1, 1, value);
  };
  const time = () => [0x32, 9, 8, 7, 4, 2, 0, 6].map((register) => read(register).toString(16).padStart(2, "0"));
  return { context, rtc, read, write, time, irq: context.line("irq8") };
}

describe("MC146818", () => {
  it("shows the VM's wall-clock time in BCD, and goes on with guest time", () => {
    const { context, read, time } = setUp();
    expect([read(A), read(B), read(C), read(D)]).toEqual([0x26, 0x02, 0, 0x80]);
    expect(time()).toEqual(["20", "26", "01", "02", "03", "04", "05", "06"]);
    context.clock.advance(86_400_000_000_000 * 58);
    expect(time()).toEqual(["20", "26", "03", "01", "03", "04", "05", "01"]);
  });

  it("speaks binary and 12 hours", () => {
    const { context, read, write } = setUp();
    write(B, BINARY);
    context.clock.advance(20 * 3600 * 1e9);
    expect([read(0x32), read(9), read(4)]).toEqual([20, 26, 0x80 | 11]);
    context.clock.advance(3600 * 1e9);
    expect(read(4)).toBe(12);
    write(B, 0);
    expect(read(4)).toBe(0x12);
  });

  it("is set while stopped, keeps what is written, and starts from there", () => {
    const { context, read, write, time } = setUp();
    write(B, SET | HOURS_24);
    for (const [register, value] of [
      [0, 0x58],
      [2, 0x59],
      [4, 0x23],
      [6, 3],
      [7, 0x28],
      [8, 0x02],
      [9, 0x00],
      [0x32, 0x20],
    ] as const) {
      write(register, value);
    }
    context.clock.advance(5e9);
    expect(read(0)).toBe(0x58);
    write(B, HOURS_24);
    context.clock.advance(2e9);
    expect(time()).toEqual(["20", "00", "02", "29", "00", "00", "00", "04"]);
  });

  it("first updates half a second after the divider is released", () => {
    const { context, read, write } = setUp();
    write(A, 0x76);
    context.clock.advance(3.3e9);
    write(A, 0x26);
    context.clock.advance(499_999_999);
    expect(read(0)).toBe(0x05);
    expect(read(A)).toBe(0xa6);
    context.clock.advance(1);
    expect(read(0)).toBe(0x06);
    expect(read(A)).toBe(0x26);
  });

  it("interrupts after each update, once until register C is read", () => {
    const { context, read, write, irq } = setUp();
    write(B, UIE | HOURS_24);
    context.clock.advance(999_999_999);
    expect(irq.level).toBe(false);
    context.clock.advance(5e9);
    expect(irq.level).toBe(true);
    expect(irq.rises).toBe(1);
    expect(read(C) & 0x90).toBe(0x90);
    expect(irq.level).toBe(false);
    expect(read(C)).toBe(0);
    context.clock.advance(1e9);
    expect(irq.rises).toBe(2);
  });

  it("interrupts at its periodic rate", () => {
    const { context, read, write, irq } = setUp();
    write(A, 0x26); // 1024 Hz
    write(B, PIE | HOURS_24);
    let count = 0;
    for (let deadline = context.clock.nextDeadlineNs(); deadline! <= 1e9; deadline = context.clock.nextDeadlineNs()) {
      context.clock.jump(deadline! - context.clock.nowNs());
      expect(irq.level).toBe(true);
      expect(read(C) & 0xc0).toBe(0xc0);
      count++;
    }
    expect(count).toBe(1024);
    expect(context.clock.jump(1e9)).toBe(1);
  });

  it("sets its flags without interrupts too", () => {
    const { context, read, irq } = setUp();
    context.clock.advance(2e9);
    expect(context.clock.nextDeadlineNs()).toBeUndefined();
    expect(read(C)).toBe(0x50);
    expect(irq.rises).toBe(0);
  });

  it("interrupts at the alarm, today, tomorrow, or at each match of a wildcard", () => {
    const { context, read, write, irq } = setUp();
    write(1, 0x00);
    write(3, 0x05);
    write(5, 0x03);
    write(B, AIE | HOURS_24);
    expect(context.clock.nextDeadlineNs()).toBe(55e9);
    context.clock.advance(55e9);
    expect(irq.level).toBe(true);
    expect(read(C) & 0xa0).toBe(0xa0);
    expect(context.clock.nextDeadlineNs()).toBe((55 + 86_400) * 1e9);
    write(5, 0xff);
    expect(context.clock.nextDeadlineNs()).toBe((55 + 3600) * 1e9);
    write(3, 0xc0);
    expect(context.clock.nextDeadlineNs()).toBe((55 + 60) * 1e9);
    write(1, 0xff);
    expect(context.clock.nextDeadlineNs()).toBe((55 + 1) * 1e9);
    write(1, 0x99);
    expect(context.clock.nextDeadlineNs()).toBeUndefined();
  });

  it("follows a correction of the machine's calendar, and then raises an alarm that was passed over", () => {
    const { context, read, write, time, irq } = setUp();
    write(1, 0x00);
    write(3, 0x05);
    write(5, 0x03);
    write(B, AIE | HOURS_24);
    context.clock.epochSeconds += 3600;
    expect(time().slice(4, 7)).toEqual(["04", "04", "05"]);
    context.clock.advance(55e9);
    expect(irq.level).toBe(true);
    expect(read(C) & 0xa0).toBe(0xa0);
  });

  it("keeps time and RAM over a reset, but no interrupts", () => {
    const { context, rtc, read, write, time } = setUp();
    expect(read(0x5f)).toBe(0x42);
    write(0x0f, 0x99);
    write(B, UIE | PIE | HOURS_24);
    context.clock.advance(10e9);
    rtc.reset();
    expect(read(0x0f)).toBe(0x99);
    expect(read(B)).toBe(HOURS_24);
    expect(context.line("irq8").level).toBe(false);
    expect(time().slice(4, 7)).toEqual(["03", "04", "15"]);
  });
});

describe("calendar", () => {
  it("agrees with a known calendar from 1900 to 2200", () => {
    const format = { isBinary: true, is24Hours: true };
    for (let day = -25_567; day < 84_000; day += 13) {
      const date = new Date(day * 86_400_000 + 12_345_000);
      const fields = encodeTime(day * 86_400 + 12_345, 0, format);
      const year = date.getUTCFullYear();
      expect(fields).toEqual([
        date.getUTCSeconds(),
        date.getUTCMinutes(),
        date.getUTCHours(),
        date.getUTCDay() + 1,
        date.getUTCDate(),
        date.getUTCMonth() + 1,
        year % 100,
        Math.floor(year / 100),
      ]);
      expect(decodeTime(fields, format)).toEqual({ seconds: day * 86_400 + 12_345, weekdayShift: 0 });
    }
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const rtc = createRtc(context, { irq: context.line("irq8") });
    return {
      device: rtc,
      ranges: [{ handler: rtc, length: 2, sizes: [1] }],
      survivesReset: true,
      setUp: () => {
        rtc.write(0, 1, B);
        rtc.write(1, 1, PIE | UIE | AIE | HOURS_24);
      },
      events: [
        (random) => rtc.write(0, 1, random & 15),
        (random) => {
          rtc.write(0, 1, 11);
          rtc.write(1, 1, random & 0x76);
        },
        () => {
          rtc.write(0, 1, 12);
          rtc.read(1, 1);
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
