/**
 * Where Debian packages come from on this host: reads /etc/apt/sources.list (one-line style) and sources.list.d
 * (also deb822 style), see sources.list(5), and picks a mirror of Debian itself with its keyring. The release is
 * always the one this program asks for, whatever the host runs, so that every host gets the same guest.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ImageError } from "./image-error.ts";

export interface DebianSource {
  readonly mirror: string;
  /** Path of the key ring that signs it; undefined leaves the choice to apt. */
  readonly keyring: string | undefined;
}

interface SourceEntry {
  readonly types: readonly string[];
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  readonly signedBy: string | undefined;
  readonly isEnabled: boolean;
}

const KEYRINGS = ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/** Debian's suites by name. Their security and update archives are other archives under other names. */
const DEBIAN_SUITE = /^(?:bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)$/;

/** The mirror the host's apt uses for Debian itself. Throws ImageError where it uses none. */
export function findDebianSource(root = "/"): DebianSource {
  for (const entry of readHostSources(root)) {
    const isDebian = entry.isEnabled && entry.types.includes("deb") && entry.components.includes("main");
    if (!isDebian || !entry.suites.some((suite) => DEBIAN_SUITE.test(suite))) continue;
    const mirror = entry.uris.find((uri) => /^(?:https?|file|mirror\+\w+|tor\+https?):/.test(uri));
    if (mirror !== undefined) return { mirror: mirror.replace(/\/+$/, ""), keyring: findKeyring(root, entry.signedBy) };
  }
  throw new ImageError(
    "IMAGE_NO_SOURCE",
    "The guest is put together from Debian packages, and this host's apt names no mirror of Debian.",
    "Name one with --mirror URL: any mirror of Debian that you trust.",
  );
}

export function findKeyring(root = "/", preferred?: string): string | undefined {
  const candidates = preferred?.startsWith("/") ? [preferred, ...KEYRINGS] : KEYRINGS;
  return candidates.find((path) => existsSync(join(root, path)));
}

function readHostSources(root: string): SourceEntry[] {
  const entries = parseOneLineSources(readOrEmpty(join(root, "etc/apt/sources.list")));
  const directory = join(root, "etc/apt/sources.list.d");
  for (const name of listOrEmpty(directory)) {
    const content = readOrEmpty(join(directory, name));
    if (name.endsWith(".list")) entries.push(...parseOneLineSources(content));
    else if (name.endsWith(".sources")) entries.push(...parseDeb822Sources(content));
  }
  return entries;
}

/** `deb [signed-by=...] URI SUITE COMPONENT...` */
export function parseOneLineSources(content: string): SourceEntry[] {
  const entries: SourceEntry[] = [];
  for (const line of content.split("\n")) {
    const match = /^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)/.exec(line);
    if (match === null) continue;
    const [, type = "", options = "", uri = "", suite = "", components = ""] = match;
    entries.push({
      types: [type],
      uris: [uri],
      suites: [suite],
      components: words(components),
      signedBy: /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1]?.split(",")[0],
      isEnabled: true,
    });
  }
  return entries;
}

/** Paragraphs of `Types:`, `URIs:`, `Suites:`, `Components:`, `Signed-By:`, `Enabled:`. */
export function parseDeb822Sources(content: string): SourceEntry[] {
  return parseDeb822(content).map((fields) => ({
    types: words(fields.get("types")),
    uris: words(fields.get("uris")),
    suites: words(fields.get("suites")),
    components: words(fields.get("components")),
    signedBy: words(fields.get("signed-by"))[0],
    isEnabled: !/^(?:no|false|0|off|without|disable)$/i.test(fields.get("enabled")?.trim() ?? ""),
  }));
}

/** RFC822-like paragraphs of Debian's control files (deb822(5)): field names in lower case, continuations joined. */
export function parseDeb822(content: string): Map<string, string>[] {
  const paragraphs: Map<string, string>[] = [];
  let fields = new Map<string, string>();
  let last: string | undefined;
  for (const line of content.split(/\r?\n/)) {
    if (line.startsWith("#")) continue;
    if (line.trim() === "") {
      if (fields.size > 0) paragraphs.push(fields);
      fields = new Map();
      last = undefined;
    } else if (/^\s/.test(line)) {
      if (last !== undefined) fields.set(last, `${fields.get(last) ?? ""}\n${line.trim()}`);
    } else {
      const colon = line.indexOf(":");
      if (colon <= 0) continue;
      last = line.slice(0, colon).toLowerCase();
      fields.set(last, line.slice(colon + 1).trim());
    }
  }
  if (fields.size > 0) paragraphs.push(fields);
  return paragraphs;
}

function words(value: string | undefined): string[] {
  return (value ?? "").split(/\s+/).filter((word) => word !== "");
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isAbsent(error)) return "";
    throw error;
  }
}

function listOrEmpty(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** A file that may not be read is treated as one that is not there: the standard mirror then serves. */
function isAbsent(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "");
}
