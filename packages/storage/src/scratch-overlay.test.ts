import { expect, test } from "vitest";
import { MemoryFile } from "./memory-file.ts";
import { RawDisk } from "./raw.ts";
import { ScratchOverlay } from "./scratch-overlay.ts";

const MIB = 2 ** 20;

async function setUp() {
  const file = new MemoryFile(new Uint8Array(17 * MIB).fill(1), { isReadOnly: true });
  return { file, disk: new ScratchOverlay(await RawDisk.open(file), new MemoryFile()) };
}

test("what is written is read back, the rest is the disk beneath, which stays as it was", async () => {
  const { file, disk } = await setUp();
  const model = new Uint8Array(17 * MIB).fill(1);
  let seed = 5;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  for (let i = 0; i < 300; i++) {
    // Around the border of two pages of the bitmap.
    const offset = 16 * MIB + (random(64) - 32) * 512;
    const length = (1 + random(20)) * 512;
    if (i % 5 === 0) {
      await disk.writeZeroes(offset, length);
      model.fill(0, offset, offset + length);
    } else if (i % 5 === 1) await disk.discard(offset, length);
    else {
      const bytes = new Uint8Array(length).fill(i);
      await disk.write(offset, bytes);
      model.set(bytes, offset);
    }
    const into = new Uint8Array(60 * 512);
    const at = 16 * MIB + (random(64) - 50) * 512;
    await disk.read(at, into);
    expect(into.findIndex((byte, j) => byte !== model[at + j])).toBe(-1);
  }
  expect(file.contents().findIndex((byte) => byte !== 1)).toBe(-1);
});

test("it can be written over a disk that cannot, within its size, until it is closed", async () => {
  const { disk } = await setUp();
  expect(disk.isReadOnly).toBe(false);
  await expect(disk.write(17 * MIB, new Uint8Array(512))).rejects.toMatchObject({ code: "out-of-range" });
  await disk.close();
  await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: "closed" });
});
