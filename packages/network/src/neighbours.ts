/**
 * IPv6 on the link (RFC 4861, RFC 8106): who has an address, and what a guest configures itself with: a prefix, a router and
 * a name server in router advertisements. GUEST-CONTROLLED: every byte.
 */
import { addressAt, addressOf, IPV6_BYTES, type IpAddress, putAddress } from "./address.ts";
import { type MacAddress, macAt, macOf, putMac } from "./ethernet.ts";
import { icmpFrame } from "./ip/icmp.ts";
import { type IpPacket, type LinkHeader, PROTOCOL, putU16, putU32, upperChecksum } from "./ip/packet.ts";

const TYPE = { ROUTER_SOLICITATION: 133, ROUTER_ADVERTISEMENT: 134, SOLICITATION: 135, ADVERTISEMENT: 136 } as const;
const OPTION = { SOURCE_LINK: 1, TARGET_LINK: 2, PREFIX: 3, MTU: 5, RDNSS: 25 } as const;
const HOPS = 255;
const LIFETIME_SECONDS = 1800;

export const ALL_NODES: IpAddress = addressOf(0xff, 2, ...new Array<number>(13).fill(0), 1);
const UNSPECIFIED: IpAddress = addressOf(...new Array<number>(16).fill(0));
export const ALL_NODES_MAC = macOf(0x33, 0x33, 0, 0, 0, 1);

export type Neighbour =
  | { readonly kind: "router-solicitation" }
  | { readonly kind: "solicitation"; readonly target: IpAddress }
  | { readonly kind: "advertisement"; readonly target: IpAddress; readonly mac: MacAddress | undefined };

/** Undefined: another message, or not one that only a neighbour can have sent. */
export function parseNeighbour(packet: IpPacket): Neighbour | undefined {
  const { payload, protocol, hops } = packet;
  if (protocol !== PROTOCOL.ICMPV6 || hops !== HOPS || payload.length < 8 || payload[1] !== 0) return undefined;
  if (upperChecksum(packet, payload) !== 0) return undefined;
  const type = payload[0];
  if (type === TYPE.ROUTER_SOLICITATION) return { kind: "router-solicitation" };
  if (payload.length < 24) return undefined;
  const target = addressAt(payload, 8, IPV6_BYTES);
  if (type === TYPE.SOLICITATION) return { kind: "solicitation", target };
  if (type !== TYPE.ADVERTISEMENT) return undefined;
  const hasMac = payload.length >= 32 && payload[24] === OPTION.TARGET_LINK && payload[25] === 1;
  return { kind: "advertisement", target, mac: hasMac ? macAt(payload, 26) : undefined };
}

/** "That address is mine", to whom asked; to all where that one has no address yet (RFC 4861, 7.2.4). */
export function neighbourAdvertisement(asker: LinkHeader, source: IpAddress, target: IpAddress): Uint8Array {
  const isNameless = source === UNSPECIFIED;
  const link = isNameless ? { ...asker, to: ALL_NODES_MAC } : asker;
  const to = isNameless ? ALL_NODES : source;
  const data = new Uint8Array(24);
  putAddress(data, 0, target);
  data[16] = OPTION.TARGET_LINK;
  data[17] = 1;
  putMac(data, 18, link.from);
  const head = Uint8Array.of(isNameless ? 0x20 : 0x60, 0, 0, 0); // Override; and solicited.
  return icmpFrame(link, { source: target, destination: to, hops: HOPS }, TYPE.ADVERTISEMENT, 0, head, data);
}

/** "Who has `target`?", to the group that its last three bytes name. */
export function neighbourSolicitation(from: { mac: MacAddress; address: IpAddress }, target: IpAddress): Uint8Array {
  const tail = [13, 14, 15].map((i) => target.charCodeAt(i));
  const group = addressOf(0xff, 2, ...new Array<number>(9).fill(0), 1, 0xff, ...tail);
  const data = new Uint8Array(24);
  putAddress(data, 0, target);
  data[16] = OPTION.SOURCE_LINK;
  data[17] = 1;
  putMac(data, 18, from.mac);
  const link = { to: macOf(0x33, 0x33, 0xff, ...tail), from: from.mac };
  const addresses = { source: from.address, destination: group, hops: HOPS };
  return icmpFrame(link, addresses, TYPE.SOLICITATION, 0, new Uint8Array(4), data);
}

export interface Advertised {
  /** Link-local, of the router. */
  readonly router: IpAddress;
  /** The first 64 bits count. */
  readonly prefix: IpAddress;
  readonly dns: IpAddress;
  readonly mtu: number;
}

export function routerAdvertisement(mac: MacAddress, { router, prefix, dns, mtu }: Advertised): Uint8Array {
  const data = new Uint8Array(8 + 8 + 8 + 32 + 24);
  let at = 8; // Reachable time and retransmission timer: not said.
  data.set([OPTION.SOURCE_LINK, 1], at);
  putMac(data, at + 2, mac);
  at += 8;
  data.set([OPTION.MTU, 1], at);
  putU32(data, at + 4, mtu);
  at += 8;
  data.set([OPTION.PREFIX, 4, 64, 0xc0], at); // On this link, and to make an address from.
  putU32(data, at + 4, 86_400);
  putU32(data, at + 8, 14_400);
  putAddress(data, at + 16, prefix);
  at += 32;
  data.set([OPTION.RDNSS, 3], at);
  putU32(data, at + 4, LIFETIME_SECONDS);
  putAddress(data, at + 8, dns);
  const head = new Uint8Array(4);
  head[0] = 64;
  putU16(head, 2, LIFETIME_SECONDS);
  const link = { to: ALL_NODES_MAC, from: mac };
  const addresses = { source: router, destination: ALL_NODES, hops: HOPS };
  return icmpFrame(link, addresses, TYPE.ROUTER_ADVERTISEMENT, 0, head, data);
}
