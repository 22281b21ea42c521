/**
 * Writes a tree as an ext4 file system ("ext4 Data Structures and Algorithms" of the kernel's documentation): extents, file
 * types in directories, no journal, no checksums. The result depends on what is given alone. Only what is not zero is
 * written, so a sparse file stays small.
 * Left out: extended attributes, hashed directories (Linux reads both kinds), holes in files, times beyond 2038.
 */
import type { ImageFile } from "../image-file.ts";
import { StorageError } from "../storage-error.ts";
import {
  BLOCK_BYTES,
  DESCRIPTOR_BYTES,
  Ext4Layout,
  type Extent,
  FIRST_INODE,
  GROUP_BLOCKS,
  INODE_BYTES,
  ROOT_INODE,
  setBits,
} from "./layout.ts";
import { type DirectoryNode, newDirectory, type TreeNode } from "./tree.ts";

export interface WriteExt4Options {
  /** At most 16 bytes of ASCII. */
  readonly label: string;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** Free for the guest, at least. */
  readonly freeBytes: number;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: { throwIfAborted(): void };
}

/** ext4's numbers of what an entry of a directory names, and the type's bits of the mode. */
const TYPES: Readonly<Record<TreeNode["type"], readonly [entry: number, mode: number]>> = {
  file: [1, 0o100000],
  directory: [2, 0o040000],
  "character-device": [3, 0o020000],
  "block-device": [4, 0o060000],
  fifo: [5, 0o010000],
  socket: [6, 0o140000],
  symlink: [7, 0o120000],
};
const EXTENTS_FLAG = 0x80000;
const EXTENT_MAGIC = 0xf30a;
const INLINE_EXTENTS = 4;
const LEAF_EXTENTS = (BLOCK_BYTES - 12) / 12;
const FAST_SYMLINK_BYTES = 60;
const MAX_NAME_BYTES = 255;
const MAX_LINKS = 65_000;
const PIECE_BYTES = 1 << 20;

interface Placed {
  readonly node: TreeNode;
  readonly inode: number;
  readonly parent: number;
  links: number;
  /** What it holds, if that is not a file's. */
  bytes: Uint8Array | undefined;
}

/** Writes into an empty file, whose size is the disk's afterwards. Throws StorageError, and what `read` of a file does. */
export async function writeExt4(file: ImageFile, root: DirectoryNode, options: WriteExt4Options): Promise<void> {
  const tree: DirectoryNode = { ...root, children: new Map(root.children) };
  if (tree.children.get("lost+found")?.type !== "directory") tree.children.set("lost+found", newDirectory(0o700));
  const placed = placeAll(tree);
  for (const entry of placed.values()) {
    if (entry.node.type === "directory") entry.bytes = directoryBytes(entry.node, entry, placed);
    if (entry.node.type === "symlink") entry.bytes = encode(entry.node.target);
  }
  const layout = new Ext4Layout(countBlocks(placed), placed.size, options.freeBytes);
  await file.truncate(layout.blocks * BLOCK_BYTES);
  const totalBytes = sum(placed, ({ node }) => (node.type === "file" ? node.sizeBytes : 0));
  let doneBytes = 0;
  for (const entry of placed.values()) {
    options.signal?.throwIfAborted();
    const extents = layout.allocate(blocksOf(entry));
    const leaf = extents.length > INLINE_EXTENTS ? layout.allocate(1)[0] : undefined;
    await file.write(layout.inodeAt(entry.inode), inodeBytes(entry, extents, leaf));
    if (leaf) await file.write(leaf.start * BLOCK_BYTES, extentNode(BLOCK_BYTES, extents));
    await writeContents(file, entry, extents, (bytes) => {
      options.signal?.throwIfAborted();
      doneBytes += bytes;
      options.onProgress?.(doneBytes, totalBytes);
    });
  }
  await writeMetadata(file, layout, placed, options);
  await file.flush();
}

