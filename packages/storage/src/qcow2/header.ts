/**
 * The header of a qcow2 image, versions 2 and 3, and its extensions (QEMU's docs/interop/qcow2.txt, "Header", "Header
 * extensions"). Everything read is checked here, against the file's size too, before anybody computes with it.
 *
 * Understood: dirty, corrupt, compression type, lazy refcounts, the bitmaps extension (only that it is there). Refused by
 * name: encryption, external data files, extended L2 entries, and whatever incompatible feature this does not know.
 */
import { StorageError } from "../storage-error.ts";
import { corrupt, getU64, setU64, viewOf } from "./big-endian.ts";

export const MAGIC = 0x514649fb;
export const V2_HEADER_BYTES = 72;
export const V3_HEADER_BYTES = 112;
const V3_MIN_HEADER_BYTES = 104;
export const MIN_CLUSTER_BITS = 9;
export const MAX_CLUSTER_BITS = 21;
/** Limits of QEMU's, so that what it makes is opened here and a damaged size costs no more than this. */
export const MAX_L1_BYTES = 32 << 20;
export const MAX_REFCOUNT_TABLE_BYTES = 8 << 20;
export const MAX_SNAPSHOTS = 65_536;
export const MAX_BACKING_NAME_BYTES = 1023;

export const INCOMPATIBLE = { dirty: 1, corrupt: 2, externalData: 4, compressionType: 8, extendedL2: 16 } as const;
export const LAZY_REFCOUNTS = 1;
export const AUTOCLEAR_BITMAPS = 1;

/** Where fields lie that are changed in place. */
export const FIELD = {
  backingFileOffset: 8,
  backingFileSize: 16,
  size: 24,
  l1Size: 36,
  l1TableOffset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  incompatibleFeatures: 72,
  autoclearFeatures: 88,
} as const;

const EXTENSION = {
  end: 0,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  bitmaps: 0x23852875,
} as const;
const FEATURE_NAME_BYTES = 48;

export type Compression = "zlib" | "zstd";

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly refcountOrder: number;
  readonly compression: Compression;
  readonly backingName: string | undefined;
  /** As the extension has it: "raw", "qcow2", or a format that is not known here. */
  readonly backingFormat: string | undefined;
  readonly hasBitmaps: boolean;
  readonly isLazy: boolean;
  readonly nbSnapshots: number;
  readonly snapshotsOffset: number;
  size: number;
  l1Size: number;
  l1TableOffset: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
  incompatibleFeatures: number;
  hasAutoclear: boolean;
}

/** `bytes` is the file's beginning, the first cluster as far as there is one. */
export function parseHeader(bytes: Uint8Array, fileBytes: number): Qcow2Header {
  if (bytes.length < V2_HEADER_BYTES) throw corrupt("the file is shorter than a header");
  const view = viewOf(bytes);
  if (view.getUint32(0) !== MAGIC) throw corrupt("it does not begin with the magic of qcow2");
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) {
    throw new StorageError("unsupported", `Version ${version} of qcow2 is not known here: convert it to version 3.`);
  }
  const clusterBits = view.getUint32(20);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    throw corrupt(`clusters of 2^${clusterBits} bytes are outside 2^${MIN_CLUSTER_BITS} to 2^${MAX_CLUSTER_BITS}`);
  }
  const v3 = version === 3 ? parseV3(view) : V2_FIELDS;
  const extensions = parseExtensions(bytes, version === 3 ? v3.headerLength : V2_HEADER_BYTES, clusterBits);
  refuseUnknown(v3.incompatibleFeatures, v3.incompatibleHigh, extensions.featureNames);
  refuseEncryption(view.getUint32(32));
  const header: Qcow2Header = {
    version,
    clusterBits,
    refcountOrder: v3.refcountOrder,
    compression: compressionOf(bytes, v3),
    backingName: backingNameOf(bytes, clusterBits),
    backingFormat: extensions.backingFormat,
    hasBitmaps: (v3.autoclearLow & AUTOCLEAR_BITMAPS) !== 0 && extensions.hasBitmaps,
    isLazy: v3.isLazy,
    nbSnapshots: view.getUint32(60),
    snapshotsOffset: getU64(view, 64, "the snapshot table's offset"),
    size: getU64(view, FIELD.size, "the disk's size"),
    l1Size: view.getUint32(FIELD.l1Size),
    l1TableOffset: getU64(view, FIELD.l1TableOffset, "the L1 table's offset"),
    refcountTableOffset: getU64(view, FIELD.refcountTableOffset, "the refcount table's offset"),
    refcountTableClusters: view.getUint32(FIELD.refcountTableClusters),
    incompatibleFeatures: v3.incompatibleFeatures,
    hasAutoclear: v3.autoclearLow !== 0 || v3.autoclearHigh !== 0,
  };
  checkTables(header, fileBytes);
  return header;
}

