/**
 * Captured frames as Wireshark and tcpdump read them: the classic pcap format with nanoseconds, link type Ethernet
 * (draft-ietf-opsawg-pcap). Numbers are little-endian, which the magic number tells.
 */
const MAGIC_NANOSECONDS = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET = 1;
/** The most of a frame that is kept: all of it. */
const SNAPSHOT_BYTES = 65_536;

export function pcapHeader(): Uint8Array {
  const header = new DataView(new ArrayBuffer(24));
  header.setUint32(0, MAGIC_NANOSECONDS, true);
  header.setUint16(4, 2, true);
  header.setUint16(6, 4, true);
  header.setUint32(16, SNAPSHOT_BYTES, true);
  header.setUint32(20, LINKTYPE_ETHERNET, true);
  return new Uint8Array(header.buffer);
}

/** One frame; `timeMs` since 1970. */
export function pcapRecord(timeMs: number, frame: Uint8Array): Uint8Array {
  const kept = Math.min(frame.length, SNAPSHOT_BYTES);
  const record = new Uint8Array(16 + kept);
  const view = new DataView(record.buffer);
  view.setUint32(0, Math.floor(timeMs / 1000), true);
  view.setUint32(4, Math.floor((timeMs % 1000) * 1e6), true);
  view.setUint32(8, kept, true);
  view.setUint32(12, frame.length, true);
  record.set(frame.subarray(0, kept), 16);
  return record;
}
