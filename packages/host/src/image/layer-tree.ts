/**
 * The file system that the layers of a container image make ("Image Layer Filesystem Changeset" of the OCI image
 * specification 1.1): each is a tar archive whose entries replace what lies below, ".wh.NAME" takes NAME away, and
 * ".wh..wh..opq" everything that lower layers have in that directory. It is a tree in memory and never one of this host's:
 * a path that leads out, or a symbolic link that points somewhere, means something inside it or nothing.
 */
import { type DirectoryNode, type FileNode, newDirectory, type TreeNode } from "@twinmetal/storage";
import { ImageError } from "./image-error.ts";
import type { TarEntry } from "./tar.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
const MAX_ENTRIES = 500_000;
const MAX_PATH_BYTES = 4096;
const MAX_DEPTH = 200;
const TOO_DEEP = `its folders are more than ${MAX_DEPTH} deep`;
/** As Linux. */
const MAX_LINKS_FOLLOWED = 40;
const MAX_NAME_BYTES = 255;

export class LayerTree {
  readonly root: DirectoryNode = newDirectory();
  readonly #origin: string;
  /** Which layer a node is from, for what makes a directory opaque. */
  readonly #layers = new WeakMap<TreeNode, number>();
  #layer = 0;
  #entries = 0;

  constructor(origin: string) {
    this.#origin = origin;
  }

  beginLayer(): void {
    this.#layer++;
  }

  /** `read`: where a file's bytes are. Throws ImageError. */
  apply(entry: TarEntry, read: FileNode["read"]): void {
    if (++this.#entries > MAX_ENTRIES) throw this.#refuse(`it has more than ${MAX_ENTRIES} entries`);
    const parts = this.#parts(entry.path);
    const name = parts.at(-1);
    if (name === undefined) {
      if (entry.type === "directory") this.#setAttributes(this.root, entry);
      return;
    }
    const directory = this.#directoryOf(parts.slice(0, -1));
    if (name === OPAQUE) this.#hideLower(directory);
    else if (name.startsWith(WHITEOUT)) directory.children.delete(name.slice(WHITEOUT.length));
    else this.#put(directory, name, entry, read);
  }

  /** What is there, symbolic links followed; undefined: nothing. */
  find(path: string): { readonly node: TreeNode; readonly path: string } | undefined {
    const names: string[] = [];
    let open: DirectoryNode[] = [this.root];
    let left = path.split("/");
    for (let followed = 0; left.length > 0; ) {
      const [part = "", ...rest] = left;
      left = rest;
      if (part === "" || part === ".") continue;
      if (part === "..") {
        names.pop();
        if (open.length > 1) open = open.slice(0, -1);
        continue;
      }
      const node = open.at(-1)!.children.get(part);
      if (node === undefined) return undefined;
      if (node.type === "symlink") {
        if (++followed > MAX_LINKS_FOLLOWED) return undefined;
        left = [...node.target.split("/"), ...left];
        if (node.target.startsWith("/")) {
          names.length = 0;
          open = [this.root];
        }
      } else if (node.type === "directory") {
        open = [...open, node];
        names.push(part);
      } else {
        return left.some((further) => further !== "" && further !== ".")
          ? undefined
          : { node, path: `/${[...names, part].join("/")}` };
      }
    }
    return { node: open.at(-1)!, path: `/${names.join("/")}` };
  }

  #put(directory: DirectoryNode, name: string, entry: TarEntry, read: FileNode["read"]): void {
    const known = directory.children.get(name);
    if (entry.type === "directory" && known?.type === "directory") {
      this.#setAttributes(known, entry);
      return;
    }
    const node = this.#node(entry, read);
    if (node === undefined) return;
    if (!this.#layers.has(node) || entry.type !== "hardlink") this.#layers.set(node, this.#layer);
    directory.children.set(name, node);
  }

  #node(entry: TarEntry, read: FileNode["read"]): TreeNode | undefined {
    const { type, mode, uid, gid, mtimeSeconds, sizeBytes, linkTarget, major, minor } = entry;
    const attributes = { mode, uid, gid, mtimeSeconds };
    switch (type) {
      case "directory":
        return { ...newDirectory(), ...attributes };
      case "file":
        return { type, ...attributes, sizeBytes, read };
      case "symlink":
        if (linkTarget === "" || Buffer.byteLength(linkTarget) > MAX_PATH_BYTES - 1) {
          throw this.#refuse(`the symbolic link ${printable(entry.path)} has no target that could be one`);
        }
        return { type, ...attributes, mode: 0o777, target: linkTarget };
      case "hardlink":
        return this.#linked(entry);
      case "character-device":
      case "block-device":
      case "fifo":
        return { type, ...attributes, major, minor };
      default:
        throw this.#refuse(`${printable(entry.path)} is of a kind that is not known`);
    }
  }

