/**
 * What an 82540EM takes from the wire: the receive filter (Software Developer's Manual, 3.2.1 and 13.5), the descriptors that
 * a frame is written to, checksum results and VLAN stripping (3.2.3, 9.3).
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { hasRightChecksum, hasRightIpChecksum } from "../network/checksum.ts";
import { frameCheckSequence } from "../network/frame-check.ts";
import { IP_PROTOCOL, parseHeaders, wordAt } from "../network/frame-headers.ts";
import { MAC_BYTES } from "../network-channel.ts";
import { RAH_AV, RCTL } from "./registers.ts";

const STATUS = { DD: 1, EOP: 2, IXSM: 4, VP: 8, TCPCS: 0x20, IPCS: 0x40 } as const;
const ERRORS = { TCPE: 0x20, IPE: 0x40 } as const;
const DESCRIPTOR_BYTES = 16;
const FCS_BYTES = 4;
/** Shorter ones are padded by who sends them. */
const MIN_FRAME_BYTES = 60;
/** By BSIZE; sixteen times that with BSEX. */
const BUFFER_BYTES = [2048, 1024, 512, 256] as const;

/** The tables of addresses, as the guest has written them. */
export interface FilterTables {
  readonly control: number;
  /** RAL and RAH, sixteen pairs. */
  readonly addresses: Uint32Array;
  readonly multicast: Uint32Array;
  readonly vlans: Uint32Array;
  readonly etherType: number;
}

export function accepts(frame: Uint8Array, { control, addresses, multicast, vlans, etherType }: FilterTables): boolean {
  if (control & RCTL.VFE && wordAt(frame, 12) === etherType) {
    const vlan = wordAt(frame, 14) & 0xfff;
    if (((vlans[vlan >> 5]! >>> (vlan & 31)) & 1) === 0) return false;
  }
  const isGroup = (frame[0]! & 1) !== 0;
  if (isGroup && isBroadcast(frame) && control & RCTL.BAM) return true;
  if (control & (isGroup ? RCTL.MPE : RCTL.UPE)) return true;
  const low = frame[0]! | (frame[1]! << 8) | (frame[2]! << 16) | (frame[3]! << 24);
  const high = frame[4]! | (frame[5]! << 8);
  for (let i = 0; i < addresses.length; i += 2) {
    const isMatch = addresses[i] === low >>> 0 && (addresses[i + 1]! & 0xffff) === high;
    if (isMatch && addresses[i + 1]! >= RAH_AV) return true;
  }
  if (!isGroup) return false;
  // Twelve bits of the address's last two bytes, by MO.
  const hash = (high >> [4, 3, 2, 0][(control >> 12) & 3]!) & 0xfff;
  return ((multicast[hash >> 5]! >>> (hash & 31)) & 1) === 1;
}

/** Bytes of each descriptor's buffer. */
export function bufferBytes(control: number): number {
  const size = BUFFER_BYTES[(control >> 16) & 3]!;
  return control & RCTL.BSEX && size !== 2048 ? 16 * size : size;
}

export interface Reception {
  readonly control: number;
  /** VLAN tags of this type are taken out; undefined: they stay. */
  readonly strippedType: number | undefined;
  readonly checksIp: boolean;
  readonly checksSegment: boolean;
}

/** A frame as it is written to memory, and what its last descriptor says of it. */
export class ReceivedFrame {
  readonly bytes: Uint8Array;
  readonly #status: number;
  readonly #errors: number;
  readonly #tag: number;

  constructor(frame: Uint8Array, { control, strippedType, checksIp, checksSegment }: Reception) {
    const isTagged = strippedType !== undefined && frame.length >= 18 && wordAt(frame, 12) === strippedType;
    const length = Math.max(MIN_FRAME_BYTES, frame.length) - (isTagged ? 4 : 0);
    const bytes = new Uint8Array(length + (control & RCTL.SECRC ? 0 : FCS_BYTES));
    if (isTagged) {
      bytes.set(frame.subarray(0, 2 * MAC_BYTES));
      bytes.set(frame.subarray(2 * MAC_BYTES + 4), 2 * MAC_BYTES);
    } else bytes.set(frame);
    if (bytes.length > length) {
      new DataView(bytes.buffer).setUint32(length, frameCheckSequence(bytes.subarray(0, length)), true);
    }
    this.bytes = bytes;
    this.#tag = isTagged ? wordAt(frame, 14) : 0;
    const sums = checksumResult(frame, checksIp, checksSegment);
    this.#status = STATUS.DD | (isTagged ? STATUS.VP : 0) | sums.status;
    this.#errors = sums.errors;
  }

  /** False: a descriptor or a buffer is not RAM. `ring`: its address; `next`: of descriptor numbers. */
  write(memory: GuestMemory, ring: number, first: number, next: (index: number) => number, sizeBytes: number): boolean {
    const descriptor = new DataView(new ArrayBuffer(DESCRIPTOR_BYTES));
    const raw = new Uint8Array(descriptor.buffer);
    let index = first;
    for (let at = 0; at < this.bytes.length; at += sizeBytes) {
      const address = ring + DESCRIPTOR_BYTES * index;
      if (!memory.read(address, raw)) return false;
      const gpa = descriptor.getUint32(4, true) * 2 ** 32 + descriptor.getUint32(0, true);
      const part = this.bytes.subarray(at, at + sizeBytes);
      // A buffer of zero is skipped by the hardware, too.
      if (gpa !== 0 && !memory.write(gpa, part)) return false;
      const isLast = at + part.length === this.bytes.length;
      descriptor.setUint16(8, part.length, true);
      descriptor.setUint16(10, 0, true);
      descriptor.setUint8(12, isLast ? this.#status | STATUS.EOP : STATUS.DD);
      descriptor.setUint8(13, isLast ? this.#errors : 0);
      descriptor.setUint16(14, isLast ? this.#tag : 0, true);
      if (!memory.write(address + 8, raw.subarray(8))) return false;
      index = next(index);
    }
    return true;
  }
}

function checksumResult(
  frame: Uint8Array,
  checksIp: boolean,
  checksSegment: boolean,
): { status: number; errors: number } {
  const headers = checksIp || checksSegment ? parseHeaders(frame) : undefined;
  if (!headers || headers.isIpv6) return { status: STATUS.IXSM, errors: 0 };
  let status = 0;
  let errors = 0;
  if (checksIp) {
    status |= STATUS.IPCS;
    if (!hasRightIpChecksum(frame, headers)) errors |= ERRORS.IPE;
  }
  const { protocol, isFragment, segment } = headers;
  const isTcp = protocol === IP_PROTOCOL.TCP;
  const hasSum = isTcp || (protocol === IP_PROTOCOL.UDP && wordAt(frame, segment + 6) !== 0);
  if (checksSegment && hasSum && !isFragment) {
    status |= STATUS.TCPCS;
    if (!hasRightChecksum(frame, headers)) errors |= ERRORS.TCPE;
  }
  return { status: status === 0 ? STATUS.IXSM : status, errors };
}

export function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (frame[i] !== 0xff) return false;
  return true;
}
