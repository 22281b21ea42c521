/**
 * Which kernel modules a set of wanted ones needs, and in which order they have to be loaded.
 * Debian's kernel packages carry no modules.dep (depmod writes it at installation), so the dependencies are read from
 * each module's own ELF section `.modinfo` (ELF-64, little-endian), and built-in ones from modules.builtin.
 * Left out: symbol-level resolution, aliases, soft dependencies.
 */

import { ImageError } from "./image-error.ts";

/** Where the bytes of a package's modules come from. */
export interface ModuleTree {
  /** Paths relative to lib/modules/VERSION, e.g. "kernel/drivers/virtio/virtio.ko". */
  readonly paths: readonly string[];
  /** The text of modules.builtin. */
  readonly builtin: string;
  /** The module's bytes as in the package, perhaps compressed. */
  read(path: string): Uint8Array;
}

export interface LoadableModule {
  readonly name: string;
  /** Without a compression suffix. */
  readonly path: string;
  readonly data: Uint8Array;
}

export interface WantedModule {
  readonly name: string;
  /** A missing optional module is left out instead of being an error. */
  readonly isOptional?: boolean;
}

export type Decompress = (path: string, data: Uint8Array) => Uint8Array;

/** The closure of `wanted` in load order: dependencies first. Built-in modules do not appear. */
export function resolveModules(
  tree: ModuleTree,
  wanted: readonly WantedModule[],
  decompress: Decompress,
): LoadableModule[] {
  const pathByName = new Map<string, string>();
  for (const path of tree.paths) {
    const name = moduleName(path);
    if (name !== undefined) pathByName.set(name, path);
  }
  const builtin = new Set<string>();
  for (const line of tree.builtin.split("\n")) {
    const name = moduleName(line.trim());
    if (name !== undefined) builtin.add(name);
  }
  const loaded = new Map<string, LoadableModule>();
  const inProgress = new Set<string>();

  const visit = (name: string, neededBy: string, isOptional: boolean): void => {
    if (loaded.has(name) || builtin.has(name)) return;
    const path = pathByName.get(name);
    if (path === undefined) {
      if (isOptional) return;
      throw broken(`The kernel package has no module ${name}, which ${neededBy} needs.`);
    }
    if (inProgress.has(name)) throw broken(`The kernel modules depend on each other in a circle at ${name}.`);
    inProgress.add(name);
    const data = decompress(path, tree.read(path));
    for (const dependency of readModuleDependencies(data, path)) visit(dependency, name, false);
    inProgress.delete(name);
    loaded.set(name, { name, path: path.replace(/\.(?:gz|xz|zst)$/, ""), data });
  };
  for (const { name, isOptional } of wanted) visit(normalize(name), "Twinmetal's guest agent", isOptional ?? false);
  return [...loaded.values()];
}

/** The names in the `depends=` record of a module's `.modinfo` section. */
export function readModuleDependencies(elf: Uint8Array, origin: string): string[] {
  const section = findElfSection(elf, ".modinfo", origin);
  for (const record of Buffer.from(section).toString("latin1").split("\0")) {
    if (record.startsWith("depends=")) {
      return record
        .slice("depends=".length)
        .split(",")
        .filter((name) => name !== "")
        .map(normalize);
    }
  }
  return [];
}

const SHDR_SIZE = 64;

function findElfSection(elf: Uint8Array, name: string, origin: string): Uint8Array {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const damaged = (): ImageError => broken(`The kernel module ${origin} is not a readable ELF-64 file.`);
  const slice = (offset: bigint, size: bigint): Uint8Array => {
    if (offset + size > BigInt(elf.length)) throw damaged();
    return elf.subarray(Number(offset), Number(offset + size));
  };
  const isElf64Le = elf.length >= 64 && view.getUint32(0) === 0x7f454c46 && elf[4] === 2 && elf[5] === 1;
  if (!isElf64Le || view.getUint16(0x3a, true) !== SHDR_SIZE) throw damaged();
  const sectionCount = view.getUint16(0x3c, true);
  const nameTableIndex = view.getUint16(0x3e, true);
  const table = slice(view.getBigUint64(0x28, true), BigInt(sectionCount * SHDR_SIZE));
  const header = (index: number): { nameOffset: number; data: () => Uint8Array } => {
    const entry = new DataView(table.buffer, table.byteOffset + index * SHDR_SIZE, SHDR_SIZE);
    return {
      nameOffset: entry.getUint32(0, true),
      data: () => slice(entry.getBigUint64(0x18, true), entry.getBigUint64(0x20, true)),
    };
  };
  if (nameTableIndex >= sectionCount) throw damaged();
  const names = Buffer.from(header(nameTableIndex).data());
  const pattern = Buffer.from(`${name}\0`, "latin1");
  for (let index = 0; index < sectionCount; index++) {
    const { nameOffset, data } = header(index);
    if (names.subarray(nameOffset, nameOffset + pattern.length).equals(pattern)) return data();
  }
  return new Uint8Array(0);
}

function moduleName(path: string): string | undefined {
  const match = /([^/]+)\.ko(?:\.(?:gz|xz|zst))?$/.exec(path);
  return match?.[1] === undefined ? undefined : normalize(match[1]);
}

/** The kernel treats "-" and "_" in module names as equal. */
function normalize(name: string): string {
  return name.replaceAll("-", "_");
}

function broken(what: string): ImageError {
  return new ImageError("IMAGE_MALFORMED", what, "Try again with --suite bookworm, whose kernel is known to work.");
}
