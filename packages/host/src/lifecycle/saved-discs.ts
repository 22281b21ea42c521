/**
 * The discs that were in a named VM's drives when it was saved, saved.discs in its folder: its spec has those that it starts with
 * from power-on. Written by the command that saves or clones it, and looked at together with a saved state only.
 *
 *   [{ "disk": 1, "path": "/images/second.iso" }, { "disk": 2, "path": null }]
 */
import { readFile, writeFile } from "node:fs/promises";
import type { DiscInDrive } from "../disk/disk-limits.ts";
import type { DiskOptions } from "../disk/disk-protocol.ts";
import type { VmFolder } from "./vm-folder.ts";

/** Rejects with what writing a file does. */
export async function keepDiscs({ discs }: VmFolder, found: readonly DiscInDrive[] = []): Promise<void> {
  await writeFile(discs, JSON.stringify(found), { mode: 0o600 });
}

/** What is not readable as such tells of none. */
export async function savedDiscs({ discs }: VmFolder): Promise<readonly DiscInDrive[]> {
  try {
    const found: unknown = JSON.parse(await readFile(discs, "utf8"));
    return Array.isArray(found) ? found.filter(isDisc) : [];
  } catch {
    return [];
  }
}

function isDisc(value: unknown): value is DiscInDrive {
  const { disk, path } = (value ?? {}) as Record<string, unknown>;
  return Number.isInteger(disk) && (path === null || typeof path === "string");
}

/** The disks as the spec names them, with these discs in their drives; undefined: an empty one. */
export function withDiscs(
  disks: readonly DiskOptions[],
  discs: readonly DiscInDrive[],
): readonly (DiskOptions | undefined)[] {
  return disks.map((options, index) => {
    const disc = discs.find(({ disk }) => disk === index);
    if (disc === undefined || disc.path === options.path) return options;
    return disc.path === null ? undefined : { ...options, path: disc.path, format: "raw" };
  });
}
