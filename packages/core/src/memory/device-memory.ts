/**
 * Memory of a device's own that the guest reaches without asking the device, where the engine can do that: a frame buffer, or
 * a flash chip while it only is read. Device and guest see the same bytes. Accesses that the engine leaves to the device
 * (none is placed, or a store to what is read-only) go to its registers as ever, so a device works without this, too.
 */

/** read-only: the guest's stores go to the device. */
export type DeviceMemoryKind = "read-only" | "read-write";

export interface DeviceMemory {
  /** Zero at first; they do not move. */
  readonly bytes: Uint8Array;
  /**
   * GUEST-CONTROLLED: where the guest finds the bytes from here on; undefined: nowhere. Where they cannot be, as other memory
   * is there, accesses go to the device. Only from the machine's thread, within callbacks and between runs.
   */
  place(gpa: number | undefined): void;
  /** Tells of what the guest has stored there since the last call; may say too much, never too little. */
  takeWritten(note: (offset: number, length: number) => void): void;
}
