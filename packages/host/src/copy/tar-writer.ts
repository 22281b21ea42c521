/**
 * Headers of a tar archive (POSIX.1-2017 ustar, with GNU's long names and its binary numbers, which GNU tar, busybox and
 * bsdtar all read). Owners are left out: everything belongs to whoever unpacks it.
 */

const BLOCK_SIZE = 512;
const NAME_BYTES = 100;
const MAX_OCTAL = 0o77777777777;
const LONG_NAME = "././@LongLink";

export interface TarItem {
  readonly path: string;
  readonly type: "file" | "directory" | "symlink";
  readonly mode: number;
  readonly mtimeSeconds: number;
  /** Of a file. */
  readonly sizeBytes?: number;
  /** Of a symbolic link. */
  readonly target?: string;
}

const TYPE_FLAGS = { file: "0", directory: "5", symlink: "2" } as const;

/** What comes before an item's bytes. */
export function tarHeader({ path, type, mode, mtimeSeconds, sizeBytes = 0, target = "" }: TarItem): Buffer {
  const name = Buffer.from(type === "directory" ? `${path}/` : path);
  const link = Buffer.from(target);
  return Buffer.concat([
    ...longField("K", link),
    ...longField("L", name),
    header(name, link, TYPE_FLAGS[type], sizeBytes, mode, mtimeSeconds),
  ]);
}

/** Zeros behind an item's bytes. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc(-sizeBytes & (BLOCK_SIZE - 1));
}

export const TAR_END: Uint8Array = new Uint8Array(2 * BLOCK_SIZE);

function longField(flag: "K" | "L", value: Buffer): readonly Buffer[] {
  if (value.length <= NAME_BYTES) return [];
  const body = Buffer.concat([value, Buffer.alloc(1)]);
  return [header(Buffer.from(LONG_NAME), Buffer.alloc(0), flag, body.length, 0, 0), body, tarPadding(body.length)];
}

function header(name: Buffer, link: Buffer, flag: string, size: number, mode: number, mtime: number): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  name.copy(block, 0, 0, NAME_BYTES);
  block.write(octal(mode & 0o7777, 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  writeNumber(block, 124, size);
  writeNumber(block, 136, mtime);
  block.fill(" ", 148, 156);
  block.write(flag, 156);
  link.copy(block, 157, 0, NAME_BYTES);
  block.write("ustar\x0000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 7)}\0 `, 148, "latin1");
  return block;
}

function octal(value: number, length: number): string {
  return value.toString(8).padStart(length - 1, "0");
}

/** Twelve bytes: octal, or binary where that has no room, or for times before 1970. */
function writeNumber(block: Buffer, offset: number, value: number): void {
  const whole = Math.floor(value);
  if (whole >= 0 && whole <= MAX_OCTAL) {
    block.write(octal(whole, 12), offset);
    return;
  }
  block.fill(whole < 0 ? 0xff : 0, offset, offset + 4);
  if (whole >= 0) block[offset] = 0x80;
  block.writeBigInt64BE(BigInt(whole), offset + 4);
}