  #linked({ path, linkTarget }: TarEntry): TreeNode {
    const parts = this.#parts(linkTarget);
    const name = parts.at(-1) ?? "";
    const target = this.#directoryOf(parts.slice(0, -1), false)?.children.get(name);
    if (target !== undefined && target.type !== "directory") return target;
    throw this.#refuse(
      `the hard link ${printable(path)} is to ${printable(linkTarget)}, which is no file of the image`,
    );
  }

  #setAttributes(node: DirectoryNode, { mode, uid, gid, mtimeSeconds }: TarEntry): void {
    Object.assign(node, { mode, uid, gid, mtimeSeconds });
    this.#layers.set(node, this.#layer);
  }

  /** In it only what this layer has brought stays, at every depth. */
  #hideLower(directory: DirectoryNode): void {
    for (const [name, node] of directory.children) {
      if (this.#layers.get(node) !== this.#layer) directory.children.delete(name);
      else if (node.type === "directory") this.#hideLower(node);
    }
  }

  /** Symbolic links on the way mean what they do in the image. What is not there is made. */
  #directoryOf(parts: readonly string[]): DirectoryNode;
  #directoryOf(parts: readonly string[], isMade: false): DirectoryNode | undefined;
  #directoryOf(parts: readonly string[], isMade = true): DirectoryNode | undefined {
    // As for nearly every entry.
    const whole = this.find(parts.join("/"))?.node;
    if (whole?.type === "directory") return whole;
    let path = "";
    let directory = this.root;
    for (const part of parts) {
      path = `${path}/${part}`;
      const found = this.find(path);
      if (found?.node.type === "directory") {
        directory = found.node;
        path = found.path === "/" ? "" : found.path;
        continue;
      }
      if (!isMade) return undefined;
      // Links lead further down than any path says.
      if (path.split("/").length > MAX_DEPTH) throw this.#refuse(TOO_DEEP);
      const made = newDirectory();
      this.#layers.set(made, this.#layer);
      directory.children.set(part, made);
      directory = made;
    }
    return directory;
  }

  #parts(path: string): string[] {
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw this.#refuse("a path is longer than 4096 bytes");
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes("..")) throw this.#refuse(`${printable(path)} leads out of the image`);
    if (parts.length > MAX_DEPTH) throw this.#refuse(TOO_DEEP);
    const isName = (part: string): boolean => Buffer.byteLength(part) <= MAX_NAME_BYTES && !part.includes("\0");
    if (!parts.every(isName)) throw this.#refuse("it has a name that no file can have");
    return parts;
  }

  #refuse(why: string): ImageError {
    return badArchive(this.#origin, why);
  }
}

export const ARCHIVE_STEP = "Save it again: docker save IMAGE -o FILE.tar, or skopeo copy ... oci-archive:FILE.tar.";

export function badArchive(origin: string, why: string, cause?: unknown): ImageError {
  return new ImageError("IMAGE_MALFORMED", `${origin} is no container image that can be run: ${why}.`, ARCHIVE_STEP, {
    cause,
  });
}

/** A word from an archive, safe to print. */
export function printable(text: string): string {
  return JSON.stringify(text.slice(0, 120));
}
