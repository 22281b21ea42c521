/**
 * A kernel or initrd that is open for a machine: read into guest memory when the machine starts, and again when it is
 * reset. It stays open meanwhile, so that a file that takes its name changes nothing; one that was written over is found
 * out by its size and its time of modification, and not read.
 */
import { type BigIntStats, closeSync, fstatSync } from "node:fs";
import type { FileReader } from "@twinmetal/core";
import { openForReading, readFully } from "./file-reading.ts";
import { VmError } from "./vm-error.ts";

export interface BootFileLocation {
  readonly path: string;
  readonly role: "kernel" | "initrd" | "module" | "firmware";
  /** Which file it was, and of when: `versionOf`. */
  readonly version: string;
}

export function versionOf({ dev, ino, size, mtimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs].join();
}

export class OpenBootFile implements FileReader {
  readonly length: number;
  readonly #location: BootFileLocation;
  readonly #descriptor: number;

  /** Throws VmError, also if it is not the file any more that it was. */
  constructor(location: BootFileLocation) {
    this.#location = location;
    const { path, role } = location;
    this.#descriptor = openForReading(path, role);
    this.length = Number(fstatSync(this.#descriptor, { bigint: true }).size);
    if (this.hasChanged) {
      this.close();
      throw new VmError(`${role}-unreadable`, `The ${role} ${path} was changed while it was read. Try it again.`);
    }
  }

  get hasChanged(): boolean {
    return versionOf(fstatSync(this.#descriptor, { bigint: true })) !== this.#location.version;
  }

  readAt(offset: number, into: Uint8Array): void {
    readFully(this.#descriptor, offset, into, this.#location.path, this.#location.role);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