/** Inodes in the order of a walk: the root is 2, lost+found 11. */
function placeAll(root: DirectoryNode): Map<TreeNode, Placed> {
  const placed = new Map<TreeNode, Placed>();
  const place = (node: TreeNode, inode: number, parent: number): void =>
    void placed.set(node, { node, inode, parent, links: node.type === "directory" ? 2 : 0, bytes: undefined });
  place(root, ROOT_INODE, ROOT_INODE);
  const lost = root.children.get("lost+found")!;
  place(lost, FIRST_INODE, ROOT_INODE);
  let next = FIRST_INODE + 1;
  const open: DirectoryNode[] = [root];
  for (let directory = open.pop(); directory; directory = open.pop()) {
    const own = placed.get(directory)!;
    for (const [name, node] of directory.children) {
      checkName(name);
      const known = placed.get(node);
      if (known !== undefined && node.type === "directory" && node !== lost)
        throw malformed("a directory has two names");
      if (known === undefined) place(node, next++, own.inode);
      if (node.type === "directory") {
        own.links++;
        open.push(node);
      } else placed.get(node)!.links++;
    }
    // More than so many: the number is not kept any more (dir_nlink).
    if (own.links > MAX_LINKS) own.links = 1;
  }
  for (const { node, links } of placed.values()) {
    if (node.type !== "directory" && links > MAX_LINKS) throw malformed(`a file has more than ${MAX_LINKS} names`);
  }
  return placed;
}

function checkName(name: string): void {
  const isPlain = name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
  if (!isPlain || encode(name).length > MAX_NAME_BYTES)
    throw malformed(`${JSON.stringify(name.slice(0, 80))} is no name`);
}

function countBlocks(placed: ReadonlyMap<TreeNode, Placed>): number {
  // One block more for each file that may need a list of its extents.
  return sum(placed, (entry) => blocksOf(entry) + (blocksOf(entry) > GROUP_BLOCKS ? 1 : 0));
}

function blocksOf({ node, bytes }: Placed): number {
  if (node.type === "file") return Math.ceil(node.sizeBytes / BLOCK_BYTES);
  if (bytes === undefined || (node.type === "symlink" && bytes.length < FAST_SYMLINK_BYTES)) return 0;
  return Math.ceil(bytes.length / BLOCK_BYTES);
}

/** Entries fill their blocks: the last one of each reaches to its end. */
function directoryBytes(node: DirectoryNode, own: Placed, placed: ReadonlyMap<TreeNode, Placed>): Uint8Array {
  const entries: (readonly [name: Uint8Array, inode: number, type: number])[] = [
    [encode("."), own.inode, TYPES.directory[0]],
    [encode(".."), own.parent, TYPES.directory[0]],
    ...[...node.children].map(
      ([name, child]) => [encode(name), placed.get(child)!.inode, TYPES[child.type][0]] as const,
    ),
  ];
  const blocks: Uint8Array[] = [];
  let block = new Uint8Array(BLOCK_BYTES);
  let at = 0;
  let last = 0;
  const close = (): void => viewOf(block).setUint16(last + 4, BLOCK_BYTES - last, true);
  blocks.push(block);
  for (const [name, inode, type] of entries) {
    const length = (8 + name.length + 3) & ~3;
    if (at + length > BLOCK_BYTES) {
      close();
      block = new Uint8Array(BLOCK_BYTES);
      blocks.push(block);
      at = 0;
    }
    const view = viewOf(block);
    view.setUint32(at, inode, true);
    view.setUint16(at + 4, length, true);
    block[at + 6] = name.length;
    block[at + 7] = type;
    block.set(name, at + 8);
    last = at;
    at += length;
  }
  close();
  return concat(blocks);
}

