/**
 * Debian packages of one release in a stored directory (image-store.ts), as the images are put together from: where they come
 * from on this host, fetched by apt or from a mirror directly, each verified.
 */
import { createHash } from "node:crypto";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { fetchWithApt, hasApt, type WantedPackages } from "./apt-packages.ts";
import { makeDirectories } from "./cache-directory.ts";
import type { FetchedPackage, FetchHooks, PackageRecord } from "./debian-package.ts";
import { type DebianSource, findDebianSource, findKeyring } from "./debian-sources.ts";
import { ImageError } from "./image-error.ts";
import type { StoredDescription } from "./image-store.ts";
import { fetchFromMirror } from "./mirror-packages.ts";

export interface PackageSource {
  /** A Debian mirror; default is the one of the host's apt, or else Debian's standard mirror. */
  readonly mirror?: string;
  /** The key ring that signs the mirror; default is Debian's on this host. null: none, so the mirror has to be https. */
  readonly keyring?: string | null;
  /** Debian's release; default "bookworm" on every host. */
  readonly suite?: string;
  /** How packages are fetched: "auto" (default) takes apt where there is one. */
  readonly fetchWith?: "auto" | "apt" | "mirror";
}

export interface PackageSet extends StoredDescription {
  readonly packages: readonly PackageRecord[];
  readonly mirror: string;
  readonly suite: string;
}

export const DEFAULT_SUITE = "bookworm";
export const PACKAGE_SET_VERSION = 1;

/** Throws ImageError "IMAGE_BAD_OPTION". */
export function checkPackageSource({ mirror, suite }: PackageSource): void {
  const isMirror =
    mirror === undefined || (URL.canParse(mirror) && /^(?:https?|file):/.test(mirror) && !/[\s"]/.test(mirror));
  if (!isMirror) {
    throw new ImageError(
      "IMAGE_BAD_OPTION",
      `"${mirror}" is not the address of a mirror.`,
      "Give one such as https://HOST/debian.",
    );
  }
  if (suite !== undefined && !/^[a-z][a-z0-9-]{1,40}$/.test(suite)) {
    throw new ImageError(
      "IMAGE_BAD_OPTION",
      `"${suite}" is not the name of a Debian release.`,
      `Give one such as ${DEFAULT_SUITE}.`,
    );
  }
}

/** Fetches into `directory`, which is made. Rejects with ImageError, or the signal's reason. */
export async function fetchPackageSet(
  given: PackageSource,
  wanted: WantedPackages,
  directory: string,
  hooks: FetchHooks,
): Promise<PackageSet> {
  await makeDirectories(directory);
  const source = chooseSource(given);
  const { suite = DEFAULT_SUITE } = given;
  const isByApt = await usesApt(given, wanted, hooks.signal);
  const fetched = isByApt
    ? await fetchWithApt({ source, suite }, wanted, directory, hooks)
    : await fetchFromMirror({ source, suite }, wanted.names, directory, hooks);
  const packages: PackageRecord[] = [];
  for (const record of fetched) packages.push(await keepAs(record, join(directory, debName(record))));
  return {
    formatVersion: PACKAGE_SET_VERSION,
    mirror: source.mirror,
    suite,
    packages,
    files: packages.map((record) => ({ name: debName(record), sizeBytes: record.sizeBytes, sha256: record.sha256 })),
  };
}

export function debName(record: PackageRecord): string {
  return `${record.name}.deb`;
}

export function shortHash(...parts: readonly (string | number)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
}

function chooseSource({ mirror, keyring }: PackageSource): DebianSource {
  const source =
    mirror === undefined ? findDebianSource() : { mirror: mirror.replace(/\/+$/, ""), keyring: findKeyring() };
  return keyring === undefined ? source : { ...source, keyring: keyring ?? undefined };
}

async function usesApt(
  { fetchWith = "auto", mirror }: PackageSource,
  { withDependencies = [] }: WantedPackages,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (fetchWith === "mirror" && withDependencies.length === 0) return false;
  if (await hasApt(signal)) return true;
  if (withDependencies.length > 0) {
    throw new ImageError(
      "IMAGE_NO_SOURCE",
      "Which packages a Debian consists of is found out by apt, and this host has none.",
      "Make the image on a host that has apt, and copy its folder debian-* from the cache; or give a cloud image by its path.",
    );
  }
  if (fetchWith === "auto" && mirror !== undefined) return false;
  throw new ImageError(
    "IMAGE_NO_SOURCE",
    "The tiny image is put together from Debian packages on first use, and this host has no apt to fetch them with.",
    "Name a Debian mirror with --mirror https://HOST/debian, or boot your own kernel with --kernel FILE --initrd FILE.",
  );
}

async function keepAs({ path, ...record }: FetchedPackage, wanted: string): Promise<PackageRecord> {
  if (path !== wanted) await rename(path, wanted);
  return record;
}
