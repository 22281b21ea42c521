/**
 * The Internet checksum (RFC 1071), and what network cards do with it for the driver: fill it in, and look whether that of a
 * received TCP or UDP segment is right (RFC 9293, 768, 8200 section 8.1).
 */
import { type FrameHeaders, IP_PROTOCOL, parseHeaders } from "./frame-headers.ts";

/** The sum of 16-bit words from `start` to `end`, an odd last byte as a word's first; below 2^53. */
export function sumWords(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  let at = start;
  for (const last = end - 1; at < last; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return at < end ? sum + (bytes[at]! << 8) : sum;
}

/** The one's complement of the folded sum. */
export function finishChecksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/**
 * Fills in the checksum at `field` over everything from `start` to `end`; the field holds the sum of what is not among that.
 * False, and nothing is done, where the frame is shorter.
 */
export function insertChecksum(frame: Uint8Array, start: number, field: number, end: number = frame.length): boolean {
  if (start < 0 || end > frame.length || start > end || field < 0 || field + 2 > frame.length) return false;
  writeChecksum(frame, field, finishChecksum(sumWords(frame, start, end)));
  return true;
}

/** Zero says "no checksum" in UDP; its other form is the same number. */
export function writeChecksum(frame: Uint8Array, field: number, checksum: number): void {
  const value = checksum === 0 ? 0xffff : checksum;
  frame[field] = value >> 8;
  frame[field + 1] = value & 0xff;
}

/** The pseudo-header's part of the sum. */
export function sumPseudoHeader(frame: Uint8Array, headers: FrameHeaders, segmentBytes: number): number {
  const addresses = headers.isIpv6 ? headers.ip + 8 : headers.ip + 12;
  return sumWords(frame, addresses, addresses + (headers.isIpv6 ? 32 : 8), headers.protocol + segmentBytes);
}

/** Whether a received frame has a TCP or UDP segment whose checksum is there and right. `headers`: its own. */
export function hasRightChecksum(frame: Uint8Array, headers: FrameHeaders | undefined = parseHeaders(frame)): boolean {
  if (!headers || headers.isFragment) return false;
  const { protocol, segment, end } = headers;
  if (protocol !== IP_PROTOCOL.TCP && protocol !== IP_PROTOCOL.UDP) return false;
  if (end - segment < (protocol === IP_PROTOCOL.TCP ? 20 : 8)) return false;
  if (protocol === IP_PROTOCOL.UDP && frame[segment + 6] === 0 && frame[segment + 7] === 0) return false;
  return finishChecksum(sumWords(frame, segment, end, sumPseudoHeader(frame, headers, end - segment))) === 0;
}

/** Whether the checksum of an IPv4 header is right. */
export function hasRightIpChecksum(frame: Uint8Array, { ip, segment }: FrameHeaders): boolean {
  return finishChecksum(sumWords(frame, ip, segment)) === 0;
}
