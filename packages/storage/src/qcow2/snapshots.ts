/**
 * The snapshots inside an image ("Snapshots" in the specification): listed, and kept as they are. Taking, restoring and
 * deleting them is left out: Twinmetal's own snapshots are overlays.
 */
import { corrupt, getU64, TWO_32, viewOf } from "./big-endian.ts";
import { MAX_L1_BYTES } from "./header.ts";
import type { Qcow2Image } from "./image.ts";

export interface Qcow2Snapshot {
  readonly id: string;
  readonly name: string;
  readonly takenAtSeconds: number;
  readonly vmStateBytes: number;
  /** undefined in an image of version 2, which does not say. */
  readonly diskBytes: number | undefined;
  readonly l1TableOffset: number;
  readonly l1Size: number;
}

export interface SnapshotTable {
  readonly snapshots: readonly Qcow2Snapshot[];
  readonly bytes: number;
}

const FIXED_BYTES = 40;
const MAX_TABLE_BYTES = 64 << 20;
const MAX_EXTRA_BYTES = 1024;

export async function readSnapshots(image: Qcow2Image): Promise<SnapshotTable> {
  const { nbSnapshots, snapshotsOffset } = image.header;
  const snapshots: Qcow2Snapshot[] = [];
  let at = snapshotsOffset;
  for (let index = 0; index < nbSnapshots; index++) {
    if (at >= image.fileBytes || at - snapshotsOffset > MAX_TABLE_BYTES) throw corrupt("the snapshot table is cut off");
    const fixed = new Uint8Array(FIXED_BYTES);
    await image.read(at, fixed);
    const view = viewOf(fixed);
    const idBytes = view.getUint16(12);
    const nameBytes = view.getUint16(14);
    const extraBytes = view.getUint32(36);
    if (extraBytes > MAX_EXTRA_BYTES) throw corrupt("a snapshot has too much data of an unknown kind");
    const rest = new Uint8Array(extraBytes + idBytes + nameBytes);
    await image.read(at + FIXED_BYTES, rest);
    snapshots.push(parseSnapshot(image, view, rest));
    at += Math.ceil((FIXED_BYTES + rest.length) / 8) * 8;
  }
  return { snapshots, bytes: at - snapshotsOffset };
}

function parseSnapshot(image: Qcow2Image, view: DataView, rest: Uint8Array): Qcow2Snapshot {
  const extra = viewOf(rest);
  const extraBytes = view.getUint32(36);
  const idEnd = extraBytes + view.getUint16(12);
  const l1TableOffset = getU64(view, 0, "a snapshot's L1 table's offset");
  const l1Size = view.getUint32(8);
  if (l1TableOffset % image.clusterBytes !== 0 || l1Size * 8 > MAX_L1_BYTES) {
    throw corrupt("a snapshot's L1 table is impossible");
  }
  if (l1TableOffset + l1Size * 8 >= image.fileBytes + image.clusterBytes) {
    throw corrupt("a snapshot's L1 table lies behind the end of the file");
  }
  const wideState = extraBytes >= 8 ? extra.getUint32(0) * TWO_32 + extra.getUint32(4) : 0;
  return {
    id: new TextDecoder().decode(rest.subarray(extraBytes, idEnd)),
    name: new TextDecoder().decode(rest.subarray(idEnd)),
    takenAtSeconds: view.getUint32(16),
    vmStateBytes: wideState || view.getUint32(32),
    diskBytes: extraBytes >= 16 ? extra.getUint32(8) * TWO_32 + extra.getUint32(12) : undefined,
    l1TableOffset,
    l1Size,
  };
}
