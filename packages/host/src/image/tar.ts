/**
 * Reads tar archives (POSIX.1-2017 ustar and pax, GNU long names) as a stream: a parser that is fed chunks of any
 * size and reports entries. The archive is hostile input: sizes, path lengths and the number of entries are bounded,
 * header checksums are verified, and nothing is ever written to a path that came out of the archive.
 * Left out: sparse files, multi-volume archives, extended attributes, files of more than 8 GiB.
 */

import { ImageError } from "./image-error.ts";

export interface TarEntry {
  /** Without a leading "./" or "/". */
  readonly path: string;
  readonly type: "file" | "directory" | "symlink" | "hardlink" | "character-device" | "block-device" | "fifo" | "other";
  readonly sizeBytes: number;
  readonly mode: number;
  readonly linkTarget: string;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  /** Of a device. */
  readonly major: number;
  readonly minor: number;
  /** Where the file's bytes begin in the archive. */
  readonly dataOffset: number;
}

export interface TarVisitor {
  /** Returns where the file's bytes go; undefined skips them. */
  onEntry(entry: TarEntry): ((chunk: Uint8Array) => void) | undefined;
}

const BLOCK_SIZE = 512;
const MAX_ENTRIES = 200_000;
const MAX_META_BYTES = 64 * 1024;
const MAX_FILE_BYTES = 0x2_0000_0000;

type Meta = {
  path?: string;
  linkTarget?: string;
  sizeBytes?: number;
  uid?: number;
  gid?: number;
  mtimeSeconds?: number;
};
type Sink = (chunk: Uint8Array) => void;

export class TarParser {
  readonly #visitor: TarVisitor;
  readonly #origin: string;
  readonly #header = new Uint8Array(BLOCK_SIZE);
  #headerFill = 0;
  #remaining = 0;
  #padding = 0;
  #sink: Sink | undefined;
  #onBodyEnd: (() => void) | undefined;
  #meta: Meta = {};
  #entries = 0;
  #isEnded = false;
  /** Behind the header that was read last. */
  #position = 0;
  readonly #nextStep: string;

  /** `nextStep` ends the message of an error. */
  constructor(
    visitor: TarVisitor,
    origin: string,
    nextStep = "Try again; if it stays, name another mirror with --mirror URL.",
  ) {
    this.#visitor = visitor;
    this.#origin = origin;
    this.#nextStep = nextStep;
  }

