/**
 * What a guest sends, as files of the host. GUEST-CONTROLLED, all of it: it is unpacked into a new folder beside its final place,
 * where nothing but what came from the guest is, and only moved when it is whole.
 *
 * - A name with "..", an absolute one, one with NUL, or one whose folder has not come before it, is no archive: nothing is kept.
 * - Symbolic links are made last, so that nothing is written through one. One that leads out of what is copied (absolute, or
 *   by too many "..") is left out, and told. So are devices, FIFOs and sockets.
 * - Modes are kept without set-user-ID, set-group-ID and sticky bits; owner is whoever copies.
 */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { dirname, join, normalize } from "node:path";
import { printable } from "../agent/agent-error.ts";
import { type TarEntry, TarParser } from "../image/tar.ts";
import { CopyError, hostFileError } from "./copy-error.ts";

const PERMISSIONS = 0o777;
const PRIVATE_FOLDER = 0o700;
const ROOT = "root";
/** The year 2514: what file systems keep. */
const MAX_TIME_S = 2 ** 34;

export interface ReceivedCounts {
  readonly files: number;
  readonly folders: number;
  readonly links: number;
  readonly sizeBytes: number;
  /** Of the guest's, printable. */
  readonly leftOut: readonly string[];
}

export class ReceivedTree {
  readonly #target: string;
  readonly #origin: string;
  readonly #maxBytes: number;
  readonly #stage: string;
  readonly #parser: TarParser;
  readonly #folders = new Map<string, Pick<TarEntry, "mode" | "mtimeSeconds">>();
  readonly #files = new Set<string>();
  readonly #links = new Map<string, string>();
  readonly #leftOut: string[] = [];
  #rootName: string | undefined;
  #open: { readonly fd: number; readonly path: string; readonly entry: TarEntry; leftBytes: number } | undefined;
  #receivedBytes = 0;
  #sizeBytes = 0;

  /**
   * `target`: the path that the file or the folder gets; its folder is there. `origin` is for messages. At most `maxBytes` come.
   * Throws CopyError.
   */
  constructor(target: string, origin: string, maxBytes: number) {
    this.#target = target;
    this.#origin = origin;
    this.#maxBytes = maxBytes;
    this.#parser = new TarParser({ onEntry: (entry) => this.#take(entry) }, origin, "Nothing was copied.");
    try {
      this.#stage = mkdtempSync(join(dirname(target), ".twinmetal-cp-"));
    } catch (error) {
      throw hostFileError(error, dirname(target), "written");
    }
  }

