/**
 * IP datagrams of both versions (RFC 791, RFC 8200): parsed with every length checked, and built. Options and extension
 * headers are passed over; routing headers are refused (RFC 5095). GUEST-CONTROLLED: every byte.
 */
import { addressAt, IPV4_BYTES, IPV6_BYTES, type IpAddress, isIpv4, putAddress } from "../address.ts";
import { addWords, foldChecksum } from "../checksum.ts";
import { ETHERNET_HEADER_BYTES, ETHERTYPE, type MacAddress, newFrame } from "../ethernet.ts";

export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58 } as const;
export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;
const MAX_EXTENSION_HEADERS = 8;
const EXTENSION = { HOP_BY_HOP: 0, FRAGMENT: 44, DESTINATION_OPTIONS: 60 } as const;
const HOPS = 64;

export interface Fragment {
  readonly id: number;
  /** In bytes, from the datagram's payload's begin. */
  readonly offset: number;
  readonly isLast: boolean;
}

export interface IpPacket {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly hops: number;
  readonly payload: Uint8Array;
  /** A part of a datagram: `payload` is that part's. */
  readonly fragment?: Fragment;
  /** From the IP header on, for ICMP errors, which quote it. */
  readonly whole: Uint8Array;
}

/** The frame's datagram; undefined where a field is wrong. Precondition: its type is IPv4 or IPv6. */
export function parseIp(frame: Uint8Array): IpPacket | undefined {
  const bytes = frame.subarray(ETHERNET_HEADER_BYTES);
  const version = (bytes[0] ?? 0) >> 4;
  return version === 4 ? parseIpv4(bytes) : version === 6 ? parseIpv6(bytes) : undefined;
}

function parseIpv4(bytes: Uint8Array): IpPacket | undefined {
  if (bytes.length < IPV4_HEADER_BYTES) return undefined;
  const headerBytes = (bytes[0]! & 15) * 4;
  const totalBytes = u16(bytes, 2);
  if (headerBytes < IPV4_HEADER_BYTES || totalBytes < headerBytes || totalBytes > bytes.length) return undefined;
  if (foldChecksum(addWords(0, bytes, 0, headerBytes)) !== 0) return undefined;
  const whole = bytes.subarray(0, totalBytes);
  const flags = u16(bytes, 6);
  const [offset, hasMore] = [(flags & 0x1fff) * 8, (flags & 0x2000) !== 0];
  return {
    source: addressAt(bytes, 12, IPV4_BYTES),
    destination: addressAt(bytes, 16, IPV4_BYTES),
    protocol: bytes[9]!,
    hops: bytes[8]!,
    payload: whole.subarray(headerBytes),
    fragment: offset > 0 || hasMore ? { id: u16(bytes, 4), offset, isLast: !hasMore } : undefined,
    whole,
  };
}

