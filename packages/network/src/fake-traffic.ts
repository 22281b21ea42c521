/**
 * For tests: many connections of a guest, with its own TCP (fake-tcp.ts), through a user network to peers of the host, over
 * a wire that delays, loses, repeats and reorders frames. Simulated time, and chance from a seed: a run is always the same.
 */
import type { IpAddress } from "./address.ts";
import { FakeGuest, GUEST, LINK, OUTSIDE } from "./fake-guest.ts";
import { FakeTcp } from "./fake-tcp.ts";
import { FakeWorld } from "./fake-world.ts";
import { PROTOCOL, parseIp } from "./ip/packet.ts";
import { parseSegment } from "./tcp/segment.ts";
import type { HostStream, StreamEvents } from "./world.ts";

const CHUNK_BYTES = 65_536;

/** A block that repeats, of an odd length: what is missing, twice there or out of place is other bytes. */
export class Pattern {
  readonly #block: Uint8Array;

  constructor(seed: number) {
    const world = new FakeWorld(seed);
    this.#block = Uint8Array.from({ length: 1_048_573 }, () => world.randomU32() >>> 24);
  }

  fill(offset: number, into: Uint8Array): void {
    let at = offset % this.#block.length;
    for (let done = 0; done < into.length; at = 0) {
      const part = this.#block.subarray(at, at + into.length - done);
      into.set(part, done);
      done += part.length;
    }
  }

  /** Bytes of `part` that are what lies from `offset` on. */
  matches(offset: number, part: Uint8Array): number {
    const right = new Uint8Array(part.length);
    this.fill(offset, right);
    return part.reduce((count, byte, i) => count + (byte === right[i] ? 1 : 0), 0);
  }

  /** Feeds the first `bytes` to a hash, which is the answer. */
  hash<Hash extends { update(part: Uint8Array): unknown }>(bytes: number, hash: Hash): Hash {
    for (let at = 0; at < bytes; at += CHUNK_BYTES) {
      const part = new Uint8Array(Math.min(CHUNK_BYTES, bytes - at));
      this.fill(at, part);
      hash.update(part);
    }
    return hash;
  }
}

/** What each connection carries, and what is told of what arrives. */
export interface Traffic {
  readonly guestSends: number;
  readonly hostSends: number;
  readonly fromGuest: Pattern;
  readonly fromHost: Pattern;
  /** `offset`: of the connection's bytes. */
  readonly hostReceived: (bytes: Uint8Array, offset: number) => void;
  readonly guestReceived: (bytes: Uint8Array, offset: number) => void;
}

/** 2 % lost and 50 ms each way, some frames twice, some late. */
export const ROUGH: RoughWire = {
  lossRate: 0.02,
  duplicateRate: 0.01,
  reorderRate: 0.01,
  delayMs: 50,
  reorderMs: 5,
};

export interface RoughWire {
  readonly lossRate: number;
  readonly duplicateRate: number;
  readonly reorderRate: number;
  /** Each way. */
  readonly delayMs: number;
  /** Of frames out of order, at most. */
  readonly reorderMs: number;
  /** Sees each frame before anything becomes of it. */
  readonly tap?: (frame: Uint8Array, nowMs: number) => void;
}

/** A peer on the host's side: it takes what comes a millisecond later, and sends as long as it is not paused. */
class Peer implements HostStream {
  pendingBytes = 0;
  isEnded = false;
  isDestroyed = false;
  #received = 0;
  readonly #world: FakeWorld;
  readonly #events: StreamEvents;
  readonly #traffic: Traffic;
  #sent = 0;
  #isPaused = false;
  #isEnding = false;
  #isFeeding = false;

  constructor(world: FakeWorld, events: StreamEvents, traffic: Traffic) {
    this.#world = world;
    this.#events = events;
    this.#traffic = traffic;
    world.setTimer(10, () => {
      events.opened();
      if (traffic.hostSends === 0) events.ended();
      this.#feed();
    });
  }