  /** Throws CopyError, and ImageError "IMAGE_MALFORMED". */
  write(bytes: Uint8Array): void {
    this.#receivedBytes += bytes.length;
    if (this.#receivedBytes > this.#maxBytes) throw this.#tooLarge();
    this.#parser.write(bytes);
  }

  /** What has come gets its name. Precondition: the guest has said that it is whole. Throws CopyError, ImageError. */
  finish(): ReceivedCounts {
    this.#parser.end();
    this.#closeFile();
    const root = join(this.#stage, ROOT);
    if (this.#rootName === undefined) throw this.#wrong("it is empty");
    if (!existsSync(root))
      throw new CopyError("bad-archive", `${this.#origin} is no file and no folder, and only those are copied.`);
    try {
      for (const [path, target] of this.#links) symlinkSync(target, join(root, path));
      const made = [...this.#folders].filter(([path]) => !existsSync(join(this.#target, path)));
      requireNoConflict(root, this.#target);
      place(root, this.#target);
      // Deepest first: what is in a folder changes its time, and may be refused by its mode.
      for (const [path, { mode, mtimeSeconds }] of made.reverse()) {
        const own = join(this.#target, path);
        utimesSync(own, timeOf(mtimeSeconds), timeOf(mtimeSeconds));
        chmodSync(own, mode & PERMISSIONS);
      }
      const { size: links } = this.#links;
      const { size: files } = this.#files;
      const { size: folders } = this.#folders;
      return { files, folders, links, sizeBytes: this.#sizeBytes, leftOut: this.#leftOut };
    } catch (error) {
      throw hostFileError(error, this.#target, "written");
    }
  }

  /** Takes away what did not get its name. */
  dispose(): void {
    if (this.#open) closeSync(this.#open.fd);
    this.#open = undefined;
    rmSync(this.#stage, { recursive: true, force: true });
  }

  #take(entry: TarEntry): ((chunk: Uint8Array) => void) | undefined {
    this.#closeFile();
    const path = this.#pathOf(entry);
    const place = join(this.#stage, ROOT, path);
    switch (entry.type) {
      case "directory":
        return this.#makeFolder(path, place, entry);
      case "file":
        return this.#makeFile(path, place, entry);
      case "hardlink":
        return this.#makeHardLink(path, place, entry);
      case "symlink":
        if (staysInside(path, entry.linkTarget)) this.#links.set(path, entry.linkTarget);
        else this.#leftOut.push(printable(`${entry.path} -> ${entry.linkTarget}`));
        return undefined;
      default:
        this.#leftOut.push(printable(entry.path));
        return undefined;
    }
  }

  /** Below the first entry, which is what was asked for. */
  #pathOf({ path }: TarEntry): string {
    const parts = path.split("/");
    if (parts.some((part) => part === "" || part === "." || part === "..") || path.includes("\0"))
      throw this.#wrong(`the name ${printable(path)} leads elsewhere`);
    const [root, ...below] = parts as [string, ...string[]];
    this.#rootName ??= root;
    if (root !== this.#rootName) throw this.#wrong(`${printable(path)} is not below ${printable(this.#rootName)}`);
    const own = below.join("/");
    if (this.#files.has(own) || this.#folders.has(own) || this.#links.has(own))
      throw this.#wrong(`it has ${printable(path)} twice`);
    if (own !== "" && !this.#folders.has(below.slice(0, -1).join("/")))
      throw this.#wrong(`${printable(path)} comes without its folder`);
    return own;
  }

  #makeFolder(path: string, place: string, { mode, mtimeSeconds }: TarEntry): undefined {
    this.#onDisk(path, () => mkdirSync(place, { mode: PRIVATE_FOLDER }));
    this.#folders.set(path, { mode, mtimeSeconds });
  }

  #makeFile(path: string, place: string, entry: TarEntry): (chunk: Uint8Array) => void {
    const { sizeBytes } = entry;
    // What is announced and cannot come is refused before it fills the disk.
    if (sizeBytes > this.#maxBytes - this.#sizeBytes) throw this.#tooLarge();
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const fd = this.#onDisk(path, () => openSync(place, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
    const file = { fd, path, entry, leftBytes: sizeBytes };
    this.#open = file;
    this.#files.add(path);
    this.#sizeBytes += sizeBytes;
    return (chunk) => {
      file.leftBytes -= chunk.length;
      this.#onDisk(path, () => {
        for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
      });
    };
  }

  #closeFile(): void {
    const file = this.#open;
    if (file === undefined) return;
    if (file.leftBytes > 0) throw this.#wrong("it is cut off");
    const { fd, path, entry } = file;
    this.#onDisk(path, () => {
      fchmodSync(fd, entry.mode & PERMISSIONS);
      futimesSync(fd, timeOf(entry.mtimeSeconds), timeOf(entry.mtimeSeconds));
    });
    closeSync(fd);
    this.#open = undefined;
  }

  #makeHardLink(path: string, place: string, entry: TarEntry): undefined {
    const [root, ...below] = entry.linkTarget.replace(/^(?:\.\/)+/, "").split("/");
    const other = below.join("/");
    if (root !== this.#rootName || !this.#files.has(other)) {
      this.#leftOut.push(printable(`${entry.path} = ${entry.linkTarget}`));
      return;
    }
    this.#onDisk(path, () => linkSync(join(this.#stage, ROOT, other), place));
    this.#files.add(path);
  }

  #onDisk<T>(path: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw hostFileError(error, join(this.#target, path), "written");
    }
  }

  #wrong(why: string): CopyError {
    return new CopyError("bad-archive", `What ${this.#origin} sends cannot be taken: ${why}. Nothing was copied.`);
  }

  #tooLarge(): CopyError {
    const mib = Math.floor(this.#maxBytes / 2 ** 20);
    return new CopyError(
      "too-large",
      `${this.#origin} sends more than ${mib} MiB, which is what may come. Nothing was copied. Free some space on the disk of ${this.#target}, or give --max-size.`,
    );
  }
}

function timeOf(mtimeSeconds: number): number {
  return Math.min(mtimeSeconds, MAX_TIME_S);
}

/** A link at `path`, relative to what is copied, leads to something in it. */
function staysInside(path: string, target: string): boolean {
  if (target === "" || target.startsWith("/") || target.includes("\0") || path === "") return false;
  return !normalize(join(dirname(path), target))
    .split("/")
    .includes("..");
}

/** Nothing was moved yet when a folder would have to replace a file, or a file a folder. */
function requireNoConflict(from: string, to: string): void {
  const old = lstatSync(to, { throwIfNoEntry: false });
  if (old === undefined) return;
  const isFolder = lstatSync(from).isDirectory();
  if (isFolder !== old.isDirectory())
    throw new CopyError(
      "conflict",
      `${to} is ${isFolder ? "no folder" : "a folder"}, and what is copied there is ${isFolder ? "one" : "none"}. Nothing was copied.`,
    );
  if (isFolder) for (const name of readdirSync(from)) requireNoConflict(join(from, name), join(to, name));
}

/** Folders that are there are filled; each file takes its name at once. */
function place(from: string, to: string): void {
  const isMerged = lstatSync(from).isDirectory() && lstatSync(to, { throwIfNoEntry: false })?.isDirectory();
  if (!isMerged) renameSync(from, to);
  else for (const name of readdirSync(from)) place(join(from, name), join(to, name));
}
