import { inflateSync } from "node:zlib";
import { expect, it } from "vitest";
import { encodePng } from "./png.ts";

it("writes a picture that can be taken apart again", () => {
  const rgba = Uint8Array.of(1, 2, 3, 255, 4, 5, 6, 255, 1, 2, 4, 255, 0, 5, 6, 255);
  const png = Buffer.from(encodePng({ width: 2, height: 2, rgba }));
  expect(png.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  expect(png.subarray(12, 29).toString("hex")).toBe(`49484452${"00000002"}${"00000002"}0802000000`);
  const length = png.readUInt32BE(33);
  expect(png.subarray(37, 41).toString("latin1")).toBe("IDAT");
  const rows = inflateSync(png.subarray(41, 41 + length));
  expect([...rows]).toEqual([2, 1, 2, 3, 4, 5, 6, 2, 0, 0, 1, 252, 0, 0]);
  // The empty last chunk's check sum, as every PNG file has it.
  expect(png.subarray(-8).toString("hex")).toBe("49454e44ae426082");
});
