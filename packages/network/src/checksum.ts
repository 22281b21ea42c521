/** The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words. */

/** The sum so far and that of `bytes[start..end)`, not folded. At most 2^21 bytes in all, so that it stays exact. */
export function addWords(sum: number, bytes: Uint8Array, start = 0, end = bytes.length): number {
  let at = start;
  for (; at + 1 < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return at < end ? sum + (bytes[at]! << 8) : sum;
}

/** Folds a sum to what stands in the header. Over a header with a right checksum in it the answer is 0. */
export function foldChecksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}
