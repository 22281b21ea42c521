/**
 * Fetches Debian packages where there is no apt: reads the release and package index of a mirror directly
 * (Debian wiki, "Repository format") and verifies every file by SHA-256 against the index above it.
 * The index itself is trusted if gpgv verifies its signature, or else if it came over TLS or from this machine; plain
 * http without gpgv is refused. Left out: proxies (Node's fetch has none), partial downloads, By-Hash.
 */

import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { networkError, packageNotFound } from "./apt-packages.ts";
import { isMissingProgram, runProgram } from "./child-process.ts";
import {
  type FetchedPackage,
  type FetchHooks,
  hashFile,
  hashMismatch,
  type PackageRecord,
  readPackageRecord,
  resolvePackage,
} from "./debian-package.ts";
import { type DebianSource, parseDeb822 } from "./debian-sources.ts";
import { ImageError } from "./image-error.ts";

export interface MirrorOptions {
  readonly source: DebianSource;
  readonly suite: string;
}

const MAX_RELEASE_BYTES = 4 * 1024 * 1024;
const MAX_INDEX_BYTES = 64 * 1024 * 1024;
const MAX_INDEX_TEXT_BYTES = 256 * 1024 * 1024;
const INDEX_PATH = "main/binary-amd64/Packages.gz";

export async function fetchFromMirror(
  options: MirrorOptions,
  names: readonly string[],
  directory: string,
  hooks: FetchHooks,
): Promise<FetchedPackage[]> {
  const { suite, source } = options;
  const mirror = source.mirror;
  const release = `${mirror}/dists/${suite}`;
  if (source.keyring === undefined) checkTransport(mirror);
  hooks.onProgress("lists", 0, 100);
  const inRelease = await get(`${release}/InRelease`, MAX_RELEASE_BYTES, hooks.signal, mirror);
  const releaseText = await verifyRelease(inRelease, source, directory, hooks.signal);
  const expected = releaseHash(releaseText, INDEX_PATH);
  if (expected === undefined) throw packageNotFound("index for amd64", suite, mirror);
  const compressed = await get(`${release}/${INDEX_PATH}`, MAX_INDEX_BYTES, hooks.signal, mirror, (done, total) =>
    hooks.onProgress("lists", (done / Math.max(1, total)) * 99, 100),
  );
  if (sha256(compressed) !== expected) throw hashMismatch("index", mirror);
  const index = gunzipSync(compressed, { maxOutputLength: MAX_INDEX_TEXT_BYTES });
  hooks.onProgress("lists", 100, 100);

  const lookUp = async (name: string): Promise<PackageRecord> => {
    const paragraph = findParagraph(index, name);
    if (paragraph === undefined) throw packageNotFound(name, suite, mirror);
    return readPackageRecord(parseDeb822(paragraph)[0] ?? new Map(), mirror);
  };
  const records: PackageRecord[] = [];
  for (const name of names) records.push(await resolvePackage(name, lookUp));

  const totalBytes = records.reduce((sum, record) => sum + record.sizeBytes, 0);
  let doneBytes = 0;
  const fetched: FetchedPackage[] = [];
  for (const record of records) {
    const data = await get(`${mirror}/${record.archivePath}`, record.sizeBytes, hooks.signal, mirror, (done) =>
      hooks.onProgress("download", doneBytes + done, totalBytes),
    );
    const path = join(directory, `${record.name}.deb`);
    await writeFile(path, data, { signal: hooks.signal });
    if ((await hashFile(path, hooks.signal)) !== record.sha256) throw hashMismatch(record.name, mirror);
    doneBytes += record.sizeBytes;
    fetched.push({ ...record, path });
  }
  hooks.onProgress("download", totalBytes, totalBytes);
  return fetched;
}

