// The power-cut rig. A seed decides an image (cluster size, reference counts, backing file, snapshot, version), requests
// that overlap, and when the power goes. Then, of what the disk has kept:
//   - qemu-img check finds no error before anybody has repaired anything; leaks are allowed
//   - opened again, each sector holds what it held at the last acknowledged flush, or what was written to it since
//   - written to once more and closed, qemu-img check calls it clean

import { readFile, writeFile } from "node:fs/promises";
import { nodeDecoders } from "@twinmetal/host";
import {
  type BlockDevice,
  checkQcow2,
  createQcow2,
  type ImageFile,
  MemoryFile,
  openDisk,
  type Qcow2Disk,
  Qcow2Image,
} from "@twinmetal/storage";
import { LosingFile } from "./losing-file.ts";
import { type Folder, qemuCheck, qemuImg, randomFrom } from "./qemu-tools.ts";

const SECTOR = 512;
const DISK_BYTES = 1 << 20;
const SECTORS = DISK_BYTES / SECTOR;
const BACKING_BYTES = DISK_BYTES / 2;
const BACKING_MARK = 1;
const FIRST_MARK = 1000;
const IN_FLIGHT = 6;

export interface CutResult {
  readonly seed: number;
  /** What went wrong; empty: all is well. */
  readonly failures: readonly string[];
  readonly wasCut: boolean;
  readonly hadLeaks: boolean;
  readonly flushes: number;
}

export interface CutOptions {
  readonly lies?: boolean;
}

export async function cutPower(seed: number, folder: Folder, options: CutOptions = {}): Promise<CutResult> {
  const random = randomFrom(seed);
  await writeFile(folder.file("backing"), marked(BACKING_MARK, BACKING_BYTES)); // For qemu-img: it opens the chain.
  const start = await makeImage(random, folder, seed);
  const failures: string[] = [];
  const file = new LosingFile(start.bytes, { cutAt: 1 + random(random(3) === 0 ? 60 : 700), random, ...options });
  const model = new SectorModel(start.hasBacking);
  const flushes = await useDisk(file, start, random, model);
  const bytes = file.afterLoss;
  if (bytes === undefined) return { seed, failures: model.surprises, wasCut: false, hadLeaks: false, flushes };

  const path = folder.file(`cut-${seed}.qcow2`);
  await writeFile(path, bytes);
  const before = await qemuCheck(path);
  if (before.status !== 0 && before.status !== 3) failures.push(`after the cut: ${before.text}`);
  const kept = new MemoryFile(bytes);
  try {
    const disk = await open(kept, start);
    await model.compare(disk, failures);
    await disk.write(0, marked(7, 4 * SECTOR));
    await disk.discard(64 * SECTOR, 256 * SECTOR);
    await disk.close();
    if (start.version === 2) await checkQcow2(await Qcow2Image.open(kept), { repair: "leaks" });
  } catch (error) {
    failures.push(`opened again: ${error}`);
  }
  await writeFile(path, kept.contents());
  const after = await qemuCheck(path);
  if (after.status !== 0) failures.push(`repaired and closed: ${after.text}`);
  failures.push(...model.surprises);
  return { seed, failures, wasCut: true, hadLeaks: before.status === 3, flushes };
}

interface Start {
  readonly bytes: Uint8Array;
  readonly hasBacking: boolean;
  readonly version: 2 | 3;
  readonly cacheBytes: number;
}

async function makeImage(random: (below: number) => number, folder: Folder, seed: number): Promise<Start> {
  const version = random(5) === 0 ? 2 : 3;
  const hasBacking = random(2) === 0;
  // One in eight comes to the end of its refcount table: small clusters, wide counts, all of it in a snapshot too.
  const isNarrow = version === 3 && random(8) === 0;
  const clusterBytes = isNarrow ? 512 : [512, 512, 1024, 4096, 16384, 65536][random(6)]!;
  const hasSnapshot = isNarrow || random(4) === 0;
  const someBits = version === 2 ? 16 : [1, 2, 4, 8, 16, 32, 64][hasSnapshot ? 1 + random(6) : random(7)]!;
  const refcountBits = isNarrow ? 64 : someBits;
  const backing = hasBacking ? { name: "backing", format: "raw" } : undefined;
  const file = new MemoryFile();
  await createQcow2(file, { sizeBytes: DISK_BYTES, clusterBytes, refcountBits, version, backing });
  const start = { bytes: file.contents(), hasBacking, version, cacheBytes: random(2) === 0 ? 0 : 1 << 20 } as const;
  if (!hasSnapshot) return start;
  // A snapshot of the zeroes at the beginning, so that they are written copy on write.
  const disk = await open(file, start);
  await disk.write(0, new Uint8Array(isNarrow ? DISK_BYTES : DISK_BYTES / 4));
  await disk.close();
  const path = folder.file(`start-${seed}.qcow2`);
  await writeFile(path, file.contents());
  await qemuImg("snapshot", "-c", "kept", path);
  return { ...start, bytes: new Uint8Array(await readFile(path)), hasBacking };
}

async function open(file: ImageFile, { hasBacking, cacheBytes }: Start): Promise<Qcow2Disk> {
  const backing = hasBacking ? marked(BACKING_MARK, BACKING_BYTES) : new Uint8Array(0);
  const files = {
    open: async (name: string) => (name === "backing" ? new MemoryFile(backing, { isReadOnly: true }) : file),
    resolve: async (name: string) => name,
  };
  const { disk } = await openDisk(files, "image", { format: "qcow2", cacheBytes, decoders: nodeDecoders });
  return disk as Qcow2Disk;
}

