/** What is known of a Debian package, and how a metapackage's real kernel is found (deb-control(5), deb822(5)). */

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { ImageError } from "./image-error.ts";

/** One file of the archive, as its signed index describes it. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** About how much it unpacks to. */
  readonly installedBytes: number;
  /** Relative to the mirror. */
  readonly archivePath: string;
  readonly depends: string;
}

/** A package file on this host whose hash has been verified. */
export interface FetchedPackage extends PackageRecord {
  readonly path: string;
}

export interface FetchHooks {
  readonly signal: AbortSignal | undefined;
  /** "lists" counts to 100, "download" in bytes. */
  onProgress(phase: "lists" | "download", done: number, total: number): void;
}

/** Fetches packages of one release into a directory; both ways of doing so look the same from outside. */
export type FetchPackages = (
  names: readonly string[],
  directory: string,
  hooks: FetchHooks,
) => Promise<FetchedPackage[]>;

const MAX_PACKAGE_BYTES = 512 * 1024 * 1024;
const HASH_PIECE_BYTES = 256 * 1024;

/** Reads a paragraph of a Packages index. Throws when a field that is needed is missing or odd. */
export function readPackageRecord(fields: ReadonlyMap<string, string>, origin: string): PackageRecord {
  const field = (name: string, pattern: RegExp): string => {
    const value = fields.get(name) ?? "";
    if (pattern.test(value)) return value;
    throw new ImageError(
      "IMAGE_MALFORMED",
      `The package index of ${origin} has a bad ${name} for ${fields.get("package") ?? "a package"}.`,
      "Try again, or name another mirror with --mirror URL.",
    );
  };
  const sizeBytes = Number(field("size", /^[0-9]{1,10}$/));
  if (sizeBytes > MAX_PACKAGE_BYTES) field("size", /^$/);
  return {
    name: field("package", /^[a-z0-9][a-z0-9.+-]+$/),
    version: field("version", /^[A-Za-z0-9.+~:-]+$/),
    sha256: field("sha256", /^[0-9a-f]{64}$/),
    sizeBytes,
    installedBytes: (Number(fields.get("installed-size")) || 0) * 1024,
    archivePath: field("filename", /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._+~:%/-]*$/),
    depends: fields.get("depends") ?? "",
  };
}

/**
 * Looks `name` up and follows a kernel metapackage (linux-image-cloud-amd64) to the package with the kernel in it
 * (linux-image-6.1.0-50-cloud-amd64), which is the first linux-image-* it depends on.
 */
export async function resolvePackage(
  name: string,
  lookUp: (name: string) => Promise<PackageRecord>,
): Promise<PackageRecord> {
  let record = await lookUp(name);
  for (let depth = 0; depth < 3; depth++) {
    const next = /(?:^|[\s,|])(linux-image-[a-z0-9.+-]+)/.exec(record.depends)?.[1];
    if (!record.name.startsWith("linux-image-") || next === undefined) return record;
    record = await lookUp(next);
  }
  return record;
}

export async function hashFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  // One buffer: those that a stream makes stay in memory until V8 has another reason to collect.
  const piece = new Uint8Array(HASH_PIECE_BYTES);
  const file = await open(path);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(piece, 0, piece.length);
      if (bytesRead === 0) return hash.digest("hex");
      hash.update(piece.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

export function hashMismatch(name: string, origin: string): ImageError {
  return new ImageError(
    "IMAGE_UNTRUSTED",
    `The package ${name} from ${origin} is not the one its signed index describes (SHA-256 differs).`,
    "Try again; if it stays, something between here and the mirror alters files: name another mirror with --mirror URL.",
  );
}
