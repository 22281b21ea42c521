/** Arithmetic of sequence numbers, modulo 2^32 (RFC 9293, 3.4). */

export function plus(sequence: number, count: number): number {
  return (sequence + count) >>> 0;
}

/** How far `a` is behind `b`: positive when it is later. Right as long as they are less than 2^31 apart. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}
