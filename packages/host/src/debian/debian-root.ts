/**
 * The root file system of a Debian whose packages are unpacked and not configured, as a tree in memory: what dpkg leaves after
 * `dpkg --unpack` (deb(5), dpkg(1)), its database with it. Nothing of it is a path on this host. The directories of /usr are
 * merged, as Debian 12 has them.
 * Left out: diversions and extended attributes, which no package brings (its scripts make them, in the guest).
 */
import { readFile } from "node:fs/promises";
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { findDebMember } from "../image/ar.ts";
import { decompressMember } from "../image/deb-payload.ts";
import { LayerTree } from "../image/layer-tree.ts";
import { SpoolFile } from "../image/spool-file.ts";
import { type TarEntry, TarParser } from "../image/tar.ts";
import { DpkgDatabase } from "./dpkg-database.ts";

export const MERGED_DIRECTORIES = ["bin", "sbin", "lib", "lib64"] as const;
const MAX_UNPACKED_BYTES = 4 * 2 ** 30;
const MAX_CONTROL_BYTES = 16 * 2 ** 20;

export interface AddPackageOptions {
  /** As in dpkg-database.ts. Default: false. */
  readonly isConfigured?: boolean;
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export class DebianRoot {
  readonly tree: LayerTree;
  readonly #spool: SpoolFile;
  readonly #dpkg = new DpkgDatabase();
  readonly #mtimeSeconds: number;
  #unpackedBytes = 0;

  /** `mtimeSeconds`: of what is not from a package. */
  constructor(spoolPath: string, mtimeSeconds: number) {
    this.#spool = new SpoolFile(spoolPath);
    this.#mtimeSeconds = mtimeSeconds;
    this.tree = new LayerTree(spoolPath);
    this.tree.beginLayer();
    for (const name of MERGED_DIRECTORIES) {
      this.addDirectory(`usr/${name}`);
      this.addLink(name, `usr/${name}`);
    }
  }

  /** Unpacks a package, and adds it to dpkg's database. Rejects with ImageError, or the signal's reason. */
  async addPackage(
    debPath: string,
    { isConfigured = false, onProgress = () => {}, signal }: AddPackageOptions = {},
  ): Promise<void> {
    const deb = await readFile(debPath, { signal });
    const control = new Map<string, Buffer>();
    let controlBytes = 0;
    await this.#readMember(deb, "control", debPath, signal, (entry) => {
      const pieces: Uint8Array[] = [];
      controlBytes += entry.sizeBytes;
      if (entry.type !== "file" || entry.path.includes("/") || controlBytes > MAX_CONTROL_BYTES) return undefined;
      control.set(entry.path, Buffer.alloc(0));
      return (chunk) => {
        pieces.push(chunk.slice());
        control.set(entry.path, Buffer.concat(pieces));
      };
    });
    const paths = await this.#addData(deb, debPath, () => true, onProgress, signal);
    await this.#dpkg.add({ control, paths, tree: this.tree, origin: debPath, isConfigured });
  }

  /** Only the files of a package that `select` wants: dpkg knows nothing of them. */
  async addFilesOf(debPath: string, select: (path: string) => boolean, signal?: AbortSignal): Promise<void> {
    await this.#addData(await readFile(debPath, { signal }), debPath, select, () => {}, signal);
  }

  addFile(path: string, content: string | Uint8Array, mode = 0o644): void {
    const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
    this.#apply({ path, type: "file", mode, sizeBytes: bytes.length }, async (offset, into) =>
      into.set(bytes.subarray(offset, offset + into.length)),
    );
  }

  addDirectory(path: string, mode = 0o755): void {
    this.#apply({ path, type: "directory", mode });
  }

  addLink(path: string, linkTarget: string): void {
    this.#apply({ path, type: "symlink", linkTarget });
  }

  /** Empty where there is no such file. */
  async textOf(path: string): Promise<string> {
    const node = this.tree.find(path)?.node;
    if (node?.type !== "file") return "";
    const bytes = new Uint8Array(node.sizeBytes);
    await node.read(0, bytes);
    return Buffer.from(bytes).toString("utf8");
  }

  /** To be called when all packages are there. */
  writeDatabase(): void {
    for (const [path, content] of this.#dpkg.files()) this.addFile(`var/lib/dpkg/${path}`, content, modeOf(path));
    for (const path of ["updates", "parts", "alternatives"]) this.addDirectory(`var/lib/dpkg/${path}`);
  }

  /** How many packages' scripts are to run. */
  get unconfigured(): number {
    return this.#dpkg.unconfigured;
  }

  close(): void {
    this.#spool.close();
  }

  async #addData(
    deb: Uint8Array,
    origin: string,
    select: (path: string) => boolean,
    onProgress: (bytes: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<string[]> {
    const paths: string[] = [];
    await this.#readMember(deb, "data", origin, signal, (entry) => {
      if (!select(entry.path)) return undefined;
      paths.push(entry.path);
      onProgress(entry.sizeBytes);
      // A link that leads to a directory stays when a package has the directory itself: so dpkg does.
      if (entry.type === "directory" && this.tree.find(entry.path)?.path !== `/${entry.path}` && this.#isThere(entry))
        return undefined;
      const { read, write } = this.#spool.append(entry.sizeBytes);
      this.tree.apply(entry, read);
      return entry.type === "file" ? write : undefined;
    });
    return paths;
  }

  #isThere({ path }: TarEntry): boolean {
    return path !== "" && this.tree.find(path)?.node.type === "directory";
  }

  async #readMember(
    deb: Uint8Array,
    which: "control" | "data",
    origin: string,
    signal: AbortSignal | undefined,
    onEntry: (entry: TarEntry) => ((chunk: Uint8Array) => void) | undefined,
  ): Promise<void> {
    const { data, compression } = findDebMember(deb, which, origin);
    const parser = new TarParser({ onEntry }, origin);
    for await (const piece of decompressMember(data, compression, origin)) {
      signal?.throwIfAborted();
      this.#unpackedBytes += piece.length;
      if (this.#unpackedBytes > MAX_UNPACKED_BYTES) throw new RangeError("the packages unpack to more than 4 GiB");
      parser.write(piece);
      await yieldToEvents();
    }
    parser.end();
  }

  #apply(
    entry: Pick<TarEntry, "path" | "type"> & Partial<TarEntry>,
    read: (offset: number, into: Uint8Array) => Promise<void> = async () => {},
  ): void {
    const rest = { sizeBytes: 0, mode: 0o755, linkTarget: "", uid: 0, gid: 0, major: 0, minor: 0, dataOffset: 0 };
    this.tree.apply({ ...rest, mtimeSeconds: this.#mtimeSeconds, ...entry }, read);
  }
}

const modeOf = (path: string): number => (/\.(?:pre|post)(?:inst|rm)$|\.config$/.test(path) ? 0o755 : 0o644);
