import { describe, expect, it } from "vitest";
import { PortBus } from "../bus/io-bus.ts";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { attachFwCfg, createFwCfg, FW_CFG_KEY, type FwCfg } from "./fw-cfg.ts";

const [SELECT, DATA, DMA_HIGH, DMA_LOW] = [0x510, 0x511, 0x514, 0x518];
const CONTROL = { ERROR: 1, READ: 2, SKIP: 4, SELECT: 8, WRITE: 16 };
const REQUEST = 0x100;
const NUMBERED = 0x05;

const items = () => ({
  numbered: new Map([[NUMBERED, Uint8Array.of(7, 0)]]),
  files: [
    { name: "etc/two", bytes: Uint8Array.of(9, 8, 7, 6, 5), isWritable: true },
    { name: "etc/one", bytes: Uint8Array.of(1, 2, 3) },
  ],
});

function setUp() {
  const context = new FakeContext();
  const device: FwCfg = createFwCfg(context, items());
  const ports = new PortBus();
  attachFwCfg(device, ports, { fwCfg: SELECT, fwCfgDma: DMA_HIGH });
  const bytes = (count: number): number[] => Array.from({ length: count }, () => ports.read(DATA, 1));
  const item = (key: number, count: number): number[] => {
    ports.write(SELECT, 2, key);
    return bytes(count);
  };
  /** Carries out a request and returns what its control field then says. */
  const dma = (control: number, length: number, address: number): number => {
    const request = new DataView(new ArrayBuffer(16));
    request.setUint32(0, control);
    request.setUint32(4, length);
    request.setUint32(8, Math.floor(address / 2 ** 32));
    request.setUint32(12, address % 2 ** 32);
    context.memory.write(REQUEST, new Uint8Array(request.buffer));
    ports.write(DMA_HIGH, 4, 0);
    ports.write(DMA_LOW, 4, new DataView(Uint8Array.of(0, 0, REQUEST >> 8, REQUEST & 0xff).buffer).getUint32(0, true));
    return new DataView(context.memory.bytes.buffer).getUint32(REQUEST);
  };
  return { context, device, ports, bytes, item, dma };
}

describe("fw_cfg", () => {
  it("has signature, features, numbered items, and zeros behind each item's end", () => {
    const { ports, item } = setUp();
    expect(String.fromCharCode(...item(FW_CFG_KEY.SIGNATURE, 4))).toBe("QEMU");
    expect(item(FW_CFG_KEY.ID, 4)).toEqual([3, 0, 0, 0]);
    expect(item(NUMBERED, 4)).toEqual([7, 0, 0, 0]);
    expect(item(0x1234, 2)).toEqual([0, 0]);
    expect([ports.read(DMA_HIGH, 4), ports.read(DMA_LOW, 4)]).toEqual([0x554d_4551, 0x4746_4320]);
  });

  it("lists files by name, and each is read from its start when it is selected", () => {
    const { item } = setUp();
    const directory = Uint8Array.from(item(FW_CFG_KEY.FILE_DIR, 4 + 2 * 64));
    const view = new DataView(directory.buffer);
    expect([view.getUint32(0), view.getUint32(4), view.getUint16(8), view.getUint32(68), view.getUint16(72)]).toEqual([
      2, 3, 0x20, 5, 0x21,
    ]);
    expect(String.fromCharCode(...directory.subarray(12, 20))).toBe("etc/one\0");
    expect(item(0x20, 4)).toEqual([1, 2, 3, 0]);
    expect(item(0x20, 1)).toEqual([1]);
  });

  it("moves items into memory, skips, and goes on where it was", () => {
    const { context, bytes, dma } = setUp();
    const { SELECT: SEL, READ, SKIP } = CONTROL;
    expect(dma((0x21 << 16) | SEL | READ, 2, 0x2000)).toBe(0);
    expect(dma(SKIP, 1, 0)).toBe(0);
    expect(bytes(1)).toEqual([6]);
    context.memory.bytes.fill(0xff, 0x2000, 0x2010);
    expect(dma(READ, 4, 0x2000)).toBe(0);
    expect([...context.memory.bytes.subarray(0x2000, 0x2005)]).toEqual([5, 0, 0, 0, 0xff]);
  });

  it("takes writes to writable files alone, within their length", () => {
    const { context, device, item, dma } = setUp();
    const { SELECT: SEL, WRITE, SKIP, ERROR } = CONTROL;
    context.memory.write(0x2000, Uint8Array.of(0xaa, 0xbb));
    expect(dma((0x21 << 16) | SEL | SKIP, 3, 0)).toBe(0);
    expect(dma(WRITE, 2, 0x2000)).toBe(0);
    expect(item(0x21, 5)).toEqual([9, 8, 7, 0xaa, 0xbb]);
    expect([...device.written("etc/two")!]).toEqual([9, 8, 7, 0xaa, 0xbb]);
    expect(dma(WRITE, 1, 0x2000)).toBe(ERROR);
    expect(dma((0x20 << 16) | SEL | WRITE, 1, 0x2000)).toBe(ERROR);
    device.reset();
    expect(item(0x21, 5)).toEqual([9, 8, 7, 6, 5]);
  });

  it("answers requests that reach outside memory, or for too much, with an error", () => {
    const { context, ports, dma } = setUp();
    const { READ, ERROR } = CONTROL;
    expect(dma(READ, 8, context.memory.bytes.length - 4)).toBe(ERROR);
    expect(dma(READ, 0xffff_ffff, 0)).toBe(ERROR);
    expect(dma(READ, 1, 2 ** 60)).toBe(ERROR);
    ports.write(DMA_HIGH, 4, 0xffff_ffff);
    ports.write(DMA_LOW, 4, 0xffff_ffff);
    expect(ports.read(SELECT, 2)).toBe(0);
  });

  describe("contract", () =>
    it.each(
      deviceContract((context) => {
        const device = createFwCfg(context, items());
        return {
          device,
          ranges: [
            { handler: device.registers, length: 2, sizes: [1, 2] },
            { handler: device.dmaAddress, length: 8 },
          ],
          setUp: () => device.registers.write(0, 2, 0x21),
        };
      }),
    )("$name", ({ run }) => run()));
});
