/**
 * Packets of a virtio socket device (virtio 1.2, 5.10.6): the header, little-endian, and its words; and the messages of the
 * device's channel, which carry packets between the device and whoever has the host's end of the connections.
 *
 *   to the device     PACKET 01 length:u32 header data | TRANSPORT_RESET 02                one at a time
 *   from the device   PACKET 01 length:u32 header data | CREDIT 02 bytes:u32 | RESET 03    may be joined
 *
 * CREDIT frees that much of the device's window of VSOCK_WINDOW_BYTES: whoever sends packets (each with its header) has no
 * more than that on the way, and what is beyond it is lost. RESET: the guest has a new driver, which knows of no connection.
 * TRANSPORT_RESET: there is a new end here; the guest is told, and drops its connections.
 */

export const VSOCK_HEADER_BYTES = 44;
/** Of one packet. */
export const MAX_VSOCK_DATA_BYTES: number = 64 * 1024;
export const VSOCK_WINDOW_BYTES: number = 256 * 1024;
/** The host's address. */
export const VSOCK_HOST_CID = 2;
export const VSOCK_TYPE_STREAM = 1;
export const VSOCK_OP = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;
/** Flags of SHUTDOWN. */
export const VSOCK_SHUTDOWN = { RECEIVE: 1, SEND: 2 } as const;

export interface VsockHeader {
  /** Contexts have 64 bits, of which the upper 32 are reserved and zero; others make no address. */
  readonly srcCid: number;
  readonly dstCid: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly length: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
}

/** Precondition: at least VSOCK_HEADER_BYTES. A context beyond 32 bits becomes NaN. */
export function decodeVsockHeader(bytes: Uint8Array): VsockHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cid = (at: number): number => (view.getUint32(at + 4, true) === 0 ? view.getUint32(at, true) : Number.NaN);
  return {
    srcCid: cid(0),
    dstCid: cid(8),
    srcPort: view.getUint32(16, true),
    dstPort: view.getUint32(20, true),
    length: view.getUint32(24, true),
    type: view.getUint16(28, true),
    op: view.getUint16(30, true),
    flags: view.getUint32(32, true),
    bufAlloc: view.getUint32(36, true),
    fwdCnt: view.getUint32(40, true),
  };
}

export function encodeVsockPacket(
  header: Omit<VsockHeader, "length">,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const bytes = new Uint8Array(VSOCK_HEADER_BYTES + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, header.srcCid, true);
  view.setUint32(8, header.dstCid, true);
  view.setUint32(16, header.srcPort, true);
  view.setUint32(20, header.dstPort, true);
  view.setUint32(24, data.length, true);
  view.setUint16(28, header.type, true);
  view.setUint16(30, header.op, true);
  view.setUint32(32, header.flags, true);
  view.setUint32(36, header.bufAlloc, true);
  view.setUint32(40, header.fwdCnt, true);
  bytes.set(data, VSOCK_HEADER_BYTES);
  return bytes;
}

export type VsockMessage =
  | { readonly kind: "packet"; readonly bytes: Uint8Array }
  | { readonly kind: "credit"; readonly bytes: number }
  | { readonly kind: "reset" };

const PACKET = 1;
const [TRANSPORT_RESET, CREDIT] = [2, 2];
const RESET = 3;

export function encodePacketMessage(packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + packet.length);
  bytes[0] = PACKET;
  new DataView(bytes.buffer).setUint32(1, packet.length, true);
  bytes.set(packet, 5);
  return bytes;
}

export function encodeCredit(freed: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = CREDIT;
  new DataView(bytes.buffer).setUint32(1, freed, true);
  return bytes;
}

export const encodeTransportReset = (): Uint8Array => Uint8Array.of(TRANSPORT_RESET);
export const encodeDriverReset = (): Uint8Array => Uint8Array.of(RESET);

/** What a back-end sends: a packet whose length is its own, "reset", or undefined for neither. */
export function decodeVsockInput(bytes: Uint8Array): Uint8Array | "reset" | undefined {
  if (bytes[0] === TRANSPORT_RESET) return "reset";
  const packet = bytes.subarray(5);
  const isSound =
    bytes[0] === PACKET &&
    packet.length >= VSOCK_HEADER_BYTES &&
    packet.length <= VSOCK_HEADER_BYTES + MAX_VSOCK_DATA_BYTES &&
    decodeVsockHeader(packet).length === packet.length - VSOCK_HEADER_BYTES;
  return isSound ? packet : undefined;
}

/** For back-ends: what the device sent. */
export function decodeVsockMessages(bytes: Uint8Array): VsockMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: VsockMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] === RESET) {
      messages.push({ kind: "reset" });
      at++;
      continue;
    }
    if (at + 5 > bytes.length) break;
    const value = view.getUint32(at + 1, true);
    at += 5;
    if (bytes[at - 5] === CREDIT) messages.push({ kind: "credit", bytes: value });
    else if (bytes[at - 5] === PACKET && at + value <= bytes.length) {
      messages.push({ kind: "packet", bytes: bytes.subarray(at, at + value) });
      at += value;
    } else break;
  }
  return messages;
}
