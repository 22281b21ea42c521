/**
 * Between a network card and what carries its frames: frames of the guest leave at once, frames from the outside come in at
 * an instruction boundary, each as an event of the machine's log, so that a replay needs no network. The queues outside are
 * bounded; what finds no room in one is dropped, as on any wire. A card takes a frame when it is ready for one, and frames
 * wait outside until then.
 *
 * Frames are Ethernet frames from the destination address to the end of the payload: no preamble, no check sequence. They
 * are complete: checksums are in place, and none is larger than its wire takes.
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
  /** The bytes are valid during the call, come from anybody, and may be no frame at all. */
  receive(frame: Uint8Array): void;
  /** The cable is plugged in, or out. A card begins with a cable in. */
  linkChanged(isUp: boolean): void;
}

export interface NetworkChannel {
  /** The bytes are valid during the call. */
  send(frame: Uint8Array): void;
}

/** The host's end, for all channels of a machine. Calls come between two instructions, and wait for a moment at most. */
export interface NetworkBackend {
  send(channel: string, frame: Uint8Array): void;
  /** Whether `take` has something. */
  hasFrame(channel: string): boolean;
  /** The next frame from the outside. Its bytes are valid until the next call. */
  take(channel: string): Uint8Array | undefined;
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
