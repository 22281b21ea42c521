/**
 * For tests: a stream of packets that were valid before chance changed them, into a user network with live connections,
 * transfers, names and datagrams in parts. What comes back has to be well-formed, and what is kept to stay within its bounds.
 */
import { addressOf, type IpAddress, isIpv4, parseIpAddress } from "./address.ts";
import { arpFrame, parseArp } from "./arp.ts";
import { addWords, foldChecksum } from "./checksum.ts";
import { BROADCAST, ETHERNET_HEADER_BYTES, ETHERTYPE, ethertypeOf, macAt } from "./ethernet.ts";
import { dnsQuery, FakeGuest, GUEST, GUEST_V6, LINK, MAC, OUTSIDE } from "./fake-guest.ts";
import { type FakeStream, FakeWorld } from "./fake-world.ts";
import { fragmentsOf } from "./ip/fragmentation.ts";
import { ICMP, ICMPV6, icmpFrame } from "./ip/icmp.ts";
import { type IpPacket, PROTOCOL, parseIp, sealIpv4Header, upperChecksum } from "./ip/packet.ts";
import { parseUdp, udpFrame } from "./ip/udp.ts";
import { neighbourSolicitation } from "./neighbours.ts";
import { GATEWAY_MAC, IPV4, IPV6 } from "./network-plan.ts";
import { FLAG, parseSegment, segmentFrame } from "./tcp/segment.ts";
import type { HostStream, StreamEvents } from "./world.ts";

const MTU = 1500;
const NAMELESS = addressOf(0, 0, 0, 0);
const LIMITED_BROADCAST = addressOf(255, 255, 255, 255);
const OUTSIDE_V6 = parseIpAddress("2606:2800:220:1::1")!;
const WORDS = [0, 1, 7, 8, 20, 40, 0x7fff, 0x8000, 0xfff8, 0xffff];

/** What is wrong with a frame from the network; undefined: nothing. */
export function complaint(frame: Uint8Array): string | undefined {
  if (macAt(frame, 6) !== GATEWAY_MAC) return "the sender is not the gateway";
  if (frame.length > MTU + ETHERNET_HEADER_BYTES) return "longer than the MTU";
  const type = ethertypeOf(frame);
  if (type === ETHERTYPE.ARP) return parseArp(frame) ? undefined : "ARP";
  if (type !== ETHERTYPE.IPV4 && type !== ETHERTYPE.IPV6) return "another type";
  const packet = parseIp(frame);
  if (!packet) return "IP";
  if (packet.whole.length !== frame.length - ETHERNET_HEADER_BYTES) return "IP's length";
  return packet.fragment || isRight(packet) ? undefined : `protocol ${packet.protocol}`;
}

function isRight(packet: IpPacket): boolean {
  const { protocol, payload } = packet;
  if (protocol === PROTOCOL.TCP) return parseSegment(packet, false) !== undefined;
  if (protocol === PROTOCOL.UDP) return parseUdp(packet, false) !== undefined;
  if (protocol === PROTOCOL.ICMP) return foldChecksum(addWords(0, payload)) === 0;
  return protocol === PROTOCOL.ICMPV6 && upperChecksum(packet, payload) === 0;
}

/** Its peers answer or fail after a while, and send something. */
class MovingWorld extends FakeWorld {
  override connect(address: IpAddress, port: number, events: StreamEvents): HostStream {
    const stream = super.connect(address, port, events) as FakeStream;
    const isRefused = this.random() < 0.2;
    this.setTimer(5, () => {
      if (stream.isDestroyed) return;
      if (isRefused) events.failed("refused");
      else {
        events.opened();
        events.data(new Uint8Array(10_000));
      }
    });
    return stream;
  }

  /** What tests look at, and nobody does here. */
  forget(): void {
    this.asked.length = 0;
    const live = this.streams.filter(({ isDestroyed }) => !isDestroyed);
    for (const stream of live) stream.received.length = 0;
    this.streams.splice(0, this.streams.length, ...live);
    const open = this.sockets.filter(({ isClosed }) => !isClosed);
    for (const socket of open) (socket.sent as unknown[]).length = 0;
    this.sockets.splice(0, this.sockets.length, ...open);
  }
}

interface Live {
  readonly port: number;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly destinationPort: number;
  /** What the network has to hear next, and has said. */
  next: number;
  acknowledged: number;
}

