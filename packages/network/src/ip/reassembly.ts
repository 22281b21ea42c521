/**
 * Datagrams out of fragments (RFC 791, 3.2; RFC 8200, 4.5), within bounds: so many datagrams, so many bytes, so long. Parts
 * that overlap drop the whole datagram, in both versions (RFC 5722), and one that comes twice is ignored. GUEST-CONTROLLED: ids, offsets and lengths.
 */
import { type IpPacket, PROTOCOL, withoutRest } from "./packet.ts";

const MAX_DATAGRAM_BYTES = 65535;
const MAX_DATAGRAMS = 32;
/** A full-size datagram in fragments of the least MTU that anybody uses has less. */
const MAX_PARTS = 128;
const LIMIT_MS = 30_000;

interface Part {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface Datagram {
  readonly startMs: number;
  readonly parts: Part[];
  received: number;
  /** Known once the last part is there. */
  totalBytes: number | undefined;
}

export class Reassembly {
  readonly #datagrams = new Map<string, Datagram>();

  /** Of which parts are missing. */
  get count(): number {
    return this.#datagrams.size;
  }

  /** The whole datagram, once its last missing part has come. */
  add(packet: IpPacket, nowMs: number): IpPacket | undefined {
    const { fragment, payload } = packet;
    if (!fragment) return packet;
    const key = `${packet.source}${packet.destination}${packet.protocol},${fragment.id}`;
    const end = fragment.offset + payload.length;
    const isUneven = !fragment.isLast && payload.length % 8 !== 0;
    if (payload.length === 0 || isUneven || end > MAX_DATAGRAM_BYTES || packet.protocol === PROTOCOL.TCP) {
      // No TCP of today is sent in fragments; what does so is an attempt to hide a header.
      this.#datagrams.delete(key);
      return undefined;
    }
    this.#expire(nowMs);
    const datagram = this.#datagrams.get(key) ?? this.#begin(key, nowMs);
    if (isRepeated(datagram.parts, fragment.offset, payload)) return undefined;
    const isBeyond = datagram.totalBytes !== undefined && (end > datagram.totalBytes || fragment.isLast);
    if (
      isBeyond ||
      datagram.parts.length === MAX_PARTS ||
      !insert(datagram.parts, { offset: fragment.offset, bytes: withoutRest(payload) })
    ) {
      this.#datagrams.delete(key);
      return undefined;
    }
    datagram.received += payload.length;
    if (fragment.isLast) datagram.totalBytes = end;
    if (datagram.received !== datagram.totalBytes) return undefined;
    this.#datagrams.delete(key);
    const last = datagram.parts.at(-1)!;
    if (last.offset + last.bytes.length !== datagram.totalBytes) return undefined;
    const whole = new Uint8Array(datagram.totalBytes);
    for (const part of datagram.parts) whole.set(part.bytes, part.offset);
    return { ...packet, payload: whole, fragment: undefined };
  }

  #begin(key: string, startMs: number): Datagram {
    const oldest = this.#datagrams.keys().next();
    if (this.#datagrams.size >= MAX_DATAGRAMS && !oldest.done) this.#datagrams.delete(oldest.value);
    const datagram: Datagram = { startMs, parts: [], received: 0, totalBytes: undefined };
    this.#datagrams.set(key, datagram);
    return datagram;
  }

  /** Those that began first are first in the map. */
  #expire(nowMs: number): void {
    for (const [key, { startMs }] of this.#datagrams) {
      if (nowMs - startMs < LIMIT_MS) return;
      this.#datagrams.delete(key);
    }
  }
}

function isRepeated(parts: readonly Part[], offset: number, payload: Uint8Array): boolean {
  const known = parts.find((part) => part.offset === offset)?.bytes;
  return known?.length === payload.length && known.every((byte, i) => byte === payload[i]);
}

/** False where it overlaps another. */
function insert(parts: Part[], part: Part): boolean {
  const found = parts.findIndex(({ offset }) => offset > part.offset);
  const index = found < 0 ? parts.length : found;
  const [before, after] = [parts[index - 1], parts[index]];
  if (before && before.offset + before.bytes.length > part.offset) return false;
  if (after && part.offset + part.bytes.length > after.offset) return false;
  parts.splice(index, 0, part);
  return true;
}
