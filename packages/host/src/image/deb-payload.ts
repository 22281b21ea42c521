/**
 * Takes chosen files out of a Debian package: ar, then decompression, then tar. Their bytes go one after another into
 * a single spool file, because a kernel package unpacks to several hundred megabytes of which little is needed, and
 * which is known only after reading. Archive paths are keys here and never file names on this host.
 */

import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { setImmediate as yieldToEvents } from "node:timers/promises";
import * as zlib from "node:zlib";
import { type DebCompression, findDebMember } from "./ar.ts";
import { describeWriteError, ImageError } from "./image-error.ts";
import { TarParser } from "./tar.ts";
import { decodeXz } from "./xz-decoder.ts";

export interface UnpackOptions {
  readonly debPath: string;
  /** Where the chosen files are kept until close. */
  readonly spoolPath: string;
  readonly select: (path: string) => boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (unpackedBytes: number) => void;
}

const MAX_UNPACKED_BYTES = 4 * 1024 * 1024 * 1024;
const SLICE_BYTES = 1024 * 1024;

export class DebPayload {
  readonly #files: ReadonlyMap<string, { offset: number; sizeBytes: number }>;
  readonly #descriptor: number;
  readonly #spoolPath: string;

  private constructor(
    files: Map<string, { offset: number; sizeBytes: number }>,
    descriptor: number,
    spoolPath: string,
  ) {
    this.#files = files;
    this.#descriptor = descriptor;
    this.#spoolPath = spoolPath;
  }

  static async unpack(options: UnpackOptions): Promise<DebPayload> {
    const { debPath, spoolPath, select, signal } = options;
    const { data, compression } = findDebMember(await readFile(debPath, { signal }), "data", debPath);
    const files = new Map<string, { offset: number; sizeBytes: number }>();
    const descriptor = openSync(spoolPath, "w+", 0o600);
    try {
      let spooledBytes = 0;
      const parser = new TarParser(
        {
          onEntry: ({ path, type, sizeBytes }) => {
            if (type !== "file" || !select(path)) return undefined;
            files.set(path, { offset: spooledBytes, sizeBytes });
            return (chunk) => {
              writeSync(descriptor, chunk);
              spooledBytes += chunk.length;
            };
          },
        },
        debPath,
      );
      let unpackedBytes = 0;
      for await (const piece of decompressMember(data, compression, debPath)) {
        parser.write(piece);
        unpackedBytes += piece.length;
        if (unpackedBytes > MAX_UNPACKED_BYTES) throw damaged(debPath, "it unpacks to more than 4 GiB");
        options.onProgress?.(unpackedBytes);
        await yieldToEvents();
        signal?.throwIfAborted();
      }
      parser.end();
      return new DebPayload(files, descriptor, spoolPath);
    } catch (error) {
      closeSync(descriptor);
      unlinkSync(spoolPath);
      signal?.throwIfAborted();
      if (error instanceof ImageError) throw error;
      const described = describeWriteError(error, spoolPath);
      throw described instanceof ImageError ? described : damaged(debPath, described.message, error);
    }
  }

  get paths(): string[] {
    return [...this.#files.keys()];
  }

  read(path: string): Buffer {
    const file = this.#files.get(path);
    if (file === undefined) throw new RangeError(`${path} has not been unpacked`);
    const data = Buffer.alloc(file.sizeBytes);
    for (let done = 0; done < data.length; ) {
      const length = readSync(this.#descriptor, data, done, data.length - done, file.offset + done);
      if (length === 0) throw new RangeError(`${this.#spoolPath} is shorter than what was written to it`);
      done += length;
    }
    return data;
  }

  close(): void {
    closeSync(this.#descriptor);
    unlinkSync(this.#spoolPath);
  }
}

/** Decompresses what is known to be small: a kernel module. */
export function decompressModule(path: string, data: Uint8Array): Uint8Array {
  const limits = { maxOutputLength: 64 * 1024 * 1024 };
  if (path.endsWith(".gz")) return zlib.gunzipSync(data, limits);
  if (path.endsWith(".xz")) return decodeWholeXz(data, limits.maxOutputLength, path);
  if (path.endsWith(".zst")) {
    if (nodeZstd.zstdDecompressSync === undefined) throw noZstd(path);
    return nodeZstd.zstdDecompressSync(data, limits);
  }
  return data;
}

function decodeWholeXz(data: Uint8Array, maxBytes: number, path: string): Buffer {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for (const piece of decodeXz(data)) {
    sizeBytes += piece.length;
    if (sizeBytes > maxBytes) throw damaged(path, `it unpacks to more than ${maxBytes} bytes`);
    pieces.push(piece.slice());
  }
  return Buffer.concat(pieces, sizeBytes);
}

interface NodeZstd {
  readonly zstdDecompressSync?: (data: Uint8Array, options: { maxOutputLength: number }) => Buffer;
  readonly createZstdDecompress?: () => NodeJS.ReadWriteStream;
}

/** In Node since 22.15; the types are those of Node 20. */
export const nodeZstd: NodeZstd = zlib as unknown as NodeZstd;

/** Throws ImageError. */
export async function* decompressMember(
  data: Uint8Array,
  compression: DebCompression,
  origin: string,
): AsyncGenerator<Uint8Array> {
  if (compression === "xz") {
    yield* decodeXz(data);
  } else if (compression === "none") {
    yield* slices(data);
  } else {
    const stream = compression === "gzip" ? zlib.createGunzip() : nodeZstd.createZstdDecompress?.();
    if (stream === undefined) throw noZstd(origin);
    stream.end(data);
    yield* stream as unknown as AsyncIterable<Uint8Array>;
  }
}

function* slices(data: Uint8Array): Generator<Uint8Array> {
  for (let offset = 0; offset < data.length; offset += SLICE_BYTES) yield data.subarray(offset, offset + SLICE_BYTES);
}

function noZstd(path: string): ImageError {
  return new ImageError(
    "IMAGE_TOOL",
    `${path} is compressed with Zstandard, which this Node cannot read.`,
    "Use Node 22.15 or later.",
  );
}

function damaged(path: string, why: string, cause?: unknown): ImageError {
  return new ImageError(
    "IMAGE_MALFORMED",
    `${path} cannot be unpacked: ${why}.`,
    "Try again; if it stays, name another mirror with --mirror URL.",
    { cause },
  );
}
