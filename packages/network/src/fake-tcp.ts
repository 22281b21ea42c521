/**
 * For tests: a guest's TCP, written apart from tcp/ so that both do not make the same mistake. It connects, sends `sends` bytes
 * and its FIN, takes what comes, and is done when both directions are. Bytes are counted from 0, in numbers that do not wrap.
 * Loss is found by time (RACK, RFC 8985): of two segments the one that was sent earlier and has not arrived is lost.
 */
import { type IpAddress, isIpv4 } from "./address.ts";
import type { FakeWorld } from "./fake-world.ts";
import type { LinkHeader } from "./ip/packet.ts";
import { FLAG, type Range, type Segment, segmentFrame } from "./tcp/segment.ts";
import type { Timer } from "./world.ts";

const WINDOW_BYTES = 1 << 20;
const SCALE = 5;
const DELAYED_ACK_MS = 40;
const FIRST_TIMEOUT_MS = 1000;

export interface FakeTcpOptions {
  readonly world: FakeWorld;
  readonly link: LinkHeader;
  readonly guest: { readonly address: IpAddress; readonly port: number };
  readonly peer: { readonly address: IpAddress; readonly port: number };
  readonly send: (frame: Uint8Array) => void;
  readonly sends: number;
  /** Fills in what is sent from `offset` on. */
  readonly fill: (offset: number, into: Uint8Array) => void;
  readonly received: (bytes: Uint8Array, offset: number) => void;
  /** Done, or reset. */
  readonly ended?: () => void;
  /** Of the wire: an older segment is lost when one is there that was sent so much later. */
  readonly reorderMs: number;
}

interface Sent {
  readonly start: number;
  readonly end: number;
  sentMs: number;
  isThere: boolean;
}

export class FakeTcp {
  readonly #o: FakeTcpOptions;
  readonly #mss: number;
  readonly #isn: number;
  state: "connecting" | "open" | "done" | "reset" = "connecting";
  #una = 0;
  #next = 0;
  #window = 0;
  #peerScale = 0;
  /** In flight, oldest first, from `#first` on. */
  #sent: Sent[] = [];
  #first = 0;
  /** When the latest of those that have arrived was sent. */
  #latestMs = Number.NEGATIVE_INFINITY;
  #peerIsn = 0;
  receivedBytes = 0;
  #queue: { readonly start: number; readonly bytes: Uint8Array }[] = [];
  #finAt = Number.POSITIVE_INFINITY;
  #owed = 0;
  #timer: Timer | undefined;
  #timeoutMs = FIRST_TIMEOUT_MS;
  #ackTimer: Timer | undefined;
  retransmissions = 0;

  constructor(options: FakeTcpOptions) {
    this.#o = options;
    this.#mss = isIpv4(options.guest.address) ? 1460 : 1440;
    this.#isn = options.world.randomU32();
  }

  connect(): void {
    this.#emit(FLAG.SYN, -1, 0);
    this.#restart();
  }

