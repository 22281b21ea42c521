import { describe, expect, it } from "vitest";
import { KeptMsrs } from "./kept-msrs.ts";

const VARIABLE = Array.from({ length: 8 }, (_, n) => [0x200 + 2 * n, 0x201 + 2 * n] as const);
const FIXED = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
const TYPES = [0, 1, 4, 5, 6];

describe("memory type range registers", () => {
  it("are eight variable ranges, eleven fixed ones and a default type, all zero at first", () => {
    const msrs = new KeptMsrs();
    expect(msrs.read(0xfe)).toBe(0x508n);
    expect(msrs.write(0xfe, 0x508n)).toBe(false);
    const there = Array.from({ length: 0x100 }, (_, i) => 0x200 + i).filter((index) => msrs.read(index) !== undefined);
    expect(there).toEqual([...VARIABLE.flat(), ...FIXED, 0x2ff]);
    expect(there.every((index) => msrs.read(index) === 0n)).toBe(true);
  });

  it("take memory types 0, 1, 4, 5 and 6 only", () => {
    const taken = (index: number, shift: bigint) =>
      Array.from({ length: 256 }, (_, type) => type).filter((type) =>
        new KeptMsrs().write(index, BigInt(type) << shift),
      );
    for (const [base] of VARIABLE) expect(taken(base, 0n)).toEqual(TYPES);
    for (const index of FIXED) for (let byte = 0n; byte < 8n; byte++) expect(taken(index, byte * 8n)).toEqual(TYPES);
    expect(taken(0x2ff, 0n)).toEqual(TYPES);
  });

  it("refuse reserved bits", () => {
    const bits = (index: number) =>
      Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => new KeptMsrs().write(index, 1n << BigInt(bit)));
    const address = Array.from({ length: 28 }, (_, i) => 12 + i);
    expect(bits(0x204)).toEqual([0, 2, ...address]);
    expect(bits(0x205)).toEqual([11, ...address]);
    expect(bits(0x2ff)).toEqual([0, 2, 10, 11]);
  });

  it("keep what they took when a write is refused", () => {
    const msrs = new KeptMsrs();
    expect(msrs.write(0x2ff, 0xc06n)).toBe(true);
    expect(msrs.write(0x2ff, 0xc02n)).toBe(false);
    expect(msrs.read(0x2ff)).toBe(0xc06n);
  });
});

describe("machine checks", () => {
  it("have no banks and no control, but a status", () => {
    const msrs = new KeptMsrs();
    expect([0x179, 0x17a, 0x17b, 0x400, 0x401].map((index) => msrs.read(index))).toEqual([
      0n,
      0n,
      undefined,
      undefined,
      undefined,
    ]);
    expect(msrs.write(0x179, 0n)).toBe(false);
    expect(msrs.write(0x17a, 5n)).toBe(true);
    expect(msrs.write(0x17a, 8n)).toBe(false);
    expect(msrs.read(0x17a)).toBe(5n);
  });
});

describe("state", () => {
  it("has what is not zero, and comes back; what no guest could write is zero", () => {
    const msrs = new KeptMsrs();
    msrs.write(0x200, 0xb000_0000n);
    msrs.write(0x2ff, 0xc06n);
    const saved = msrs.save();
    expect(saved).toEqual({ 512: 0xb000_0000n, 767: 0xc06n });
    const copy = new KeptMsrs();
    copy.write(0x17a, 1n);
    copy.load(saved);
    expect(copy.save()).toEqual(saved);
    copy.load({ 767: 0x2n, 512: 1n << 60n, 254: 1n });
    expect(copy.save()).toEqual({});
  });
});
