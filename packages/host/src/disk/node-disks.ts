/** Disks by the names of their image files: storage's formats on Node's files, with Node's decompression. */
import { realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type ImageFile, type ImageFiles, type OpenDiskOptions, type OpenedDisk, openDisk } from "@twinmetal/storage";
import { nodeDecoders } from "./decoders.ts";
import { fileError } from "./file-error.ts";
import { openImageFile } from "./node-image-file.ts";
import type { SpaceLimit } from "./space-limit.ts";

export class NodeImageFiles implements ImageFiles {
  readonly #lock: boolean;
  readonly #space: SpaceLimit | undefined;

  /** Without locks, images that others write to can be looked at; what is seen may be half of a change. */
  constructor(options: { readonly lock?: boolean; readonly space?: SpaceLimit | undefined } = {}) {
    this.#lock = options.lock ?? true;
    this.#space = options.space;
  }

  open(name: string, { isReadOnly }: { readonly isReadOnly: boolean }): Promise<ImageFile> {
    return openImageFile(name, { isReadOnly, lock: this.#lock, space: this.#space });
  }

  /** Relative to the image that names it, to where that really is, symbolic links followed. */
  async resolve(reference: string, from: string | undefined): Promise<string> {
    const path = from === undefined ? resolve(reference) : resolve(dirname(from), reference);
    try {
      return await realpath(path);
    } catch (error) {
      throw fileError(error, path, "opened");
    }
  }
}

export interface OpenNodeDiskOptions extends Omit<OpenDiskOptions, "decoders"> {
  readonly lock?: boolean;
  /** What the image, without its backing files, may take of its file system. */
  readonly space?: SpaceLimit | undefined;
}

/** Opens an image with its backing files. Throws StorageError. */
export function openNodeDisk(path: string, options: OpenNodeDiskOptions = {}): Promise<OpenedDisk> {
  return openDisk(new NodeImageFiles(options), path, { ...options, decoders: nodeDecoders });
}
