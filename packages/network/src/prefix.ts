/** Ranges of addresses (CIDR, RFC 4632), and those that are not the public Internet (the IANA special-purpose registries). */
import { embeddedIpv4, IPV4_BYTES, type IpAddress, parseIpAddress } from "./address.ts";

export interface Prefix {
  readonly address: IpAddress;
  /** Bits that count, from the most significant one. */
  readonly length: number;
}

/** "10.0.0.0/8", or an address for itself alone. Undefined: neither. */
export function parsePrefix(text: string): Prefix | undefined {
  const [head = "", tail, more] = text.split("/");
  const address = parseIpAddress(head);
  if (address === undefined || more !== undefined) return undefined;
  if (tail === undefined) return { address, length: address.length * 8 };
  const length = /^\d{1,3}$/.test(tail) ? Number(tail) : Number.NaN;
  return length <= address.length * 8 ? { address, length } : undefined;
}

export function isWithin(address: IpAddress, { address: start, length }: Prefix): boolean {
  if (address.length !== start.length) return false;
  const bytes = length >> 3;
  for (let i = 0; i < bytes; i++) if (address.charCodeAt(i) !== start.charCodeAt(i)) return false;
  const mask = 0xff00 >> (length & 7);
  return ((address.charCodeAt(bytes) ^ start.charCodeAt(bytes)) & mask & 0xff) === 0;
}

const prefixes = (...texts: string[]): readonly Prefix[] => texts.map((text) => parsePrefix(text)!);

/** This host, private networks, link-local (where clouds keep their metadata), shared, reserved, multicast; 168.63.129.16 is metadata, too. */
const NOT_PUBLIC: readonly Prefix[] = prefixes(
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12"],
  ...[
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
  ],
  ...["224.0.0.0/4", "240.0.0.0/4"],
  ...["::/127", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16"],
  ...["fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"],
);

/** Reachable by anybody on the Internet; an IPv6 address that leads to an IPv4 one is judged by that one. */
export function isPublic(address: IpAddress): boolean {
  const inner = embeddedIpv4(address);
  if (inner !== undefined) return isPublic(inner);
  return specialRange(address) === undefined && isAssigned(address);
}

/** The range of addresses with one purpose that is not the public Internet; undefined: the address is in none. */
export function specialRange(address: IpAddress): Prefix | undefined {
  return NOT_PUBLIC.find((range) => isWithin(address, range));
}

/** Everything that lies in `inner` lies in `outer`. */
export function isPartOf(inner: Prefix, outer: Prefix): boolean {
  return inner.length >= outer.length && isWithin(inner.address, outer);
}

/** 2000::/3 is all of IPv6 that is handed out as global unicast. */
function isAssigned(address: IpAddress): boolean {
  return address.length === IPV4_BYTES || (address.charCodeAt(0) & 0xe0) === 0x20;
}
