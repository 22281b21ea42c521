/**
 * Between a device that shares a folder and what has the folder's files: requests leave at once, completions come back at an
 * instruction boundary, in the order of the machine's event log, which holds their bytes: a replay needs no folder. What a
 * request says is in file-requests.ts. Both sides are bounded: a channel has at most FILE_LIMITS.requests under way.
 *
 * Requests of one channel are carried out in the order in which they were submitted, one at a time.
 */

export const FILE_LIMITS = {
  /** Of one channel, under way. */
  requests: 16,
  /** Of one read or write, and of one reply. */
  dataBytes: 131_072,
  /** Of a request without its data. */
  messageBytes: 32_768,
  /** Of one name, and of a path within the folder (limits.h). */
  nameBytes: 255,
  pathBytes: 4095,
  /** Of what a directory's entries have in a guest's buffer, so that their encoding has room in a reply. */
  entryBytes: 32_768,
} as const;

export interface FileCompletion {
  readonly id: number;
  /** Of errno.ts; 0: it was carried out. */
  readonly error: number;
  /** What was read, or the encoded reply. Valid during the call. */
  readonly bytes: Uint8Array;
}

/** The device's end. */
export interface FileChannel {
  /** Where the bytes of a write go: valid until its `submit`, which is the next call. */
  dataBuffer(length: number): Uint8Array;
  /**
   * `id`: 32 bits, and of no other request of this channel that is under way. One that is under way already, from before a
   * change of machines, is not carried out twice.
   */
  submit(id: number, message: Uint8Array, dataBytes: number): void;
}

/** The host's end, for all channels of a machine. Calls come between two instructions, and do not wait. */
export interface FileBackend {
  dataBuffer(channel: string, length: number): Uint8Array;
  submit(channel: string, id: number, message: Uint8Array, dataBytes: number): void;
  /** Whether a request is done that has not been taken. */
  readonly hasDone: boolean;
  /** The next request that is done. Its bytes are valid until the next call. */
  take(): (FileCompletion & { readonly channel: string }) | undefined;
}
