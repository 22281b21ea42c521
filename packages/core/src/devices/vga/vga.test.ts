import { describe, expect, it } from "vitest";
import { MmioBus, PortBus } from "../../bus/io-bus.ts";
import { PciBus } from "../../bus/pci/bus.ts";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { DISPI } from "./dispi.ts";
import { EDID } from "./edid.ts";
import { programMode, TEXT_MODE } from "./mode-registers.ts";
import { PLANE_BYTES } from "./planar-memory.ts";
import { VGA_PORT as PORT } from "./registers.ts";
import { renderScreen } from "./render.ts";
import { screenText } from "./screen-text.ts";
import { setDispi, setGlyph, testVga } from "./test-vga.ts";
import { createVga, type Vga, VIDEO_MEMORY_BYTES } from "./vga.ts";

describe("the frame buffer as memory that the guest reaches by itself", () => {
  it("is where its BAR is, and rows that were stored to have changed", () => {
    const context = new FakeContext();
    const places: (number | undefined)[] = [];
    let written: number[] = [];
    const bytes = new Uint8Array(VIDEO_MEMORY_BYTES);
    context.deviceMemory = () => ({
      bytes,
      place: (gpa) => places.push(gpa),
      takeWritten: (note) => {
        for (const at of written) note(at, 4096);
        written = [];
      },
    });
    const vga = createVga(context, { name: "vga" });
    const pci = new PciBus({
      ports: new PortBus(),
      mmio: new MmioBus(),
      msi: () => {},
      intx: () => ({ set: () => {} }),
    });
    pci.plug(2, 0, vga.pci);
    vga.pci.writeConfig(0x10, 4, 0xe000_0000);
    expect(places).toEqual([]);
    vga.pci.writeConfig(0x04, 2, 2);
    expect(places.splice(0)).toEqual([0xe000_0000]);
    vga.pci.writeConfig(0x10, 4, 0xe100_0000);
    expect(places.splice(0)).toEqual([undefined, 0xe100_0000]);
    setDispi(vga, 1024, 4, 32);
    vga.takeChanges();
    bytes[2 * 4096] = 1;
    written = [2 * 4096];
    expect(vga.takeChanges()).toEqual([{ first: 2, end: 3 }]);
    expect(vga.takeChanges()).toEqual([]);
    vga.reset();
    expect(places).toEqual([undefined]);
  });
});

describe("ports", () => {
  it("answer where the miscellaneous output register says", () => {
    const { vga } = testVga("text");
    vga.ports.write(PORT.colorCrtc, 1, 0x0a);
    expect(vga.ports.read(PORT.colorCrtc + 1, 1)).toBe(0x0d);
    expect(vga.ports.read(PORT.monoCrtc + 1, 1)).toBe(0xff);
    vga.ports.write(PORT.misc, 1, 0x66);
    expect(vga.ports.read(PORT.monoCrtc + 1, 1)).toBe(0x0d);
    expect(vga.ports.read(PORT.miscRead, 1)).toBe(0x66);
  });

  it("keep CRTC 0 to 7 while they are protected, but for the line compare", () => {
    const { vga, out } = testVga("text");
    out(PORT.colorCrtc, 0x11, 0x8e);
    out(PORT.colorCrtc, 0x01, 0x27);
    expect(vga.ports.read(PORT.colorCrtc + 1, 1)).toBe(0x4f);
    out(PORT.colorCrtc, 0x07, 0x00);
    expect(vga.ports.read(PORT.colorCrtc + 1, 1)).toBe(0x0f);
  });

  it("take index and data of the attribute controller in turn, from the index on after a look at the status", () => {
    const { vga } = testVga("text");
    vga.ports.write(PORT.attribute, 1, 0x05);
    vga.ports.read(PORT.colorStatus, 1);
    vga.ports.write(PORT.attribute, 1, 0x06);
    vga.ports.write(PORT.attribute, 1, 0x2a);
    vga.ports.write(PORT.attribute, 1, 0x26);
    expect(vga.ports.read(PORT.attributeRead, 1)).toBe(0x2a);
  });

  it("count palette entries up", () => {
    const { vga } = testVga();
    vga.ports.write(PORT.dacWriteIndex, 1, 254);
    for (const value of [1, 2, 3, 4, 5, 0xff, 7]) vga.ports.write(PORT.dacData, 1, value);
    expect(vga.ports.read(PORT.dacWriteIndex, 1)).toBe(0);
    expect(vga.ports.read(PORT.dacReadIndex, 1)).toBe(0);
    vga.ports.write(PORT.dacReadIndex, 1, 255);
    expect(vga.ports.read(PORT.dacReadIndex, 1)).toBe(3);
    expect([1, 2, 3, 4].map(() => vga.ports.read(PORT.dacData, 1))).toEqual([4, 5, 0x3f, 7]);
  });

  it("show one retrace of two lines a frame, 70 times a second", () => {
    const { context, vga } = testVga("text");
    let retraces = 0;
    let before = 0;
    for (let us = 0; us < 1_000_000; us += 20) {
      const now = vga.ports.read(PORT.colorStatus, 1) & 8;
      if (now > before) retraces++;
      before = now;
      context.clock.jump(20_000);
    }
    expect(retraces).toBe(70);
  });
});

