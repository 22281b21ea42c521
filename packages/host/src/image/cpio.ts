/**
 * Writes cpio archives in the "new ASCII" format (newc, magic 070701), the form that Linux unpacks as an initramfs
 * (kernel documentation, "initramfs buffer format"). The result depends on the entries alone: times are 0, owners are
 * root, inode numbers count from 1. Left out: hard links, checksums (070702), reading.
 */

export type CpioEntry =
  | { readonly type: "directory"; readonly path: string; readonly mode?: number }
  | { readonly type: "file"; readonly path: string; readonly data: Uint8Array; readonly mode?: number }
  | { readonly type: "symlink"; readonly path: string; readonly target: string }
  | {
      readonly type: "character-device";
      readonly path: string;
      readonly major: number;
      readonly minor: number;
      readonly mode?: number;
    };

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

const HEADER_SIZE = 110;
const TRAILER_NAME = "TRAILER!!!";
const MAX_FIELD = 0xffff_ffff;

/** The archive of `entries`, in their order. A parent directory has to come before what is in it. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const seen = new Set<string>();
  let inode = 1;
  for (const entry of entries) {
    checkPath(entry.path, seen);
    seen.add(entry.path);
    const parent = entry.path.slice(0, Math.max(0, entry.path.lastIndexOf("/")));
    if (parent !== "" && !seen.has(parent)) throw new RangeError(`cpio: ${parent} has to come before ${entry.path}`);
    parts.push(...writeEntry(entry, inode++));
  }
  parts.push(...writeRecord({ name: TRAILER_NAME, inode: 0, mode: 0, links: 1, major: 0, minor: 0, data: EMPTY }));
  return Buffer.concat(parts);
}

const EMPTY = new Uint8Array(0);

interface CpioRecord {
  name: string;
  inode: number;
  mode: number;
  links: number;
  major: number;
  minor: number;
  data: Uint8Array;
}

function writeEntry(entry: CpioEntry, inode: number): Uint8Array[] {
  const record: CpioRecord = { name: entry.path, inode, mode: 0, links: 1, major: 0, minor: 0, data: EMPTY };
  switch (entry.type) {
    case "directory":
      return writeRecord({ ...record, mode: S_IFDIR | (entry.mode ?? 0o755), links: 2 });
    case "file":
      return writeRecord({ ...record, mode: S_IFREG | (entry.mode ?? 0o644), data: entry.data });
    case "symlink":
      return writeRecord({ ...record, mode: S_IFLNK | 0o777, data: Buffer.from(entry.target) });
    case "character-device":
      return writeRecord({
        ...record,
        mode: S_IFCHR | (entry.mode ?? 0o600),
        major: entry.major,
        minor: entry.minor,
      });
  }
}

function writeRecord(record: CpioRecord): Uint8Array[] {
  if (record.data.length > MAX_FIELD) throw new RangeError(`cpio: ${record.name} is over 4 GiB`);
  const name = Buffer.from(`${record.name}\0`);
  const fields = [
    record.inode,
    record.mode,
    0, // uid
    0, // gid
    record.links,
    0, // mtime
    record.data.length,
    0, // device that holds the file
    0,
    record.major,
    record.minor,
    name.length,
    0, // checksum, unused in this format
  ];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  return [
    Buffer.from(header, "latin1"),
    name,
    new Uint8Array(paddingAfter(HEADER_SIZE + name.length)),
    record.data,
    new Uint8Array(paddingAfter(record.data.length)),
  ];
}

function paddingAfter(length: number): number {
  return -length & 3;
}

function checkPath(path: string, seen: ReadonlySet<string>): void {
  const isPlain = path !== "" && !path.includes("\0") && path !== TRAILER_NAME;
  const parts = path.split("/");
  if (!isPlain || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new RangeError(`cpio: ${JSON.stringify(path)} is not a plain relative path`);
  }
  if (seen.has(path)) throw new RangeError(`cpio: ${path} appears twice`);
}
