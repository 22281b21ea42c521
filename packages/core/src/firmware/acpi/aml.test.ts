import { describe, expect, it } from "vitest";
import { buffer, device, eisaId, integer, methodReturning, name, nameString, packageOf, scope, string } from "./aml.ts";

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

describe("AML", () => {
  it.each([
    [0, "00"],
    [1, "01"],
    [2, "0a 02"],
    [0x100, "0b 00 01"],
    [0x1_0000, "0c 00 00 01 00"],
    [0x1_0000_0000, "0e 00 00 00 00 01 00 00 00"],
    [0xffff_ffff_ffff_ffffn, "0e ff ff ff ff ff ff ff ff"],
  ])("integer %s", (value, expected) => {
    expect(hex(integer(value))).toBe(expected);
  });

  it("names: one segment, two, many, rooted, filled up", () => {
    expect(hex(nameString("ISA"))).toBe("49 53 41 5f");
    expect(hex(nameString("\\_SB.PCI0"))).toBe("5c 2e 5f 53 42 5f 50 43 49 30");
    expect(hex(nameString("A.B.C"))).toBe("2f 03 41 5f 5f 5f 42 5f 5f 5f 43 5f 5f 5f");
    expect(hex(nameString("\\"))).toBe("5c 00");
    expect(() => nameString("TOOLONG")).toThrow(RangeError);
  });

  it("EISA identifiers are big-endian inside", () => {
    expect(hex(eisaId("PNP0A03"))).toBe("0c 41 d0 0a 03");
  });

  it("package lengths count themselves, in one to four bytes", () => {
    expect(hex(buffer(new Uint8Array(60))).slice(0, 11)).toBe("11 3f 0a 3c");
    expect(hex(buffer(new Uint8Array(61))).slice(0, 14)).toBe("11 41 04 0a 3d");
    expect(hex(buffer(new Uint8Array(0x2000))).slice(0, 17)).toBe("11 86 00 02 0b 00");
    expect(hex(buffer(new Uint8Array(0x20_0000))).slice(0, 14)).toBe("11 c9 00 00 02");
  });

  it("objects nest", () => {
    const term = scope("\\", device("DEV", name("_UID", string("a"))), name("PK", packageOf(integer(1), integer(0))));
    expect(hex(term)).toBe("10 1c 5c 00 5b 82 0d 44 45 56 5f 08 5f 55 49 44 0d 61 00 08 50 4b 5f 5f 12 04 02 01 00");
    expect(hex(methodReturning("_STA", integer(15)))).toBe("14 09 5f 53 54 41 00 a4 0a 0f");
  });
});