describe("PCI", () => {
  it("is QEMU's standard VGA", () => {
    const { vga } = testVga();
    expect(vga.pci.readConfig(0, 4)).toBe(0x1111_1234);
    expect(vga.pci.readConfig(8, 4)).toBe(0x0300_0002);
    vga.pci.writeConfig(0x10, 4, 0xffff_ffff);
    expect(vga.pci.readConfig(0x10, 4)).toBe(0xfff8_0008);
    expect(createVga(testVga().context, { name: "b" }).pci.bars.map((bar) => bar.sizeBytes)).toEqual([1 << 24, 4096]);
  });

  it("shows its ROM where the guest puts it", () => {
    const rom = new Uint8Array(0x9c00).fill(0x90);
    rom.set([0x55, 0xaa, 0x4e]);
    const vga = createVga(testVga().context, { name: "vga0", rom });
    vga.pci.writeConfig(0x30, 4, 0xffff_fffe);
    expect(vga.pci.readConfig(0x30, 4)).toBe(0xffff_0000);
    vga.pci.writeConfig(0x30, 4, 0xfe00_0001);
    const [window] = vga.pci.windows;
    expect(window?.base()).toBeUndefined();
    vga.pci.writeConfig(4, 2, 2);
    expect(window?.base()).toBe(0xfe00_0000);
    expect(window!.handler.read(0, 4) >>> 0).toBe(0x904e_aa55);
    expect(window?.handler.read(0x9c00, 2)).toBe(0xffff);
  });

  it("has EDID, VGA ports and the display interface in BAR 2", () => {
    const { vga } = testVga("text");
    expect(EDID.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
    expect(vga.registers.read(0, 2)).toBe(0xff00);
    vga.registers.write(0x404, 1, 4);
    expect(vga.registers.read(0x405, 1)).toBe(2);
    expect(vga.registers.read(0x500 + 2 * DISPI.VIDEO_MEMORY_64K, 2)).toBe(8);
    expect(vga.registers.read(0x604, 2)).toBe(0x1e1e);
  });
});

describe("changes", () => {
  it("are the rows that were written, once", () => {
    const test = testVga("text");
    expect(test.vga.takeChanges()).toEqual([{ first: 0, end: 400 }]);
    expect(test.vga.takeChanges()).toEqual([]);
    test.poke(0xb8000 + 160 * 10, 0x41);
    const [span, ...more] = test.vga.takeChanges();
    expect(more).toEqual([]);
    expect(span!.first).toBeLessThanOrEqual(160);
    expect(span!.end).toBeGreaterThanOrEqual(176);
    expect(span!.end - span!.first).toBeLessThanOrEqual(48);
  });

  it("are single rows of a linear mode", () => {
    const test = testVga();
    setDispi(test.vga, 256, 128, 32);
    test.vga.takeChanges();
    test.vga.linear.write(5 * 1024 + 8, 4, 1);
    test.vga.linear.write(6 * 1024, 4, 1);
    test.vga.linear.write(100 * 1024, 4, 1);
    expect(test.vga.takeChanges()).toEqual([
      { first: 5, end: 7 },
      { first: 100, end: 101 },
    ]);
  });

  it("are the cursor's row when it moves or blinks", () => {
    const test = testVga("text");
    test.vga.takeChanges();
    test.out(PORT.colorCrtc, 0x0f, 80);
    expect(test.vga.takeChanges()[0]!.first).toBe(0);
    test.context.clock.jump(9 * 14_268_200);
    expect(test.vga.takeChanges()).not.toEqual([]);
    expect(test.vga.takeChanges()).toEqual([]);
  });
});

describe("hostile guests", () => {
  it("write anything anywhere, and the picture is still one of bounded size", () => {
    let state = 0x1234_5678;
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return (state ^ (state >>> 15)) >>> 0;
    };
    const test = testVga("text");
    const { vga } = test;
    const targets: ((vga: Vga) => void)[] = [
      () => vga.ports.write(random() % PORT.count, 1, random() & 0xff),
      () => vga.ports.read(random() % PORT.count, 1),
      () => vga.window.write(random() % 0x1_fffc, 4, random()),
      () => vga.window.read(random() % 0x1_fffc, 4),
      () => vga.linear.write(random() % 0x7_fffc, 4, random()),
      () => vga.registers.write(random() % 0x1000, 2, random() & 0xffff),
      () => vga.registers.write(0x500 + 2 * (random() % 11), 2, random() & (random() & 1 ? 0xffff : 0xff)),
      () => vga.dispiPorts.write(random() % 2, 2, random() & (random() & 1 ? 15 : 0xffff)),
      () => test.context.clock.jump(random() % 50_000_000),
    ];
    for (let round = 0; round < 150; round++) {
      for (let i = 0; i < 60; i++) targets[random() % targets.length]!(vga);
      const { width, height, rgba } = renderScreen(vga.view);
      expect(rgba).toHaveLength(width * height * 4);
      expect(width * height).toBeLessThanOrEqual(2560 * 1600);
      screenText(vga.view);
      for (const { first, end } of vga.takeChanges()) expect(first >= 0 && end > first && end <= height).toBe(true);
    }
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const vga = createVga(context, { name: "vga0", memoryBytes: 4 * PLANE_BYTES });
    return {
      device: vga,
      ranges: [
        { handler: vga.ports, length: PORT.count, sizes: [1] },
        { handler: vga.dispiPorts, length: 3, sizes: [1, 2] },
        { handler: vga.window, length: 0x2_0000 },
        { handler: vga.linear, length: 0x4_0000 },
        { handler: vga.registers, length: 0x700, sizes: [1, 2] },
      ],
      setUp: () => {
        programMode(vga.ports, TEXT_MODE);
      },
      observe: () => screenText(vga.view)?.join("|") ?? "graphics",
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});

it("draws what it drew before a restore", () => {
  const test = testVga("text");
  setGlyph(test, 1, [1, 2, 3]);
  test.poke(0xb8000, 1, 0x4e);
  const copy = testVga();
  copy.vga.restore(test.vga.save());
  expect(Buffer.compare(copy.image().rgba, test.image().rgba)).toBe(0);
});
