/**
 * Compressed clusters. The decoders are the host's: raw deflate (a window of 12 bits, no zlib header) and Zstandard. The
 * bytes handed over end with a sector and may have anything behind the compressed data. One cluster is kept, because
 * readers come back for the next sectors of it.
 */
import { StorageError } from "../storage-error.ts";
import { corrupt } from "./big-endian.ts";
import type { Extent } from "./cluster-map.ts";
import type { Qcow2Image } from "./image.ts";

/**
 * Each decodes at most `into.length` bytes from the beginning of `bytes`, ignoring what follows the compressed data, and
 * gives the number of bytes decoded; undefined for what cannot be decoded. Never throws, and takes no more memory than a
 * few times `into`.
 */
export interface Decoders {
  readonly inflateRaw?: (bytes: Uint8Array, into: Uint8Array) => number | undefined;
  readonly zstd?: (bytes: Uint8Array, into: Uint8Array) => number | undefined;
}

export class CompressedReader {
  readonly #image: Qcow2Image;
  readonly #decode: ((bytes: Uint8Array, into: Uint8Array) => number | undefined) | undefined;
  #lastOffset = -1;
  #last = new Uint8Array(0);

  constructor(image: Qcow2Image, decoders: Decoders) {
    this.#image = image;
    this.#decode = image.header.compression === "zstd" ? decoders.zstd : decoders.inflateRaw;
  }

  /** The whole cluster. Valid until the next await of the caller: another read may fill it anew. */
  async cluster(extent: Extent): Promise<Uint8Array> {
    if (extent.hostOffset === this.#lastOffset) return this.#last;
    if (this.#decode === undefined) {
      const what = `The image has clusters compressed with ${this.#image.header.compression}`;
      throw new StorageError("unsupported", `${what}, which this host cannot decompress: convert it to plain qcow2.`);
    }
    const bytes = new Uint8Array(extent.compressedBytes);
    await this.#image.read(extent.hostOffset, bytes);
    const cluster = new Uint8Array(this.#image.clusterBytes);
    const decoded = this.#decode(bytes, cluster);
    if (decoded !== cluster.length) throw corrupt("a compressed cluster does not decompress to a cluster");
    this.#lastOffset = extent.hostOffset;
    this.#last = cluster;
    return cluster;
  }

  /** The file's clusters have changed their owners. */
  forget(): void {
    this.#lastOffset = -1;
  }
}
