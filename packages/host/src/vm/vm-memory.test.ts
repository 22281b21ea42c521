import { encodeBalloonRequest, encodeBlocks, MEM_BLOCK_BYTES } from "@twinmetal/core";
import { expect, it } from "vitest";
import { BALLOON_NAME, HOT_MEMORY_NAME, MemoryOfVm } from "./vm-memory.ts";

const MIB = 2 ** 20;
const PAGE = 4096;

/** A guest that does what it is asked for at once. */
function setUp({ maxBytes = 512 * MIB, hasBalloon = true, hostBytes = 2 ** 34 } = {}) {
  const asked: string[] = [];
  const memory: MemoryOfVm = new MemoryOfVm({
    ...{ hasBalloon, maxBytes, memoryBytes: 512 * MIB },
    send: (channel, bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      if (channel === HOT_MEMORY_NAME) {
        const blocks = view.getUint32(0, true);
        asked.push(`plug ${(blocks * MEM_BLOCK_BYTES) / MIB}`);
        queueMicrotask(() => memory.receivePlugged(encodeBlocks(blocks)));
      } else if (channel === BALLOON_NAME) {
        const pages = view.getUint32(bytes.length - 4, true);
        asked.push(`balloon ${(pages * PAGE) / MIB}`);
        queueMicrotask(() => memory.receive(encodeBalloonRequest({ kind: "target", pages })));
      }
    },
    isRunning: () => true,
    hostAvailableBytes: () => hostBytes,
    ended: () => undefined,
  });
  return { memory, asked };
}

it("takes less than at first by the balloon, and more by virtio-mem", async () => {
  const { memory, asked } = setUp({ maxBytes: 1024 * MIB });
  await memory.set({ sizeBytes: 768 * MIB });
  await memory.set({ sizeBytes: 384 * MIB });
  await memory.set({ sizeBytes: 640 * MIB });
  expect(asked).toEqual(["plug 256", "plug 0", "balloon 128", "plug 128", "balloon 0"]);
  expect([memory.sizeBytes, memory.balloonBytes]).toEqual([640 * MIB, 0]);
});

it("does without a balloon as long as there is no less, and without virtio-mem as long as there is no more", async () => {
  const plugs = setUp({ maxBytes: 1024 * MIB, hasBalloon: false });
  await plugs.memory.set({ sizeBytes: 640 * MIB });
  await expect(plugs.memory.set({ sizeBytes: 256 * MIB })).rejects.toMatchObject({ code: "no-balloon" });
  const squeezes = setUp();
  await squeezes.memory.set({ sizeBytes: 256 * MIB });
  await squeezes.memory.set({ sizeBytes: 512 * MIB });
  await expect(squeezes.memory.set({ sizeBytes: 514 * MIB })).rejects.toMatchObject({ code: "no-hot-memory" });
  expect([...plugs.asked, ...squeezes.asked]).toEqual(["plug 128", "balloon 256", "balloon 0"]);
});

it.each([
  [{ sizeBytes: 256 * MIB, balloon: 0 }, /is its balloon's/],
  [{ sizeBytes: 8 * MIB }, /16 MiB of memory at least/],
  [{ sizeBytes: 2048 * MIB }, /Give 512 .* to 1024 MiB/],
  [{ sizeBytes: 1024 * MIB, balloon: -1 }, /balloon cannot take -1/],
  [{ sizeBytes: 1024 * MIB }, /host has 100 MiB of memory available, and the VM would get 512 MiB more/],
])("does nothing of %j", async (change, message) => {
  const { memory, asked } = setUp({ maxBytes: 1024 * MIB, hostBytes: 100 * MIB });
  await expect(memory.set(change)).rejects.toThrow(message);
  expect(asked).toEqual([]);
});

it("follows the need until a size is given", async () => {
  const { memory } = setUp();
  await memory.balloon("auto");
  await memory.set({ sizeBytes: 512 * MIB });
  expect(memory.isBalloonAutomatic).toBe(true);
  await memory.set({ sizeBytes: 500 * MIB });
  expect(memory.isBalloonAutomatic).toBe(false);
});
