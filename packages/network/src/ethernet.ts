/** Ethernet II frames (IEEE 802.3, 3.2): two addresses, a type, a payload; no tags, no FCS. */
import { addressAt } from "./address.ts";

/** As IP addresses: the raw bytes, here 6. */
export type MacAddress = string & { readonly __mac: unique symbol };

export const ETHERNET_HEADER_BYTES = 14;
export const MAC_BYTES = 6;
export const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const;
export const BROADCAST = "\xff\xff\xff\xff\xff\xff" as MacAddress;

export function macAt(bytes: Uint8Array, offset: number): MacAddress {
  return addressAt(bytes, offset, MAC_BYTES) as string as MacAddress;
}

export function macOf(...bytes: number[]): MacAddress {
  return String.fromCharCode(...bytes) as MacAddress;
}

export function putMac(into: Uint8Array, offset: number, mac: MacAddress): void {
  for (let i = 0; i < MAC_BYTES; i++) into[offset + i] = mac.charCodeAt(i);
}

export function formatMac(mac: MacAddress): string {
  return [...mac].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join(":");
}

/** The group bit: broadcast and multicast. No station sends from such an address. */
export function isGroup(mac: MacAddress): boolean {
  return (mac.charCodeAt(0) & 1) !== 0;
}

export function ethertypeOf(frame: Uint8Array): number {
  return (frame[12]! << 8) | frame[13]!;
}

/** A frame with room for `payloadBytes` behind its header. */
export function newFrame(to: MacAddress, from: MacAddress, ethertype: number, payloadBytes: number): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER_BYTES + payloadBytes);
  putMac(frame, 0, to);
  putMac(frame, MAC_BYTES, from);
  frame[12] = ethertype >> 8;
  frame[13] = ethertype & 0xff;
  return frame;
}
