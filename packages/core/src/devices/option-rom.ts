/**
 * Expansion ROMs of PCI cards (PCI Firmware Specification 3.0, chapter 5): firmware starts an image only for the card whose
 * numbers are in its data structure, and a ROM that was made for another number of the same card gets this one's.
 */

const SIGNATURE = 0xaa55;
const HEADER = { length: 2, spare: 6, dataPointer: 0x18, minBytes: 0x1a } as const;
const DATA = { vendorId: 4, deviceId: 6, imageLength: 0x10, codeType: 0x14, indicator: 0x15, sizeBytes: 0x18 } as const;
const PC_AT = 0;
const LAST_IMAGE = 0x80;
const UNIT_BYTES = 512;

/** A copy. What is no image of a ROM stays as it is. */
export function romFor(rom: Uint8Array, vendorId: number, deviceId: number): Uint8Array {
  const copy = rom.slice();
  const view = new DataView(copy.buffer);
  for (let at = 0; at + HEADER.minBytes <= copy.length && view.getUint16(at, true) === SIGNATURE; ) {
    const data = at + view.getUint16(at + HEADER.dataPointer, true);
    if (data + DATA.sizeBytes > copy.length) break;
    if (copy[data + DATA.codeType] === PC_AT) {
      view.setUint16(data + DATA.vendorId, vendorId, true);
      view.setUint16(data + DATA.deviceId, deviceId, true);
      setChecksum(copy.subarray(at, at + UNIT_BYTES * copy[at + HEADER.length]!));
    }
    const length = UNIT_BYTES * view.getUint16(data + DATA.imageLength, true);
    if (length === 0 || copy[data + DATA.indicator]! & LAST_IMAGE) break;
    at += length;
  }
  return copy;
}

/** All bytes of an image add up to zero; nothing else uses the spare one. */
function setChecksum(image: Uint8Array): void {
  if (image.length <= HEADER.spare) return;
  image[HEADER.spare] = 0;
  image[HEADER.spare] = -image.reduce((sum, byte) => sum + byte, 0);
}
