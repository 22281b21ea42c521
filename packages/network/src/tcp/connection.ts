/**
 * One TCP connection of a guest, ended here: what the guest sends goes into a stream of the host, and back (RFC 9293). The
 * guest sees the peer's address. States, as the guest could tell them:
 *
 *   connecting    the guest's SYN is held back until the host's connection stands; then SYN-RECEIVED
 *   syn-sent      the other way round: somebody has connected to a forwarded port
 *   open          ESTABLISHED, FIN-WAIT, CLOSE-WAIT, CLOSING, LAST-ACK: each direction ends for itself
 *   time-wait     both have ended, ours first: the guest may send its FIN again; or the host has not taken everything yet
 *   closed
 *
 * Left out: urgent data (delivered in line), timestamps, simultaneous open.
 */
import type { HostStream, NetworkWorld, StreamEvents, StreamFailure } from "../world.ts";
import { Deadline } from "./deadline.ts";
import { ReceiveHalf } from "./receive-half.ts";
import { RoundTrip } from "./round-trip.ts";
import { FLAG, type OutgoingSegment, type Segment, type SegmentOptions } from "./segment.ts";
import { SendHalf, type Transmission } from "./send-half.ts";
import { distance, plus } from "./sequence.ts";

/** Bytes that wait for the host, or in the guest's order: RCV.WND's most. Many connections have less each (`TcpLink.bufferBytes`). */
export const RECEIVE_BYTES = 1 << 20;
const WINDOW_SCALE = 7;
const DEFAULT_MSS = 536;
const DELAYED_ACK_MS = 20;
const CHALLENGE_MS = 200;
const TIME_WAIT_MS = 10_000;
/** So many of these may pass without the host's taking any of what is left. */
const MAX_LINGERS = 30;
/** About a minute and a half at the least timeout. */
const MAX_EXPIRIES = 9;

/** The link to the guest, for one connection. */
export interface TcpLink {
  send(segment: Omit<OutgoingSegment, "sourcePort" | "destinationPort">, fill?: (into: Uint8Array) => void): void;
  /** False: the card has no room; the owner calls `pump` when it has. */
  canSend(): boolean;
  /** Of a segment that fits into the link's MTU. */
  readonly mss: number;
  /** A segment that the card cuts itself may have so many bytes; `mss` where it does not. */
  readonly largestSegment: number;
  /**
   * At most so many bytes each way should be kept now: of the guest's what the host has not taken, and of the host's what the
   * guest has not acknowledged, whose stream then waits.
   */
  readonly bufferBytes: number;
  /** When something came from the guest last, in this connection or not. */
  heardMs(): number;
}

export interface TcpOwner {
  /** It needs no more segments. */
  closed(): void;
  /** The host's connection came to nothing, before the guest had an answer. */
  rejected(why: StreamFailure): void;
}

type State = "connecting" | "syn-sent" | "syn-received" | "open" | "time-wait" | "closed";

export class TcpConnection implements StreamEvents {
  readonly #world: NetworkWorld;
  readonly #link: TcpLink;
  readonly #owner: TcpOwner;
  readonly #send: SendHalf;
  readonly #roundTrip = new RoundTrip();
  readonly #retransmit: Deadline;
  readonly #delayedAck: Deadline;
  #receive: ReceiveHalf | undefined;
  #stream: HostStream | undefined;
  #state: State;
  #mss = DEFAULT_MSS;
  #peerScale = 0;
  #ownScale = 0;
  #hasSack = false;
  #expiries = 0;
  #expiredMs = 0;
  #unacknowledged = 0;
  #isFinReceived = false;
  /** The guest has ended first. */
  #isPassive = false;
  #lingeringBytes = Number.POSITIVE_INFINITY;
  #isPaused = false;
  #isHeard = true;
  #receiveLimit = 0;
  #challengedMs = Number.NEGATIVE_INFINITY;
  /** One segment at a time is timed. */
  #timed: { readonly end: number; readonly sentMs: number } | undefined;
  #synOptions: SegmentOptions = {};

