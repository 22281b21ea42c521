import { describe, expect, it } from "vitest";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { deviceContract } from "./contract.ts";
import { FlatMemory } from "./fake-context.ts";
import { ShadowRam } from "./shadow-ram.ts";

const START = 0xc_0000;
const ROM_BYTES = 0x4_0000;
const ROM_START = 2 ** 32 - ROM_BYTES;
const ALL = 0xffff;

/** 1 MiB of RAM, and a ROM whose bytes are the number of their 16 KiB, counted from its end. */
class Memory extends FlatMemory {
  constructor() {
    super(0x10_0000);
  }

  override read(gpa: number, into: Uint8Array): boolean {
    if (gpa < ROM_START) return super.read(gpa, into);
    for (let i = 0; i < into.length; i++) into[i] = Math.ceil((2 ** 32 - gpa - i) / 0x4000);
    return true;
  }
}

function setUp({ startsOpen = false, memory = new Memory() } = {}) {
  const seen = { protected: -1 };
  const protect = (parts: number): void => void (seen.protected = parts);
  const device = new ShadowRam({ memory, romBytes: startsOpen ? 0 : ROM_BYTES, startsOpen, protect });
  const at = (part: number): number | undefined => memory.read8(START + part * 0x4000 + 5);
  return { device, memory, seen, at, parts: () => Array.from({ length: 16 }, (_, part) => at(part)) };
}

describe("memory between 0xC0000 and 1 MiB", () => {
  it("reads as the ROM's last 128 KiB at power-on, and takes no stores", () => {
    const { device, seen, parts } = setUp();
    device.start();
    expect(parts()).toEqual([...Array(8).fill(0xff), 8, 7, 6, 5, 4, 3, 2, 1]);
    device.write(0x3_0005, 4, 0x1234_5678);
    expect([seen.protected, parts()[12]]).toEqual([ALL, 4]);
    device.route(ALL, ALL);
    expect([seen.protected, parts()]).toEqual([0, Array(16).fill(0)]);
  });

  it("takes stores while it reads as the ROM, and shows them when it is read: as firmware copies itself", () => {
    const { device, memory, seen, parts } = setUp();
    device.start();
    device.route(0, ALL);
    expect(seen.protected).toBe(ALL);
    for (let offset = 0; offset < 0x4_0000; offset += 4) device.write(offset, 4, device.read(offset, 4) ^ 0x80);
    expect(parts()[15]).toBe(1);
    device.route(ALL, 0);
    expect([parts(), memory.read32(START + 0x3_c000)]).toEqual([
      [...Array(8).fill(0xff), 8, 7, 6, 5, 4, 3, 2, 1],
      0x0101_0181,
    ]);
    device.write(0x3_c000, 1, 0);
    expect([seen.protected, memory.read8(START + 0x3_c000)]).toEqual([ALL, 0x81]);
  });

  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])("goes by both bits of each part (reads go to RAM: %s, stores: %s)", (reads, stores) => {
    const { device, memory, seen, at } = setUp();
    device.start();
    device.route(ALL, ALL);
    for (const part of [3, 4, 5]) memory.write8(START + part * 0x4000 + 5, 0x40 + part);
    const others = ALL & ~0b1_0000;
    device.route(others | (reads ? 0b1_0000 : 0), others | (stores ? 0b1_0000 : 0));
    expect(seen.protected).toBe(reads && stores ? 0 : 0b1_0000);
    expect([at(3), at(4), at(5)]).toEqual([0x43, reads ? 0x44 : 0xff, 0x45]);
    device.write(4 * 0x4000 + 5, 1, 0x99);
    expect(at(4)).toBe(reads ? (stores ? 0x99 : 0x44) : 0xff);
    device.route(ALL, ALL);
    expect([at(3), at(4), at(5)]).toEqual([0x43, stores ? 0x99 : 0x44, 0x45]);
  });

  it("reads as the ROM again after a reset, with nothing behind it", () => {
    const { device, parts } = setUp();
    device.start();
    device.route(0, ALL);
    device.write(0x3_c005, 1, 0x77);
    device.reset();
    expect(parts().slice(14)).toEqual([2, 1]);
    device.route(ALL, 0);
    expect(parts()).toEqual(Array(16).fill(0));
  });

  it("is RAM from the start where no firmware is there, and ones for who asks for the ROM", () => {
    const { device, memory, seen, at } = setUp({ startsOpen: true });
    device.start();
    memory.write8(START + 5, 0x42);
    expect([seen.protected, at(0), at(15)]).toEqual([0, 0x42, 0]);
    device.route(0, 0);
    expect([at(0), at(15)]).toEqual([0xff, 0xff]);
    device.route(ALL, ALL);
    expect([at(0), at(15)]).toEqual([0x42, 0]);
  });

  it("comes back with a state, memory first, and the registers before or behind it", () => {
    const from = setUp();
    from.device.start();
    from.device.route(0x00ff, 0xf000);
    from.device.write(0x3_c005, 1, 0x77);
    const memory = new Memory();
    memory.bytes.set(from.memory.bytes);
    const to = setUp({ memory });
    to.device.route(0x00ff, 0xf000);
    to.device.restore(from.device.save());
    to.device.route(0x00ff, 0xf000);
    expect([to.parts(), to.seen.protected]).toEqual([from.parts(), ALL]);
    to.device.route(ALL, ALL);
    expect([to.at(15), to.at(14)]).toEqual([0x77, 0]);
  });

  it("goes on from a state that knows nothing of it: what memory holds is what was read", () => {
    const { device, memory, at } = setUp();
    memory.write8(START + 0x3_c005, 0x55);
    device.route(0xf000, 0);
    device.resume();
    expect(at(15)).toBe(0x55);
    device.route(0, 0);
    expect(at(15)).toBe(1);
    device.route(0xf000, 0);
    expect(at(15)).toBe(0x55);
  });
});

describe("contract", () =>
  it.each(
    deviceContract((context) => {
      // The 256 KiB over 64 KiB that the context has.
      const place = (gpa: number): number => gpa & 0xffff;
      const memory = {
        read: (gpa: number, into: Uint8Array) => context.memory.read(place(gpa), into),
        write: (gpa: number, from: Uint8Array) => context.memory.write(place(gpa), from),
        read8: (gpa: number) => context.memory.read8(place(gpa)),
        write8: (gpa: number, value: number) => context.memory.write8(place(gpa), value),
      } as unknown as GuestMemory;
      const protect = (parts: number): void => context.protectShadow(parts);
      const device = new ShadowRam({ memory, romBytes: 0, startsOpen: false, protect });
      return {
        device,
        ranges: [{ handler: device, length: 0x4_0000 }],
        setUp: () => device.start(),
        events: [(value: number) => device.route(value & 0xffff, value >>> 16)],
        observe: () => context.shadowParts,
      };
    }),
  )("$name", ({ run }) => run()));
