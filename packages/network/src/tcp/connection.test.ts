import { describe, expect, it } from "vitest";
import { parseIpAddress } from "../address.ts";
import { FakeStream, FakeWorld } from "../fake-world.ts";
import { TcpConnection, type TcpLink, type TcpOwner } from "./connection.ts";
import { FLAG, type OutgoingSegment, type Segment } from "./segment.ts";

const ADDRESS = parseIpAddress("192.0.2.1")!;
const MSS = 1460;

interface Wire {
  readonly lossRate?: number;
  readonly duplicateRate?: number;
  readonly delayMs?: number;
  readonly jitterMs?: number;
  readonly largestSegment?: number;
  readonly hasSack?: boolean;
}

/** Two connections, each the other's guest, on a wire that loses, repeats and reorders. */
class Pair {
  readonly world: FakeWorld;
  readonly a: TcpConnection;
  readonly b: TcpConnection;
  readonly streamA: FakeStream;
  readonly streamB: FakeStream;
  readonly segments: Segment[] = [];
  closed = 0;
  lost = 0;

  constructor(wire: Wire = {}, seed = 1) {
    this.world = new FakeWorld(seed);
    const ignored = { opened() {}, data() {}, ended() {}, drained() {}, failed() {} };
    this.streamA = new FakeStream(ADDRESS, 1, ignored);
    this.streamB = new FakeStream(ADDRESS, 2, ignored);
    let b: TcpConnection | undefined;
    let a: TcpConnection | undefined;
    const owner: TcpOwner = { closed: () => void this.closed++, rejected: () => {} };
    const toB = this.#link(wire, (segment) => {
      if (b) b.receive(segment);
      else if (segment.flags & FLAG.SYN) {
        b = TcpConnection.fromGuest(this.world, toA, owner, segment, () => this.streamB);
        b.opened();
      }
    });
    const toA = this.#link(wire, (segment) => a?.receive(segment));
    a = TcpConnection.toGuest(this.world, toB, owner, this.streamA);
    this.world.advance(60_000);
    this.a = a;
    this.b = b!;
  }

  #link(
    { lossRate = 0, duplicateRate = 0, delayMs = 1, jitterMs = 0, largestSegment = MSS, hasSack = true }: Wire,
    deliver: (segment: Segment) => void,
  ): TcpLink {
    return {
      mss: MSS,
      largestSegment,
      bufferBytes: 1 << 20,
      canSend: () => true,
      heardMs: () => this.world.nowMs(),
      send: (segment: Omit<OutgoingSegment, "sourcePort" | "destinationPort">, fill) => {
        const payload = new Uint8Array(segment.payloadBytes);
        fill?.(payload);
        const options = hasSack ? segment.options : { ...segment.options, isSackPermitted: undefined, sack: undefined };
        const whole: Segment = { ...segment, options, sourcePort: 1, destinationPort: 2, payload };
        this.segments.push(whole);
        const copies = this.world.random() < duplicateRate ? 2 : 1;
        for (let i = 0; i < copies; i++) {
          if (this.world.random() < lossRate) this.lost++;
          else this.world.setTimer(delayMs + this.world.random() * jitterMs, () => deliver(whole));
        }
      },
    };
  }
}

function bytesOf(count: number, seed: number): Uint8Array {
  const world = new FakeWorld(seed);
  return Uint8Array.from({ length: count }, () => world.randomU32() >>> 24);
}

/** Hands the bytes over as a host's socket would: in chunks, and none while it is paused. */
function feed(pair: Pair, side: "a" | "b", bytes: Uint8Array): void {
  const [connection, stream] = side === "a" ? [pair.a, pair.streamA] : [pair.b, pair.streamB];
  let at = 0;
  const next = (): void => {
    if (!stream.isPaused && at < bytes.length) {
      const end = Math.min(bytes.length, at + 16_384);
      connection.data(bytes.slice(at, end));
      at = end;
    }
    if (at < bytes.length) pair.world.setTimer(0.5, next);
    else connection.ended();
  };
  next();
}

