import { expect, test } from "vitest";
import { PAGE_BYTES, Ram, ramSegments } from "./ram.ts";

const MIB = 2 ** 20;

function smallRam() {
  const buffer = new ArrayBuffer(6 * PAGE_BYTES + 64);
  const writes: [number, number][] = [];
  const ram = new Ram({
    buffer,
    byteOffset: 64,
    segments: [
      { start: 0, sizeBytes: 4 * PAGE_BYTES, kind: "ram" },
      { start: 2 ** 32, sizeBytes: 2 * PAGE_BYTES, kind: "ram" },
    ],
    onWrite: (at, length) => writes.push([at, length]),
  });
  return { buffer, ram, writes };
}

test("segments of a board: everything below the hole first", () => {
  expect(ramSegments(512 * MIB)).toEqual([{ start: 0, sizeBytes: 512 * MIB, kind: "ram" }]);
  expect(ramSegments(3072 * MIB, 2816 * MIB)).toEqual([
    { start: 0, sizeBytes: 2816 * MIB, kind: "ram" },
    { start: 2 ** 32, sizeBytes: 256 * MIB, kind: "ram" },
  ]);
});

test("loads and stores are little-endian, in both segments", () => {
  const { ram } = smallRam();
  for (const base of [0x10, 2 ** 32 + 0x10]) {
    ram.write64(base, 0x1122_3344_5566_7788n);
    expect([ram.read8(base), ram.read16(base), ram.read32(base)]).toEqual([0x88, 0x7788, 0x5566_7788]);
    ram.write8(base, 0x1ff);
    ram.write16(base + 2, 0xaabb);
    ram.write32(base + 4, 0xdead_beef);
    expect(ram.read64(base)).toBe(0xdead_beef_aabb_77ffn);
  }
});

test("nothing outside RAM can be read or written", () => {
  const { ram, buffer, writes } = smallRam();
  const end = 4 * PAGE_BYTES;
  const outside = [
    -1,
    -8,
    end - 7,
    end,
    2 ** 32 - 1,
    2 ** 32 - 4,
    2 ** 32 + 2 * PAGE_BYTES - 7,
    2 ** 52,
    2 ** 64,
    Number.NaN,
  ];
  for (const gpa of outside) {
    expect(ram.read64(gpa)).toBeUndefined();
    expect(ram.write64(gpa, -1n)).toBe(false);
    expect(ram.write(gpa, new Uint8Array(8).fill(1))).toBe(false);
    const into = new Uint8Array(8).fill(7);
    expect(ram.read(gpa, into)).toBe(false);
    expect(into).toEqual(new Uint8Array(8).fill(7));
  }
  expect(new Uint8Array(buffer).every((byte) => byte === 0)).toBe(true);
  expect(writes).toEqual([]);
});

test("every write marks its pages and tells which code is stale", () => {
  const { ram, writes } = smallRam();
  ram.write(PAGE_BYTES - 1, new Uint8Array(PAGE_BYTES + 2));
  ram.write8(2 ** 32, 1);
  ram.write(100, new Uint8Array(0));
  expect([...ram.dirtyPages]).toEqual([1, 1, 1, 0, 1, 0]);
  expect(writes).toEqual([
    [PAGE_BYTES - 1, PAGE_BYTES + 2],
    [4 * PAGE_BYTES, 1],
  ]);
  ram.regions[1]!.bytes[PAGE_BYTES] = 5;
  ram.written(2 ** 32 + PAGE_BYTES, 1);
  expect(ram.read8(2 ** 32 + PAGE_BYTES)).toBe(5);
  expect(ram.dirtyPages[5]).toBe(1);
});

test("works on shared memory", () => {
  const ram = new Ram({ buffer: new SharedArrayBuffer(PAGE_BYTES), byteOffset: 0, segments: ramSegments(PAGE_BYTES) });
  ram.write(1, Uint8Array.of(1, 2, 3));
  const into = new Uint8Array(3);
  expect(ram.read(1, into)).toBe(true);
  expect([...into]).toEqual([1, 2, 3]);
});

test("impossible layouts are refused", () => {
  const make = (start: number, sizeBytes: number) =>
    new Ram({ buffer: new ArrayBuffer(65_536), byteOffset: 0, segments: [{ start, sizeBytes, kind: "ram" }] });
  expect(() => make(PAGE_BYTES, PAGE_BYTES)).toThrow(RangeError);
  expect(() => make(0, 100)).toThrow(RangeError);
  expect(() => make(0, 2 * 65_536)).toThrow(RangeError);
});
