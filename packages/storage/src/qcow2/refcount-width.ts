/** Reference counts of 1 to 64 bits as they lie in a block: below a byte, the lower index in the lower bits. */
import { corrupt, TWO_32 } from "./big-endian.ts";

/** The width is 2^`order` bits. */
export function readRefcount(view: DataView, index: number, order: number): number {
  switch (order) {
    case 3:
      return view.getUint8(index);
    case 4:
      return view.getUint16(index * 2);
    case 5:
      return view.getUint32(index * 4);
    case 6:
      return view.getUint32(index * 8) * TWO_32 + view.getUint32(index * 8 + 4);
    default: {
      const bits = 1 << order;
      const perByte = 8 >> order;
      const shift = (index % perByte) * bits;
      return (view.getUint8(Math.floor(index / perByte)) >> shift) & ((1 << bits) - 1);
    }
  }
}

export function writeRefcount(view: DataView, index: number, order: number, count: number): void {
  if (count < 0 || count > largestRefcount(order)) throw corrupt(`a cluster cannot have ${count} references`);
  switch (order) {
    case 3:
      view.setUint8(index, count);
      return;
    case 4:
      view.setUint16(index * 2, count);
      return;
    case 5:
      view.setUint32(index * 4, count);
      return;
    case 6:
      view.setUint32(index * 8, Math.floor(count / TWO_32));
      view.setUint32(index * 8 + 4, count % TWO_32);
      return;
    default: {
      const bits = 1 << order;
      const perByte = 8 >> order;
      const shift = (index % perByte) * bits;
      const at = Math.floor(index / perByte);
      const mask = ((1 << bits) - 1) << shift;
      view.setUint8(at, (view.getUint8(at) & ~mask) | (count << shift));
    }
  }
}

export function largestRefcount(order: number): number {
  return order === 6 ? Number.MAX_SAFE_INTEGER : 2 ** (1 << order) - 1;
}
