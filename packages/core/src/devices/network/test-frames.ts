/** Frames for tests of network cards, with checksums in place: TCP and UDP over IPv4, between fixed addresses. */
import { finishChecksum, sumWords, writeChecksum } from "./checksum.ts";

interface FrameOptions {
  readonly to: Uint8Array;
  readonly from: Uint8Array;
  readonly payload?: Uint8Array;
}

export function tcpFrame({
  sequence = 1000,
  flags = 0x10,
  ...options
}: FrameOptions & {
  readonly sequence?: number;
  readonly flags?: number;
}): Uint8Array {
  const { payload = new Uint8Array(0) } = options;
  const segment = new Uint8Array(20 + payload.length);
  const view = new DataView(segment.buffer);
  view.setUint16(0, 40_000);
  view.setUint16(2, 80);
  view.setUint32(4, sequence);
  segment[12] = 5 << 4;
  segment[13] = flags;
  view.setUint16(14, 65_535);
  segment.set(payload, 20);
  return ipFrame(options, 6, segment, 16);
}

export function udpFrame(options: FrameOptions): Uint8Array {
  const { payload = new Uint8Array(0) } = options;
  const datagram = new Uint8Array(8 + payload.length);
  const view = new DataView(datagram.buffer);
  view.setUint16(0, 4000);
  view.setUint16(2, 53);
  view.setUint16(4, datagram.length);
  datagram.set(payload, 8);
  return ipFrame(options, 17, datagram, 6);
}

function ipFrame({ to, from }: FrameOptions, protocol: number, segment: Uint8Array, checksum: number): Uint8Array {
  const frame = new Uint8Array(34 + segment.length);
  const view = new DataView(frame.buffer);
  frame.set(to, 0);
  frame.set(from, 6);
  view.setUint16(12, 0x0800);
  frame.set([0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol], 14);
  view.setUint16(16, 20 + segment.length);
  frame.set([10, 0, 2, 15, 10, 0, 2, 2], 26);
  view.setUint16(24, finishChecksum(sumWords(frame, 14, 34)));
  frame.set(segment, 34);
  const sum = sumWords(frame, 34, frame.length, sumWords(frame, 26, 34, protocol + segment.length));
  writeChecksum(frame, 34 + checksum, finishChecksum(sum));
  return frame;
}
