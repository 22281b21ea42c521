/** What is at the other end of a card, and the card's side of it. */

/** The card's side. */
export interface LinkEvents {
  /** False: there is no room, and `resume` is called once there is some. */
  deliver(frame: Uint8Array, segmentBytes?: number): boolean;
  setUp(isUp: boolean): void;
  /** After `send` has refused a frame. */
  ready(): void;
}

export interface Link {
  /**
   * Valid during the call. False: not taken, since the one before has not left yet. `isOffloaded`: as network-channel.ts says,
   * only where the link has said that it takes that.
   */
  send(frame: Uint8Array, isOffloaded: boolean): boolean;
  /** There is room again for what was refused. */
  resume(): void;
  close(): void;
}