interface V3Fields {
  readonly incompatibleFeatures: number;
  readonly incompatibleHigh: number;
  readonly isLazy: boolean;
  readonly autoclearLow: number;
  readonly autoclearHigh: number;
  readonly refcountOrder: number;
  readonly headerLength: number;
}

const V2_FIELDS: V3Fields = {
  incompatibleFeatures: 0,
  incompatibleHigh: 0,
  isLazy: false,
  autoclearLow: 0,
  autoclearHigh: 0,
  refcountOrder: 4,
  headerLength: V2_HEADER_BYTES,
};

function parseV3(view: DataView): V3Fields {
  if (view.byteLength < V3_MIN_HEADER_BYTES) throw corrupt("the file is shorter than a header of version 3");
  const refcountOrder = view.getUint32(96);
  if (refcountOrder > 6) throw corrupt(`reference counts of 2^${refcountOrder} bits are wider than 64`);
  const headerLength = view.getUint32(100);
  if (headerLength < V3_MIN_HEADER_BYTES || headerLength % 8 !== 0 || headerLength > view.byteLength) {
    throw corrupt(`a header of ${headerLength} bytes is impossible`);
  }
  return {
    incompatibleHigh: view.getUint32(72),
    incompatibleFeatures: view.getUint32(76),
    isLazy: (view.getUint32(84) & LAZY_REFCOUNTS) !== 0,
    autoclearHigh: view.getUint32(88),
    autoclearLow: view.getUint32(92),
    refcountOrder,
    headerLength,
  };
}

interface Extensions {
  backingFormat: string | undefined;
  hasBitmaps: boolean;
  readonly featureNames: Map<number, string>;
}

/** They end at the end mark, at the end of the first cluster, or where the backing file's name begins. */
function parseExtensions(bytes: Uint8Array, start: number, clusterBits: number): Extensions {
  const found: Extensions = { backingFormat: undefined, hasBitmaps: false, featureNames: new Map() };
  const view = viewOf(bytes);
  const nameAt = getU64(view, FIELD.backingFileOffset, "the backing file's offset");
  const end = Math.min(bytes.length, 1 << clusterBits, nameAt > 0 ? nameAt : Number.POSITIVE_INFINITY);
  for (let at = start; at + 8 <= end; ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === EXTENSION.end) break;
    if (at + 8 + length > end) throw corrupt("a header extension is longer than the space for it");
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (type === EXTENSION.backingFormat) found.backingFormat = textOf(data);
    if (type === EXTENSION.bitmaps) found.hasBitmaps = true;
    if (type === EXTENSION.featureNames) readFeatureNames(data, found.featureNames);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function readFeatureNames(data: Uint8Array, into: Map<number, string>): void {
  for (let at = 0; at + FEATURE_NAME_BYTES <= data.length; at += FEATURE_NAME_BYTES) {
    if (data[at] !== 0) continue;
    const name = data.subarray(at + 2, at + FEATURE_NAME_BYTES);
    const end = name.indexOf(0);
    into.set(data[at + 1]!, textOf(end < 0 ? name : name.subarray(0, end)));
  }
}

function refuseUnknown(low: number, high: number, names: ReadonlyMap<number, string>): void {
  const known = INCOMPATIBLE.dirty | INCOMPATIBLE.corrupt | INCOMPATIBLE.compressionType;
  const refused: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    const isSet = bit < 32 ? ((low & ~known) >>> bit) & 1 : (high >>> (bit - 32)) & 1;
    if (isSet) refused.push(names.get(bit) || OWN_NAMES[bit] || `feature bit ${bit}`);
  }
  if (refused.length === 0) return;
  const what = `The qcow2 image uses what is not supported here: ${refused.join(", ")}.`;
  throw new StorageError("unsupported", `${what} Convert it with the program that made it, without that.`);
}

const OWN_NAMES: Readonly<Record<number, string>> = { 2: "external data file", 4: "extended L2 entries" };

function refuseEncryption(method: number): void {
  if (method === 0) return;
  const name = method === 1 ? "AES" : method === 2 ? "LUKS" : `method ${method}`;
  const what = `The qcow2 image is encrypted (${name}), which is not supported here.`;
  throw new StorageError("unsupported", `${what} Convert it to an image without encryption.`);
}

function compressionOf(bytes: Uint8Array, { headerLength, incompatibleFeatures }: V3Fields): Compression {
  const type = headerLength > V3_MIN_HEADER_BYTES ? bytes[V3_MIN_HEADER_BYTES]! : 0;
  const isStated = (incompatibleFeatures & INCOMPATIBLE.compressionType) !== 0;
  if (isStated !== (type !== 0)) throw corrupt("its compression type and the feature bit for it contradict each other");
  if (type > 1) throw new StorageError("unsupported", `Compression type ${type} of a qcow2 image is not known here.`);
  return type === 1 ? "zstd" : "zlib";
}

