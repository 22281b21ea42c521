/** Files of this host collected into a cpio archive for a guest: parent directories come by themselves. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { type CpioEntry, writeCpio } from "../../packages/host/src/image/cpio.ts";

export class FileTree {
  readonly #entries: CpioEntry[] = [];
  readonly #paths = new Set<string>();

  /** Paths are the guest's, without a leading slash. */
  directory(path: string, mode = 0o755): this {
    if (path === "." || path === "" || this.#paths.has(path)) return this;
    this.directory(dirname(path));
    return this.#add({ type: "directory", path, mode });
  }

  file(path: string, data: Uint8Array | string, mode = 0o644): this {
    return this.directory(dirname(path)).#add({ type: "file", path, data: Buffer.from(data as Uint8Array), mode });
  }

  link(path: string, target: string): this {
    return this.directory(dirname(path)).#add({ type: "symlink", path, target });
  }

  device(path: string, major: number, minor: number): this {
    return this.directory(dirname(path)).#add({ type: "character-device", path, major, minor });
  }

  /** A file of this host, under the same mode; symbolic links are followed. */
  copy(path: string, source: string, mode = 0o644): this {
    return this.file(path, readFileSync(source), mode);
  }

  /** All of a directory of this host that `select` wants, by path below it. Links stay links. */
  copyTree(path: string, source: string, select: (relative: string) => boolean = () => true): this {
    const walk = (relative: string): void => {
      for (const entry of readdirSync(join(source, relative), { withFileTypes: true })) {
        const below = join(relative, entry.name);
        if (entry.isDirectory()) walk(below);
        else if (!select(below)) continue;
        else if (entry.isSymbolicLink()) this.link(join(path, below), readlinkSync(join(source, below)));
        else if (entry.isFile()) this.copy(join(path, below), join(source, below));
      }
    };
    this.directory(path);
    walk("");
    return this;
  }

  archive(): Uint8Array {
    return writeCpio(this.#entries);
  }

  #add(entry: CpioEntry): this {
    this.#paths.add(entry.path);
    this.#entries.push(entry);
    return this;
  }
}
