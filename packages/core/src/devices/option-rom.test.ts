import { expect, it } from "vitest";
import { romFor } from "./option-rom.ts";

/** An image of one unit, for a card of these numbers. */
function image(vendorId: number, deviceId: number, { codeType = 0, isLast = true } = {}): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xaa55, true);
  bytes[2] = 1;
  view.setUint16(0x18, 0x20, true);
  bytes.set([0x50, 0x43, 0x49, 0x52], 0x20);
  view.setUint16(0x24, vendorId, true);
  view.setUint16(0x26, deviceId, true);
  view.setUint16(0x30, 1, true);
  bytes[0x34] = codeType;
  bytes[0x35] = isLast ? 0x80 : 0;
  bytes[6] = -bytes.reduce((sum, byte) => sum + byte, 0);
  return bytes;
}

const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => a + b, 0) & 0xff;

it("gives the images for a PC this card's numbers, and right sums", () => {
  const rom = Uint8Array.from([...image(0x1af4, 0x1000, { isLast: false }), ...image(0x1af4, 0x1000, { codeType: 3 })]);
  const made = romFor(rom, 0x1af4, 0x1041);
  expect(made.subarray(0, 512)).toEqual(image(0x1af4, 0x1041, { isLast: false }));
  expect(sum(made.subarray(0, 512))).toBe(0);
  expect(made.subarray(512)).toEqual(rom.subarray(512));
  expect(sum(rom.subarray(0, 512))).toBe(0);
});

it.each([
  ["nothing", new Uint8Array(0)],
  ["no ROM", new Uint8Array(600).fill(7)],
  ["a data structure that is outside", Uint8Array.from({ length: 32 }, (_, i) => [0x55, 0xaa, 1][i] ?? 0xff)],
])("leaves %s as it is", (_what, rom) => {
  expect(romFor(rom, 1, 2)).toEqual(rom);
});
