/**
 * TCP segments (RFC 9293, 3.1) with the options that both sides use: maximum segment size, window scale (RFC 7323),
 * selective acknowledgements (RFC 2018). Timestamps are not offered. GUEST-CONTROLLED: every byte.
 */
import { addWords, foldChecksum } from "../checksum.ts";
import {
  type IpHeader,
  type IpPacket,
  type LinkHeader,
  newIpFrame,
  PROTOCOL,
  payloadOffset,
  pseudoHeaderSum,
  putU16,
  putU32,
  upperChecksum,
  withoutRest,
} from "../ip/packet.ts";

export const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
const HEADER_BYTES = 20;
const OPTION = { END: 0, NOP: 1, MSS: 2, WINDOW_SCALE: 3, SACK_PERMITTED: 4, SACK: 5 } as const;
const MAX_WINDOW_SCALE = 14;
/** As many as fit into the options beside nothing else. */
const MAX_SACK_BLOCKS = 4;

/** [start, end): sequence numbers. */
export type Range = readonly [start: number, end: number];

export interface SegmentOptions {
  readonly mss?: number;
  readonly windowScale?: number;
  readonly isSackPermitted?: boolean;
  readonly sack?: readonly Range[];
}

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** As it stands in the header: not scaled. */
  readonly window: number;
  readonly options: SegmentOptions;
  readonly payload: Uint8Array;
}

/** Undefined: a wrong length or checksum. `isTrusted`: the link says that the checksum is right. */
export function parseSegment(packet: IpPacket, isTrusted: boolean): Segment | undefined {
  const bytes = packet.payload;
  if (bytes.length < HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const headerBytes = (bytes[12]! >> 4) * 4;
  if (headerBytes < HEADER_BYTES || headerBytes > bytes.length) return undefined;
  if (!isTrusted && upperChecksum(packet, bytes) !== 0) return undefined;
  return {
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    sequence: view.getUint32(4),
    acknowledgement: view.getUint32(8),
    flags: bytes[13]!,
    window: view.getUint16(14),
    options: headerBytes > HEADER_BYTES ? parseOptions(view, headerBytes) : NO_OPTIONS,
    payload: withoutRest(bytes.subarray(headerBytes)),
  };
}

const NO_OPTIONS: SegmentOptions = {};

/** What is malformed ends the list, as everywhere. */
function parseOptions(view: DataView, headerBytes: number): SegmentOptions {
  let options: SegmentOptions = {};
  for (let at = HEADER_BYTES; at < headerBytes; ) {
    const kind = view.getUint8(at);
    if (kind === OPTION.END) break;
    if (kind === OPTION.NOP) {
      at++;
      continue;
    }
    const length = at + 1 < headerBytes ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > headerBytes) break;
    if (kind === OPTION.MSS && length === 4) options = { ...options, mss: view.getUint16(at + 2) };
    else if (kind === OPTION.WINDOW_SCALE && length === 3) {
      options = { ...options, windowScale: Math.min(view.getUint8(at + 2), MAX_WINDOW_SCALE) };
    } else if (kind === OPTION.SACK_PERMITTED && length === 2) options = { ...options, isSackPermitted: true };
    else if (kind === OPTION.SACK && length % 8 === 2) {
      const blocks = Math.min((length - 2) / 8, MAX_SACK_BLOCKS);
      const sack = Array.from({ length: blocks }, (_, i): Range => {
        const block = at + 2 + 8 * i;
        return [view.getUint32(block), view.getUint32(block + 4)];
      });
      options = { ...options, sack };
    }
    at += length;
  }
  return options;
}

export interface OutgoingSegment extends Omit<Segment, "payload"> {
  readonly payloadBytes: number;
  /** Of a payload that the card has to cut: how long its pieces are. */
  readonly segmentBytes?: number;
}

/**
 * A frame for the segment. `fill` writes the payload, once, into the place that it is given. With `isOffloaded` the checksum
 * field gets the pseudo-header's sum only: the link's receiver does the rest, or trusts it.
 */
export function segmentFrame(
  link: LinkHeader,
  addresses: Omit<IpHeader, "protocol">,
  segment: OutgoingSegment,
  isOffloaded: boolean,
  fill?: (into: Uint8Array) => void,
): Uint8Array {
  const options = encodeOptions(segment.options);
  const headerBytes = HEADER_BYTES + options.length;
  const header = { ...addresses, protocol: PROTOCOL.TCP };
  const frame = newIpFrame(link, header, headerBytes + segment.payloadBytes);
  const bytes = frame.subarray(payloadOffset(addresses.source));
  putU16(bytes, 0, segment.sourcePort);
  putU16(bytes, 2, segment.destinationPort);
  putU32(bytes, 4, segment.sequence);
  putU32(bytes, 8, segment.acknowledgement);
  bytes[12] = (headerBytes / 4) << 4;
  bytes[13] = segment.flags;
  putU16(bytes, 14, segment.window);
  bytes.set(options, HEADER_BYTES);
  fill?.(bytes.subarray(headerBytes));
  const pseudo = pseudoHeaderSum(header.source, header.destination, header.protocol, bytes.length);
  putU16(bytes, 16, isOffloaded ? ~foldChecksum(pseudo) & 0xffff : foldChecksum(addWords(pseudo, bytes)));
  return frame;
}

const NONE: readonly number[] = [];

/** A multiple of four bytes. */
function encodeOptions({ mss, windowScale, isSackPermitted, sack }: SegmentOptions): readonly number[] {
  if (mss === undefined && windowScale === undefined && !isSackPermitted && !sack?.length) return NONE;
  const bytes: number[] = [];
  if (mss !== undefined) bytes.push(OPTION.MSS, 4, mss >> 8, mss & 0xff);
  if (windowScale !== undefined) bytes.push(OPTION.NOP, OPTION.WINDOW_SCALE, 3, windowScale);
  if (isSackPermitted) bytes.push(OPTION.NOP, OPTION.NOP, OPTION.SACK_PERMITTED, 2);
  if (sack?.length) {
    bytes.push(OPTION.NOP, OPTION.NOP, OPTION.SACK, 2 + 8 * sack.length);
    for (const edge of sack.flat()) bytes.push(edge >>> 24, (edge >>> 16) & 0xff, (edge >>> 8) & 0xff, edge & 0xff);
  }
  return bytes;
}
