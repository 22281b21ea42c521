/** Mutated images, seeded: whatever they hold, only StorageErrors come out, in bounded time and memory. */
import { describe, expect, it } from "vitest";
import type { ImageFile } from "../image-file.ts";
import { MemoryFile } from "../memory-file.ts";
import { openDisk } from "../open-disk.ts";
import { StorageError } from "../storage-error.ts";
import { checkQcow2 } from "./check.ts";
import { createQcow2 } from "./create.ts";
import type { Qcow2Disk } from "./disk.ts";
import { Qcow2Image } from "./image.ts";

const SIZE = 1 << 18;

function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const open = async (file: ImageFile): Promise<Qcow2Disk> => {
  const files = { open: async () => file, resolve: async (name: string, from?: string) => `${from ?? ""}/${name}` };
  return (await openDisk(files, "a", { format: "qcow2", cacheBytes: 0 })).disk as Qcow2Disk;
};

async function validImage(clusterBytes: number, refcountBits: number): Promise<Uint8Array> {
  const file = new MemoryFile();
  await createQcow2(file, { sizeBytes: SIZE, clusterBytes, refcountBits });
  const disk = await open(file);
  for (let at = 0; at < SIZE; at += 3 * clusterBytes) await disk.write(at, new Uint8Array(512).fill(at / 512));
  await disk.close();
  return file.contents();
}

/** Changes 8-byte numbers of the metadata: places of tables, flags, counts, sizes. */
function mutate(bytes: Uint8Array, random: (below: number) => number): void {
  const view = new DataView(bytes.buffer);
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(3) === 0 ? random(14) * 8 : random(Math.min(bytes.length, 24 * 1024) / 8) * 8;
    const place = random(bytes.length / 512) * 512;
    const kinds: (() => void)[] = [
      () => view.setUint8(at + random(8), random(256)),
      () => view.setUint32(at + 4, place),
      () => view.setUint32(at, 0x80000000),
      () => view.setUint32(at, 0x40000000 | random(2 ** 30)),
      () => view.setBigUint64(at, BigInt.asUintN(64, -1n << BigInt(random(64)))),
      () => view.setBigUint64(at, view.getBigUint64(random(bytes.length / 8) * 8)),
    ];
    kinds[random(kinds.length)]!();
  }
}

async function use(bytes: Uint8Array, random: (below: number) => number): Promise<void> {
  const attempts = [
    async (disk: Qcow2Disk) => disk.read(random(SIZE / 2 / 512) * 512, new Uint8Array(SIZE / 2)),
    async (disk: Qcow2Disk) => disk.write(random(SIZE / 512 - 40) * 512, new Uint8Array(40 * 512).fill(3)),
    async (disk: Qcow2Disk) => disk.discard(random(SIZE / 512 - 99) * 512, 99 * 512),
    async (disk: Qcow2Disk) => disk.writeZeroes(random(SIZE / 512 - 99) * 512, 99 * 512, random(2) === 0),
    async (disk: Qcow2Disk) => disk.flush(),
    async (disk: Qcow2Disk) => disk.grow(disk.sizeBytes + SIZE),
  ];
  const file = new MemoryFile(bytes, { capacityBytes: 64 << 20 });
  let disk: Qcow2Disk | undefined;
  try {
    await checkQcow2(await Qcow2Image.open(new MemoryFile(bytes)), { repair: random(2) === 0 ? "all" : "none" });
  } catch (error) {
    expect(error).toBeInstanceOf(StorageError);
  }
  try {
    disk = await open(file);
  } catch (error) {
    expect(error).toBeInstanceOf(StorageError);
  }
  if (disk === undefined || disk.sizeBytes < SIZE) return;
  for (let n = 0; n < 12; n++) {
    try {
      await attempts[random(attempts.length)]!(disk);
    } catch (error) {
      expect(error).toBeInstanceOf(StorageError);
    }
  }
  await disk.close().catch((error) => expect(error).toBeInstanceOf(StorageError));
}

describe("mutated images", () => {
  it.each([
    [512, 16],
    [512, 1],
    [4096, 64],
  ])("clusters of %i bytes, counts of %i bits: nothing but StorageErrors", async (clusterBytes, refcountBits) => {
    const valid = await validImage(clusterBytes, refcountBits);
    for (let seed = 1; seed <= 300; seed++) {
      const random = randomFrom(seed * 7919);
      const bytes = valid.slice();
      mutate(bytes, random);
      try {
        await use(bytes, random);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });
});