function backingNameOf(bytes: Uint8Array, clusterBits: number): string | undefined {
  const view = viewOf(bytes);
  const at = getU64(view, FIELD.backingFileOffset, "the backing file's offset");
  const length = view.getUint32(FIELD.backingFileSize);
  if (at === 0 || length === 0) return undefined;
  const end = at + length;
  if (length > MAX_BACKING_NAME_BYTES || end > 1 << clusterBits || end > bytes.length) {
    throw corrupt("the backing file's name lies outside the first cluster");
  }
  const name = textOf(bytes.subarray(at, end));
  if (name.includes("\0")) throw corrupt("the backing file's name has a zero byte");
  return name;
}

function checkTables(header: Qcow2Header, fileBytes: number): void {
  const clusterBytes = 2 ** header.clusterBits;
  const covered = header.l1Size * clusterBytes * (clusterBytes / 8);
  if (header.l1Size * 8 > MAX_L1_BYTES) throw corrupt("the L1 table is too large");
  if (covered < header.size) throw corrupt("the L1 table is too small for the disk");
  const refcountBytes = header.refcountTableClusters * clusterBytes;
  if (refcountBytes > MAX_REFCOUNT_TABLE_BYTES) throw corrupt("the refcount table is too large");
  if (refcountBytes === 0) throw corrupt("there is no refcount table");
  if (header.nbSnapshots > MAX_SNAPSHOTS) throw corrupt(`${header.nbSnapshots} snapshots are too many`);
  const tables: (readonly [string, number, number])[] = [
    ["the L1 table", header.l1TableOffset, header.l1Size * 8],
    ["the refcount table", header.refcountTableOffset, refcountBytes],
    ["the snapshot table", header.snapshotsOffset, header.nbSnapshots > 0 ? 1 : 0],
  ];
  const used: (readonly [string, number, number])[] = [["the header", 0, clusterBytes]];
  for (const [name, offset, length] of tables) {
    if (length === 0) continue;
    if (offset % clusterBytes !== 0) throw corrupt(`${name} does not begin with a cluster`);
    // The last cluster of a file may be there in part.
    if (offset + length >= fileBytes + clusterBytes) throw corrupt(`${name} lies behind the end of the file`);
    for (const [other, start, size] of used) {
      if (offset < start + size && start < offset + length) throw corrupt(`${name} overlaps ${other}`);
    }
    used.push([name, offset, length]);
  }
}

export interface NewHeader {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly refcountOrder: number;
  readonly size: number;
  readonly l1Size: number;
  readonly l1TableOffset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly backingName?: string;
  readonly backingFormat?: string;
}

/** The first cluster of a new image, whole. */
export function encodeHeader(fields: NewHeader): Uint8Array {
  const bytes = new Uint8Array(2 ** fields.clusterBits);
  const view = viewOf(bytes);
  const headerBytes = fields.version === 3 ? V3_HEADER_BYTES : V2_HEADER_BYTES;
  view.setUint32(0, MAGIC);
  view.setUint32(4, fields.version);
  view.setUint32(20, fields.clusterBits);
  setU64(view, FIELD.size, fields.size);
  view.setUint32(FIELD.l1Size, fields.l1Size);
  setU64(view, FIELD.l1TableOffset, fields.l1TableOffset);
  setU64(view, FIELD.refcountTableOffset, fields.refcountTableOffset);
  view.setUint32(FIELD.refcountTableClusters, fields.refcountTableClusters);
  if (fields.version === 3) {
    view.setUint32(96, fields.refcountOrder);
    view.setUint32(100, headerBytes);
  }
  let at = headerBytes;
  if (fields.backingFormat !== undefined) at = putExtension(bytes, at, EXTENSION.backingFormat, fields.backingFormat);
  at += 8; // The end mark.
  if (fields.backingName !== undefined) {
    const name = new TextEncoder().encode(fields.backingName);
    if (name.length > MAX_BACKING_NAME_BYTES || at + name.length > bytes.length) {
      const limit = Math.min(MAX_BACKING_NAME_BYTES, bytes.length - at);
      throw new StorageError(
        "out-of-range",
        `The backing file's name is longer than ${limit} bytes: use a shorter path.`,
      );
    }
    bytes.set(name, at);
    setU64(view, FIELD.backingFileOffset, at);
    view.setUint32(FIELD.backingFileSize, name.length);
  }
  return bytes;
}

function putExtension(bytes: Uint8Array, at: number, type: number, text: string): number {
  const data = new TextEncoder().encode(text);
  const view = viewOf(bytes);
  view.setUint32(at, type);
  view.setUint32(at + 4, data.length);
  bytes.set(data, at + 8);
  return at + 8 + Math.ceil(data.length / 8) * 8;
}

/** UTF-8, with what no name needs (control characters) made visible and harmless where it is printed. */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
