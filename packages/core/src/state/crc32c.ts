/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, RFC 3720 appendix B.4), eight bytes a step: the check of bulk data
 * (RAM, event log chunks) against damage. No protection against intent.
 */

const TABLES: readonly Uint32Array[] = buildTables();

function buildTables(): Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    return crc;
  });
  const tables = [first];
  for (let k = 1; k < 8; k++) {
    const previous = tables[k - 1]!;
    tables.push(previous.map((crc) => (crc >>> 8) ^ first[crc & 0xff]!));
  }
  return tables;
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** `previous` continues an earlier result: crc32c(ab) = crc32c(b, crc32c(a)). */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  const first = TABLES[0]!;
  let crc = ~previous;
  let at = 0;
  if (IS_LITTLE_ENDIAN && bytes.byteOffset % 4 === 0 && bytes.length >= 8) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, (bytes.length >>> 3) * 2);
    crc = ofWords(words, crc);
    at = words.length * 4;
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ first[(crc ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
}

/** Of pairs of words. */
function ofWords(words: Int32Array, before: number): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as readonly Uint32Array[] & { readonly length: 8 };
  let crc = before;
  for (let at = 0; at < words.length; at += 2) {
    const low = crc ^ words[at]!;
    const high = words[at + 1]!;
    crc =
      t7![low & 0xff]! ^
      t6![(low >>> 8) & 0xff]! ^
      t5![(low >>> 16) & 0xff]! ^
      t4![low >>> 24]! ^
      t3![high & 0xff]! ^
      t2![(high >>> 8) & 0xff]! ^
      t1![(high >>> 16) & 0xff]! ^
      t0![high >>> 24]!;
  }
  return crc;
}
