/**
 * TCP segmentation offload: one large segment that a driver hands to its card becomes as many frames as the wire takes.
 * Sequence numbers, lengths, identifications and checksums are each frame's own; FIN and PSH are the last one's, CWR the
 * first one's (RFC 9293, 3168 section 6.1.2).
 */
import { finishChecksum, sumPseudoHeader, sumWords, writeChecksum } from "./checksum.ts";
import { type FrameHeaders, IP_PROTOCOL, parseUnsizedHeaders, wordAt } from "./frame-headers.ts";

const TCP = { sequence: 4, offset: 12, flags: 13, checksum: 16, minBytes: 20 } as const;
const TCP_FLAG = { FIN: 0x01, PSH: 0x08, CWR: 0x80 } as const;
/** Smaller pieces are nobody's; without a bound a driver could make a thousand frames of one. */
const MIN_SEGMENT_BYTES = 64;

/**
 * Calls `send` with each frame, valid during the call. False, and nothing is sent: no TCP segment with its whole header, or
 * pieces of a size that makes no sense. The datagram's own length may be anything: the frame's counts.
 */
export function segmentTcp(frame: Uint8Array, segmentBytes: number, send: (frame: Uint8Array) => void): boolean {
  const headers = parseUnsizedHeaders(frame);
  if (headers?.protocol !== IP_PROTOCOL.TCP || headers.isFragment || segmentBytes < MIN_SEGMENT_BYTES) return false;
  const { segment } = headers;
  if (segment + TCP.minBytes > frame.length) return false;
  const tcpHeaderBytes = 4 * (frame[segment + TCP.offset]! >> 4);
  const payload = segment + tcpHeaderBytes;
  if (tcpHeaderBytes < TCP.minBytes || payload > frame.length) return false;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const firstSequence = view.getUint32(segment + TCP.sequence);
  const flags = frame[segment + TCP.flags]!;
  const total = frame.length - payload;
  const out = new Uint8Array(payload + Math.min(segmentBytes, total));
  const outView = new DataView(out.buffer);
  let at = 0;
  for (let index = 0; at < total || index === 0; index++) {
    const length = Math.min(segmentBytes, total - at);
    const isLast = at + length === total;
    out.set(frame.subarray(0, payload));
    out.set(frame.subarray(payload + at, payload + at + length), payload);
    const piece = out.subarray(0, payload + length);
    outView.setUint32(segment + TCP.sequence, (firstSequence + at) >>> 0);
    const dropped = (isLast ? 0 : TCP_FLAG.FIN | TCP_FLAG.PSH) | (index === 0 ? 0 : TCP_FLAG.CWR);
    piece[segment + TCP.flags] = flags & ~dropped;
    setLengths(piece, headers, outView, index);
    outView.setUint16(segment + TCP.checksum, 0);
    const sum = sumPseudoHeader(piece, headers, piece.length - segment);
    writeChecksum(piece, segment + TCP.checksum, finishChecksum(sumWords(piece, segment, piece.length, sum)));
    send(piece);
    at += length;
  }
  return true;
}

function setLengths(piece: Uint8Array, { ip, isIpv6, segment }: FrameHeaders, view: DataView, index: number): void {
  if (isIpv6) {
    view.setUint16(ip + 4, piece.length - segment);
    return;
  }
  view.setUint16(ip + 2, piece.length - ip);
  view.setUint16(ip + 4, (wordAt(piece, ip + 4) + index) & 0xffff);
  view.setUint16(ip + 10, 0);
  view.setUint16(ip + 10, finishChecksum(sumWords(piece, ip, segment)));
}
