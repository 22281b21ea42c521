/** A frame with an IP datagram that is longer than the link's MTU, cut into fragments (RFC 791, 3.2; RFC 8200, 4.5). */
import { ETHERNET_HEADER_BYTES, ETHERTYPE, ethertypeOf } from "../ethernet.ts";
import { IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, putU16, putU32, sealIpv4Header } from "./packet.ts";

const FRAGMENT_HEADER_BYTES = 8;
const FRAGMENT = 44;

/** Precondition: the frame is `newIpFrame`'s, filled in. `id` names the datagram: another one for each. */
export function fragmentsOf(frame: Uint8Array, mtu: number, id: number): Uint8Array[] {
  if (frame.length - ETHERNET_HEADER_BYTES <= mtu) return [frame];
  return ethertypeOf(frame) === ETHERTYPE.IPV4 ? ipv4Fragments(frame, mtu, id) : ipv6Fragments(frame, mtu, id);
}

function ipv4Fragments(frame: Uint8Array, mtu: number, id: number): Uint8Array[] {
  const start = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
  return parts(frame.length - start, mtu - IPV4_HEADER_BYTES).map(({ offset, bytes, isLast }) => {
    const fragment = new Uint8Array(start + bytes);
    fragment.set(frame.subarray(0, start));
    fragment.set(frame.subarray(start + offset, start + offset + bytes), start);
    putU16(fragment, ETHERNET_HEADER_BYTES + 2, IPV4_HEADER_BYTES + bytes);
    putU16(fragment, ETHERNET_HEADER_BYTES + 4, id & 0xffff);
    putU16(fragment, ETHERNET_HEADER_BYTES + 6, (isLast ? 0 : 0x2000) | (offset / 8));
    sealIpv4Header(fragment);
    return fragment;
  });
}

function ipv6Fragments(frame: Uint8Array, mtu: number, id: number): Uint8Array[] {
  const start = ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES;
  const room = mtu - IPV6_HEADER_BYTES - FRAGMENT_HEADER_BYTES;
  return parts(frame.length - start, room).map(({ offset, bytes, isLast }) => {
    const fragment = new Uint8Array(start + FRAGMENT_HEADER_BYTES + bytes);
    fragment.set(frame.subarray(0, start));
    const next = ETHERNET_HEADER_BYTES + 6;
    fragment[start] = frame[next]!;
    fragment[next] = FRAGMENT;
    putU16(fragment, ETHERNET_HEADER_BYTES + 4, FRAGMENT_HEADER_BYTES + bytes);
    putU16(fragment, start + 2, offset | (isLast ? 0 : 1));
    putU32(fragment, start + 4, id);
    fragment.set(frame.subarray(start + offset, start + offset + bytes), start + FRAGMENT_HEADER_BYTES);
    return fragment;
  });
}

function parts(length: number, room: number): { offset: number; bytes: number; isLast: boolean }[] {
  const step = room - (room % 8);
  return Array.from({ length: Math.ceil(length / step) }, (_, i) => {
    const bytes = Math.min(step, length - i * step);
    return { offset: i * step, bytes, isLast: i * step + bytes === length };
  });
}
