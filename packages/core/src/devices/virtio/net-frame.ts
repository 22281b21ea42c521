/**
 * The header in front of each frame in virtio-net's queues (virtio 1.2, 5.1.6), and what it asks the device to do: fill in a
 * checksum, cut a large TCP segment into frames.
 */

import { hasRightChecksum, insertChecksum } from "../network/checksum.ts";
import { segmentTcp } from "../network/segmentation.ts";
import { ETHERNET_HEADER_BYTES } from "../network-channel.ts";

const IPV6_HEADER_BYTES = 40;
const TCP_CHECKSUM_OFFSET = 16;

export const NET_HEADER = {
  flags: 0,
  gso_type: 1,
  hdr_len: 2,
  gso_size: 4,
  csum_start: 6,
  csum_offset: 8,
  num_buffers: 10,
  sizeBytes: 12,
} as const;
export const HDR_F = { NEEDS_CSUM: 1, DATA_VALID: 2 } as const;
export const GSO = { NONE: 0, TCPV4: 1, TCPV6: 4, ECN: 0x80 } as const;

export interface TransmitOffloads {
  readonly checksum: boolean;
  readonly tcp4: boolean;
  readonly tcp6: boolean;
  /** Who carries the frames takes them as they are. */
  readonly areOutside: boolean;
}

/**
 * Calls `send` with what goes on the wire, valid during the call. False: the header asks for what was not negotiated, or does
 * not fit its frame, which is dropped. `frame` is written to.
 */
export function transmit(
  header: DataView,
  frame: Uint8Array,
  offloads: TransmitOffloads,
  send: (frame: Uint8Array, isOffloaded: boolean) => void,
): boolean {
  const gso = header.getUint8(NET_HEADER.gso_type) & ~GSO.ECN;
  if (gso !== GSO.NONE) {
    const isKnown = (gso === GSO.TCPV4 && offloads.tcp4) || (gso === GSO.TCPV6 && offloads.tcp6);
    if (!isKnown) return false;
    if (!offloads.areOutside) {
      return segmentTcp(frame, header.getUint16(NET_HEADER.gso_size, true), (part) => send(part, false));
    }
  } else if ((header.getUint8(NET_HEADER.flags) & HDR_F.NEEDS_CSUM) === 0) {
    send(frame, false);
    return true;
  } else if (!offloads.checksum) return false;
  else if (!offloads.areOutside) {
    const start = header.getUint16(NET_HEADER.csum_start, true);
    const field = start + header.getUint16(NET_HEADER.csum_offset, true);
    if (!insertChecksum(frame, start, field)) return false;
  }
  send(frame, offloads.areOutside);
  return true;
}

/**
 * In front of a received frame. `knowsChecksums`: the driver believes what the device has found right. A large TCP segment
 * (`segmentBytes` > 0) says how it is cut, and has its checksum still to be finished.
 */
export function receiveHeader(
  frame: Uint8Array,
  segmentBytes: number,
  buffers: number,
  knowsChecksums: boolean,
): Uint8Array {
  const header = new DataView(new ArrayBuffer(NET_HEADER.sizeBytes));
  if (segmentBytes > 0) {
    const isIpv6 = frame[ETHERNET_HEADER_BYTES]! >> 4 === 6;
    const start = ETHERNET_HEADER_BYTES + (isIpv6 ? IPV6_HEADER_BYTES : (frame[ETHERNET_HEADER_BYTES]! & 15) * 4);
    const tcpBytes = ((frame[start + 12] ?? 0) >> 4) * 4;
    header.setUint8(NET_HEADER.flags, HDR_F.NEEDS_CSUM);
    header.setUint8(NET_HEADER.gso_type, isIpv6 ? GSO.TCPV6 : GSO.TCPV4);
    header.setUint16(NET_HEADER.hdr_len, start + tcpBytes, true);
    header.setUint16(NET_HEADER.gso_size, segmentBytes, true);
    header.setUint16(NET_HEADER.csum_start, start, true);
    header.setUint16(NET_HEADER.csum_offset, TCP_CHECKSUM_OFFSET, true);
  } else if (knowsChecksums && hasRightChecksum(frame)) header.setUint8(NET_HEADER.flags, HDR_F.DATA_VALID);
  header.setUint16(NET_HEADER.num_buffers, buffers, true);
  return new Uint8Array(header.buffer);
}