function inodeBytes(entry: Placed, extents: readonly Extent[], leaf: Extent | undefined): Uint8Array {
  const { node, links, bytes } = entry;
  const inode = new Uint8Array(INODE_BYTES);
  const view = viewOf(inode);
  const sizeBytes = node.type === "file" ? node.sizeBytes : (bytes?.length ?? 0);
  const time = Math.max(0, Math.min(Math.floor(node.mtimeSeconds), 0x7fff_ffff));
  view.setUint16(0, TYPES[node.type][1] | (node.mode & 0o7777), true);
  view.setUint16(2, node.uid & 0xffff, true);
  view.setUint32(4, sizeBytes % 2 ** 32, true);
  for (const at of [8, 12, 16]) view.setUint32(at, time, true);
  view.setUint16(24, node.gid & 0xffff, true);
  view.setUint16(26, links, true);
  const blocks = extents.reduce((total, { count }) => total + count, leaf ? 1 : 0);
  view.setUint32(28, (blocks * BLOCK_BYTES) / 512, true);
  view.setUint32(108, Math.floor(sizeBytes / 2 ** 32), true);
  view.setUint16(120, node.uid >>> 16, true);
  view.setUint16(122, node.gid >>> 16, true);
  view.setUint16(128, 32, true);
  if (node.type === "symlink" && bytes!.length < FAST_SYMLINK_BYTES) inode.set(bytes!, 40);
  else if (node.type === "file" || node.type === "directory" || node.type === "symlink") {
    view.setUint32(32, EXTENTS_FLAG, true);
    inode.set(leaf ? extentIndex(leaf) : extentNode(FAST_SYMLINK_BYTES, extents), 40);
  } else if (node.type === "character-device" || node.type === "block-device") {
    // As Linux encodes what does not fit into eight bits each.
    const { major, minor } = node;
    if (major < 256 && minor < 256) view.setUint32(40, (major << 8) | minor, true);
    else view.setUint32(44, ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, true);
  }
  return inode;
}

/** A leaf: where each run of blocks of the file is. */
function extentNode(sizeBytes: number, extents: readonly Extent[]): Uint8Array {
  if (extents.length > LEAF_EXTENTS) throw malformed("a file is larger than 42 GiB");
  const node = new Uint8Array(sizeBytes);
  const view = viewOf(node);
  extentHeader(view, extents.length, Math.floor((sizeBytes - 12) / 12), 0);
  let block = 0;
  for (const [index, { start, count }] of extents.entries()) {
    const at = 12 + 12 * index;
    view.setUint32(at, block, true);
    view.setUint16(at + 4, count, true);
    view.setUint32(at + 8, start, true);
    block += count;
  }
  return node;
}

function extentIndex(leaf: Extent): Uint8Array {
  const node = new Uint8Array(FAST_SYMLINK_BYTES);
  extentHeader(viewOf(node), 1, INLINE_EXTENTS, 1);
  viewOf(node).setUint32(16, leaf.start, true);
  return node;
}

function extentHeader(view: DataView, entries: number, max: number, depth: number): void {
  view.setUint16(0, EXTENT_MAGIC, true);
  view.setUint16(2, entries, true);
  view.setUint16(4, max, true);
  view.setUint16(6, depth, true);
}

async function writeContents(
  file: ImageFile,
  { node, bytes }: Placed,
  extents: readonly Extent[],
  onWritten: (bytes: number) => void,
): Promise<void> {
  const sizeBytes = node.type === "file" ? node.sizeBytes : (bytes?.length ?? 0);
  const piece = new Uint8Array(Math.min(PIECE_BYTES, Math.max(1, sizeBytes)));
  let offset = 0;
  for (const { start, count } of extents) {
    const end = Math.min(sizeBytes, offset + count * BLOCK_BYTES);
    for (let at = start * BLOCK_BYTES; offset < end; ) {
      const length = Math.min(piece.length, end - offset);
      const part = piece.subarray(0, length);
      if (node.type === "file") await node.read(offset, part);
      else part.set(bytes!.subarray(offset, offset + length));
      await file.write(at, part);
      at += length;
      offset += length;
      if (node.type === "file") onWritten(length);
    }
  }
}