/** The text of a clearsigned file, its trust established. */
async function verifyRelease(
  inRelease: Uint8Array,
  source: DebianSource,
  directory: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (source.keyring !== undefined) {
    const path = join(directory, "InRelease");
    await writeFile(path, inRelease, { signal });
    try {
      const result = await runProgram("gpgv", ["--keyring", source.keyring, "--output", "-", path], { signal });
      if (result.status === 0) return result.stdout;
      throw new ImageError(
        "IMAGE_UNTRUSTED",
        `The signature of ${source.mirror} cannot be verified with ${source.keyring}.`,
        "Name a mirror of Debian itself with --mirror URL.",
      );
    } catch (error) {
      if (!isMissingProgram(error)) throw error;
    } finally {
      await rm(path, { force: true });
    }
  }
  checkTransport(source.mirror);
  return stripClearsign(Buffer.from(inRelease).toString("utf8"));
}

/** Whether what comes from there can be trusted by the way it came. */
function checkTransport(mirror: string): void {
  const { protocol, hostname } = new URL(mirror);
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  if (protocol === "https:" || protocol === "file:" || isLocal) return;
  throw new ImageError(
    "IMAGE_UNTRUSTED",
    `What comes from ${mirror} cannot be verified: it is not https, and this host has no gpgv with Debian's keys.`,
    "Name an https mirror with --mirror https://HOST/debian.",
  );
}

/** RFC 9580, section 7: the text between the armor header's empty line and the signature, dash-escapes undone. */
export function stripClearsign(text: string): string {
  if (!text.startsWith("-----BEGIN PGP SIGNED MESSAGE-----")) return text;
  const start = text.search(/\r?\n\r?\n/);
  const end = text.indexOf("\n-----BEGIN PGP SIGNATURE-----");
  return text
    .slice(start, end < 0 ? undefined : end)
    .replace(/^- /gm, "")
    .trimStart();
}

/** The SHA-256 that a Release file states for `path`. */
export function releaseHash(release: string, path: string): string | undefined {
  const section = parseDeb822(release)[0]?.get("sha256") ?? "";
  for (const line of section.split("\n")) {
    const [hash = "", , name] = line.trim().split(/\s+/);
    if (name === path && /^[0-9a-f]{64}$/.test(hash)) return hash;
  }
  return undefined;
}

/** The paragraph of a package in a Packages index, without parsing the tens of thousands of others. */
export function findParagraph(index: Buffer, name: string): string | undefined {
  const key = Buffer.from(`Package: ${name}\n`, "latin1");
  for (let at = index.indexOf(key); at >= 0; at = index.indexOf(key, at + 1)) {
    if (at !== 0 && index[at - 1] !== 0x0a) continue;
    const end = index.indexOf("\n\n", at);
    return index.toString("utf8", at, end < 0 ? index.length : end);
  }
  return undefined;
}

async function get(
  url: string,
  maxBytes: number,
  signal: AbortSignal | undefined,
  mirror: string,
  onProgress?: (doneBytes: number, totalBytes: number) => void,
): Promise<Buffer> {
  if (url.startsWith("file:")) {
    try {
      return await readFile(fileURLToPath(url), { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw networkError(mirror, `${url} cannot be read`, error);
    }
  }
  try {
    const response = await fetch(url, { signal, redirect: "follow" });
    if (!response.ok || response.body === null) throw networkError(mirror, `${url} answered ${response.status}`);
    const totalBytes = Number(response.headers.get("content-length") ?? 0);
    const chunks: Uint8Array[] = [];
    let doneBytes = 0;
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      doneBytes += chunk.length;
      if (doneBytes > maxBytes) throw networkError(mirror, `${url} is larger than it should be`);
      chunks.push(chunk);
      onProgress?.(doneBytes, totalBytes);
    }
    return Buffer.concat(chunks, doneBytes);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ImageError) throw error;
    const cause = (error as { cause?: { message?: string } }).cause?.message ?? (error as Error).message;
    throw networkError(mirror, cause, error);
  }
}

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
