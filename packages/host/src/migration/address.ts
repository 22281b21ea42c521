/**
 * Where a VM comes from or goes to: `unix:PATH` or `tcp:HOST:PORT`, and how the two sides know each other. TCP is TLS with
 * certificates of one authority on both sides, or plain if that is asked for by name.
 */
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { MigrationError } from "@twinmetal/core";

export type MigrationAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** Files in PEM. */
export interface TlsFiles {
  readonly key: string;
  readonly certificate: string;
  /** Of the authority that has signed both sides' certificates. */
  readonly authority: string;
  /** Names of peers, as their certificates have them (DNS names or IP addresses): only these get in. Default: all of the authority. */
  readonly peers?: readonly string[];
}

export interface MigrationSecurity {
  readonly tls?: TlsFiles;
  /** TCP without TLS: anybody on the way reads and changes the guest's memory. */
  readonly insecure?: boolean;
}

export interface TlsMaterial {
  readonly key: Buffer;
  readonly cert: Buffer;
  readonly ca: Buffer;
  readonly peers: readonly string[] | undefined;
}

/** Linux's sockaddr_un holds 108 bytes with the closing zero. */
const MAX_PATH_BYTES = 107;

/** Throws MigrationError. */
export function parseAddress(text: string): MigrationAddress {
  const [, path] = /^unix:(.+)$/s.exec(text) ?? [];
  if (path !== undefined) {
    if (Buffer.byteLength(path) <= MAX_PATH_BYTES && !path.includes("\0")) return { kind: "unix", path };
    throw badOption(
      `${JSON.stringify(text)} is too long for a socket: give a path of at most ${MAX_PATH_BYTES} bytes.`,
    );
  }
  const [, bracketed, plain, digits] = /^tcp:(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host !== undefined && port <= 65_535 && (bracketed === undefined || isIPv6(bracketed))) {
    return { kind: "tcp", host, port };
  }
  throw badOption(`${JSON.stringify(text)} is no address. Give unix:PATH, or tcp:HOST:PORT.`);
}

export function formatAddress(address: MigrationAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `tcp:${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Undefined: no TLS. Throws MigrationError for TCP that is neither, and for files that cannot be read. */
export async function readSecurity(
  address: MigrationAddress,
  { tls, insecure = false }: MigrationSecurity,
): Promise<TlsMaterial | undefined> {
  if (tls && insecure) throw badOption("TLS and an insecure link exclude each other. Choose one.");
  if (address.kind === "unix") {
    if (tls) throw badOption("TLS is for TCP: a Unix socket stays on this host, and only its user reaches it.");
    return undefined;
  }
  if (tls) {
    const [key, cert, ca] = await Promise.all([tls.key, tls.certificate, tls.authority].map(readPem));
    if (tls.peers?.length === 0) throw badOption("No peer is accepted: name one, or leave the list out.");
    return { key: key!, cert: cert!, ca: ca!, peers: tls.peers };
  }
  if (insecure) return undefined;
  throw badOption(
    "Over TCP a VM's memory goes through the network: give key, certificate and authority for TLS, or say that it may be insecure.",
  );
}

async function readPem(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw badOption(`${path} cannot be read (${(error as NodeJS.ErrnoException).code}). Give a PEM file.`, error);
  }
}

export function badOption(message: string, cause?: unknown): MigrationError {
  return new MigrationError("bad-option", message, { cause });
}