/** Requests that overlap in time and never in place, until the power goes or 400 have been made. */
async function useDisk(
  file: ImageFile,
  start: Start,
  random: (below: number) => number,
  model: SectorModel,
): Promise<number> {
  let flushes = 0;
  const inFlight = new Set<Promise<void>>();
  try {
    const disk = await open(file, start);
    // The snapshot's first quarter was written with zeroes over the backing file.
    if (start.bytes.length > 0) await model.learn(disk);
    for (let step = 0; step < 400; step++) {
      const request = makeRequest(disk, random, model, () => flushes++);
      if (request === undefined) continue;
      const settled: Promise<void> = request.finally(() => inFlight.delete(settled));
      inFlight.add(settled);
      settled.catch(() => {});
      while (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
    }
    await Promise.all(inFlight);
    await disk.close();
  } catch {
    // The power is gone.
  }
  await Promise.allSettled(inFlight);
  return flushes;
}

function makeRequest(
  disk: BlockDevice,
  random: (below: number) => number,
  model: SectorModel,
  onFlush: () => void,
): Promise<void> | undefined {
  const kind = random(20);
  if (kind < 3) return model.flush(() => disk.flush()).then(onFlush);
  const first = random(SECTORS);
  const count = Math.min(SECTORS - first, 1 + random(random(4) === 0 ? 300 : 12));
  if (model.isBusy(first, count)) return undefined;
  const offset = first * SECTOR;
  const length = count * SECTOR;
  if (kind < 5) return model.change(first, count, 0, false, () => disk.writeZeroes(offset, length, kind === 3));
  if (kind === 5) return model.change(first, count, 0, true, () => disk.discard(offset, length));
  if (kind === 6) return model.read(first, count, disk);
  const mark = model.nextMark();
  return model.change(first, count, mark, false, () => disk.write(offset, marked(mark, length)));
}

/** What each sector may hold after a loss. A sector is full of one number, its mark. */
class SectorModel {
  readonly surprises: string[] = [];
  /** What a flush has made certain, and what has come since. */
  readonly #allowed: Set<number>[];
  /** What a read has to see, or, after a discard, one of two. */
  readonly #current: number[][];
  readonly #busy = new Uint8Array(SECTORS);
  /** Counts the changes of each sector, to tell at a flush's end whether another has begun since. */
  readonly #changes = new Uint32Array(SECTORS);
  #mark = FIRST_MARK;

  constructor(hasBacking: boolean) {
    const initial = (sector: number) => (hasBacking && sector * SECTOR < BACKING_BYTES ? BACKING_MARK : 0);
    this.#allowed = Array.from({ length: SECTORS }, (_, sector) => new Set([initial(sector)]));
    this.#current = Array.from({ length: SECTORS }, (_, sector) => [initial(sector)]);
  }

  /** What is there at the beginning is durable. */
  async learn(disk: BlockDevice): Promise<void> {
    const all = new Uint8Array(DISK_BYTES);
    await disk.read(0, all);
    for (let sector = 0; sector < SECTORS; sector++) {
      const mark = markOf(all, sector * SECTOR) ?? -1;
      this.#allowed[sector] = new Set([mark]);
      this.#current[sector] = [mark];
    }
  }

  nextMark(): number {
    return this.#mark++;
  }

  isBusy(first: number, count: number): boolean {
    return this.#busy.subarray(first, first + count).some((busy) => busy !== 0);
  }

  async change(first: number, count: number, mark: number, mayStay: boolean, work: () => Promise<void>): Promise<void> {
    for (let sector = first; sector < first + count; sector++) {
      this.#busy[sector] = 1;
      this.#changes[sector]!++;
      this.#allowed[sector]!.add(mark);
    }
    await work();
    for (let sector = first; sector < first + count; sector++) {
      this.#busy[sector] = 0;
      this.#current[sector] = mayStay ? [...new Set([...this.#current[sector]!, mark])] : [mark];
    }
  }

  async flush(work: () => Promise<void>): Promise<void> {
    const changes = this.#changes.slice();
    const busy = this.#busy.slice();
    const current = this.#current.slice();
    await work();
    for (let sector = 0; sector < SECTORS; sector++) {
      if (busy[sector] || changes[sector] !== this.#changes[sector]) continue;
      this.#allowed[sector] = new Set(current[sector]);
    }
  }

  async read(first: number, count: number, disk: BlockDevice): Promise<void> {
    const into = new Uint8Array(count * SECTOR);
    this.#busy.fill(1, first, first + count);
    await disk.read(first * SECTOR, into);
    this.#busy.fill(0, first, first + count);
    for (let index = 0; index < count; index++) {
      const mark = markOf(into, index * SECTOR);
      const expected = this.#current[first + index]!;
      if (mark === undefined || !expected.includes(mark)) {
        this.surprises.push(`read of sector ${first + index}: ${mark} and not ${expected}`);
      }
    }
  }

  async compare(disk: BlockDevice, failures: string[]): Promise<void> {
    const all = new Uint8Array(DISK_BYTES);
    await disk.read(0, all);
    let wrong = 0;
    for (let sector = 0; sector < SECTORS; sector++) {
      const mark = markOf(all, sector * SECTOR);
      const allowed = this.#allowed[sector]!;
      if (mark !== undefined && allowed.has(mark)) continue;
      if (wrong++ === 0) failures.push(`sector ${sector} holds ${mark} and not one of ${[...allowed].slice(0, 8)}`);
    }
    if (wrong > 1) failures.push(`${wrong} sectors are wrong`);
  }
}

function marked(mark: number, bytes: number): Uint8Array {
  const words = new Uint32Array(bytes / 4).fill(mark);
  return new Uint8Array(words.buffer);
}

/** undefined: the sector is not full of one number. */
function markOf(bytes: Uint8Array, offset: number): number | undefined {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + offset, SECTOR / 4);
  const first = words[0]!;
  return words.every((word) => word === first) ? first : undefined;
}