  /** From the network, for this connection. */
  receive(segment: Segment): void {
    if (this.state === "done" || this.state === "reset") {
      if ((segment.flags & FLAG.RST) === 0 && segment.payload.length > 0) this.#acknowledge();
      return;
    }
    if ((segment.flags & FLAG.RST) !== 0) {
      this.#end("reset");
      return;
    }
    if (this.state === "connecting") {
      if ((segment.flags & FLAG.SYN) === 0) return;
      this.state = "open";
      this.#peerIsn = segment.sequence;
      this.#peerScale = segment.options.windowScale ?? 0;
      this.#window = segment.window;
      this.#timeoutMs = FIRST_TIMEOUT_MS;
      this.#restart();
      this.#acknowledge();
    } else {
      if ((segment.flags & FLAG.SYN) !== 0) this.#acknowledge(); // Our answer to it was lost.
      this.#takeAcknowledgement(segment);
      this.#takeBytes(segment);
    }
    this.#pump();
    const isAllSent = this.#una === this.#o.sends + 1;
    if (isAllSent && this.receivedBytes > this.#finAt) this.#end("done");
  }

  #end(state: "done" | "reset"): void {
    if (state === "done" && this.#owed > 0) this.#acknowledge();
    this.state = state;
    this.#timer?.cancel();
    this.#ackTimer?.cancel();
    this.#o.ended?.();
  }

  #takeAcknowledgement({ acknowledgement, window, options, flags }: Segment): void {
    if ((flags & FLAG.ACK) === 0) return;
    const ack = this.#una + ((acknowledgement - this.#wire(this.#una)) | 0);
    if (ack > this.#next) throw new Error("an acknowledgement of what was not sent");
    this.#window = window << this.#peerScale;
    for (const [start, end] of options.sack ?? []) this.#mark(start, end);
    if (ack <= this.#una) return;
    this.#una = ack;
    while (this.#first < this.#sent.length && this.#sent[this.#first]!.end <= ack) {
      const gone = this.#sent[this.#first++]!;
      this.#latestMs = Math.max(this.#latestMs, gone.sentMs);
    }
    if (this.#first > 4096) this.#sent = this.#sent.splice(this.#first);
    if (this.#first > 4096) this.#first = 0;
    this.#timeoutMs = FIRST_TIMEOUT_MS;
    this.#restart();
  }

  #mark(startWire: number, endWire: number): void {
    const start = this.#una + ((startWire - this.#wire(this.#una)) | 0);
    const end = this.#una + ((endWire - this.#wire(this.#una)) | 0);
    if (start < 0 || end > this.#next || start >= end) throw new Error("a selective acknowledgement of nothing");
    for (let i = this.#first; i < this.#sent.length && this.#sent[i]!.start < end; i++) {
      const sent = this.#sent[i]!;
      if (sent.start < start || sent.end > end || sent.isThere) continue;
      sent.isThere = true;
      this.#latestMs = Math.max(this.#latestMs, sent.sentMs);
    }
  }

  #takeBytes({ sequence, payload, flags }: Segment): void {
    const start = this.receivedBytes + ((sequence - this.#peerWire(this.receivedBytes)) | 0);
    if ((flags & FLAG.FIN) !== 0) this.#finAt = start + payload.length;
    if (payload.length === 0 && (flags & FLAG.FIN) === 0) return;
    const before = this.receivedBytes;
    if (start + payload.length > before + WINDOW_BYTES) throw new Error("more than the window");
    if (payload.length > 0 && start + payload.length > before) this.#keep(start, payload);
    for (let first = this.#queue[0]; first && first.start <= this.receivedBytes; first = this.#queue[0]) {
      this.#queue.shift();
      const fresh = first.bytes.subarray(this.receivedBytes - first.start);
      if (fresh.length > 0) this.#o.received(fresh, this.receivedBytes);
      this.receivedBytes += fresh.length;
    }
    if (this.receivedBytes === this.#finAt) this.receivedBytes++; // The FIN's own number.
    const isInOrder = this.receivedBytes > before && this.#queue.length === 0 && (flags & FLAG.FIN) === 0;
    this.#owed++;
    if (!isInOrder || this.#owed >= 2) this.#acknowledge(start);
    else {
      this.#ackTimer ??= this.#o.world.setTimer(DELAYED_ACK_MS, () => {
        this.#ackTimer = undefined;
        if (this.#owed > 0) this.#acknowledge();
      });
    }
  }

  #keep(start: number, bytes: Uint8Array): void {
    let at = this.#queue.length;
    while (at > 0 && this.#queue[at - 1]!.start > start) at--;
    const twin = this.#queue[at - 1];
    if (twin?.start === start && twin.bytes.length >= bytes.length) return;
    this.#queue.splice(at, 0, { start, bytes });
  }

  /** What lies out of order, the range with `latest` first. */
  #sack(latest: number): Range[] {
    const ranges: [number, number][] = [];
    for (const { start, bytes } of this.#queue) {
      const last = ranges.at(-1);
      if (last && start <= last[1]) last[1] = Math.max(last[1], start + bytes.length);
      else ranges.push([start, start + bytes.length]);
    }
    const first = ranges.filter(([start, end]) => latest >= start && latest < end);
    const wire = (at: number): number => this.#peerWire(at);
    return [...first, ...ranges.filter((range) => !first.includes(range))]
      .slice(0, 3)
      .map(([start, end]): Range => [wire(start), wire(end)]);
  }

  #pump(): void {
    if (this.state !== "open") return;
    const { world, sends, reorderMs } = this.#o;
    const nowMs = world.nowMs();
    for (let i = this.#first; i < this.#sent.length; i++) {
      const sent = this.#sent[i]!;
      if (sent.isThere || sent.sentMs + reorderMs >= this.#latestMs) continue;
      sent.sentMs = nowMs;
      this.retransmissions++;
      this.#emit(FLAG.ACK, sent.start, Math.min(sent.end, sends) - sent.start, sent.end > sends);
    }
    while (this.#next <= sends) {
      const length = Math.min(this.#mss, sends - this.#next);
      const isLast = this.#next + length === sends;
      if (this.#next + length + (isLast ? 1 : 0) > this.#una + this.#window) break;
      const start = this.#next;
      this.#next += length + (isLast ? 1 : 0);
      this.#sent.push({ start, end: this.#next, sentMs: nowMs, isThere: false });
      this.#emit(FLAG.ACK | FLAG.PSH, start, length, isLast);
    }
  }

  #restart(): void {
    this.#timer?.cancel();
    this.#timer = this.#o.world.setTimer(this.#timeoutMs, () => this.#expired());
  }

  #expired(): void {
    this.#timeoutMs = Math.min(60_000, this.#timeoutMs * 2);
    if (this.state === "connecting") this.#emit(FLAG.SYN, -1, 0);
    const first = this.#sent[this.#first];
    if (first) {
      first.sentMs = this.#o.world.nowMs();
      this.retransmissions++;
      this.#emit(FLAG.ACK, first.start, Math.min(first.end, this.#o.sends) - first.start, first.end > this.#o.sends);
    }
    this.#restart();
  }

  #acknowledge(latest = -1): void {
    this.#emit(FLAG.ACK, this.#next, 0, false, this.#queue.length > 0 ? this.#sack(latest) : undefined);
  }

  #emit(flags: number, start: number, length: number, isFin = false, sack?: readonly Range[]): void {
    const { link, guest, peer, send, fill } = this.#o;
    const isSyn = (flags & FLAG.SYN) !== 0;
    if (!isSyn) {
      this.#owed = 0;
      this.#ackTimer?.cancel();
      this.#ackTimer = undefined;
    }
    const segment = {
      sourcePort: guest.port,
      destinationPort: peer.port,
      sequence: this.#wire(start),
      acknowledgement: isSyn ? 0 : this.#peerWire(this.receivedBytes),
      flags: flags | (isFin ? FLAG.FIN : 0),
      window: isSyn ? 0xffff : WINDOW_BYTES >> SCALE,
      options: isSyn ? { mss: this.#mss, windowScale: SCALE, isSackPermitted: true } : { sack },
      payloadBytes: length,
    };
    const addresses = { source: guest.address, destination: peer.address };
    send(segmentFrame(link, addresses, segment, false, (into) => fill(start, into)));
  }

  /** The SYN has the number before byte 0. */
  #wire(at: number): number {
    return (this.#isn + 1 + at) >>> 0;
  }

  #peerWire(at: number): number {
    return (this.#peerIsn + 1 + at) >>> 0;
  }
}
