/** UDP (RFC 768). */
import { isIpv4 } from "../address.ts";
import {
  type IpHeader,
  type IpPacket,
  type LinkHeader,
  newIpFrame,
  PROTOCOL,
  payloadOffset,
  putU16,
  upperChecksum,
} from "./packet.ts";

const HEADER_BYTES = 8;

export interface Udp {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

/** Undefined: a wrong length or checksum, or to no port. No checksum at all is allowed in IPv4. `hasChecksum`: the link says that it is right. */
export function parseUdp(packet: IpPacket, isTrusted: boolean): Udp | undefined {
  const { payload } = packet;
  if (payload.length < HEADER_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset);
  const length = view.getUint16(4);
  if (length < HEADER_BYTES || length > payload.length) return undefined;
  const datagram = payload.subarray(0, length);
  const isUnchecked = isTrusted || (view.getUint16(6) === 0 && isIpv4(packet.source));
  if (!isUnchecked && upperChecksum(packet, datagram) !== 0) return undefined;
  const destinationPort = view.getUint16(2);
  if (destinationPort === 0) return undefined;
  return { sourcePort: view.getUint16(0), destinationPort, data: datagram.subarray(HEADER_BYTES) };
}

/** May be longer than the link's MTU. */
export function udpFrame(link: LinkHeader, addresses: Omit<IpHeader, "protocol">, udp: Udp): Uint8Array {
  const header = { ...addresses, protocol: PROTOCOL.UDP };
  const frame = newIpFrame(link, header, HEADER_BYTES + udp.data.length);
  const datagram = frame.subarray(payloadOffset(addresses.source));
  putU16(datagram, 0, udp.sourcePort);
  putU16(datagram, 2, udp.destinationPort);
  putU16(datagram, 4, datagram.length);
  datagram.set(udp.data, HEADER_BYTES);
  putU16(datagram, 6, upperChecksum(header, datagram) || 0xffff);
  return frame;
}
