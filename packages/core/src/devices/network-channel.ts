/**
 * Between a network card and what carries its frames: frames of the guest leave at once, frames from the outside come in at
 * an instruction boundary, each as an event of the machine's log, so that a replay needs no network. The queues outside are
 * bounded; what finds no room in one is dropped, as on any wire. A card takes a frame when it is ready for one, and frames
 * wait outside until then.
 *
 * Frames are Ethernet frames from the destination address to the end of the payload: no preamble, no check sequence. They
 * are complete: checksums are in place, and none is larger than its wire takes. Except where both sides have said that they
 * take others: TCP segments of many frames' size, cut by nobody, whose checksum is that of the pseudo-header only.
 */

export const NETWORK_LIMITS = {
  /** Of one frame. */
  frameBytes: 65_536,
  /** The largest payload of a frame that a card can be set to. */
  minMtu: 68,
  maxMtu: 9000,
} as const;

/** Destination, source and type. */
export const ETHERNET_HEADER_BYTES = 14;
export const MAC_BYTES = 6;

/** The card's end, as the machine sees it. Both calls come at instruction boundaries only. */
export interface NetworkPort {
  /** Whether the next frame may come: the card takes it, or drops it at once. */
  readonly isReady: boolean;
  /**
   * The bytes are valid during the call, come from anybody, and may be no frame at all. `segmentBytes` > 0: a large TCP segment
   * of pieces of so many bytes, for a card that takes them.
   */
  receive(frame: Uint8Array, segmentBytes: number): void;
  /** The cable is plugged in, or out. A card begins with a cable in. */
  linkChanged(isUp: boolean): void;
}

export interface NetworkChannel {
  /** `send` takes frames without their checksum, and large TCP segments, at present. */
  readonly takesOffloads: boolean;
  /** The bytes are valid during the call. */
  send(frame: Uint8Array, isOffloaded?: boolean): void;
  /** Whether the guest's driver takes large TCP segments from now on. A card begins without. */
  setTakesLarge(isTaken: boolean): void;
}

/** One from the outside. */
export interface ReceivedFrame {
  readonly bytes: Uint8Array;
  /** As NetworkPort.receive's. */
  readonly segmentBytes: number;
}

/** The host's end, for all channels of a machine. Calls come between two instructions, and wait for a moment at most. */
export interface NetworkBackend {
  send(channel: string, frame: Uint8Array, isOffloaded: boolean): void;
  takesOffloads(channel: string): boolean;
  setTakesLarge(channel: string, isTaken: boolean): void;
  /** Whether `take` has something. */
  hasFrame(channel: string): boolean;
  /** The next frame from the outside. Its bytes are valid until the next call. */
  take(channel: string): ReceivedFrame | undefined;
  /** Whether the channel leads anywhere at present. */
  isUp(channel: string): boolean;
}

/** "52:54:00:12:34:56", of a card: six bytes in lower-case hexadecimal digits, not of a group. Undefined: it is none. */
export function macBytes(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text)) return undefined;
  const bytes = Uint8Array.from(text.split(":"), (digits) => Number.parseInt(digits, 16));
  const isUsable = (bytes[0]! & 1) === 0 && bytes.some((byte) => byte !== 0);
  return isUsable ? bytes : undefined;
}
