/** Makes the tables of a qcow2 image those of a larger disk: a longer L1 table in a new place, where the old one is too short. */
import { StorageError } from "../storage-error.ts";
import { setU64 } from "./big-endian.ts";
import { FIELD, MAX_L1_BYTES } from "./header.ts";
import { bytesOf, type Qcow2Image } from "./image.ts";
import type { ClusterRun, Refcounts } from "./refcounts.ts";
import type { WriteBack } from "./write-back.ts";

export interface GrowingParts {
  readonly image: Qcow2Image;
  readonly refcounts: Refcounts;
  readonly writeBack: WriteBack;
}

/** In turn with whatever else changes metadata. The header says the new size at the end, and never before the table is there. */
export async function growTables({ image, refcounts, writeBack }: GrowingParts, sizeBytes: number): Promise<void> {
  const { clusterBytes } = image;
  const entries = Math.ceil(sizeBytes / (clusterBytes * image.l2Entries));
  if (entries * 8 > MAX_L1_BYTES) {
    const what = `Clusters of ${clusterBytes} bytes are too small for a disk of ${sizeBytes} bytes.`;
    throw new StorageError("out-of-range", `${what} Convert the image to larger ones.`);
  }
  await writeBack.run();
  if (entries <= image.header.l1Size) {
    await image.writeField(FIELD.size, 8, (view) => setU64(view, 0, sizeBytes));
    image.header.size = sizeBytes;
    return;
  }
  const old = { offset: image.header.l1TableOffset, bytes: image.header.l1Size * 8 };
  const table = new Uint8Array(Math.max(entries, image.header.l1Size) * 8);
  table.set(bytesOf(image.l1, 0, image.l1.byteLength));
  const offset = await allocateInRow(refcounts, Math.ceil(table.length / clusterBytes), clusterBytes);
  await image.write(offset, table);
  await refcounts.cache.writeDirty();
  await image.flush();
  await image.useL1(sizeBytes, offset, table);
  await image.flush();
  for (let at = 0; at < old.bytes; at += clusterBytes) writeBack.releaseLater(old.offset + at, false);
}

async function allocateInRow(refcounts: Refcounts, count: number, clusterBytes: number): Promise<number> {
  const runs: ClusterRun[] = [];
  for (;;) {
    const run = await refcounts.allocate(count);
    const last = runs.at(-1);
    if (last !== undefined && last.offset + last.count * clusterBytes === run.offset) {
      runs[runs.length - 1] = { offset: last.offset, count: last.count + run.count };
    } else {
      runs.push(run);
    }
    const found = runs.at(-1)!;
    if (found.count < count) continue;
    const spare = { offset: found.offset + count * clusterBytes, count: found.count - count };
    for (const unused of [...runs.slice(0, -1), spare]) await refcounts.undo(unused);
    return found.offset;
  }
}