async function writeMetadata(
  file: ImageFile,
  layout: Ext4Layout,
  placed: ReadonlyMap<TreeNode, Placed>,
  options: WriteExt4Options,
): Promise<void> {
  const { groups, inodesPerGroup } = layout;
  const inodeBitmaps = Array.from({ length: groups }, () => new Uint8Array(BLOCK_BYTES));
  const freeInodes = new Array<number>(groups).fill(inodesPerGroup);
  const directories = new Array<number>(groups).fill(0);
  const use = (inode: number): number => {
    const group = Math.floor((inode - 1) / inodesPerGroup);
    setBits(inodeBitmaps[group]!, (inode - 1) % inodesPerGroup, 1);
    freeInodes[group]!--;
    return group;
  };
  for (let inode = 1; inode < FIRST_INODE; inode++) if (inode !== ROOT_INODE) use(inode);
  for (const { node, inode } of placed.values()) {
    const group = use(inode);
    if (node.type === "directory") directories[group]!++;
  }
  const descriptors = new Uint8Array(Math.ceil((groups * DESCRIPTOR_BYTES) / BLOCK_BYTES) * BLOCK_BYTES);
  const view = viewOf(descriptors);
  for (let group = 0; group < groups; group++) {
    const at = group * DESCRIPTOR_BYTES;
    view.setUint32(at, layout.blockBitmapAt(group), true);
    view.setUint32(at + 4, layout.inodeBitmapAt(group), true);
    view.setUint32(at + 8, layout.inodeTableAt(group), true);
    view.setUint16(at + 12, layout.freeBlocks[group]!, true);
    view.setUint16(at + 14, freeInodes[group]!, true);
    view.setUint16(at + 16, directories[group]!, true);
    // Bits behind the last inode are set.
    setBits(inodeBitmaps[group]!, inodesPerGroup, GROUP_BLOCKS - inodesPerGroup);
    await file.write(layout.blockBitmapAt(group) * BLOCK_BYTES, layout.blockBitmaps[group]!);
    await file.write(layout.inodeBitmapAt(group) * BLOCK_BYTES, inodeBitmaps[group]!);
  }
  const counts = { blocks: total(layout.freeBlocks), inodes: total(freeInodes) };
  for (let group = 0; group < groups; group++) {
    if (!layout.hasSuperblock(group)) continue;
    const at = group * GROUP_BLOCKS * BLOCK_BYTES;
    await file.write(at + (group === 0 ? 1024 : 0), superblock(layout, counts, group, options));
    await file.write(at + BLOCK_BYTES, descriptors);
  }
}

function superblock(
  layout: Ext4Layout,
  free: { readonly blocks: number; readonly inodes: number },
  group: number,
  { label, uuid }: WriteExt4Options,
): Uint8Array {
  const bytes = new Uint8Array(1024);
  const view = viewOf(bytes);
  const words: readonly (readonly [at: number, value: number])[] = [
    [0, layout.inodes],
    [4, layout.blocks],
    [12, free.blocks],
    [16, free.inodes],
    [24, 2],
    [28, 2],
    [32, GROUP_BLOCKS],
    [36, GROUP_BLOCKS],
    [40, layout.inodesPerGroup],
    [76, 1],
    [84, FIRST_INODE],
    // filetype, extents; sparse_super, large_file, dir_nlink, extra_isize.
    [96, 0x2 | 0x40],
    [100, 0x1 | 0x2 | 0x20 | 0x40],
  ];
  for (const [at, value] of words) view.setUint32(at, value, true);
  view.setUint16(54, 0xffff, true);
  view.setUint16(56, 0xef53, true);
  view.setUint16(58, 1, true);
  view.setUint16(60, 1, true);
  view.setUint16(88, INODE_BYTES, true);
  view.setUint16(90, group, true);
  bytes.set(uuid.subarray(0, 16), 104);
  bytes.set(encode(label).subarray(0, 16), 120);
  view.setUint16(348, 32, true);
  view.setUint16(350, 32, true);
  return bytes;
}

const malformed = (why: string): StorageError =>
  new StorageError("out-of-range", `An ext4 image cannot be made of this: ${why}.`);
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const total = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

function sum(placed: ReadonlyMap<TreeNode, Placed>, of: (entry: Placed) => number): number {
  let all = 0;
  for (const entry of placed.values()) all += of(entry);
  return all;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(total(parts.map(({ length }) => length)));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
