/** Where a network meets a guest's card. */

/** What the card does by itself with a frame, as a virtio-net header says (virtio 1.2, 5.1.6). */
export interface Offload {
  /** The transport's checksum is the pseudo-header's sum only; or, of a frame from the guest, is known to be right. */
  readonly isChecksumPartial?: boolean;
  /** TCP in pieces of so many payload bytes: the frame is longer than the MTU. */
  readonly segmentBytes?: number;
}

export interface GuestLink {
  /** The frame is the card's from here on. Without room it is lost, as on a wire. */
  send(frame: Uint8Array, offload: Offload): void;
  /** The card has room for a frame. When it has again after it had none, the owner calls `UserNetwork.ready`. */
  canSend(): boolean;
  readonly mtu: number;
  /** Partial checksums are understood. */
  readonly hasChecksumOffload: boolean;
  /** TCP frames of so many bytes are understood; 0: only such as fit into the MTU. */
  readonly largestTcpFrame: number;
}
