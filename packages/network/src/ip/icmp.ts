/**
 * ICMP and ICMPv6 (RFC 792, RFC 4443), as far as a gateway has to do with them: echo, and the errors by which a guest
 * learns at once that something cannot be reached.
 */
import { isIpv4 } from "../address.ts";
import { addWords, foldChecksum } from "../checksum.ts";
import {
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  type IpHeader,
  type IpPacket,
  type LinkHeader,
  newIpFrame,
  PROTOCOL,
  payloadOffset,
  putU16,
  upperChecksum,
} from "./packet.ts";

export const ICMP = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8 } as const;
export const ICMPV6 = { UNREACHABLE: 1, ECHO: 128, ECHO_REPLY: 129 } as const;
const HEADER_BYTES = 8;

export type Unreachable = "network" | "host" | "port" | "prohibited";
const CODE: Readonly<Record<Unreachable, readonly [v4: number, v6: number]>> = {
  network: [0, 0],
  host: [1, 3],
  port: [3, 4],
  prohibited: [13, 1],
};

export interface Echo {
  readonly id: number;
  readonly sequence: number;
  readonly data: Uint8Array;
}

/** An echo request with a right checksum. */
export function parseEcho(packet: IpPacket): Echo | undefined {
  const { payload } = packet;
  const isV4 = isIpv4(packet.source);
  if (payload.length < HEADER_BYTES || payload[1] !== 0) return undefined;
  if (packet.protocol !== (isV4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6)) return undefined;
  if (payload[0] !== (isV4 ? ICMP.ECHO : ICMPV6.ECHO)) return undefined;
  if ((isV4 ? foldChecksum(addWords(0, payload)) : upperChecksum(packet, payload)) !== 0) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset);
  return { id: view.getUint16(4), sequence: view.getUint16(6), data: payload.subarray(HEADER_BYTES) };
}

/** The answer to an echo request. */
export function echoReply(link: LinkHeader, request: IpPacket, { id, sequence, data }: Echo): Uint8Array {
  const head = new Uint8Array(4);
  putU16(head, 0, id);
  putU16(head, 2, sequence);
  const type = isIpv4(request.source) ? ICMP.ECHO_REPLY : ICMPV6.ECHO_REPLY;
  return icmpFrame(link, { source: request.destination, destination: request.source }, type, 0, head, data);
}

/** "It could not be delivered", in the name of `source` (the gateway, or whom the packet was for). */
export function unreachable(link: LinkHeader, packet: IpPacket, why: Unreachable): Uint8Array {
  const isV4 = isIpv4(packet.source);
  const room = isV4 ? IPV4_HEADER_BYTES + 8 : 1280 - IPV6_HEADER_BYTES - HEADER_BYTES;
  const quoted = packet.whole.subarray(
    0,
    isV4 ? Math.max(room, packet.whole.length - packet.payload.length + 8) : room,
  );
  const addresses = { source: packet.destination, destination: packet.source };
  const type = isV4 ? ICMP.UNREACHABLE : ICMPV6.UNREACHABLE;
  return icmpFrame(link, addresses, type, CODE[why][isV4 ? 0 : 1], new Uint8Array(4), quoted);
}

/** Any message: type, code, four bytes of its own, the rest. */
export function icmpFrame(
  link: LinkHeader,
  addresses: Omit<IpHeader, "protocol">,
  type: number,
  code: number,
  head: Uint8Array,
  data: Uint8Array,
): Uint8Array {
  const isV4 = isIpv4(addresses.source);
  const header = { ...addresses, protocol: isV4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6 };
  const frame = newIpFrame(link, header, HEADER_BYTES + data.length);
  const payload = frame.subarray(payloadOffset(addresses.source));
  payload[0] = type;
  payload[1] = code;
  payload.set(head, 4);
  payload.set(data, HEADER_BYTES);
  putU16(payload, 2, isV4 ? foldChecksum(addWords(0, payload)) : upperChecksum(header, payload));
  return frame;
}
