/** What a driver does with the display adapter, and what a screen made of it may be. */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import { renderScreen } from "../../packages/core/src/devices/vga/render.ts";
import { screenText } from "../../packages/core/src/devices/vga/screen-text.ts";
import { createVga } from "../../packages/core/src/devices/vga/vga.ts";
import type { FuzzedDevice, Operation } from "./device-fuzz.ts";
import { byteRange, event, pick, read, time, write } from "./operations.ts";

const VGA_MEMORY_BYTES = 0x8_0000;
export const VGA: FuzzedDevice = {
  name: "vga",
  build: (context) => {
    const device = createVga(context, { name: "vga0", memoryBytes: VGA_MEMORY_BYTES, rom: new Uint8Array(3000) });
    const config = {
      read: (offset: number, size: AccessSize) => device.pci.readConfig(offset, size),
      write: (offset: number, size: AccessSize, value: number) => device.pci.writeConfig(offset, size, value),
    };
    let looks = 0;
    const look = (): void => {
      const { view } = device;
      const { width, height, rgba } = renderScreen(view);
      if (rgba.length !== width * height * 4 || width > 2560 || height > 2048) throw new Error(`${width} x ${height}`);
      screenText(view);
      for (const { first, end } of device.takeChanges())
        if (!(first >= 0 && first < end && end <= height)) throw new Error(`rows ${first} to ${end} of ${height}`);
    };
    return {
      device,
      ranges: [
        byteRange(device.ports, 0x30),
        { handler: device.dispiPorts, length: 3, sizes: [1, 2] },
        { handler: device.window, length: 0x2_0000 },
        { handler: device.linear, length: VGA_MEMORY_BYTES },
        { handler: device.registers, length: 0x1000 },
        { handler: config, length: 256 },
      ],
      events: [
        (value) => {
          if (value % 8 === 0) look();
        },
      ],
      check: () => {
        const { dispi } = device.view;
        const isOutside = dispi && dispi.startByte + dispi.strideBytes * (dispi.height - 1) > VGA_MEMORY_BYTES;
        if (isOutside) throw new Error("the screen reaches beyond video memory");
        if (++looks % 2048 === 0) look();
      },
      sequence: (random) => {
        const bank = (port: number, count: number): Operation[] => [
          write(0, port, random(count)),
          write(0, port + 1, random(256)),
        ];
        const dispi = (index: number, value: number): Operation[] => [write(1, 0, index, 2), write(1, 1, value, 2)];
        switch (random(8)) {
          case 0:
            return [write(0, 0x12, random(256)), ...bank(0x14, 5), ...bank(0x1e, 9), read(0, 0x1f)];
          case 1:
            return [...bank(random(2) ? 0x24 : 0x04, 0x19), ...bank(0x24, 0x19), read(0, 0x25)];
          case 2:
            return [read(0, 0x2a), write(0, 0x10, random(0x40)), write(0, 0x10, random(256))];
          case 3:
            return [
              ...dispi(4, 0),
              ...dispi(1, 8 * (1 + random(80))),
              ...dispi(2, 1 + random(400)),
              ...dispi(3, pick(random, [4, 8, 15, 16, 24, 32])),
              ...dispi(4, 0x41 | (random(2) << 7)),
              ...dispi(5 + random(5), random(1000)),
              ...dispi(9, random(400)),
            ];
          case 4:
            return [write(2, random(0x1_fffc), random(2 ** 32), 4), read(2, random(0x1_fffc), 4)];
          case 5:
            return [
              write(3, random(VGA_MEMORY_BYTES - 4), random(2 ** 32), 4),
              read(4, random(0xffc), 4),
              event(0, random(64)),
            ];
          case 6:
            return [write(0, 0x18, random(256)), write(0, 0x19, random(256)), read(0, 0x19), time(random(20_000_000))];
          default:
            return [write(5, 0x30, 0xe000_0001, 4), write(5, 0x10, 0xd000_0000, 4), write(5, 4, random(8), 2)];
        }
      },
    };
  },
};
