/**
 * Unpacks layers into one file, a spool, and a tree that says where in it each file's bytes are. What is unpacked is bounded,
 * in all and beside what it was packed in, before it is on the disk.
 */
import { createHash, type Hash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { nodeZstd } from "./deb-payload.ts";
import { describeWriteError, ImageError } from "./image-error.ts";
import { ARCHIVE_STEP, badArchive, LayerTree } from "./layer-tree.ts";
import type { OciArchive, OciLayer } from "./oci-archive.ts";
import { SpoolFile } from "./spool-file.ts";
import { TarParser } from "./tar.ts";

const MAX_TOTAL_BYTES = 32 * 2 ** 30;
/** Deflate does at most 1032:1, of zeroes; what people pack stays far below. */
const MAX_RATIO = 200;
const RATIO_FREE_BYTES = 64 * 2 ** 20;

export class LayerSpool {
  readonly tree: LayerTree;
  readonly #archive: OciArchive;
  readonly #path: string;
  readonly #spool: SpoolFile;
  #unpackedBytes = 0;

  constructor(archive: OciArchive, path: string) {
    this.#archive = archive;
    this.#path = path;
    this.tree = new LayerTree(archive.path);
    this.#spool = new SpoolFile(path);
  }

  /** The next one from below. Rejects with ImageError, or the signal's reason. */
  async unpack(layer: OciLayer, onRead: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    const { path } = this.#archive;
    this.tree.beginLayer();
    const parser = new TarParser(
      {
        onEntry: (entry) => {
          const { read, write } = this.#spool.append(entry.sizeBytes);
          this.tree.apply(entry, read);
          return entry.type === "file" ? write : undefined;
        },
      },
      path,
      ARCHIVE_STEP,
    );
    const packed = createHash("sha256");
    const unpacked = createHash("sha256");
    const before = this.#unpackedBytes;
    // The stream that is given up then fails, too, and with less to say.
    let first: unknown;
    const take = (piece: Uint8Array): void => {
      try {
        takeIt(piece);
      } catch (error) {
        first ??= error;
        throw error;
      }
    };
    const takeIt = (piece: Uint8Array): void => {
      signal?.throwIfAborted();
      this.#unpackedBytes += piece.length;
      this.#checkSize(this.#unpackedBytes - before, layer.sizeBytes);
      unpacked.update(piece);
      parser.write(piece);
    };
    try {
      await this.#decompress(layer, packed, onRead, take, signal);
      parser.end();
    } catch (last) {
      signal?.throwIfAborted();
      const error = first ?? last;
      if (error instanceof ImageError) throw error;
      const described = describeWriteError(error, this.#path);
      throw described instanceof ImageError
        ? described
        : badArchive(path, `a layer cannot be unpacked (${described.message})`, error);
    }
    this.#checkDigest(packed, layer.digest, "a layer");
    this.#checkDigest(unpacked, layer.diffId, "a layer's tar");
  }

  /** Nothing of it stays. */
  close(): void {
    this.#spool.close();
  }

  async #decompress(
    layer: OciLayer,
    packed: Hash,
    onRead: (bytes: number) => void,
    take: (piece: Uint8Array) => void,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const archive = this.#archive;
    let magic: Uint8Array | undefined;
    for await (const piece of archive.read({ offset: layer.offset, sizeBytes: Math.min(4, layer.sizeBytes) }))
      magic = piece;
    const stream = decompressorFor(magic, archive.path);
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const piece of archive.read(layer, signal)) {
        packed.update(piece);
        onRead(piece.length);
        yield piece;
      }
    }
    if (stream === undefined) {
      for await (const piece of counted()) take(piece);
      return;
    }
    await pipeline(Readable.from(counted()), stream, async (pieces) => {
      for await (const piece of pieces as AsyncIterable<Uint8Array>) take(piece);
    });
  }

  #checkSize(layerBytes: number, packedBytes: number): void {
    const { path } = this.#archive;
    if (this.#unpackedBytes > MAX_TOTAL_BYTES) throw badArchive(path, "it unpacks to more than 32 GiB");
    if (layerBytes > RATIO_FREE_BYTES + MAX_RATIO * packedBytes) {
      throw badArchive(path, `a layer of ${packedBytes} bytes unpacks to more than ${MAX_RATIO} times that`);
    }
  }

  #checkDigest(hash: Hash, stated: string | undefined, what: string): void {
    if (stated === undefined || hash.digest("hex") === stated) return;
    throw new ImageError(
      "IMAGE_UNTRUSTED",
      `${this.#archive.path} is not what it says: ${what} has another digest than sha256:${stated.slice(0, 12)}...`,
      ARCHIVE_STEP,
    );
  }
}

function decompressorFor(magic: Uint8Array | undefined, path: string): NodeJS.ReadWriteStream | undefined {
  const is = (...bytes: readonly number[]): boolean => bytes.every((byte, index) => magic?.[index] === byte);
  if (is(0x1f, 0x8b)) return createGunzip();
  if (!is(0x28, 0xb5, 0x2f, 0xfd)) return undefined;
  const stream = nodeZstd.createZstdDecompress?.();
  if (stream !== undefined) return stream;
  throw new ImageError(
    "IMAGE_TOOL",
    `${path} is compressed with Zstandard, which this Node cannot read.`,
    "Use Node 22.15 or later, or save it with gzip.",
  );
}
