/** ARP for IPv4 over Ethernet (RFC 826): who has an address is answered, and senders are learned from. */
import { addressAt, type IpAddress, putAddress } from "./address.ts";
import { ETHERNET_HEADER_BYTES, ETHERTYPE, type MacAddress, macAt, newFrame, putMac } from "./ethernet.ts";

const ARP_BYTES = 28;
const REQUEST = 1;
const REPLY = 2;

export interface Arp {
  readonly isRequest: boolean;
  readonly senderMac: MacAddress;
  readonly sender: IpAddress;
  readonly target: IpAddress;
}

/** Undefined: something else than Ethernet and IPv4, or cut short. */
export function parseArp(frame: Uint8Array): Arp | undefined {
  const at = ETHERNET_HEADER_BYTES;
  if (frame.length < at + ARP_BYTES) return undefined;
  const head = [0, 1, 8, 0, 6, 4, 0];
  if (!head.every((byte, i) => frame[at + i] === byte)) return undefined;
  const operation = frame[at + 7]!;
  if (operation !== REQUEST && operation !== REPLY) return undefined;
  return {
    isRequest: operation === REQUEST,
    senderMac: macAt(frame, at + 8),
    sender: addressAt(frame, at + 14, 4),
    target: addressAt(frame, at + 24, 4),
  };
}

/** A request has no target's MAC yet. */
export function arpFrame(
  operation: "request" | "reply",
  from: { readonly mac: MacAddress; readonly address: IpAddress },
  to: { readonly mac: MacAddress; readonly address: IpAddress },
): Uint8Array {
  const frame = newFrame(to.mac, from.mac, ETHERTYPE.ARP, ARP_BYTES);
  const at = ETHERNET_HEADER_BYTES;
  frame.set([0, 1, 8, 0, 6, 4, 0, operation === "request" ? REQUEST : REPLY], at);
  putMac(frame, at + 8, from.mac);
  putAddress(frame, at + 14, from.address);
  if (operation === "reply") putMac(frame, at + 18, to.mac);
  putAddress(frame, at + 24, to.address);
  return frame;
}
