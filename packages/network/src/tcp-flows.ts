/**
 * The connections of a network's guests, by the addresses and ports of both ends. GUEST-CONTROLLED: how many there are; more
 * are refused (RST), the others go on. So many may wait for the host's answer: a SYN beyond them is lost, as where a listener's
 * queue is full, and comes again; those that have waited longest give way to it.
 */
import type { IpAddress } from "./address.ts";
import { type IpPacket, type LinkHeader, payloadOffset } from "./ip/packet.ts";
import type { GuestLink } from "./link.ts";
import { RECEIVE_BYTES, TcpConnection, type TcpLink, type TcpOwner } from "./tcp/connection.ts";
import { FLAG, type OutgoingSegment, type Segment, type SegmentOptions, segmentFrame } from "./tcp/segment.ts";
import { plus } from "./tcp/sequence.ts";
import type { Endpoint } from "./udp-flows.ts";
import type { HostStream, NetworkWorld, StreamEvents, StreamFailure, Timer } from "./world.ts";

const MAX_FLOWS = 2048;
const MAX_CONNECTING = 1024;
/** So long one that waits for its peer is left alone by those that want its place. */
const PATIENCE_MS = 5000;
/** When there are too many: how often it is looked for those that are over, and for those that the guest does not know any more. */
const TIDY_MS = 1000;
/** What all of them together keep each way, about: once more where there were fewer when they filled up. */
const BUFFER_BYTES = 1 << 28;
const LEAST_BUFFER_BYTES = 1 << 16;
/** A guest that was reset says nothing about the connections that it had; asked, it resets them. One that stands still is waited for. */
const PROBE_MS = 600_000;
const TCP_HEADER_BYTES = 20;
const ETHERNET_BYTES = 14;
const MAX_OPTION_BYTES = 40;
/** What a length field of 16 bits allows, with headers. */
const MAX_FRAME_BYTES = 65_535;

export interface TcpFlowsOptions {
  readonly world: NetworkWorld;
  readonly link: GuestLink;
  /** The Ethernet addresses of what goes to the guest. */
  readonly linkTo: (guest: IpAddress) => LinkHeader | undefined;
}

/** Whether the guest may connect, and how; a function is called with the connection's events. */
export type Admission = ((events: StreamEvents) => HostStream) | "refused" | "prohibited";

export interface TcpGate {
  /** The guest wants to connect to the packet's destination. */
  admit(guest: Endpoint, peer: Endpoint): Admission;
  /** An ICMP error is due for the packet. */
  unreachable(packet: IpPacket, why: "host" | "network" | "prohibited"): void;
}

interface Connecting {
  readonly startMs: number;
  readonly giveUp: () => void;
}

export class TcpFlows {
  readonly #options: TcpFlowsOptions;
  readonly #flows = new Map<string, TcpConnection>();
  /** Those that had something to send when the card had no room. */
  readonly #waiting = new Set<TcpConnection>();
  /** The longest there first. */
  readonly #connecting = new Set<Connecting>();
  #tidiedMs = Number.NEGATIVE_INFINITY;
  #heardMs = Number.NEGATIVE_INFINITY;
  #probe: Timer | undefined;

  constructor(options: TcpFlowsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#flows.size;
  }

  /** Something came from the link: whoever is there does not stand still. */
  heard(): void {
    this.#heardMs = this.#options.world.nowMs();
  }

