/** Bytes of one range in several places: what is behind one another on the disk need not be so in memory. */

export type Parts = readonly Uint8Array[];

export function partsLength(parts: Parts): number {
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
}

/** All in one piece, a copy. */
export function joinParts(parts: Parts): Uint8Array {
  const bytes = new Uint8Array(partsLength(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The parts of [from, from + length). Precondition: there are so many bytes. */
export function sliceParts(parts: Parts, from: number, length: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  let skip = from;
  let left = length;
  for (const part of parts) {
    if (left === 0) break;
    if (skip >= part.length) skip -= part.length;
    else {
      const end = Math.min(part.length, skip + left);
      found.push(skip === 0 && end === part.length ? part : part.subarray(skip, end));
      left -= end - skip;
      skip = 0;
    }
  }
  return found;
}
