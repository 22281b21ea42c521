/**
 * Directories of verified files with a description beside them: `image.json` names every file with its SHA-256, and a
 * directory that does not match its description is as good as absent. They are built aside and renamed into place,
 * so there is never a half-written one, whatever ends the process.
 */

import { createHash } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryName } from "./cache-directory.ts";
import { hashFile } from "./debian-package.ts";
import { describeWriteError } from "./image-error.ts";

export interface StoredFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface StoredDescription {
  readonly formatVersion: number;
  readonly files: readonly StoredFile[];
}

const DESCRIPTION_FILE = "image.json";

/** The description of a stored directory, its files verified; undefined for anything that does not fit. */
export async function readStored<T extends StoredDescription>(
  directory: string,
  formatVersion: number,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  try {
    const description = JSON.parse(
      await readFile(join(directory, DESCRIPTION_FILE), { encoding: "utf8", signal }),
    ) as T;
    if (description.formatVersion !== formatVersion || !Array.isArray(description.files)) return undefined;
    for (const { name, sha256 } of description.files) {
      if (!/^[A-Za-z0-9][A-Za-z0-9._+~%-]*$/.test(name)) return undefined;
      if ((await hashFile(join(directory, name), signal)) !== sha256) return undefined;
    }
    return description;
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}

/** Writes a file of a description into its directory. */
export async function storeFile(
  directory: string,
  name: string,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<StoredFile> {
  await writeFile(join(directory, name), data, { signal });
  return { name, sizeBytes: data.length, sha256: createHash("sha256").update(data).digest("hex") };
}

/** Lets `build` fill a new directory, describes what it lists, and puts it in the place of `directory`. */
export async function buildStored<T extends StoredDescription>(
  directory: string,
  build: (temporary: string) => Promise<T>,
): Promise<T> {
  const temporary = temporaryName(directory);
  try {
    const description = await build(temporary);
    await writeFile(join(temporary, DESCRIPTION_FILE), `${JSON.stringify(description, undefined, 2)}\n`);
    await replaceDirectory(temporary, directory);
    return description;
  } catch (error) {
    throw describeWriteError(error, directory);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** A directory cannot be renamed over another one: the old one is moved aside first. */
async function replaceDirectory(from: string, to: string): Promise<void> {
  const aside = temporaryName(to);
  try {
    await rename(to, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  await rename(from, to);
  await rm(aside, { recursive: true, force: true });
}
