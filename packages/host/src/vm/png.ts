/**
 * A picture as a PNG file (PNG specification, third edition): 8 bits of red, green and blue, one IDAT chunk, each row
 * filtered by "Up", which makes much of what screens show zeros. Left out: palettes, transparency, interlacing.
 */
import { deflateSync } from "node:zlib";
import type { ScreenImage } from "@twinmetal/core";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const TRUECOLOR = 2;
const FILTER_UP = 2;
const CHUNK_OVERHEAD = 12;
const CRC_TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  return crc;
});

export function encodePng({ width, height, rgba }: ScreenImage): Uint8Array {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, TRUECOLOR);
  const chunks = [
    SIGNATURE,
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", deflateSync(filtered(width, height, rgba), { level: 6 })),
    chunk("IEND", new Uint8Array()),
  ];
  return new Uint8Array(Buffer.concat(chunks));
}

/** Each row after its filter's number: what is added to the row above. */
function filtered(width: number, height: number, rgba: Uint8Array): Uint8Array {
  const rowBytes = 1 + width * 3;
  const rows = new Uint8Array(rowBytes * height);
  for (let y = 0; y < height; y++) {
    let to = y * rowBytes;
    rows[to++] = FILTER_UP;
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 4;
      const above = at - width * 4;
      for (let channel = 0; channel < 3; channel++)
        rows[to++] = rgba[at + channel]! - (y === 0 ? 0 : rgba[above + channel]!);
    }
  }
  return rows;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CHUNK_OVERHEAD + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