describe("a connection between two ends", () => {
  it.each<[name: string, wire: Wire, bytes: number, limitMs: number]>([
    ["a clean wire", {}, 1_000_000, 2000],
    ["large segments", { largestSegment: 65_000 }, 1_000_000, 2000],
    ["2 % lost, 50 ms", { lossRate: 0.02, delayMs: 25 }, 2_000_000, 20_000],
    ["10 % lost", { lossRate: 0.1, delayMs: 5 }, 500_000, 60_000],
    ["reordered", { delayMs: 5, jitterMs: 10 }, 1_000_000, 20_000],
    ["lost, doubled and reordered", { lossRate: 0.05, duplicateRate: 0.05, delayMs: 5, jitterMs: 10 }, 500_000, 60_000],
    ["2 % lost without selective acknowledgements", { lossRate: 0.02, hasSack: false, delayMs: 5 }, 300_000, 120_000],
  ])("carries every byte both ways, and both ends: %s", (_name, wire, count, limitMs) => {
    for (let seed = 1; seed <= 2; seed++) {
      const pair = new Pair(wire, seed);
      const [there, back] = [bytesOf(count, seed), bytesOf(count, seed + 100)];
      const startMs = pair.world.nowMs();
      feed(pair, "a", there);
      feed(pair, "b", back);
      let doneMs = 0;
      while (pair.world.nowMs() - startMs < 4 * limitMs + 60_000 && pair.world.step(120_000)) {
        if (doneMs === 0 && pair.streamA.isEnded && pair.streamB.isEnded) doneMs = pair.world.nowMs() - startMs;
      }
      expect(Buffer.compare(pair.streamB.bytes, there)).toBe(0);
      expect(Buffer.compare(pair.streamA.bytes, back)).toBe(0);
      expect([pair.streamA.isEnded, pair.streamB.isEnded]).toEqual([true, true]);
      expect(pair.closed).toBe(2);
      expect(pair.world.timers).toBe(0);
      expect(doneMs).toBeLessThan(limitMs);
    }
  });

  it("one side may end and still receive", () => {
    const pair = new Pair();
    pair.a.data(Uint8Array.of(1));
    pair.a.ended();
    pair.world.advance(500);
    expect(pair.streamB.isEnded).toBe(true);
    pair.b.data(bytesOf(10_000, 1));
    pair.b.ended();
    pair.world.advance(500);
    expect(pair.streamA.bytes.length).toBe(10_000);
    pair.world.advance(20_000);
    expect(pair.closed).toBe(2);
  });

  it("a receiver that does not read closes the window; nothing is lost when it does, and the sender asks meanwhile", () => {
    const pair = new Pair();
    pair.streamB.pendingBytes = 4_000_000;
    const bytes = bytesOf(3_000_000, 7);
    feed(pair, "a", bytes);
    pair.world.advance(300_000);
    const received = pair.streamB.bytes.length;
    expect(received).toBeLessThan(1_500_000);
    expect(pair.streamA.isPaused).toBe(true);
    expect(pair.closed).toBe(0);
    pair.streamB.pendingBytes = 0;
    pair.b.drained();
    pair.world.advance(10_000);
    expect(Buffer.compare(pair.streamB.bytes, bytes)).toBe(0);
  });

  it("a lost window update is made up for by a probe", () => {
    const pair = new Pair();
    pair.streamB.pendingBytes = 4_000_000;
    const bytes = bytesOf(3_000_000, 7);
    feed(pair, "a", bytes);
    pair.world.advance(5000);
    pair.streamB.pendingBytes = 0; // Without a word.
    pair.world.advance(200_000);
    expect(pair.streamB.bytes.length).toBe(bytes.length);
  });

  it("acknowledges every second segment at once and a single one after a while", () => {
    const pair = new Pair();
    pair.segments.length = 0;
    pair.a.data(new Uint8Array(100));
    pair.world.advance(10);
    expect(pair.segments.length).toBe(1);
    pair.world.advance(50);
    expect(pair.segments.length).toBe(2);
    pair.segments.length = 0;
    pair.a.data(new Uint8Array(20 * MSS));
    pair.world.advance(100);
    expect(pair.segments.filter(({ payload }) => payload.length === 0).length).toBe(10);
  });

  it("a peer that never answers is given up in the end, with a reset", () => {
    const pair = new Pair();
    const silent = new Pair({ lossRate: 0 });
    silent.segments.length = 0;
    pair.world.advance(0);
    // The other end vanishes.
    Object.assign(pair.b, { receive: () => {} });
    pair.a.data(new Uint8Array(10));
    pair.world.advance(900_000);
    expect(pair.streamA.isDestroyed).toBe(true);
    expect((pair.segments.at(-1)!.flags & FLAG.RST) !== 0).toBe(true);
    expect(pair.segments.length).toBeLessThan(40);
  });

  it("a reset of the host's side becomes the guest's", () => {
    const pair = new Pair();
    pair.a.failed("reset");
    pair.world.advance(100);
    expect(pair.streamB.isDestroyed).toBe(true);
    expect(pair.closed).toBe(2);
  });

  it("a reset that guesses its number is answered, not obeyed (RFC 5961)", () => {
    const pair = new Pair();
    const last = pair.segments.filter(({ flags }) => flags & FLAG.ACK).at(-1)!;
    const forged: Segment = {
      ...last,
      sequence: (last.sequence + 500) >>> 0,
      flags: FLAG.RST,
      payload: new Uint8Array(0),
    };
    const before = pair.segments.length;
    (pair.segments.at(-1) === last ? pair.b : pair.a).receive(forged);
    expect(pair.closed).toBe(0);
    expect(pair.segments.length).toBe(before + 1);
  });

  /** The guest is the test: what comes to it is in `pair.segments`. */
  const byHand = (): { pair: Pair; last: () => Segment; say: (segment: Partial<Segment>) => void } => {
    const pair = new Pair();
    Object.assign(pair.b, { receive: () => {} });
    const handshake = pair.segments.filter(({ flags }) => flags === FLAG.ACK)[0]!; // From "a".
    let window = 8;
    const last = (): Segment => pair.segments.at(-1)!;
    const say = (segment: Partial<Segment>): void => {
      window = segment.window ?? window;
      const ends = { sequence: handshake.acknowledgement, acknowledgement: handshake.sequence, flags: FLAG.ACK };
      const ports = { sourcePort: 2, destinationPort: 1, options: {}, payload: new Uint8Array(0) };
      pair.a.receive({ ...ends, ...ports, window, ...segment });
    };
    return { pair, last, say };
  };

  it("what a closed window did not take goes at once when it opens, however long that was", () => {
    const { pair, last, say } = byHand();
    say({ window: 0 });
    pair.a.data(Uint8Array.of(1, 2, 3));
    for (let i = 0; i < 60; i++) {
      pair.world.advance(1000);
      say({});
    }
    const { sequence, payload } = last();
    expect([...payload]).toEqual([1]);
    pair.segments.length = 0;
    say({ window: 100 });
    expect(pair.segments.flatMap((segment) => [...segment.payload])).toEqual([1, 2, 3]);
    expect(pair.segments[0]!.sequence).toBe(sequence);
  });

  it("a window that was drawn back and opens again has nothing sent again", () => {
    const { pair, say } = byHand();
    say({ window: 100 });
    pair.a.data(new Uint8Array(10_000));
    pair.segments.length = 0;
    for (let i = 0; i < 10; i++) {
      say({ window: 0 });
      say({ window: 100 + i });
    }
    expect(pair.segments).toEqual([]);
  });

  it("an acknowledgement on a segment that lies outside the window opens the guest's all the same", () => {
    const { pair, last, say } = byHand();
    say({ window: 12 }); // 1536 bytes.
    pair.a.data(new Uint8Array(3000));
    const first = last();
    expect(first.payload.length).toBe(MSS);
    pair.segments.length = 0;
    say({ sequence: (first.acknowledgement - 1) >>> 0, acknowledgement: (first.sequence + MSS) >>> 0, window: 100 });
    expect(pair.segments.map(({ payload }) => payload.length)).toContain(3000 - 2 * MSS);
  });

  it("is over at once when the guest has ended first, and once the host has taken everything", () => {
    const { pair, last, say } = byHand();
    say({ flags: FLAG.ACK | FLAG.FIN });
    pair.streamA.pendingBytes = 1000;
    pair.a.ended();
    const end = last();
    expect(end.flags & FLAG.FIN).toBe(FLAG.FIN);
    const all = { sequence: end.acknowledgement, acknowledgement: (end.sequence + 1) >>> 0 };
    say(all);
    pair.world.advance(60_000);
    expect([pair.streamA.isDestroyed, pair.closed]).toEqual([false, 0]);
    pair.streamA.pendingBytes = 0;
    pair.world.advance(10_000);
    expect([pair.streamA.isDestroyed, pair.closed]).toEqual([true, 1]);

    const other = byHand();
    other.say({ flags: FLAG.ACK | FLAG.FIN });
    other.pair.a.ended();
    other.say({ ...all, sequence: other.last().acknowledgement, acknowledgement: (other.last().sequence + 1) >>> 0 });
    expect(other.pair.closed).toBe(1);
  });

  it("bytes that the host's peer never takes are given up, not forgotten in a socket that nobody counts", () => {
    const { pair, last, say } = byHand();
    pair.streamA.pendingBytes = 1000;
    pair.a.ended();
    const { acknowledgement, sequence } = last();
    say({ flags: FLAG.ACK | FLAG.FIN, sequence: acknowledgement, acknowledgement: (sequence + 1) >>> 0 });
    pair.world.advance(30_000);
    expect(pair.streamA.isDestroyed).toBe(false);
    pair.world.advance(600_000);
    expect([pair.streamA.isDestroyed, pair.closed]).toEqual([true, 1]);
  });

  it("keeps no timer, and so no bytes, when it is over", () => {
    const { pair } = byHand();
    Object.assign(pair.b, { receive: () => {} });
    pair.a.data(new Uint8Array(100_000));
    pair.world.advance(10_000);
    pair.a.abort();
    pair.b.abort();
    pair.world.advance(5); // What is on the wire.
    expect(pair.world.timers).toBe(0);
  });

  it("a guest that has another connection in mind is told that it is none (RFC 9293, 3.10.7.3)", () => {
    const world = new FakeWorld(1);
    const sent: Omit<OutgoingSegment, "sourcePort" | "destinationPort">[] = [];
    const link: TcpLink = {
      mss: MSS,
      largestSegment: MSS,
      bufferBytes: 1 << 20,
      canSend: () => true,
      heardMs: () => world.nowMs(),
      send: (segment) => void sent.push(segment),
    };
    const stream = new FakeStream(ADDRESS, 1, { opened() {}, data() {}, ended() {}, drained() {}, failed() {} });
    const connection = TcpConnection.toGuest(world, link, { closed() {}, rejected() {} }, stream);
    const challenge = { sourcePort: 2, destinationPort: 1, window: 100, options: {}, payload: new Uint8Array(0) };
    connection.receive({ ...challenge, sequence: 9, acknowledgement: 77, flags: FLAG.ACK });
    expect(sent.at(-1)).toMatchObject({ sequence: 77, flags: FLAG.RST });
    const { sequence } = sent[0]!;
    connection.receive({
      ...challenge,
      sequence: 9,
      acknowledgement: (sequence + 1) >>> 0,
      flags: FLAG.ACK | FLAG.SYN,
    });
    expect(sent.at(-1)).toMatchObject({ acknowledgement: 10, flags: FLAG.ACK });
  });

  it("random segments change nothing and end nothing but by a right reset", () => {
    const pair = new Pair({}, 5);
    const { world } = pair;
    for (let i = 0; i < 20_000; i++) {
      const flags = world.randomU32() & 0x3f & ~FLAG.RST;
      const payload = new Uint8Array(world.randomU32() % 100);
      const sack = world.random() < 0.3 ? [[world.randomU32(), world.randomU32()] as const] : undefined;
      const segment = {
        sequence: world.randomU32(),
        acknowledgement: world.randomU32(),
        flags,
        window: world.randomU32() & 0xffff,
      };
      (i % 2 ? pair.a : pair.b).receive({ ...segment, sourcePort: 1, destinationPort: 2, options: { sack }, payload });
    }
    world.advance(5000);
    expect(pair.closed).toBe(0);
  });
});

