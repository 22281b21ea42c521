/**
 * Where the headers of an Ethernet frame are: up to two VLAN tags (IEEE 802.1Q), IPv4 (RFC 791) or IPv6 (RFC 8200), and the
 * segment behind them. Every number in a frame is its sender's: nothing lies beyond the frame's end. Left out: extension
 * headers of IPv6 (the segment then is of no protocol that is known here), and anything that is not IP.
 */
import { ETHERNET_HEADER_BYTES } from "../network-channel.ts";

export const ETHER_TYPE = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd, SERVICE_VLAN: 0x88a8 } as const;
export const IP_PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17 } as const;
const MAX_TAGS = 2;
const TAG_BYTES = 4;
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;

export interface FrameHeaders {
  /** Where the IP header begins, and what it carries. */
  readonly ip: number;
  readonly isIpv6: boolean;
  readonly protocol: number;
  readonly segment: number;
  /** Where the datagram ends: a short frame has padding behind it. */
  readonly end: number;
  readonly isFragment: boolean;
}

/** Undefined: no IP datagram that is whole. */
export function parseHeaders(frame: Uint8Array): FrameHeaders | undefined {
  const headers = findHeaders(frame);
  return headers && headers.segment <= headers.end && headers.end <= frame.length ? headers : undefined;
}

/** Of a datagram that ends with its frame: some drivers leave its length to the card, and then it is zero, or another one. */
export function parseUnsizedHeaders(frame: Uint8Array): FrameHeaders | undefined {
  const headers = findHeaders(frame);
  return headers && headers.segment <= frame.length ? { ...headers, end: frame.length } : undefined;
}

/** As they say themselves: they may lie beyond the frame. */
function findHeaders(frame: Uint8Array): FrameHeaders | undefined {
  let ip = ETHERNET_HEADER_BYTES;
  for (let tags = 0; tags < MAX_TAGS && isTag(wordAt(frame, ip - 2)); tags++) ip += TAG_BYTES;
  const type = wordAt(frame, ip - 2);
  const version = (frame[ip] ?? 0) >> 4;
  if (type === ETHER_TYPE.IPV4 && version === 4) return findIpv4(frame, ip);
  if (type === ETHER_TYPE.IPV6 && version === 6) return findIpv6(frame, ip);
  return undefined;
}

export function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

const isTag = (type: number): boolean => type === ETHER_TYPE.VLAN || type === ETHER_TYPE.SERVICE_VLAN;

function findIpv4(frame: Uint8Array, ip: number): FrameHeaders | undefined {
  const segment = ip + 4 * ((frame[ip] ?? 0) & 15);
  if (segment < ip + IPV4_HEADER_BYTES) return undefined;
  const end = ip + wordAt(frame, ip + 2);
  const isFragment = (wordAt(frame, ip + 6) & 0x3fff) !== 0;
  return { ip, isIpv6: false, protocol: frame[ip + 9] ?? 0, segment, end, isFragment };
}

function findIpv6(frame: Uint8Array, ip: number): FrameHeaders {
  const segment = ip + IPV6_HEADER_BYTES;
  const end = segment + wordAt(frame, ip + 4);
  return { ip, isIpv6: true, protocol: frame[ip + 6] ?? 0, segment, end, isFragment: false };
}
