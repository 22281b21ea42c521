/** The frame check sequence of Ethernet (IEEE 802.3, 3.2.9): CRC-32, as it lies behind a frame. */

const POLYNOMIAL = 0xedb8_8320;
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});

export function frameCheckSequence(frame: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (let i = 0; i < frame.length; i++) crc = TABLE[(crc ^ frame[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