it("lets a card cut large segments to what the guest has asked for, and sends no longer ones uncut", () => {
  const world = new FakeWorld();
  const sent: Omit<OutgoingSegment, "sourcePort" | "destinationPort">[] = [];
  const link: TcpLink = {
    mss: MSS,
    largestSegment: 60_000,
    bufferBytes: 1 << 20,
    canSend: () => true,
    heardMs: () => world.nowMs(),
    send: (segment) => void sent.push(segment),
  };
  const stream = new FakeStream(ADDRESS, 80, { opened() {}, data() {}, ended() {}, drained() {}, failed() {} });
  const numbers = { sourcePort: 1, destinationPort: 80, sequence: 10, window: 60_000, payload: new Uint8Array(0) };
  const syn: Segment = { ...numbers, acknowledgement: 0, flags: FLAG.SYN, options: { mss: 1000 } };
  const owner: TcpOwner = { closed: () => {}, rejected: () => {} };
  const connection = TcpConnection.fromGuest(world, link, owner, syn, () => stream);
  connection.opened();
  const acknowledgement = (sent[0]!.sequence + 1) >>> 0;
  connection.receive({ ...numbers, sequence: 11, acknowledgement, flags: FLAG.ACK, options: {} });
  connection.data(new Uint8Array(10_300));
  const data = sent.slice(1).map(({ payloadBytes, segmentBytes }) => [payloadBytes, segmentBytes]);
  expect(data).toEqual([
    [10_000, 1000],
    [300, undefined],
  ]);
});
