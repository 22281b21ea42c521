import { describe, expect, it } from "vitest";
import { MmioBus } from "../bus/io-bus.ts";
import { StateError } from "../state/errors.ts";
import { attachCfiFlash, createCfiFlash, FLASH_BLOCK_BYTES, FLASH_COMMAND, FLASH_STATUS } from "./cfi-flash.ts";
import { deviceContract } from "./contract.ts";
import type { StateValue } from "./device.ts";
import { FakeContext } from "./fake-context.ts";

const START = 0xffc0_0000;
const BLOCKS = 3;
const C = FLASH_COMMAND;

function setUp() {
  const context = new FakeContext();
  const content = new Uint8Array(BLOCKS * FLASH_BLOCK_BYTES).map((_, i) => i);
  const flash = createCfiFlash(context, { name: "flash0", content });
  const mmio = new MmioBus();
  attachCfiFlash(flash, mmio, START);
  const read = (offset: number): number => mmio.read(START + offset, 1);
  const write = (offset: number, ...values: number[]): void => {
    for (const value of values) mmio.write(START + offset, 1, value);
  };
  return { context, flash, mmio, read, write };
}

describe("CFI flash as memory that the guest reaches by itself", () => {
  it("is that while reads answer what it holds, wherever the board has put it", () => {
    const context = new FakeContext();
    const places: (number | undefined)[] = [];
    const bytes = new Uint8Array(FLASH_BLOCK_BYTES);
    context.deviceMemory = (sizeBytes, kind) => {
      expect([sizeBytes, kind]).toEqual([FLASH_BLOCK_BYTES, "read-only"]);
      return { bytes, place: (gpa) => places.push(gpa), takeWritten: () => {} };
    };
    const flash = createCfiFlash(context, { name: "flash0", content: bytes.map(() => 0xff) });
    const mmio = new MmioBus();
    attachCfiFlash(flash, mmio, START);
    expect(places.splice(0)).toEqual([START]);
    for (const value of [C.PROGRAM, 0x5a, C.READ_STATUS]) mmio.write(START + 3, 1, value);
    expect(places.splice(0)).toEqual([undefined, undefined, undefined]);
    mmio.write(START, 1, C.READ_ARRAY);
    expect([places.splice(0), bytes[3]]).toEqual([[START], 0x5a]);
    const saved = flash.save();
    mmio.write(START, 1, C.READ_QUERY);
    flash.restore(saved);
    expect(places).toEqual([undefined, START, START]);
  });
});

describe("CFI flash", () => {
  it("is memory until a command comes, and again after Read Array", () => {
    const { mmio, read, write } = setUp();
    expect(mmio.read(START + 4, 4)).toBe(0x0706_0504);
    write(0x123, C.READ_STATUS);
    expect(read(4)).toBe(0);
    write(0, C.READ_ARRAY);
    expect(read(4)).toBe(4);
  });

  it("a UEFI firmware's probe finds a flash: neither ROM nor RAM", () => {
    const { read, write } = setUp();
    write(7, C.CLEAR_STATUS);
    expect(read(7)).toBe(7);
    write(7, C.READ_STATUS);
    expect(read(7)).toBe(0);
  });

  it("programs bits to 0 only, erases whole blocks, and reports both", () => {
    const { context, flash, read, write } = setUp();
    write(0x13, C.PROGRAM, 0xf1);
    expect(read(0)).toBe(FLASH_STATUS.READY);
    write(0, C.READ_ARRAY);
    expect(read(0x13)).toBe(0x11);
    write(FLASH_BLOCK_BYTES + 5, C.BLOCK_ERASE, C.CONFIRM);
    write(0, C.READ_ARRAY);
    expect([read(FLASH_BLOCK_BYTES - 1), read(FLASH_BLOCK_BYTES), read(2 * FLASH_BLOCK_BYTES - 1)]).toEqual([
      0xff, 0xff, 0xff,
    ]);
    expect(flash.content[2 * FLASH_BLOCK_BYTES + 1]).toBe(1);
    expect([...context.sent("flash0").subarray(0, 9)]).toEqual([0x13, 0, 0, 0, 1, 0, 0, 0, 0x11]);
    expect(context.sent("flash0").length).toBe(9 + 8 + FLASH_BLOCK_BYTES);
  });

  it("an erasure that is not confirmed changes nothing and is an error until Clear Status", () => {
    const { flash, read, write } = setUp();
    const before = flash.content;
    write(0, C.BLOCK_ERASE, C.READ_ARRAY);
    expect(read(0) & FLASH_STATUS.ERASE_ERROR).not.toBe(0);
    expect(flash.content).toEqual(before);
    write(0, C.CLEAR_STATUS);
    expect(read(0)).toBe(0);
  });

  it("takes buffered writes within one block", () => {
    const { flash, read, write } = setUp();
    write(0, C.BLOCK_ERASE, C.CONFIRM, C.WRITE_TO_BUFFER, 1);
    write(0x10, 0xaa);
    write(0x11, 0xbb);
    write(0, C.CONFIRM);
    expect([...flash.content.subarray(0x10, 0x12)]).toEqual([0xaa, 0xbb]);
    write(0, C.CLEAR_STATUS, C.WRITE_TO_BUFFER, 1);
    write(FLASH_BLOCK_BYTES, 0);
    expect(read(0)).toBe(FLASH_STATUS.READY | FLASH_STATUS.PROGRAM_ERROR);
  });

  it("answers the CFI query with the Intel command set and its geometry", () => {
    const { read, write } = setUp();
    write(0x55, C.READ_QUERY);
    expect(String.fromCharCode(read(0x10), read(0x11), read(0x12))).toBe("QRY");
    expect([read(0x13), read(0x14)]).toEqual([1, 0]);
    expect([read(0x2d), read(0x2e), read(0x2f), read(0x30)]).toEqual([BLOCKS - 1, 0, 16, 0]);
  });

  it("keeps its content over a reset", () => {
    const { flash, write } = setUp();
    write(0, C.PROGRAM, 0);
    write(1, C.PROGRAM, 0);
    flash.reset();
    expect([...flash.content.subarray(0, 3)]).toEqual([0, 0, 2]);
  });

  it.each([
    [
      "more than the buffer holds",
      { mode: "buffer-data", bufferLeft: 64, bufferAt: [0], bufferValue: Uint8Array.of(0) },
    ],
    ["a buffer that never is full", { mode: "buffer-data", bufferLeft: 0 }],
    [
      "a byte of another block",
      { mode: "buffer-confirm", bufferAt: [FLASH_BLOCK_BYTES], bufferValue: Uint8Array.of(0) },
    ],
  ])("refuses a state with %s", (_what, change) => {
    const { flash } = setUp();
    const state = flash.save() as Record<string, StateValue>;
    expect(() => flash.restore({ ...state, ...change })).toThrow(StateError);
  });

  describe("contract", () =>
    it.each(
      deviceContract((context) => {
        const flash = createCfiFlash(context, { name: "flash0", content: new Uint8Array(2 * FLASH_BLOCK_BYTES) });
        const events = Object.values(C).map((command) => () => flash.registers.write(0, 1, command));
        return {
          device: flash,
          ranges: [{ handler: flash.registers, length: flash.sizeBytes }],
          events,
          setUp: () => flash.registers.write(0, 1, C.READ_ARRAY),
          survivesReset: true,
        };
      }),
    )("$name", ({ run }) => run()));
});