  private constructor(world: NetworkWorld, link: TcpLink, owner: TcpOwner, state: State) {
    this.#world = world;
    this.#link = link;
    this.#owner = owner;
    this.#state = state;
    this.#send = new SendHalf(world.randomU32());
    this.#retransmit = new Deadline(world, () => this.#timedOut());
    this.#delayedAck = new Deadline(world, () => this.#acknowledge());
  }

  /** The guest's SYN. `connect` begins the host's connection, whose events the new one takes. */
  static fromGuest(
    world: NetworkWorld,
    link: TcpLink,
    owner: TcpOwner,
    syn: Segment,
    connect: (events: StreamEvents) => HostStream,
  ): TcpConnection {
    const connection = new TcpConnection(world, link, owner, "connecting");
    connection.#agree(syn);
    connection.#stream = connect(connection);
    return connection;
  }

  /** Somebody has connected to a forwarded port: `stream` stands already. */
  static toGuest(world: NetworkWorld, link: TcpLink, owner: TcpOwner, stream: HostStream): TcpConnection {
    const connection = new TcpConnection(world, link, owner, "syn-sent");
    connection.#stream = stream;
    stream.pause();
    connection.#isPaused = true;
    connection.#synOptions = { mss: link.mss, windowScale: WINDOW_SCALE, isSackPermitted: true };
    connection.#sendSyn();
    return connection;
  }

