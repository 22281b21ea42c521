/**
 * IP addresses as strings of their raw bytes, one character each: 4 for IPv4, 16 for IPv6. They compare with `===`, are keys
 * of maps, and cost no parsing for each packet. Texts (RFC 4291, 5952) are for people: `formatIpAddress`, `parseIpAddress`.
 */

/** The raw bytes of an address: 4 or 16 characters, each 0 to 255. */
export type IpAddress = string & { readonly __address: unique symbol };

export const IPV4_BYTES = 4;
export const IPV6_BYTES = 16;

export function isIpv4(address: IpAddress): boolean {
  return address.length === IPV4_BYTES;
}

export function addressAt(bytes: Uint8Array, offset: number, length: number): IpAddress {
  let address = "";
  for (let i = 0; i < length; i++) address += String.fromCharCode(bytes[offset + i]!);
  return address as IpAddress;
}

export function addressOf(...bytes: number[]): IpAddress {
  return String.fromCharCode(...bytes) as IpAddress;
}

export function putAddress(into: Uint8Array, offset: number, address: IpAddress): void {
  for (let i = 0; i < address.length; i++) into[offset + i] = address.charCodeAt(i);
}

/** Dotted, or RFC 5952's form with the longest run of zeroes left out. */
export function formatIpAddress(address: IpAddress): string {
  if (isIpv4(address)) return [...address].map((byte) => byte.charCodeAt(0)).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => (address.charCodeAt(2 * i) << 8) | address.charCodeAt(2 * i + 1));
  let [start, length] = [0, 1];
  for (let first = 0; first < 8; first++) {
    let end = first;
    while (end < 8 && groups[end] === 0) end++;
    if (end - first > length) [start, length] = [first, end - first];
  }
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(":");
  return length < 2 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** Undefined: no address. IPv4 in its four decimal parts only, without the octal and short forms that others take. */
export function parseIpAddress(text: string): IpAddress | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): IpAddress | undefined {
  const parts = text.split(".");
  if (parts.length !== IPV4_BYTES || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return addressOf(...parts.map(Number));
}

function parseIpv6(text: string): IpAddress | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const parts = halves.map(groupsOf);
  const [head, tail] = parts;
  if (!head || (parts.length === 2 && !tail)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...(tail ?? [])];
  return addressOf(...groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOf(text: string): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    const dotted = i === parts.length - 1 && part.includes(".") ? parseIpv4(part) : undefined;
    if (dotted) {
      for (let at = 0; at < IPV4_BYTES; at += 2) groups.push((dotted.charCodeAt(at) << 8) | dotted.charCodeAt(at + 1));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

/** The bits in front of an IPv4 address inside an IPv6 one (::ffff:a.b.c.d, 64:ff9b::a.b.c.d, ::a.b.c.d, 2002:aabb:ccdd::); undefined: none is. */
export function bitsInFront(address: IpAddress): number | undefined {
  if (isIpv4(address)) return undefined;
  const at = (prefix: readonly number[]): boolean => prefix.every((byte, i) => address.charCodeAt(i) === byte);
  const zeroes = (count: number): number[] => new Array<number>(count).fill(0);
  if (at([...zeroes(10), 0xff, 0xff]) || at([0, 0x64, 0xff, 0x9b, ...zeroes(8)]) || at(zeroes(12))) return 96;
  return at([0x20, 0x02]) ? 16 : undefined;
}

/** An IPv4 address inside an IPv6 one: the address that is reached. */
export function embeddedIpv4(address: IpAddress): IpAddress | undefined {
  const bits = bitsInFront(address);
  return bits === undefined ? undefined : (address.slice(bits / 8, bits / 8 + IPV4_BYTES) as IpAddress);
}