function parseIpv6(bytes: Uint8Array): IpPacket | undefined {
  if (bytes.length < IPV6_HEADER_BYTES) return undefined;
  const totalBytes = IPV6_HEADER_BYTES + u16(bytes, 4);
  if (totalBytes > bytes.length) return undefined;
  const whole = bytes.subarray(0, totalBytes);
  let [protocol, at] = [bytes[6]!, IPV6_HEADER_BYTES];
  let fragment: Fragment | undefined;
  for (let headers = 0; !fragment; headers++) {
    if (
      protocol !== EXTENSION.HOP_BY_HOP &&
      protocol !== EXTENSION.DESTINATION_OPTIONS &&
      protocol !== EXTENSION.FRAGMENT
    )
      break;
    if (headers === MAX_EXTENSION_HEADERS || at + 8 > totalBytes) return undefined;
    if (protocol === EXTENSION.FRAGMENT) {
      const field = u16(bytes, at + 2);
      fragment = {
        id: u16(bytes, at + 4) * 0x1_0000 + u16(bytes, at + 6),
        offset: field & 0xfff8,
        isLast: !(field & 1),
      };
    }
    const length = protocol === EXTENSION.FRAGMENT ? 8 : 8 + bytes[at + 1]! * 8;
    protocol = bytes[at]!;
    at += length;
    if (at > totalBytes) return undefined;
    if (fragment?.offset === 0 && fragment.isLast) fragment = undefined; // An atomic fragment (RFC 6946).
  }
  return {
    source: addressAt(bytes, 8, IPV6_BYTES),
    destination: addressAt(bytes, 24, IPV6_BYTES),
    protocol,
    hops: bytes[7]!,
    payload: whole.subarray(at),
    fragment,
    whole,
  };
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** For what is kept: without the rest of a frame, which may be a thousand times as long. */
export function withoutRest(bytes: Uint8Array): Uint8Array {
  return bytes.length * 4 < bytes.buffer.byteLength ? bytes.slice() : bytes;
}

export interface IpHeader {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  /** Default 64. Neighbour discovery asks for 255. */
  readonly hops?: number;
}

export interface LinkHeader {
  readonly to: MacAddress;
  readonly from: MacAddress;
}

/** Bytes in front of the payload of a frame that `newIpFrame` makes. */
export function payloadOffset(address: IpAddress): number {
  return ETHERNET_HEADER_BYTES + (isIpv4(address) ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
}

/** A frame whose payload, from `payloadOffset` on, is still to be filled in. Both addresses are of one version. */
export function newIpFrame(link: LinkHeader, header: IpHeader, payloadBytes: number): Uint8Array {
  return isIpv4(header.source) ? ipv4Frame(link, header, payloadBytes) : ipv6Frame(link, header, payloadBytes);
}

function ipv4Frame(link: LinkHeader, header: IpHeader, payloadBytes: number): Uint8Array {
  const frame = newFrame(link.to, link.from, ETHERTYPE.IPV4, IPV4_HEADER_BYTES + payloadBytes);
  const at = ETHERNET_HEADER_BYTES;
  frame[at] = 0x45;
  putU16(frame, at + 2, IPV4_HEADER_BYTES + payloadBytes);
  frame[at + 6] = 0x40; // Don't fragment: what has to be is cut by fragmentation.ts, which takes it away.
  frame[at + 8] = header.hops ?? HOPS;
  frame[at + 9] = header.protocol;
  putAddress(frame, at + 12, header.source);
  putAddress(frame, at + 16, header.destination);
  sealIpv4Header(frame);
  return frame;
}

/** Sets the header's checksum, which covers everything else in it. */
export function sealIpv4Header(frame: Uint8Array): void {
  const at = ETHERNET_HEADER_BYTES;
  putU16(frame, at + 10, 0);
  putU16(frame, at + 10, foldChecksum(addWords(0, frame, at, at + IPV4_HEADER_BYTES)));
}

function ipv6Frame(link: LinkHeader, header: IpHeader, payloadBytes: number): Uint8Array {
  const frame = newFrame(link.to, link.from, ETHERTYPE.IPV6, IPV6_HEADER_BYTES + payloadBytes);
  const at = ETHERNET_HEADER_BYTES;
  frame[at] = 0x60;
  putU16(frame, at + 4, payloadBytes);
  frame[at + 6] = header.protocol;
  frame[at + 7] = header.hops ?? HOPS;
  putAddress(frame, at + 8, header.source);
  putAddress(frame, at + 24, header.destination);
  return frame;
}

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  putU16(bytes, at, value >>> 16);
  putU16(bytes, at + 2, value & 0xffff);
}

/** The sum of the pseudo-header that TCP's, UDP's and ICMPv6's checksums begin with (RFC 9293, 3.1; RFC 8200, 8.1). */
export function pseudoHeaderSum(source: IpAddress, destination: IpAddress, protocol: number, length: number): number {
  let sum = protocol + length;
  for (const address of [source, destination]) {
    for (let i = 0; i < address.length; i += 2) sum += (address.charCodeAt(i) << 8) | address.charCodeAt(i + 1);
  }
  return sum;
}

/** The checksum of an upper layer's payload; 0 when the right one is in it already. */
export function upperChecksum(header: IpHeader, payload: Uint8Array): number {
  const { source, destination, protocol } = header;
  return foldChecksum(addWords(pseudoHeaderSum(source, destination, protocol, payload.length), payload));
}