  /** What both sides can, from the guest's SYN. */
  #agree({ sequence, window, options }: Segment): void {
    const { mss = DEFAULT_MSS, windowScale, isSackPermitted = false } = options;
    this.#mss = Math.min(Math.max(64, mss), this.#link.mss);
    this.#hasSack = isSackPermitted;
    if (windowScale !== undefined) {
      this.#peerScale = windowScale;
      this.#ownScale = WINDOW_SCALE;
    }
    this.#send.window = window;
    const limit = windowScale === undefined ? 0xffff : RECEIVE_BYTES;
    this.#receiveLimit = limit;
    this.#receive = new ReceiveHalf(sequence, limit, this.#link.mss);
    this.#synOptions = {
      mss: this.#link.mss,
      windowScale: windowScale === undefined ? undefined : WINDOW_SCALE,
      isSackPermitted,
    };
  }

  #sendSyn(): void {
    const isAnswer = this.#receive !== undefined;
    const window = Math.min(0xffff, this.#receive?.window(this.#pendingBytes) ?? 0xffff);
    this.#link.send({
      sequence: this.#send.una,
      acknowledgement: this.#receive?.next ?? 0,
      flags: FLAG.SYN | (isAnswer ? FLAG.ACK : 0),
      window,
      options: this.#synOptions,
      payloadBytes: 0,
    });
    this.#retransmit.set(this.#roundTrip.timeoutMs);
  }

  opened(): void {
    if (this.#state !== "connecting") return;
    this.#state = "syn-received";
    this.#sendSyn();
  }

  data(bytes: Uint8Array): void {
    if (this.#state === "closed") return;
    this.#send.buffer.push(bytes);
    if (!this.#isPaused && this.#send.buffer.length >= this.#link.bufferBytes) {
      this.#isPaused = true;
      this.#stream?.pause();
    }
    this.pump();
  }

  ended(): void {
    this.#send.end();
    this.pump();
  }

  drained(): void {
    const receive = this.#receive;
    if (this.#state === "open" && receive?.isWindowOpening(this.#pendingBytes)) this.#acknowledge();
  }

  failed(why: StreamFailure): void {
    this.#stream = undefined;
    if (this.#state === "connecting") {
      this.#close();
      this.#owner.rejected(why);
    } else this.abort();
  }

  /** The guest's SYN gets no answer any more: the host's side took too long. */
  giveUp(): void {
    if (this.#state !== "connecting") return;
    this.#close();
    this.#owner.rejected("timed-out");
  }

  /** Only the guest's last words, said again, might still come. */
  get isOver(): boolean {
    return this.#state === "time-wait" && this.#leftBytes === 0;
  }

  /** Ends both sides at once. */
  abort(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "connecting" && this.#state !== "time-wait") this.#sendReset();
    this.#close();
  }

  #sendReset(): void {
    this.#link.send({
      sequence: this.#send.next,
      acknowledgement: this.#receive?.next ?? 0,
      flags: FLAG.RST | (this.#receive ? FLAG.ACK : 0),
      window: 0,
      options: {},
      payloadBytes: 0,
    });
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#retransmit.stop();
    this.#delayedAck.stop();
    this.#stream?.destroy();
    this.#stream = undefined;
    this.#owner.closed();
  }

  /** Of the most that there may be; less is left to a connection that is one of many. */
  get #pendingBytes(): number {
    const withheld = Math.max(0, this.#receiveLimit - this.#link.bufferBytes);
    return withheld + this.#leftBytes;
  }

  /** For the host. */
  get #leftBytes(): number {
    return this.#stream?.pendingBytes ?? 0;
  }

  /** Asks a guest from which nothing has come since the call before whether it still has the connection (RFC 9293, 3.8.4). */
  probeIdle(): void {
    const isIdle = this.#state === "open" && !this.#isHeard;
    this.#isHeard = false;
    if (!isIdle || !this.#link.canSend()) return;
    const { una } = this.#send;
    const window = Math.min(0xffff, this.#receive!.window(this.#pendingBytes) >>> this.#ownScale);
    const header = { sequence: plus(una, -1), acknowledgement: this.#receive!.next, flags: FLAG.ACK, window };
    this.#link.send({ ...header, options: {}, payloadBytes: 0 });
  }

  /** A segment of the guest for this connection. */
  receive(segment: Segment): void {
    this.#isHeard = true;
    switch (this.#state) {
      case "closed":
      case "connecting": // The SYN again, most likely: its answer comes when the host has one.
        if (this.#state === "connecting" && (segment.flags & FLAG.RST) !== 0) this.#close();
        return;
      case "syn-sent":
        this.#receiveSyn(segment);
        return;
      default:
        this.#receiveOn(segment);
    }
  }

  /** The answer to our SYN. */
  #receiveSyn(segment: Segment): void {
    const { flags, acknowledgement } = segment;
    if ((flags & FLAG.ACK) === 0) return;
    if (acknowledgement !== this.#send.next) {
      // The guest has another connection in mind, of a gateway that was there before (RFC 9293, 3.10.7.3): that one ends.
      const reset = { sequence: acknowledgement, acknowledgement: 0, flags: FLAG.RST, window: 0, options: {} };
      if ((flags & FLAG.RST) === 0) this.#link.send({ ...reset, payloadBytes: 0 });
      return;
    }
    if ((flags & FLAG.RST) !== 0) {
      this.#close();
      return;
    }
    if ((flags & FLAG.SYN) === 0) return;
    this.#agree(segment);
    this.#state = "syn-received";
    // The window of a SYN is not scaled, and so is not scaled here: the answer's shift begins with the next segment.
    this.#send.acknowledge(acknowledgement, segment.window, undefined, false, this.#mss);
    this.#establish();
    this.#acknowledge();
    this.pump();
  }

  #establish(): void {
    this.#state = "open";
    this.#expiries = 0;
    this.#retransmit.cancel();
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#stream?.resume();
    }
  }

  #receiveOn(segment: Segment): void {
    const receive = this.#receive!;
    const { flags, sequence, payload } = segment;
    const length = payload.length + (flags & FLAG.FIN ? 1 : 0) + (flags & FLAG.SYN ? 1 : 0);
    if (!receive.isAcceptable(sequence, length)) {
      if ((flags & FLAG.RST) === 0) this.#challenge(length > 0);
      // A probe of a window that was closed, or what was lost on its way back: its acknowledgement counts all the same.
      if ((flags & (FLAG.ACK | FLAG.RST | FLAG.SYN)) === FLAG.ACK && this.#takeAcknowledgement(segment)) {
        this.pump();
        this.#finishIfDone();
      }
      return;
    }
    if ((flags & FLAG.RST) !== 0) {
      // RFC 5961, 3.2: in the window but not at its begin, it may be a guess.
      if (sequence === receive.next) this.#close();
      else this.#challenge(false);
      return;
    }
    if ((flags & FLAG.SYN) !== 0) {
      // RFC 5961, 4.2.
      this.#challenge(false);
      return;
    }
    if ((flags & FLAG.ACK) === 0) return;
    if (!this.#takeAcknowledgement(segment)) return;
    if (this.#isClosedNow()) return;
    this.#takePayload(segment);
    this.pump();
    this.#finishIfDone();
  }

  /**
   * Says where we are, after something that does not fit. Two sides that both do so for what carries nothing would never
   * end: for that there is one in a while (RFC 5961, 7).
   */
  #challenge(isCarrier: boolean): void {
    const nowMs = this.#world.nowMs();
    if (!isCarrier && nowMs - this.#challengedMs < CHALLENGE_MS) return;
    if (!isCarrier) this.#challengedMs = nowMs;
    this.#acknowledge();
  }

  /** A call, since the state may have changed in between. */
  #isClosedNow(): boolean {
    return this.#state === "closed";
  }

  /** False: the segment goes no further. */
  #takeAcknowledgement(segment: Segment): boolean {
    const send = this.#send;
    const { acknowledgement, options, payload } = segment;
    const window = segment.window << this.#peerScale;
    const result = send.acknowledge(
      acknowledgement,
      window,
      this.#hasSack ? options.sack : undefined,
      payload.length > 0,
      this.#mss,
    );
    if (result === "unsent") {
      this.#challenge(false);
      return false;
    }
    // A guest that answers that its window is closed is alive.
    if (window < this.#mss) this.#expiries = 0;
    if (result === "old") return true;
    if (this.#state === "syn-received") this.#establish();
    this.#expiries = 0;
    const timed = this.#timed;
    if (timed && distance(acknowledgement, timed.end) >= 0) {
      this.#roundTrip.sample(this.#world.nowMs() - timed.sentMs);
      this.#timed = undefined;
    } else this.#roundTrip.progressed();
    if (send.inFlight > 0) this.#retransmit.set(this.#roundTrip.timeoutMs);
    else this.#retransmit.cancel();
    if (this.#isPaused && send.buffer.length <= this.#link.bufferBytes / 2) {
      this.#isPaused = false;
      this.#stream?.resume();
    }
    return true;
  }

  #takePayload({ sequence, payload, flags }: Segment): void {
    const receive = this.#receive!;
    let isUrgent = false;
    if (payload.length > 0 && !this.#isFinReceived) {
      const { bytes, isUnusual } = receive.accept(sequence, payload);
      for (const part of bytes) {
        this.#unacknowledged += part.length;
        this.#stream?.write(part);
      }
      isUrgent = isUnusual || this.#unacknowledged >= 2 * this.#mss;
    } else if (payload.length > 0) isUrgent = true;
    if ((flags & FLAG.FIN) !== 0) {
      isUrgent = true;
      if (!this.#isFinReceived && plus(sequence, payload.length) === receive.next) {
        this.#isFinReceived = true;
        this.#isPassive = !this.#send.isFinSent;
        receive.next = plus(receive.next, 1);
        this.#stream?.end();
      }
    }
    if (isUrgent) this.#acknowledge();
    else if (this.#unacknowledged > 0) this.#delayedAck.setUnlessSet(DELAYED_ACK_MS);
  }

  #finishIfDone(): void {
    if (this.#state !== "open" || !this.#send.isFinAcknowledged || !this.#isFinReceived) return;
    if (this.#isPassive && this.#leftBytes === 0) {
      this.#close();
      return;
    }
    this.#state = "time-wait";
    this.#expiries = 0;
    this.#delayedAck.cancel();
    this.#retransmit.set(TIME_WAIT_MS);
  }

  /** Whoever has ended may leave bytes that the host's peer does not take: not for ever, and not beyond counting. */
  #linger(): void {
    const pending = this.#leftBytes;
    if (pending < this.#lingeringBytes) this.#expiries = 0;
    this.#lingeringBytes = pending;
    if (pending > 0 && ++this.#expiries <= MAX_LINGERS) this.#retransmit.set(TIME_WAIT_MS);
    else this.#close();
  }

  #acknowledge(): void {
    this.#transmit(undefined);
  }

  /** Sends what may be sent now. */
  pump(): void {
    if (this.#state !== "open") return;
    const { largestSegment } = this.#link;
    const most = largestSegment > this.#link.mss ? largestSegment - (largestSegment % this.#mss) : this.#mss;
    while (this.#link.canSend()) {
      const next = this.#send.take(this.#mss, most);
      if (!next) break;
      this.#transmit(next);
    }
    if (this.#send.isBlocked) this.#retransmit.setUnlessSet(this.#roundTrip.timeoutMs);
  }

  #transmit(what: Transmission | undefined): void {
    const receive = this.#receive!;
    this.#delayedAck.cancel();
    this.#unacknowledged = 0;
    const length = what?.length ?? 0;
    // Beside data they would make a full segment longer than the link's; what calls for them is answered by itself.
    const sack = length === 0 && this.#hasSack && receive.queuedBytes > 0 ? receive.sackBlocks() : undefined;
    const flags = FLAG.ACK | (what?.isFin ? FLAG.FIN : 0) | (what?.isPush && what.length > 0 ? FLAG.PSH : 0);
    const window = Math.min(0xffff, receive.window(this.#pendingBytes) >>> this.#ownScale);
    const sequence = what?.sequence ?? this.#send.next;
    const segmentBytes = length > this.#mss ? this.#mss : undefined;
    const numbers = { sequence, acknowledgement: receive.next, flags, window };
    const header = { ...numbers, options: { sack }, payloadBytes: length, segmentBytes };
    if (length === 0) this.#link.send(header);
    else {
      const offset = distance(sequence, this.#send.una);
      this.#link.send(header, (into) => this.#send.buffer.copy(offset, into));
    }
    if (!what) return;
    if (what.isRepeated) this.#timed = undefined;
    else this.#timed ??= { end: plus(sequence, length), sentMs: this.#world.nowMs() };
    this.#retransmit.setUnlessSet(this.#roundTrip.timeoutMs);
  }

  #timedOut(): void {
    if (this.#state === "time-wait") {
      this.#linger();
      return;
    }
    this.#roundTrip.expired();
    this.#timed = undefined;
    // A guest from which nothing comes at all stands still, as when it is paused: no time runs out for it.
    const isThere = this.#link.heardMs() >= this.#expiredMs;
    this.#expiredMs = this.#world.nowMs();
    if (isThere && ++this.#expiries > MAX_EXPIRIES) this.abort();
    else if (this.#state !== "open") this.#sendSyn();
    else if (this.#send.isBlocked) this.#probe();
    else if (this.#send.inFlight > 0) {
      this.#send.expired(this.#mss);
      this.pump();
      this.#retransmit.setUnlessSet(this.#roundTrip.timeoutMs);
    }
  }

  #probe(): void {
    const byte = this.#send.take(this.#mss, this.#mss, true);
    if (byte) this.#transmit(byte);
  }
}
