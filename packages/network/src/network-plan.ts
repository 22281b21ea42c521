/** The addresses of a user network: those that QEMU's has, so that guests that have them written down find them here. */
import { addressOf, type IpAddress, parseIpAddress } from "./address.ts";
import { type MacAddress, macOf } from "./ethernet.ts";
import { isWithin, type Prefix, parsePrefix } from "./prefix.ts";

export const GATEWAY_MAC: MacAddress = macOf(0x52, 0x55, 10, 0, 2, 2);

export const IPV4 = {
  network: parsePrefix("10.0.2.0/24")!,
  mask: parseIpAddress("255.255.255.0")!,
  broadcast: parseIpAddress("10.0.2.255")!,
  gateway: parseIpAddress("10.0.2.2")!,
  dns: parseIpAddress("10.0.2.3")!,
  hostLoopback: parseIpAddress("127.0.0.1")!,
} as const;

export const IPV6 = {
  network: parsePrefix("fd00:2::/64")!,
  router: parseIpAddress("fe80::2")!,
  gateway: parseIpAddress("fd00:2::2")!,
  dns: parseIpAddress("fd00:2::3")!,
  hostLoopback: parseIpAddress("::1")!,
} as const;

const LINK_LOCAL: Prefix = parsePrefix("fe80::/10")!;
const FIRST_GUEST = 15;
export const MAX_GUESTS = 64;

/** The address of the n-th card that asked for one; n from 0. */
export function guestAddress(n: number): IpAddress {
  return addressOf(10, 0, 2, FIRST_GUEST + n);
}

export function isGateway(address: IpAddress): boolean {
  return address === IPV4.gateway || address === IPV6.gateway || address === IPV6.router;
}

export function isDns(address: IpAddress): boolean {
  return address === IPV4.dns || address === IPV6.dns;
}

/** On the link: not to be reached through the host. */
export function isOnLink(address: IpAddress): boolean {
  return isWithin(address, IPV4.network) || isWithin(address, IPV6.network) || isWithin(address, LINK_LOCAL);
}
