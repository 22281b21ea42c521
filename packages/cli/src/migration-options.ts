/** What the two sides of a migration have in common on the command line: how the link between them is protected. */
import { resolve } from "node:path";
import { flag, type OptionValues, option } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { MigrationSecurity } from "./vm-library.ts";

export const LINK_OPTIONS = {
  tlsKey: option("tls-key", "FILE", "This side's key for TLS over TCP, in PEM."),
  tlsCert: option("tls-cert", "FILE", "Its certificate."),
  tlsCa: option("tls-ca", "FILE", "The authority's certificate that both sides' are signed by."),
  tlsPeers: option(
    "tls-peers",
    "NAME,...",
    "Only peers whose certificate has one of these names (default: all of the authority).",
    parseNames,
  ),
  insecure: flag("insecure", "TCP without TLS: whoever is on the way reads and changes the guest's memory."),
};

/** Throws UsageError. Paths are made absolute: another process may read them. */
export function linkSecurity(values: OptionValues<typeof LINK_OPTIONS>): MigrationSecurity {
  const { tlsKey, tlsCert, tlsCa, tlsPeers, insecure } = values;
  const given = [tlsKey, tlsCert, tlsCa].filter((path) => path !== undefined).length;
  if (given === 0 && tlsPeers === undefined) return insecure ? { insecure } : {};
  if (given < 3) throw new UsageError("TLS needs all three: --tls-key, --tls-cert and --tls-ca.");
  if (insecure) throw new UsageError("--insecure and TLS exclude each other.");
  return {
    tls: {
      key: resolve(tlsKey!),
      certificate: resolve(tlsCert!),
      authority: resolve(tlsCa!),
      ...(tlsPeers && { peers: tlsPeers }),
    },
  };
}

function parseNames(text: string): readonly string[] {
  const names = text.split(",");
  if (names.every((name) => /^[A-Za-z0-9:._-]{1,253}$/.test(name))) return names;
  throw new UsageError(`"${text}" is no list of names: give DNS names or IP addresses, with commas between them.`);
}

/** Throws UsageError. Unix sockets are named as this process sees them: relative paths become absolute. */
export function targetAddress(text: string): string {
  const [, path] = /^unix:(.+)$/s.exec(text) ?? [];
  if (path !== undefined) return `unix:${resolve(path)}`;
  if (/^tcp:.+:\d+$/.test(text)) return text;
  throw new UsageError(`"${text}" is no address for a VM. Give unix:PATH, or tcp:HOST:PORT.`);
}
