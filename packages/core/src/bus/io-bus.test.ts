import { describe, expect, it } from "vitest";
import type { AccessSize, IoHandler } from "./io.ts";
import { BusConflict, MmioBus, PortBus } from "./io-bus.ts";

function recorder(value = 0): IoHandler & { log: string[] } {
  const log: string[] = [];
  return {
    log,
    read: (offset, size) => {
      log.push(`r${size}@${offset}`);
      return value;
    },
    write: (offset, size, written) => log.push(`w${size}@${offset}=${written.toString(16)}`),
  };
}

/** A handler over bytes that accepts every size. */
function bytes(length: number): IoHandler & { data: Uint8Array } {
  const data = new Uint8Array(length);
  return {
    data,
    read: (offset, size) => {
      let value = 0;
      for (let i = 0; i < size; i++) value |= data[offset + i]! << (8 * i);
      return value;
    },
    write: (offset, size, value) => {
      for (let i = 0; i < size; i++) data[offset + i] = value >>> (8 * i);
    },
  };
}

describe.each([
  ["PortBus", () => new PortBus()],
  ["MmioBus", () => new MmioBus()],
])("%s", (_name, create) => {
  it("answers all ones where nothing is, and forgets writes there", () => {
    const bus = create();
    expect([1, 2, 4].map((size) => bus.read(0x300, size as AccessSize))).toEqual([0xff, 0xffff, 0xffffffff]);
    bus.write(0x300, 4, 1);
  });

  it("passes offset and size, and returns only the low bytes as unsigned", () => {
    const bus = create();
    const device = recorder(-1);
    bus.claim(0x100, 8, device);
    expect(bus.read(0x104, 4)).toBe(0xffffffff);
    expect(bus.read(0x101, 2)).toBe(0xffff);
    bus.write(0x102, 1, 0x1234);
    expect(device.log).toEqual(["r4@4", "r2@1", "w1@2=34"]);
  });

  it("splits accesses that are wider than the claim accepts", () => {
    const bus = create();
    const device = recorder(0x5a);
    bus.claim(0x100, 8, device, { maxSize: 1 });
    expect(bus.read(0x100, 4)).toBe(0x5a5a5a5a);
    bus.write(0x104, 2, 0xbeef);
    expect(device.log).toEqual(["r1@0", "r1@1", "r1@2", "r1@3", "w1@4=ef", "w1@5=be"]);
  });

  it("splits accesses that run over the end of a claim", () => {
    const bus = create();
    const [low, high] = [bytes(2), bytes(2)];
    bus.claim(0x100, 2, low);
    bus.claim(0x102, 2, high);
    bus.write(0x101, 4, 0x44332211);
    expect([...low.data, ...high.data]).toEqual([0, 0x11, 0x22, 0x33]);
    expect(bus.read(0x101, 4)).toBe(0xff332211);
  });

  it("refuses overlaps, and gives ranges back on release", () => {
    const bus = create();
    const release = bus.claim(0x100, 8, recorder(1), { name: "first" });
    expect(() => bus.claim(0x107, 2, recorder(), { name: "second" })).toThrow(/second.*0x107 to 0x108.*first/);
    expect(() => bus.claim(0xfc, 5, recorder())).toThrow(BusConflict);
    expect(bus.tryClaim(0x100, 1, recorder())).toBeUndefined();
    release();
    release();
    expect(bus.read(0x100, 1)).toBe(0xff);
    bus.claim(0x0fc, 16, recorder(2));
    expect(bus.read(0x100, 1)).toBe(2);
  });

  it("refuses ranges outside the address space", () => {
    const bus = create();
    expect(bus.tryClaim(-1, 2, recorder())).toBeUndefined();
    expect(bus.tryClaim(2 ** 52 - 1, 2, recorder())).toBeUndefined();
    expect(bus.tryClaim(0, Number.NaN, recorder())).toBeUndefined();
  });

  it("finds each of many ranges, whatever was asked before", () => {
    const bus = create();
    for (let i = 0; i < 50; i++) bus.claim(((i * 37) % 50) * 16, 8, recorder((i * 37) % 50));
    for (let i = 0; i < 50; i++) {
      const n = (i * 23) % 50;
      expect(bus.read(n * 16 + 7, 1)).toBe(n);
      expect(bus.read(n * 16 + 8, 1)).toBe(0xff);
    }
  });
});

it("a port access at the top wraps to port 0", () => {
  const bus = new PortBus();
  bus.claim(0xffff, 1, recorder(0x11));
  bus.claim(0, 1, recorder(0x22));
  expect(bus.read(0xffff, 2)).toBe(0x2211);
});
