/**
 * The contracts between the CPU's port and MMIO accesses and device front-ends.
 *
 * Offsets and sizes are guest-controlled: a handler answers every combination. Values are unsigned; a read returns
 * only the low `size` bytes. An 8-byte MMIO access arrives as two 4-byte accesses, low half first; a port access of
 * 2 or 4 bytes on a device whose registers are bytes is split by the bus when the range is registered with
 * `maxSize: 1`. Unclaimed reads give all ones; unclaimed writes vanish.
 */
export type AccessSize = 1 | 2 | 4;

export interface IoHandler {
  /** `offset` counts from the start of the registered range. */
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
}

export interface IoBus {
  /** Claims [start, start + length). Throws if it overlaps another claim. Returns the release. */
  claim(
    start: number,
    length: number,
    handler: IoHandler,
    options?: { maxSize?: AccessSize; name?: string },
  ): () => void;
  read(address: number, size: AccessSize): number;
  write(address: number, size: AccessSize, value: number): void;
}
