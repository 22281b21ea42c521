/**
 * Reads the `ar` container of Debian packages (deb(5)): the magic line, then members with a 60-byte header each.
 * Package files are untrusted until their hash has been compared, so every length is checked against the buffer.
 * Left out: symbol tables and the long-name tables of other ar dialects, which no .deb has.
 */

import { ImageError } from "./image-error.ts";

export interface ArMember {
  readonly name: string;
  readonly data: Uint8Array;
}

const MAGIC = "!<arch>\n";
const HEADER_SIZE = 60;
const HEADER_END = "`\n";
const MAX_MEMBERS = 64;

/** The members of `archive`, in order. The data are views into it. */
export function readAr(archive: Uint8Array, origin: string): ArMember[] {
  if (latin1(archive, 0, MAGIC.length) !== MAGIC) throw malformed(origin, "it does not begin with the ar magic");
  const members: ArMember[] = [];
  let offset = MAGIC.length;
  while (offset < archive.length) {
    if (members.length === MAX_MEMBERS) throw malformed(origin, `it has more than ${MAX_MEMBERS} members`);
    if (offset + HEADER_SIZE > archive.length) throw malformed(origin, "it ends inside a member's header");
    if (latin1(archive, offset + 58, 2) !== HEADER_END) throw malformed(origin, "a member's header is damaged");
    const sizeText = latin1(archive, offset + 48, 10).trimEnd();
    if (!/^[0-9]{1,10}$/.test(sizeText)) throw malformed(origin, "a member's size is not a number");
    const sizeBytes = Number(sizeText);
    const start = offset + HEADER_SIZE;
    if (start + sizeBytes > archive.length) throw malformed(origin, "it is shorter than its members say");
    members.push({
      name: latin1(archive, offset, 16).trimEnd().replace(/\/$/, ""),
      data: archive.subarray(start, start + sizeBytes),
    });
    offset = start + sizeBytes + (sizeBytes & 1);
  }
  return members;
}

/** One of a binary package's two archives, and the compression that its name states. */
export function findDebMember(
  archive: Uint8Array,
  which: "control" | "data",
  origin: string,
): { data: Uint8Array; compression: DebCompression } {
  const members = readAr(archive, origin);
  const version = members[0];
  if (version?.name !== "debian-binary" || !latin1(version.data, 0, 2).startsWith("2.")) {
    throw malformed(origin, "it is not a Debian package of format 2");
  }
  for (const { name, data } of members) {
    const compression = name.startsWith(`${which}.tar`)
      ? COMPRESSION_BY_SUFFIX.get(name.slice(which.length))
      : undefined;
    if (compression !== undefined) return { data, compression };
  }
  throw malformed(origin, `it has no ${which} member of a known compression`);
}

export type DebCompression = "none" | "gzip" | "xz" | "zstd";

const COMPRESSION_BY_SUFFIX: ReadonlyMap<string, DebCompression> = new Map<string, DebCompression>([
  [".tar", "none"],
  [".tar.gz", "gzip"],
  [".tar.xz", "xz"],
  [".tar.zst", "zstd"],
]);

function latin1(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", offset, offset + length);
}

function malformed(origin: string, why: string): ImageError {
  return new ImageError(
    "IMAGE_MALFORMED",
    `${origin} cannot be read: ${why}.`,
    "Try again; if it stays, name another mirror with --mirror URL.",
  );
}
