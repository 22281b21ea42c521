/** What firmware and a guest do with fw_cfg and the flash chip. */
import { createCfiFlash, FLASH_BLOCK_BYTES, FLASH_COMMAND } from "../../packages/core/src/devices/cfi-flash.ts";
import { createFwCfg } from "../../packages/core/src/devices/fw-cfg.ts";
import type { FuzzedDevice } from "./device-fuzz.ts";
import { pick, read, write } from "./operations.ts";

export const FW_CFG: FuzzedDevice = {
  name: "fw-cfg",
  build: (context) => {
    const device = createFwCfg(context, {
      numbered: new Map([[5, Uint8Array.of(7, 0)]]),
      files: [
        { name: "etc/one", bytes: new Uint8Array(300).fill(1) },
        { name: "etc/two", bytes: new Uint8Array(100).fill(2), isWritable: true },
      ],
    });
    let given: (readonly [number, number])[] = [];
    return {
      device,
      ranges: [
        { handler: device.registers, length: 2, sizes: [1, 2] },
        { handler: device.dmaAddress, length: 8 },
      ],
      sees: (gpa, bytes) => {
        if (bytes.length !== 16) return;
        const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
        const to = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
        const moved = view.getUint32(0) & 2 ? view.getUint32(4) : 0;
        // What is written to a file is read, too, and may look like a request.
        given = [[gpa, 4] as const, [to, moved] as const, ...given].slice(0, 8);
      },
      mayWrite: (gpa, length) => given.some(([start, size]) => gpa >= start && gpa + length <= start + size),
      sequence: (random) => {
        const key = pick(random, [0, 1, 5, 0x19, 0x20, 0x21, 0x22]);
        if (random(3) === 0) return [write(0, 0, key, 2), read(0, 1), read(0, 1)];
        const request = new DataView(new ArrayBuffer(16));
        const control = pick(random, [0x0a, 0x0c, 0x18, 0x02, 0x04, 0x10]);
        request.setUint32(0, (key << 16) | control);
        request.setUint32(4, random(120));
        request.setUint32(12, 0x4000 + random(0x4000));
        const at = 0x1000 + 16 * random(16);
        const swapped = new DataView(Uint8Array.of(0, 0, at >> 8, at & 0xff).buffer).getUint32(0, true);
        return [
          { kind: "memory", gpa: at, bytes: new Uint8Array(request.buffer) },
          write(1, 0, 0, 4),
          write(1, 4, swapped, 4),
        ];
      },
    };
  },
};

export const FLASH: FuzzedDevice = {
  name: "cfi-flash",
  build: (context) => {
    const device = createCfiFlash(context, {
      name: "flash0",
      content: new Uint8Array(2 * FLASH_BLOCK_BYTES).fill(255),
    });
    return {
      device,
      ranges: [{ handler: device.registers, length: device.sizeBytes }],
      sequence: (random) => {
        const at = random(device.sizeBytes - 64);
        const C = FLASH_COMMAND;
        switch (random(4)) {
          case 0:
            return [write(0, at, C.PROGRAM), write(0, at, random(256)), read(0, at), write(0, 0, C.READ_ARRAY)];
          case 1:
            return [write(0, at, C.BLOCK_ERASE), write(0, at, C.CONFIRM), write(0, at, C.CLEAR_STATUS)];
          case 2: {
            const count = random(64);
            const bytes = Array.from({ length: count + 1 }, (_, i) => write(0, at + i, random(256)));
            return [write(0, at, C.WRITE_TO_BUFFER), write(0, at, count), ...bytes, write(0, at, C.CONFIRM)];
          }
          default:
            return [write(0, 0, pick(random, Object.values(C))), read(0, at, 4)];
        }
      },
    };
  },
};
