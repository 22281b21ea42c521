/**
 * Reads container images from one tar file: an OCI image layout ("Image Layout" and "Image Manifest" of the OCI image
 * specification 1.1) or what `docker save` writes (manifest.json). Everything that a digest is stated for is compared with
 * it: manifest, configuration and layers by what names them, and each layer's tar by the configuration (rootfs.diff_ids).
 * The archive is hostile: documents, entries, layers and sizes are bounded.
 * Left out: compressed archives, other platforms than linux/amd64, layers with URLs.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { posix } from "node:path";
import { ARCHIVE_STEP, badArchive, printable } from "./layer-tree.ts";
import { TarParser } from "./tar.ts";

const MAX_DOCUMENT_BYTES = 4 * 2 ** 20;
const MAX_LAYERS = 128;
const MAX_NESTED_INDICES = 3;
const PIECE_BYTES = 256 * 1024;

export interface OciLayer {
  readonly offset: number;
  readonly sizeBytes: number;
  /** Of its tar, unpacked: SHA-256 in hexadecimal digits. */
  readonly diffId: string;
  /** Of its bytes as they are, where that is stated. */
  readonly digest: string | undefined;
}

/** What is run in it, and how ("Image Configuration"). */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly environment: readonly string[];
  readonly workingDirectory: string;
  readonly user: string;
}

export interface OciImage {
  /** Of its configuration, which names everything else. */
  readonly id: string;
  readonly config: ImageConfig;
  readonly layers: readonly OciLayer[];
}

interface Place {
  readonly offset: number;
  readonly sizeBytes: number;
}

export class OciArchive {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #places: ReadonlyMap<string, Place>;

  private constructor(path: string, file: FileHandle, places: ReadonlyMap<string, Place>) {
    this.path = path;
    this.#file = file;
    this.#places = places;
  }

  /** Looks through the whole archive. Rejects with ImageError, or the signal's reason. */
  static async open(path: string, signal?: AbortSignal): Promise<OciArchive> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, "r");
      if (!(await file.stat()).isFile()) throw badArchive(path, "it is no file");
      return new OciArchive(path, file, await indexOf(file, path, signal));
    } catch (error) {
      await file?.close();
      signal?.throwIfAborted();
      const { code } = error as { code?: string };
      throw code === "ENOENT"
        ? badArchive(path, "it is not there")
        : code === "EACCES"
          ? badArchive(path, "it is not yours to read")
          : error;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Rejects with ImageError. */
  async image(): Promise<OciImage> {
    const layout = this.#places.get("index.json");
    if (layout !== undefined) return await this.#ociImage(await this.#document(layout, "index.json"), 0);
    const manifest = this.#places.get("manifest.json");
    if (manifest !== undefined) return await this.#dockerImage(await this.#document(manifest, "manifest.json"));
    throw badArchive(this.path, "it has neither index.json nor manifest.json");
  }

  /** The layer's bytes as they are in the archive. */
  async *read({ offset, sizeBytes }: Place, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let done = 0; done < sizeBytes; ) {
      signal?.throwIfAborted();
      // A new one each time: who decompresses keeps it for a while.
      const piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes - done));
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, offset + done);
      if (bytesRead === 0) throw badArchive(this.path, "it is cut off");
      done += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  }

  async #ociImage(index: unknown, depth: number): Promise<OciImage> {
    const manifests = list(field(index, "manifests")).filter(isForThisMachine);
    const [descriptor] = manifests;
    if (descriptor === undefined) throw badArchive(this.path, "it has no image for linux on amd64");
    if (depth === 0 && manifests.length > 1)
      throw badArchive(this.path, `it holds ${manifests.length} images, and which one is meant cannot be said`);
    const document = await this.#blob(descriptor);
    if (Array.isArray(field(document.json, "manifests"))) {
      if (depth >= MAX_NESTED_INDICES) throw badArchive(this.path, "its indices are nested too deeply");
      return await this.#ociImage(
        { manifests: list(field(document.json, "manifests")).filter(isForThisMachine).slice(0, 1) },
        depth + 1,
      );
    }
    const config = await this.#blob(field(document.json, "config"));
    const layers = list(field(document.json, "layers")).map((layer) => {
      const digest = this.#digestOf(layer);
      return { ...this.#place(`blobs/sha256/${digest}`), digest };
    });
    return this.#imageOf(config, layers);
  }

  async #dockerImage(manifest: unknown): Promise<OciImage> {
    const images = list(manifest);
    if (images.length !== 1) throw badArchive(this.path, `it holds ${images.length} images: save one`);
    const configName = field(images[0], "Config");
    const bytes = await this.#bytes(this.#place(String(configName)), String(configName));
    const config = { json: parse(bytes, this.path), digest: sha256(bytes) };
    const layers = list(field(images[0], "Layers")).map((name) => {
      return { ...this.#place(String(name)), digest: undefined };
    });
    const stated = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(String(configName))?.[1];
    if (stated !== undefined && stated !== config.digest)
      throw badArchive(this.path, "its configuration has another digest than its name says");
    return this.#imageOf(config, layers);
  }

  #imageOf(config: { json: unknown; digest: string }, given: readonly Omit<OciLayer, "diffId">[]): OciImage {
    const diffIds = list(field(field(config.json, "rootfs"), "diff_ids"));
    if (given.length > MAX_LAYERS) throw badArchive(this.path, `it has more than ${MAX_LAYERS} layers`);
    if (diffIds.length !== given.length)
      throw badArchive(this.path, `it has ${given.length} layers, and its configuration names ${diffIds.length}`);
    const platform = [field(config.json, "os") ?? "linux", field(config.json, "architecture") ?? "amd64"].join("/");
    if (platform !== "linux/amd64")
      throw badArchive(this.path, `it is for ${printable(platform)} and not for linux/amd64`);
    const layers = given.map((layer, index) => ({ ...layer, diffId: hexOf(diffIds[index], this.path) }));
    return { id: config.digest, config: readConfig(field(config.json, "config"), this.path), layers };
  }

  async #blob(descriptor: unknown): Promise<{ json: unknown; digest: string }> {
    const digest = this.#digestOf(descriptor);
    const bytes = await this.#bytes(this.#place(`blobs/sha256/${digest}`), digest);
    if (sha256(bytes) !== digest)
      throw badArchive(this.path, `what is named ${digest.slice(0, 12)} has another digest`);
    return { json: parse(bytes, this.path), digest };
  }

  #digestOf(descriptor: unknown): string {
    return hexOf(field(descriptor, "digest"), this.path);
  }

  #place(name: string): Place {
    const place = this.#places.get(posix.normalize(name));
    if (place === undefined) throw badArchive(this.path, `it lacks ${printable(name)}`);
    return place;
  }

  async #document(place: Place, name: string): Promise<unknown> {
    return parse(await this.#bytes(place, name), this.path);
  }

  async #bytes(place: Place, name: string): Promise<Uint8Array> {
    if (place.sizeBytes > MAX_DOCUMENT_BYTES) throw badArchive(this.path, `${printable(name)} is larger than 4 MiB`);
    const pieces: Uint8Array[] = [];
    for await (const piece of this.read(place)) pieces.push(piece);
    return Buffer.concat(pieces);
  }
}