  write(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.length && !this.#isEnded) {
      if (this.#remaining > 0) {
        const length = Math.min(this.#remaining, chunk.length - offset);
        this.#sink?.(chunk.subarray(offset, offset + length));
        this.#remaining -= length;
        offset += length;
        if (this.#remaining === 0) this.#finishBody();
      } else if (this.#padding > 0) {
        const length = Math.min(this.#padding, chunk.length - offset);
        this.#padding -= length;
        offset += length;
      } else {
        const length = Math.min(BLOCK_SIZE - this.#headerFill, chunk.length - offset);
        this.#header.set(chunk.subarray(offset, offset + length), this.#headerFill);
        this.#headerFill += length;
        offset += length;
        if (this.#headerFill === BLOCK_SIZE) {
          this.#headerFill = 0;
          this.#readHeader();
        }
      }
    }
  }

  /** Has to be called after the last chunk: an archive that stops early is an error. */
  end(): void {
    if (!this.#isEnded && (this.#remaining > 0 || this.#headerFill > 0)) throw this.#malformed("it is cut off");
  }

  #finishBody(): void {
    const done = this.#onBodyEnd;
    this.#onBodyEnd = undefined;
    this.#sink = undefined;
    done?.();
  }

  #readHeader(): void {
    const header = this.#header;
    this.#position += BLOCK_SIZE;
    if (header.every((byte) => byte === 0)) {
      this.#isEnded = true;
      return;
    }
    if (++this.#entries > MAX_ENTRIES) throw this.#malformed(`it has more than ${MAX_ENTRIES} entries`);
    if (this.#octal(148, 8) !== checksum(header)) throw this.#malformed("an entry's checksum is wrong");
    const typeFlag = String.fromCharCode(header[156]!);
    const headerSize = this.#octal(124, 12);
    if (typeFlag === "x" || typeFlag === "g" || typeFlag === "L" || typeFlag === "K") {
      this.#readMeta(typeFlag, headerSize);
      return;
    }
    const meta = this.#meta;
    this.#meta = {};
    const sizeBytes = typeFlag === "0" || typeFlag === "\0" || typeFlag === "7" ? (meta.sizeBytes ?? headerSize) : 0;
    if (sizeBytes > MAX_FILE_BYTES) throw this.#malformed("it has a file of more than 8 GiB");
    const entry: TarEntry = {
      path: plainPath(meta.path ?? this.#headerPath()),
      type: entryType(typeFlag),
      sizeBytes,
      mode: this.#octal(100, 8) & 0o7777,
      linkTarget: meta.linkTarget ?? text(header, 157, 100),
      uid: meta.uid ?? this.#number(108, 8),
      gid: meta.gid ?? this.#number(116, 8),
      mtimeSeconds: meta.mtimeSeconds ?? this.#number(136, 12),
      major: this.#number(329, 8),
      minor: this.#number(337, 8),
      dataOffset: this.#position,
    };
    this.#startBody(sizeBytes, this.#visitor.onEntry(entry));
  }

  #readMeta(typeFlag: string, sizeBytes: number): void {
    if (sizeBytes > MAX_META_BYTES) throw this.#malformed("an entry's name is too long");
    const chunks: Uint8Array[] = [];
    this.#startBody(sizeBytes, (chunk) => chunks.push(chunk.slice()));
    this.#onBodyEnd = () => {
      const body = Buffer.concat(chunks);
      if (typeFlag === "L") this.#meta.path = text(body, 0, body.length);
      else if (typeFlag === "K") this.#meta.linkTarget = text(body, 0, body.length);
      else if (typeFlag === "x") Object.assign(this.#meta, this.#parsePax(body));
    };
    if (sizeBytes === 0) this.#finishBody();
  }

  #startBody(sizeBytes: number, sink: Sink | undefined): void {
    this.#position += sizeBytes + (-sizeBytes & (BLOCK_SIZE - 1));
    this.#remaining = sizeBytes;
    this.#padding = -sizeBytes & (BLOCK_SIZE - 1);
    this.#sink = sink;
  }

  #parsePax(body: Buffer): Meta {
    const meta: Meta = {};
    let offset = 0;
    while (offset < body.length) {
      const space = body.indexOf(0x20, offset);
      const length = space < 0 ? Number.NaN : Number(body.toString("latin1", offset, space));
      const end = offset + length;
      if (!Number.isInteger(length) || end <= space + 1 || end > body.length) {
        throw this.#malformed("an extended header is damaged");
      }
      const record = body.toString("utf8", space + 1, end - 1);
      const value = record.slice(record.indexOf("=") + 1);
      if (record.startsWith("path=")) meta.path = value;
      else if (record.startsWith("linkpath=")) meta.linkTarget = value;
      else if (record.startsWith("size=")) {
        if (!/^[0-9]{1,12}$/.test(value)) throw this.#malformed("an extended header's size is damaged");
        meta.sizeBytes = Number(value);
      } else if (/^(?:uid|gid)=/.test(record) && /^[0-9]{1,10}$/.test(value)) {
        meta[record.startsWith("uid") ? "uid" : "gid"] = Number(value) % 2 ** 32;
      } else if (record.startsWith("mtime=") && /^[0-9]{1,12}(?:\.[0-9]*)?$/.test(value)) {
        meta.mtimeSeconds = Math.floor(Number(value));
      }
      offset = end;
    }
    return meta;
  }

  #headerPath(): string {
    const name = text(this.#header, 0, 100);
    const isUstar = text(this.#header, 257, 5) === "ustar" && this.#header[262] === 0;
    const prefix = isUstar ? text(this.#header, 345, 155) : "";
    return prefix === "" ? name : `${prefix}/${name}`;
  }

  #octal(offset: number, length: number): number {
    const field = text(this.#header, offset, length).trim();
    if (!/^[0-7]*$/.test(field)) throw this.#malformed("a number in an entry's header is damaged");
    return field === "" ? 0 : Number.parseInt(field, 8);
  }

  /** Octal, or GNU's binary where that has no room; of what matters little, so an odd one is 0. */
  #number(offset: number, length: number): number {
    const field = this.#header.subarray(offset, offset + length);
    if (field[0] === 0x80) {
      const value = field.subarray(1).reduce((total, byte) => total * 256 + byte, 0);
      return value <= Number.MAX_SAFE_INTEGER ? value : 0;
    }
    const digits = text(this.#header, offset, length).trim();
    return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : 0;
  }

  #malformed(why: string): ImageError {
    return new ImageError("IMAGE_MALFORMED", `The archive in ${this.#origin} cannot be read: ${why}.`, this.#nextStep);
  }
}

function entryType(typeFlag: string): TarEntry["type"] {
  if (typeFlag === "0" || typeFlag === "\0" || typeFlag === "7") return "file";
  if (typeFlag === "1") return "hardlink";
  if (typeFlag === "2") return "symlink";
  if (typeFlag === "3") return "character-device";
  if (typeFlag === "4") return "block-device";
  if (typeFlag === "6") return "fifo";
  return typeFlag === "5" ? "directory" : "other";
}

function plainPath(path: string): string {
  return path.replace(/^(?:\.?\/)+/, "").replace(/\/+$/, "");
}

function text(bytes: Uint8Array, offset: number, length: number): string {
  const field = Buffer.from(bytes.buffer, bytes.byteOffset + offset, Math.min(length, bytes.byteLength - offset));
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? field.length : end);
}

function checksum(header: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < BLOCK_SIZE; index++) sum += index >= 148 && index < 156 ? 0x20 : header[index]!;
  return sum;
}
