/** A disk of 1 MiB with a FAT12 file system (Microsoft's FAT specification 1.03) that holds one small file, as firmware reads it. */
const SECTOR_BYTES = 512;
const SECTORS = 2048;
const [RESERVED, FAT_SECTORS, ROOT_ENTRIES] = [1, 6, 16];
const DIRECTORY_ENTRY_BYTES = 32;

/** `name`: 8.3 letters, without a dot, padded with blanks. `content`: at most a sector. */
export function fatDisk(name: string, content: string): Uint8Array {
  const bytes = Buffer.alloc(SECTORS * SECTOR_BYTES);
  bytes.set([0xeb, 0x3c, 0x90]);
  bytes.write("TWINMETL", 3, "latin1");
  bytes.writeUInt16LE(SECTOR_BYTES, 11);
  bytes.writeUInt8(1, 13); // sectors in a cluster
  bytes.writeUInt16LE(RESERVED, 14);
  bytes.writeUInt8(1, 16); // FATs
  bytes.writeUInt16LE(ROOT_ENTRIES, 17);
  bytes.writeUInt16LE(SECTORS, 19);
  bytes.writeUInt8(0xf8, 21);
  bytes.writeUInt16LE(FAT_SECTORS, 22);
  bytes.writeUInt8(0x80, 36);
  bytes.writeUInt8(0x29, 38);
  bytes.write("TWINMETAL  FAT12   ", 43, "latin1");
  bytes.set([0x55, 0xaa], 510);
  // The media's byte, the end mark, and cluster 2, the file's only one.
  bytes.set([0xf8, 0xff, 0xff, 0xff, 0x0f], RESERVED * SECTOR_BYTES);
  const root = (RESERVED + FAT_SECTORS) * SECTOR_BYTES;
  bytes.write(name, root, "latin1");
  bytes.writeUInt8(0x20, root + 11);
  bytes.writeUInt16LE(2, root + 26);
  bytes.writeUInt32LE(content.length, root + 28);
  bytes.write(content, root + ROOT_ENTRIES * DIRECTORY_ENTRY_BYTES, "latin1");
  return bytes;
}
