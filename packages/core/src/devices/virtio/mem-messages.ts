/**
 * What the channel of a virtio-mem device carries, so that it goes through the event log like all that comes from outside:
 * numbers of blocks, 4 bytes each, little-endian. To the device: how many the guest shall have plugged; nothing: it only
 * answers. From it: how many it has, whenever that changes, and as an answer. Several may be joined; the last one counts.
 */

export const MEM_BLOCK_BYTES: number = 2 * 2 ** 20;

export function encodeBlocks(blocks: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, blocks, true);
  return bytes;
}

/** The last one; undefined where no whole one is. */
export function decodeBlocks(bytes: Uint8Array): number | undefined {
  const end = bytes.length - (bytes.length % 4);
  return end === 0
    ? undefined
    : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(end - 4, true);
}