  write(bytes: Uint8Array): void {
    if (this.#isEnding || this.isDestroyed) throw new Error("a write behind the end");
    if (this.pendingBytes === 0) {
      this.#world.setTimer(1, () => {
        this.pendingBytes = 0;
        this.#events.drained();
      });
    }
    this.pendingBytes += bytes.length;
    this.#traffic.hostReceived(bytes, this.#received);
    this.#received += bytes.length;
  }

  #feed(): void {
    const { hostSends, fromHost } = this.#traffic;
    this.#isFeeding = false;
    while (!this.#isPaused && !this.isDestroyed && this.#sent < hostSends) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, hostSends - this.#sent));
      fromHost.fill(this.#sent, chunk);
      this.#sent += chunk.length;
      this.#events.data(chunk);
      if (this.#sent === hostSends) this.#events.ended();
    }
  }

  end(): void {
    this.#isEnding = true;
    this.isEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#isFeeding) this.#world.setTimer(0, () => this.#feed());
    this.#isFeeding = true;
  }
}

class TrafficWorld extends FakeWorld {
  readonly peers: Peer[] = [];
  traffic: Traffic | undefined;

  override connect(address: IpAddress, port: number, events: StreamEvents): HostStream {
    if (!this.traffic) return super.connect(address, port, events) as HostStream;
    const peer = new Peer(this, events, this.traffic);
    this.peers.push(peer);
    return peer;
  }
}

export interface TrafficResult {
  readonly doneConnections: number;
  readonly peersEnded: number;
  readonly seconds: number;
  readonly frames: number;
  readonly lost: number;
  readonly retransmissions: number;
  readonly mostTimers: number;
  readonly mostConnections: number;
  readonly guest: FakeGuest;
}

/** All connections begin at once. Ends when they have, or after `limitMs` of simulated time. */
export function runTraffic(
  connections: number,
  traffic: Traffic,
  wire: RoughWire,
  limitMs: number,
  seed = 1,
): TrafficResult {
  const world = new TrafficWorld(seed);
  const guest = new FakeGuest("public", [], undefined, world);
  world.traffic = traffic;
  let [frames, lost, mostTimers, mostConnections] = [0, 0, 0, 0];
  const carry = (deliver: (frame: Uint8Array) => void) => (frame: Uint8Array) => {
    frames++;
    wire.tap?.(frame, world.nowMs());
    mostTimers = Math.max(mostTimers, world.timers);
    mostConnections = Math.max(mostConnections, guest.network.statistics.tcpConnections);
    const copies = world.random() < wire.duplicateRate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (world.random() < wire.lossRate) {
        lost++;
        continue;
      }
      const late = world.random() < wire.reorderRate ? world.random() * wire.reorderMs : 0;
      world.setTimer(wire.delayMs + late, () => deliver(i === 0 ? frame : frame.slice()));
    }
  };
  const ends = new Map<number, FakeTcp>();
  let left = connections;
  guest.arrived = carry((frame) => {
    const packet = parseIp(frame);
    const segment = packet?.protocol === PROTOCOL.TCP ? parseSegment(packet, false) : undefined;
    if (segment) ends.get(segment.destinationPort)?.receive(segment);
  });
  const send = carry((frame) => guest.network.receive(frame));
  for (let i = 0; i < connections; i++) {
    const port = 10_000 + i;
    const end = new FakeTcp({
      world,
      link: LINK,
      guest: { address: GUEST, port },
      peer: { address: OUTSIDE, port: 80 },
      send,
      sends: traffic.guestSends,
      fill: (offset, into) => traffic.fromGuest.fill(offset, into),
      received: traffic.guestReceived,
      reorderMs: wire.reorderMs,
      ended: () => left--,
    });
    ends.set(port, end);
    end.connect();
  }
  while (left > 0 && world.nowMs() < limitMs && world.step());
  const seconds = world.nowMs() / 1000;
  // What the network has left to do: TIME-WAIT, and the look for connections that nobody has any more.
  world.advance(1_200_000);
  const done = [...ends.values()].filter(({ state }) => state === "done");
  return {
    doneConnections: done.length,
    peersEnded: world.peers.filter(({ isEnded }) => isEnded).length,
    seconds,
    frames,
    lost,
    retransmissions: [...ends.values()].reduce((sum, end) => sum + end.retransmissions, 0),
    mostTimers,
    mostConnections,
    guest,
  };
}
