/**
 * Between a disk controller and what keeps the disk's bytes: requests leave at once, completions come back at an
 * instruction boundary, in the order of the machine's event log. The log holds what was read, so that a replay needs no
 * disk. Both sides are bounded: a channel has at most BLOCK_LIMITS.requests requests under way, none with more bytes than
 * BLOCK_LIMITS.bytes; a controller cuts its guest's requests up and waits.
 *
 * Bytes are copied between the guest's memory and the channel, or, where the back-end reaches that memory, read and written
 * there by it while the guest runs, as by a bus master. That cannot be told from a recording, so a recorded machine copies.
 *
 * Requests under way are in no order among each other. A flush makes durable what was completed before it was submitted.
 */

export const BLOCK_LIMITS = {
  /** Of one channel, under way. */
  requests: 32,
  /** Of one read or write. */
  bytes: 2 ** 20,
  /** Of one whose bytes are copied, so that little is copied between two instructions. */
  copiedBytes: 131_072,
  /** Of one discard or write of zeroes, which carry no bytes. */
  rangeBytes: 2 ** 30,
} as const;

export const BLOCK_OPERATIONS = ["read", "write", "flush", "discard", "write-zeroes"] as const;
export type BlockOperation = (typeof BLOCK_OPERATIONS)[number];

/** Offsets and lengths are multiples of 512, within the disk; both 0 for a flush. */
export interface BlockRequest {
  /** 32 bits, and of no other request of this channel that is under way. */
  readonly id: number;
  readonly operation: BlockOperation;
  readonly offset: number;
  readonly length: number;
  /** Zeroes may be kept as a hole. */
  readonly mayUnmap?: boolean;
  /**
   * Of a read or write whose bytes the back-end reaches: their places (`GuestMemory.place`) and lengths in turn, as long as the
   * request in all. At most MAX_SPANS pairs.
   */
  readonly spans?: readonly number[];
}

export const MAX_SPANS = 1024;

export interface BlockCompletion {
  readonly id: number;
  readonly isOk: boolean;
  /** What was read: as long as the request; otherwise empty. Valid during the call. */
  readonly bytes: Uint8Array;
  /** It was a read into the guest's memory, of which some may be written if it has failed. */
  readonly isInMemory?: boolean;
}

/** The controller's end. */
export interface BlockChannel {
  /** Whether requests may have `spans`. Asked for each. */
  readonly reachesMemory: boolean;
  /** Where the bytes of a write without `spans` go: valid until its `submit`, which is the next call. */
  writeBuffer(length: number): Uint8Array;
  /** A request that is under way already, from before a change of machines, is not carried out twice. */
  submit(request: BlockRequest): void;
  /** The guest's memory is somebody else's from here on: what has not begun fails, what has is waited for. */
  withdraw(): void;
}

/** The host's end, for all channels of a machine. Calls come between two instructions; but for two, they do not wait. */
export interface BlockBackend {
  /** Whether it reaches the machine's memory. Default: no. */
  readonly reachesMemory?: boolean;
  writeBuffer(channel: string, length: number): Uint8Array;
  submit(channel: string, request: BlockRequest): void;
  /** Whether a request is done that has not been taken. */
  readonly hasDone: boolean;
  /**
   * The next request that is done. Its bytes are valid until the next call. `wantsBytes`: what was read into the guest's
   * memory, too.
   */
  take(wantsBytes?: boolean): (BlockCompletion & { readonly channel: string }) | undefined;
  /** Returns when it does not read or write the machine's memory. */
  settle?(): void;
  /** BlockChannel.withdraw */
  withdraw?(channel: string): void;
}

export const NO_BYTES: Uint8Array = new Uint8Array(0);