/** Where each file is. Older archives have links where two layers are the same. */
async function indexOf(file: FileHandle, path: string, signal: AbortSignal | undefined): Promise<Map<string, Place>> {
  const places = new Map<string, Place>();
  const links: [name: string, target: string][] = [];
  const parser = new TarParser(
    {
      onEntry: ({ path: name, type, dataOffset, sizeBytes, linkTarget }) => {
        if (type === "file") places.set(posix.normalize(name), { offset: dataOffset, sizeBytes });
        else if (type === "symlink") links.push([name, posix.join(posix.dirname(name), linkTarget)]);
        else if (type === "hardlink") links.push([name, posix.normalize(linkTarget)]);
        return undefined;
      },
    },
    path,
    ARCHIVE_STEP,
  );
  const piece = new Uint8Array(PIECE_BYTES);
  for (let offset = 0; ; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(piece, 0, piece.length, offset);
    if (bytesRead === 0) break;
    if (offset === 0 && piece[0] === 0x1f && piece[1] === 0x8b)
      throw badArchive(path, "it is compressed: unpack it with gunzip first");
    parser.write(piece.subarray(0, bytesRead));
    offset += bytesRead;
  }
  parser.end();
  for (const [name, target] of links) {
    const place = places.get(target);
    if (place !== undefined) places.set(posix.normalize(name), place);
  }
  return places;
}

function isForThisMachine(descriptor: unknown): boolean {
  const platform = field(descriptor, "platform");
  const isImage = !String(field(field(descriptor, "annotations"), "vnd.docker.reference.type")).includes("attestation");
  return (
    isImage &&
    (platform === undefined || (field(platform, "os") === "linux" && field(platform, "architecture") === "amd64"))
  );
}

function readConfig(config: unknown, path: string): ImageConfig {
  const words = (name: string): string[] => {
    const value = field(config, name) ?? [];
    const isWords =
      Array.isArray(value) &&
      value.length <= 4096 &&
      value.every((word) => typeof word === "string" && !word.includes("\0"));
    if (!isWords) throw badArchive(path, `${name} of its configuration is no list of words`);
    return value as string[];
  };
  const word = (name: string): string => {
    const value = field(config, name) ?? "";
    if (typeof value === "string" && value.length <= 4096 && !value.includes("\0")) return value;
    throw badArchive(path, `${name} of its configuration is no word`);
  };
  return {
    entrypoint: words("Entrypoint"),
    command: words("Cmd"),
    environment: words("Env").filter((variable) => /^[^=]+=/.test(variable)),
    workingDirectory: word("WorkingDir") || "/",
    user: word("User"),
  };
}

function hexOf(digest: unknown, path: string): string {
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(String(digest)) ?? [];
  if (hex === undefined) throw badArchive(path, `${printable(String(digest))} is no SHA-256`);
  return hex;
}

function parse(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw badArchive(path, "one of its documents is no JSON", error);
  }
}

function field(value: unknown, name: string): unknown {
  const isObject = typeof value === "object" && value !== null && Object.hasOwn(value, name);
  return isObject ? ((value as Record<string, unknown>)[name] ?? undefined) : undefined;
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