export interface MutationResult {
  /** Of each kind, the first one. */
  readonly complaints: readonly string[];
  readonly answers: number;
  readonly mostAnswers: number;
  readonly mostTimers: number;
  readonly mostSteps: number;
  readonly most: Readonly<
    Record<"tcpConnections" | "udpSockets" | "udpPeers" | "leases" | "stations" | "incomplete", number>
  >;
  readonly liveConnections: number;
  readonly guest: FakeGuest;
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

export async function runMutations(count: number, seed: number): Promise<MutationResult> {
  const world = new MovingWorld(seed);
  const file = new Uint8Array(100_000);
  const files = {
    open: async () => ({
      sizeBytes: file.length,
      read: async (at: number, length: number) => file.subarray(at, at + length),
      close: () => {},
    }),
  };
  const guest = new FakeGuest("public", [], parseIpAddress("9.9.9.9")!, world, files);
  world.names.set("example.org", [OUTSIDE, OUTSIDE_V6]);
  const live = new Map<string, Live>();
  let nextPort = 20_000;
  const complaints = new Set<string>();
  let [answers, mostAnswers, mostTimers, mostSteps, liveConnections] = [0, 0, 0, 0, 0];
  const most = { ...guest.network.statistics };

  const keyOf = (source: IpAddress, port: number): string => `${source.length},${port}`;
  const listen = (frames: readonly Uint8Array[]): void => {
    answers += frames.length;
    mostAnswers = Math.max(mostAnswers, frames.length);
    for (const frame of frames) {
      const what = complaint(frame);
      if (what !== undefined) complaints.add(what);
      const packet = parseIp(frame);
      const segment = packet?.protocol === PROTOCOL.TCP ? parseSegment(packet, false) : undefined;
      const key = packet && segment && keyOf(packet.destination, segment.destinationPort);
      const flow = key === undefined ? undefined : live.get(key);
      if (!segment || !flow || packet!.source !== flow.destination) continue;
      if (segment.flags & FLAG.RST) live.delete(key!);
      else if (segment.flags & FLAG.SYN) flow.acknowledged = (segment.sequence + 1) >>> 0;
      else {
        flow.acknowledged = (segment.sequence + segment.payload.length) >>> 0;
        flow.next = segment.acknowledgement;
      }
    }
  };
  const tcp = (flow: Live, flags: number, payload = new Uint8Array(0), options = {}): Uint8Array => {
    const { port, destinationPort, next, acknowledged } = flow;
    const numbers = { sequence: next, acknowledgement: acknowledged, flags, window: 5000, options };
    const segment = { sourcePort: port, destinationPort, ...numbers, payloadBytes: payload.length };
    return segmentFrame(LINK, { source: flow.source, destination: flow.destination }, segment, false, (into) =>
      into.set(payload),
    );
  };
  const begin = (destination: IpAddress, destinationPort: number): void => {
    const source = isIpv4(destination) ? GUEST : GUEST_V6;
    const flow = { port: nextPort++, source, destination, destinationPort, next: 1001, acknowledged: 0 };
    live.set(keyOf(source, flow.port), flow);
    const syn = { ...flow, next: 1000 };
    guest.network.receive(tcp(syn, FLAG.SYN, undefined, { mss: 1460, windowScale: 7, isSackPermitted: true }));
  };
  const still = (make: (source: IpAddress, outside: IpAddress) => Uint8Array[]): Uint8Array[] => [
    ...make(GUEST, OUTSIDE),
    ...make(GUEST_V6, OUTSIDE_V6),
  ];
  const dhcp = new Uint8Array(300);
  dhcp.set([1, 1, 6, 0, 1, 2, 3, 4]);
  dhcp.set([2, 0, 0, 0, 0, 1], 28);
  dhcp.set([0x63, 0x82, 0x53, 0x63, 53, 1, 3, 50, 4, 10, 0, 2, 15, 55, 3, 1, 3, 6, 255], 236);
  const rrq = new TextEncoder().encode("\0\x01file\0octet\0blksize\x001400\0tsize\x000\0");
  const valid = [
    arpFrame("request", { mac: MAC, address: GUEST }, { mac: BROADCAST, address: IPV4.gateway }),
    udpFrame(
      { to: BROADCAST, from: MAC },
      { source: NAMELESS, destination: LIMITED_BROADCAST },
      {
        sourcePort: 68,
        destinationPort: 67,
        data: dhcp,
      },
    ),
    udpFrame(LINK, { source: GUEST, destination: IPV4.gateway }, { sourcePort: 70, destinationPort: 69, data: rrq }),
    icmpFrame(LINK, { source: GUEST, destination: IPV4.gateway }, ICMP.ECHO, 0, new Uint8Array(4), new Uint8Array(50)),
    icmpFrame(LINK, { source: GUEST_V6, destination: IPV6.gateway }, ICMPV6.ECHO, 0, new Uint8Array(4), rrq),
    icmpFrame(
      LINK,
      { source: parseIpAddress("fe80::1")!, destination: parseIpAddress("ff02::2")!, hops: 255 },
      133,
      0,
      new Uint8Array(4),
      new Uint8Array(0),
    ),
    neighbourSolicitation({ mac: MAC, address: GUEST_V6 }, IPV6.gateway),
    ...["example.org", "nowhere.example"].flatMap((name) =>
      [1, 12, 28, 65].map((type) =>
        udpFrame(
          LINK,
          { source: GUEST, destination: IPV4.dns },
          {
            sourcePort: 9,
            destinationPort: 53,
            data: dnsQuery(name, type),
          },
        ),
      ),
    ),
    ...still((source, destination) => {
      const udp = { sourcePort: 9, destinationPort: 99, data: new Uint8Array(3000) };
      const frame = udpFrame(LINK, { source, destination }, udp);
      return [udpFrame(LINK, { source, destination }, { ...udp, data: rrq }), ...fragmentsOf(frame, MTU, 3)];
    }),
  ];
  const one = (): Uint8Array => {
    const flows = [...live.values()];
    const flow = flows[world.randomU32() % Math.max(1, flows.length)];
    const pick = world.randomU32() % (valid.length + 8);
    if (pick < valid.length || !flow) return valid[pick % valid.length]!.slice();
    const later = { ...flow, next: (flow.next + 3000) >>> 0 };
    switch (pick - valid.length) {
      case 0:
        return tcp(flow, FLAG.ACK | FLAG.FIN);
      case 1:
        return tcp(later, FLAG.ACK | FLAG.PSH, new Uint8Array(1000));
      case 2:
        return tcp(flow, FLAG.ACK, undefined, { sack: [[flow.acknowledged + 1000, flow.acknowledged + 2000]] });
      case 3:
        return tcp({ ...flow, port: nextPort++ }, FLAG.SYN, undefined, { mss: 1460, windowScale: 2 });
      case 4:
        return tcp(flow, FLAG.ACK);
      default:
        return tcp(flow, FLAG.ACK | FLAG.PSH, new Uint8Array(world.randomU32() % 1400).fill(7));
    }
  };

  for (let i = 0; i < count; i++) {
    if (i % 500 === 0) {
      while (live.size > 12) live.delete(live.keys().next().value!);
      begin(OUTSIDE, 80);
      begin(OUTSIDE_V6, 80);
      begin(IPV4.dns, 53);
    }
    const frame = mutated(one(), world);
    // A link that vouches for the transport's checksum lets what was changed get further.
    guest.network.receive(frame, { isChecksumPartial: world.random() < 0.5 });
    listen(guest.take());
    if (i % 100 !== 0) continue;
    await settled();
    let steps = 0;
    for (const endMs = world.nowMs() + 50; world.step(Math.max(0, endMs - world.nowMs())); steps++);
    await settled();
    world.advance(50);
    listen(guest.take());
    mostSteps = Math.max(mostSteps, steps);
    mostTimers = Math.max(mostTimers, world.timers);
    const now = guest.network.statistics;
    for (const key of Object.keys(most) as (keyof typeof most)[])
      Object.assign(most, { [key]: Math.max(most[key], now[key]) });
    liveConnections = Math.max(liveConnections, live.size);
    guest.records.length = 0;
    world.forget();
  }
  return { complaints: [...complaints], answers, mostAnswers, mostTimers, mostSteps, most, liveConnections, guest };
}

function mutated(frame: Uint8Array, world: FakeWorld): Uint8Array {
  let bytes = frame;
  for (let n = world.randomU32() % 4; n > 0; n--) {
    // Headers more often than the rest.
    const at = world.randomU32() % (world.random() < 0.7 ? Math.min(80, bytes.length) : bytes.length);
    const how = world.randomU32() % 5;
    if (how === 0) bytes[at]! ^= 1 << (world.randomU32() & 7);
    else if (how === 1) bytes[at] = world.randomU32();
    else if (how === 2) {
      const word = WORDS[world.randomU32() % WORDS.length]!;
      bytes.set([word >> 8, word & 0xff].slice(0, bytes.length - at), at);
    } else if (how === 3) bytes = bytes.slice(0, Math.max(1, at));
    else {
      const longer = new Uint8Array(Math.min(9000, bytes.length + 1 + (world.randomU32() % 200)));
      longer.set(bytes.subarray(0, longer.length));
      longer.set(bytes.subarray(0, Math.max(0, longer.length - bytes.length)), Math.min(bytes.length, longer.length));
      bytes = longer;
    }
  }
  const isSealed = bytes.length >= 34 && ethertypeOf(bytes) === ETHERTYPE.IPV4 && bytes[14] === 0x45;
  if (isSealed && world.random() < 0.8) sealIpv4Header(bytes);
  return bytes;
}
