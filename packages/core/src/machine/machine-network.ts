/**
 * A machine's network cards: which one a frame is for, and what carries them. Frames and the state of the cable enter as
 * input events, on the channels NAME and NAME.link (large TCP segments on NAME.tso, behind the size of their pieces), so a replay, which has no back-end, finds them in its recording; what
 * the guest sends then goes nowhere. The cards take turns, so that a busy network does not keep another one's frames out.
 */
import type { NetworkBackend, NetworkChannel, NetworkPort, ReceivedFrame } from "../devices/network-channel.ts";

const LINK_SUFFIX = ".link";
const TSO_SUFFIX = ".tso";
const SIZE_BYTES = 2;

interface Card {
  readonly channel: string;
  readonly port: NetworkPort;
  /** What the machine was told last; undefined: nothing since it is this machine. */
  isUp: boolean | undefined;
}

interface Input {
  readonly channel: string;
  /** Valid until the next call. */
  readonly bytes: Uint8Array;
}

export class MachineNetwork {
  readonly #cards: Card[] = [];
  /** Undefined in a replay. Asked at each call. */
  readonly #backend: () => NetworkBackend | undefined;
  #turn = 0;

  constructor(backend: () => NetworkBackend | undefined) {
    this.#backend = backend;
  }

  /** `listen`: for input events of a channel; throws if it has a listener. */
  open(
    channel: string,
    port: NetworkPort,
    listen: (channel: string, handler: (bytes: Uint8Array) => void) => void,
  ): NetworkChannel {
    listen(channel, (frame) => port.receive(frame, 0));
    listen(channel + TSO_SUFFIX, (bytes) => {
      if (bytes.length < SIZE_BYTES) return;
      port.receive(bytes.subarray(SIZE_BYTES), bytes[0]! | (bytes[1]! << 8));
    });
    listen(channel + LINK_SUFFIX, (bytes) => port.linkChanged(bytes[0] === 1));
    this.#cards.push({ channel, port, isUp: undefined });
    const backend = this.#backend;
    return {
      get takesOffloads() {
        return backend()?.takesOffloads(channel) ?? false;
      },
      send: (frame, isOffloaded = false) => backend()?.send(channel, frame, isOffloaded),
      setTakesLarge: (isTaken) => backend()?.setTakesLarge(channel, isTaken),
    };
  }

  /** Whether a guest that waits is to be woken. */
  get hasNext(): boolean {
    const backend = this.#backend();
    return backend !== undefined && this.#cards.some((card) => hasInput(card, backend));
  }

  /** What enters the machine next, at most one frame of each card in turn. */
  next(): Input | undefined {
    const backend = this.#backend();
    if (!backend) return undefined;
    for (let tried = 0; tried < this.#cards.length; tried++) {
      const card = this.#cards[this.#turn++ % this.#cards.length]!;
      const { channel, port } = card;
      const isUp = backend.isUp(channel);
      if (card.isUp !== isUp) {
        card.isUp = isUp;
        return { channel: channel + LINK_SUFFIX, bytes: Uint8Array.of(isUp ? 1 : 0) };
      }
      const frame = port.isReady ? backend.take(channel) : undefined;
      if (frame) return frame.segmentBytes === 0 ? { channel, bytes: frame.bytes } : large(channel, frame);
    }
    return undefined;
  }
}

function large(channel: string, { bytes, segmentBytes }: ReceivedFrame): Input {
  const sized = new Uint8Array(SIZE_BYTES + bytes.length);
  sized[0] = segmentBytes & 0xff;
  sized[1] = segmentBytes >> 8;
  sized.set(bytes, SIZE_BYTES);
  return { channel: channel + TSO_SUFFIX, bytes: sized };
}

function hasInput({ channel, port, isUp }: Card, backend: NetworkBackend): boolean {
  return backend.isUp(channel) !== isUp || (port.isReady && backend.hasFrame(channel));
}
