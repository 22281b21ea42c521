import { describe, expect, it } from "vitest";
import { Lzma2Error } from "./lzma2-decoder.ts";
import { decodeXz } from "./xz-decoder.ts";

// 400 words drawn by a linear congruential generator, compressed by xz 5.4.
const PRESET_6 =
  "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AkvAbldADaZSu6YD0DVZLeL791XFHv46nl78q3Fg9851AjvKGRroPhZzkAV6pOBzWdBqzSW16bK3gWN7PtoSwKxUu/vgykB7xJpZv0j4+dQplXTeCWd/4mSMk2AbRi3/ugFhkdKacq4ao0/sTp7JIPcRIpp2Mn0r4H8YMx2upELls5DdSWY/ZrkWVkPACWXRMHdR6JbEakrOr9zX9fAWICPbRVfTLB2OL6Oo8ysfKbOZeTNoAGqbBWdkKBAMzwaiuvHkWRx1w1e3o0mwaY9n4LldwzUGhpFB/8ulaylv9YC1gOFHFKT6QXbkhaoRNUovB9/e0qN7C9uPpIoEKGfR7yIjoYLZVOzrSYA6ZdOTFe+t23uwCJpFZ+Qc6PCAbubBnvK38RzRUKH+AbsJJkKCpMu2VqEOVJX8wZ9B92SsuA9cUcXQYO21ItV0N3zDhCvdUYyTxWJCke0Nsdes4WrMUnIIxoowioXW2yjpq/bJ8Nzh0tZEl+lafXeHE31Lt39EB9ERLe+ws3RbuB9g6gU5Y+4CGb2LmDYC+s1p1TFqDqAO32T/RUkRMocxSC3mlbidCkCmg5OOdq6KXfUoRP6WAAAAAAe49tlVt3J8wAB1QOwEgAAFRrWxLHEZ/sCAAAAAARZWg==";
/** The same with lc=1, lp=3, pb=0 and CRC-32. */
const OTHER_PROPERTIES =
  "/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4AkvAbMcADaaFebB0l6rUWMvZZZ8Rq4eDICtnvSYPHTtCpS8zDOPxlBPDCHyjj2/I+TdC+S0LSfQOSXWVcAuWQfeWyQF8UcjdjCu41CCgeYBCeUPbOMK4Ztvat21mqcs/sKlzXUoxxYi8AAQePkYl6UxU9o51ijkuFXgMj0/qry612wSK8YGutkGkzXnDsVIAgBoGeG4nxhJIwlMezDhbRfX48oL/x3xBeVjga59KaVdJOIPwOtJIlMhe7MsmbMOWvhY+QY8WcKjdgqhsqtNoa1g4rfB82dKfKAyMEEPmEeEW0ET8uCuBprT4IRcF1tVQfB76sh39r1gmo+de0U2sVOykkoJK98zE/MP34d6d1yqmtU5tCEQZTuZQAGTb8NTIxC0KrFRrFTzPZZpZm/ZxAm7nIJGuqbXhgx7vlQGqiCO6SSEL0B29IY0fSN4FeiQslco0cme7Ur4NnUu4E5yqXMFQeiakNXFwyCWGypWLVmmjW+/DnLTBukkUin2Ma64jiFjqYXzV31P4UB6qtSQp7yZPgsC8UytyFpHtyizWs3CDAO6s5nV4nqVo9yhsmR5tVa9QaNj0N/dAAAA3RJ9rAABywOwEgAA/nkK/T4wDYsCAAAAAAFZWg==";
/** "abc" stored in an uncompressed chunk, without a check. */
const STORED = "/Td6WFoAAAD/EtlBAgAhAQwAAACPmEGcAQACYWJjAAAAARMDA6Vg2AZynnoBAAAAAABZWg==";

function expectedText(): string {
  const words = ["metal", "twin", "guest", "virtio", "kernel", "page", "ring"];
  let state = 12345;
  const next = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  };
  let text = "";
  for (let index = 0; index < 400; index++) text += words[next() % 7]! + (next() % 5 ? " " : "\n");
  return text;
}

function decode(input: Uint8Array): string {
  return Buffer.concat([...decodeXz(input)].map((piece) => piece.slice())).toString("latin1");
}

const bytes = (base64: string): Buffer => Buffer.from(base64, "base64");

describe("decodeXz", () => {
  it("decodes what xz wrote, with the usual and with other properties", () => {
    expect(decode(bytes(PRESET_6))).toBe(expectedText());
    expect(decode(bytes(OTHER_PROPERTIES))).toBe(expectedText());
    expect(decode(bytes(STORED))).toBe("abc");
    expect(decode(new Uint8Array(0))).toBe("");
  });

  it("decodes streams one after another, padding between", () => {
    expect(decode(Buffer.concat([bytes(STORED), Buffer.alloc(8), bytes(STORED)]))).toBe("abcabc");
  });

  it("refuses every truncation", () => {
    const whole = bytes(PRESET_6);
    for (let length = 1; length < whole.length; length += 3) {
      expect(() => decode(whole.subarray(0, length)), `${length} bytes`).toThrow(Lzma2Error);
    }
  });

  it("survives every flipped byte: another text or one kind of error, never more", () => {
    for (const [input, step] of [
      [bytes(STORED), 1],
      [bytes(OTHER_PROPERTIES), 3],
    ] as const) {
      for (let at = 0; at < input.length; at += step) {
        const damaged = Buffer.from(input);
        damaged[at]! ^= 0x41;
        try {
          decode(damaged);
        } catch (error) {
          expect(error).toBeInstanceOf(Lzma2Error);
        }
      }
    }
  });

  it("refuses what is no .xz file", () => {
    expect(() => decode(Buffer.from("\x1f\x8b not xz at all"))).toThrow(/not an \.xz file/);
  });
});
