/**
 * A module of regions and, beside it, what the host's compiler made of it, as bytes. Little-endian:
 *
 *   u32 length, name of the piece that it was made from
 *   u32 length, what its functions were made from (jit/saved-regions.ts, origins)
 *   u32 length, the module
 *   the host's code, to the end
 *
 * As everything that is kept, it is taken from nobody but oneself (jit/translation-cache.ts).
 */
import { largeBytes } from "../memory/large-bytes.ts";

export interface LinkedRegions {
  readonly source: string;
  readonly index: Uint8Array;
  readonly wire: Uint8Array;
  readonly native: Uint8Array;
}

export function writeLinked({ source, index, wire, native }: LinkedRegions): Uint8Array<ArrayBuffer> {
  const name = Uint8Array.from(source, (c) => c.charCodeAt(0));
  const out = largeBytes(12 + name.length + index.length + wire.length + native.length);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const part of [name, index, wire]) {
    view.setUint32(at, part.length, true);
    out.set(part, at + 4);
    at += 4 + part.length;
  }
  out.set(native, at);
  return out;
}

/** Views into the bytes. Throws RangeError. */
export function readLinked(bytes: Uint8Array): LinkedRegions {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const part = (): Uint8Array => {
    const from = at + 4;
    const to = from + view.getUint32(at, true);
    if (to > bytes.length) throw new RangeError("a part beyond the end");
    at = to;
    return bytes.subarray(from, to);
  };
  const source = String.fromCharCode(...part());
  const [index, wire] = [part(), part()];
  return { source, index, wire, native: bytes.subarray(at) };
}