  /** A segment of a guest. */
  receive(packet: IpPacket, segment: Segment, gate: TcpGate): void {
    const guest = { address: packet.source, port: segment.sourcePort };
    const peer = { address: packet.destination, port: segment.destinationPort };
    const known = this.#flows.get(key(guest, peer));
    if (known) {
      known.receive(segment);
      return;
    }
    if ((segment.flags & (FLAG.SYN | FLAG.ACK | FLAG.RST)) !== FLAG.SYN) {
      if ((segment.flags & FLAG.RST) === 0) this.#reset(guest, peer, segment);
      return;
    }
    if (this.#flows.size >= MAX_FLOWS) this.#tidy();
    if (this.#flows.size >= MAX_FLOWS) {
      this.#reset(guest, peer, segment);
      return;
    }
    if (this.#connecting.size >= MAX_CONNECTING && !this.#makeRoom()) return;
    const admission = gate.admit(guest, peer);
    if (admission === "refused") this.#reset(guest, peer, segment);
    else if (admission === "prohibited") gate.unreachable(packet, "prohibited");
    else this.#fromGuest(guest, peer, segment, admission, packet, gate);
  }

  #fromGuest(
    guest: Endpoint,
    peer: Endpoint,
    syn: Segment,
    connect: (events: StreamEvents) => HostStream,
    packet: IpPacket,
    gate: TcpGate,
  ): void {
    const flow = this.#newFlow(guest, peer);
    const connecting = { startMs: this.#options.world.nowMs(), giveUp: () => connection.giveUp() };
    const settle = (): void => void this.#connecting.delete(connecting);
    const owner: TcpOwner = {
      closed: () => {
        settle();
        flow.closed();
      },
      rejected: (why: StreamFailure) => {
        if (why === "refused" || why === "reset") this.#reset(guest, peer, syn);
        else gate.unreachable(packet, why === "unreachable" ? "network" : "host");
      },
    };
    this.#connecting.add(connecting);
    const connection = TcpConnection.fromGuest(this.#options.world, flow.link, owner, syn, (events) =>
      connect({
        opened: () => {
          settle();
          events.opened();
        },
        data: (bytes) => events.data(bytes),
        ended: () => events.ended(),
        drained: () => events.drained(),
        failed: (why) => events.failed(why),
      }),
    );
    flow.begin(connection);
  }

  /** One that has waited for its peer for long ends. False: there is none. */
  #makeRoom(): boolean {
    const [oldest] = this.#connecting;
    if (!oldest || this.#options.world.nowMs() - oldest.startMs < PATIENCE_MS) return false;
    oldest.giveUp();
    return true;
  }

  #tidy(): void {
    const nowMs = this.#options.world.nowMs();
    if (nowMs - this.#tidiedMs < TIDY_MS) return;
    this.#tidiedMs = nowMs;
    for (const connection of [...this.#flows.values()]) {
      if (connection.isOver) connection.abort();
      else connection.probeIdle();
    }
  }

  /** Somebody on the host's side wants to talk to a port of the guest. Undefined: there are too many, or that one exists. */
  toGuest(guest: Endpoint, peer: Endpoint, stream: HostStream): StreamEvents | undefined {
    if (this.#flows.size >= MAX_FLOWS || this.#flows.has(key(guest, peer))) return undefined;
    const flow = this.#newFlow(guest, peer);
    const owner: TcpOwner = { closed: flow.closed, rejected: () => {} };
    const connection = TcpConnection.toGuest(this.#options.world, flow.link, owner, stream);
    flow.begin(connection);
    return connection;
  }

  #newFlow(
    guest: Endpoint,
    peer: Endpoint,
  ): {
    readonly link: TcpLink;
    readonly closed: () => void;
    readonly begin: (connection: TcpConnection) => void;
  } {
    let connection: TcpConnection | undefined;
    let isClosed = false;
    const { link } = this.#options;
    const bufferBytes = (): number =>
      Math.max(LEAST_BUFFER_BYTES, Math.min(RECEIVE_BYTES, Math.floor(BUFFER_BYTES / (this.#flows.size + 1))));
    const headerBytes = payloadOffset(guest.address) + TCP_HEADER_BYTES;
    const mss = link.mtu + ETHERNET_BYTES - headerBytes;
    return {
      link: {
        mss,
        get largestSegment() {
          return Math.max(mss, Math.min(MAX_FRAME_BYTES, link.largestTcpFrame) - headerBytes - MAX_OPTION_BYTES);
        },
        get bufferBytes() {
          return bufferBytes();
        },
        heardMs: () => this.#heardMs,
        send: (segment, fill) => this.#send(guest, peer, segment, fill),
        canSend: () => {
          const can = link.canSend();
          if (!can && connection) this.#waiting.add(connection);
          return can;
        },
      },
      closed: () => {
        isClosed = true;
        this.#flows.delete(key(guest, peer));
        if (connection) this.#waiting.delete(connection);
      },
      begin: (begun) => {
        connection = begun;
        if (isClosed) return;
        this.#flows.set(key(guest, peer), begun);
        this.#probe ??= this.#options.world.setTimer(PROBE_MS, () => this.#probeIdle());
      },
    };
  }

  #send(
    guest: Endpoint,
    peer: Endpoint,
    segment: Omit<OutgoingSegment, "sourcePort" | "destinationPort">,
    fill?: (into: Uint8Array) => void,
  ): void {
    const { link, linkTo } = this.#options;
    const header = linkTo(guest.address);
    if (!header) return;
    const { segmentBytes } = segment;
    const isPartial = link.hasChecksumOffload || segmentBytes !== undefined;
    const whole = { ...segment, sourcePort: peer.port, destinationPort: guest.port };
    const frame = segmentFrame(header, { source: peer.address, destination: guest.address }, whole, isPartial, fill);
    link.send(frame, { isChecksumPartial: isPartial, segmentBytes });
  }

  /** RFC 9293, 3.10.7.1. */
  #reset(guest: Endpoint, peer: Endpoint, { flags, acknowledgement, sequence, payload }: Segment): void {
    const length = payload.length + (flags & FLAG.SYN ? 1 : 0) + (flags & FLAG.FIN ? 1 : 0);
    const hasAck = (flags & FLAG.ACK) !== 0;
    const options: SegmentOptions = {};
    const answer = hasAck
      ? { sequence: acknowledgement, acknowledgement: 0, flags: FLAG.RST }
      : { sequence: 0, acknowledgement: plus(sequence, length), flags: FLAG.RST | FLAG.ACK };
    this.#send(guest, peer, { ...answer, window: 0, options, payloadBytes: 0 });
  }

  #probeIdle(): void {
    this.#probe = undefined;
    for (const connection of [...this.#flows.values()]) connection.probeIdle();
    if (this.#flows.size > 0) this.#probe = this.#options.world.setTimer(PROBE_MS, () => this.#probeIdle());
  }

  /** The card has room again. */
  ready(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const connection of waiting) connection.pump();
    // Whoever had the room is the last one the next time.
    const [first] = waiting;
    if (first && this.#waiting.delete(first)) this.#waiting.add(first);
  }

  close(): void {
    this.#probe?.cancel();
    for (const connection of [...this.#flows.values()]) connection.abort();
  }
}

function key(guest: Endpoint, peer: Endpoint): string {
  return guest.address + peer.address + String.fromCharCode(guest.port, peer.port);
}
