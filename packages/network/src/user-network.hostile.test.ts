/** What a guest can do to its user network at packet level: floods, exhaustion, fragments, nonsense. State stays bounded. */
import { beforeEach, describe, expect, it } from "vitest";
import { addressOf, parseIpAddress } from "./address.ts";
import { arpFrame } from "./arp.ts";
import { BROADCAST, macOf } from "./ethernet.ts";
import { dnsQuery, FakeGuest, GUEST, GUEST_V6, LINK, MAC, OUTSIDE } from "./fake-guest.ts";
import { runMutations } from "./fake-mutations.ts";
import type { FakeStream } from "./fake-world.ts";
import { fragmentsOf } from "./ip/fragmentation.ts";
import { sealIpv4Header } from "./ip/packet.ts";
import { parseUdp, udpFrame } from "./ip/udp.ts";
import { IPV4 } from "./network-plan.ts";
import { FLAG, type Segment } from "./tcp/segment.ts";

let guest: FakeGuest;
beforeEach(() => {
  guest = new FakeGuest();
});

const openStreams = (): FakeStream[] => guest.world.streams.filter(({ isDestroyed }) => !isDestroyed);

/** The guest's side, up to its first byte; undefined: it was not let in. */
function establish(port: number): { stream: FakeStream; acknowledgement: number } | undefined {
  const before = guest.world.streams.length;
  guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN, options: { mss: 1460 } }, port);
  const stream = guest.world.streams[before];
  if (!stream) return undefined;
  stream.events.opened();
  const syn = guest.segments().find(({ destinationPort }) => destinationPort === port)!;
  const acknowledgement = (syn.sequence + 1) >>> 0;
  guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence: 1001, acknowledgement, payload: Uint8Array.of(7) }, port);
  return { stream, acknowledgement };
}

const isThrough = (port: number): boolean => [...(establish(port)?.stream.bytes ?? [])].join() === "7";

describe("floods", () => {
  it("of SYNs to peers that never answer hold so many sockets, and an honest connection gets through in and after them", () => {
    const flood = (count: number): void => {
      for (let i = 0; i < count; i++) {
        guest.tcp(addressOf(93, 184, i & 255, 1 + (i % 200)), 1 + (i % 60_000), { flags: FLAG.SYN }, 1 + (i >> 2));
      }
    };
    flood(20_000);
    expect([openStreams().length, guest.network.statistics.tcpConnections]).toEqual([1024, 1024]);
    expect([guest.take().length, guest.world.timers]).toEqual([0, 1]);
    expect(guest.records.length).toBeLessThanOrEqual(201);
    expect(isThrough(50_000)).toBe(false);
    guest.world.advance(1000);
    expect(isThrough(50_000)).toBe(false);
    // While it goes on: the third SYN, as a guest's own system sends them.
    guest.world.advance(4000);
    expect(isThrough(50_000)).toBe(true);
    flood(20_000);
    expect(openStreams().length).toBeLessThanOrEqual(1025);
    guest.world.advance(5000);
    expect(isThrough(50_001)).toBe(true);
    for (const stream of openStreams()) stream.events.failed("timed-out");
    expect(guest.network.statistics.tcpConnections).toBe(0);
  });

  it("that give way tell the guest, and close the host's socket", () => {
    for (let port = 1; port <= 1024; port++) guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN }, port);
    guest.world.advance(5000);
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN }, 2000);
    expect([...guest.packets()[0]!.payload.subarray(0, 2)]).toEqual([3, 1]);
    expect([guest.world.streams[0]!.isDestroyed, openStreams().length]).toEqual([true, 1024]);
  });

  it("of open connections are refused beyond what there is room for, and those of a guest that was reset make room", () => {
    let through = 0;
    for (let port = 1; port <= 3000; port++) if (isThrough(port)) through++;
    expect([through, openStreams().length]).toEqual([2048, 2048]);
    expect(guest.segments().filter(({ flags }) => flags & FLAG.RST).length).toBe(952);
    // The guest begins anew, and knows of none of them.
    const answerAsNew = (): void => {
      for (const { acknowledgement, destinationPort, flags } of guest.segments()) {
        if ((flags & (FLAG.SYN | FLAG.RST)) !== 0) continue;
        guest.tcp(OUTSIDE, 80, { flags: FLAG.RST, sequence: acknowledgement }, destinationPort);
      }
    };
    const tries: boolean[] = [];
    for (let i = 0; i < 3; i++) {
      guest.world.advance(1000);
      tries.push(isThrough(40_000 + i));
      answerAsNew();
    }
    expect(tries).toContain(true);
    expect(guest.network.statistics.tcpConnections).toBeLessThanOrEqual(2);
  });

  it("of short connections go on for ever: those that are over make room before their time", () => {
    let through = 0;
    for (let port = 1; port <= 4000; port++) {
      guest.world.advance(1);
      const open = establish(port);
      if (!open) continue;
      through++;
      // The peer ends first, so that it is for us to wait for the guest's last words.
      open.stream.events.ended();
      const fin = { flags: FLAG.ACK | FLAG.FIN, sequence: 1002, acknowledgement: (open.acknowledgement + 1) >>> 0 };
      guest.tcp(OUTSIDE, 80, fin, port);
      guest.take();
    }
    expect(through).toBe(4000);
    expect(guest.network.statistics.tcpConnections).toBeLessThanOrEqual(2048);
  });

  it("of datagrams from every port, cards and addresses on the link stay bounded, and names are told after them", async () => {
    for (let port = 1; port <= 5000; port++) guest.udp(OUTSIDE, 123, Uint8Array.of(1), port);
    for (let i = 0; i < 2000; i++) {
      const [mac, address] = [macOf(2, 0, 0, 1, i >> 8, i & 255), addressOf(10, 0, 2, i & 255)];
      guest.network.receive(arpFrame("request", { mac, address }, { mac: BROADCAST, address: IPV4.gateway }));
      const source = addressOf(0xfd, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, i >> 8, i & 255);
      const data = { sourcePort: 1, destinationPort: 2, data: Uint8Array.of(1) };
      guest.network.receive(udpFrame({ ...LINK, from: mac }, { source, destination: GUEST_V6 }, data));
      const dhcp = new Uint8Array(300);
      dhcp.set([1, 1, 6]);
      dhcp.set([2, 0, 0, 1, i >> 8, i & 255], 28);
      dhcp.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
      const everybody = { source: addressOf(0, 0, 0, 0), destination: addressOf(255, 255, 255, 255) };
      const ask = { sourcePort: 68, destinationPort: 67, data: dhcp };
      guest.network.receive(udpFrame({ to: BROADCAST, from: mac }, everybody, ask));
      guest.take();
    }
    expect(guest.network.statistics).toMatchObject({ udpSockets: 512, leases: 64, stations: 256 });
    expect(guest.world.sockets.filter(({ isClosed }) => !isClosed).length).toBe(512);
    guest.world.names.set("example.org", [OUTSIDE]);
    guest.udp(IPV4.dns, 53, dnsQuery("example.org"));
    for (let i = 0; i < 5; i++) await Promise.resolve();
    expect(parseUdp(guest.packets()[0]!, false)!.data[7]).toBe(1);
  });
});

describe("fragments", () => {
  const udp = { sourcePort: 4000, destinationPort: 123, data: Uint8Array.from({ length: 3000 }, (_, i) => i) };
  const parts = (id: number, source = GUEST, destination = OUTSIDE): Uint8Array[] =>
    fragmentsOf(udpFrame(LINK, { source, destination }, udp), 1500, id);
  const received = (): number => guest.world.sockets.reduce((sum, { sent }) => sum + sent.length, 0);
  /** The field with the offset in units of eight bytes, and whether more follow. */
  const moved = (frame: Uint8Array, units: number, hasMore: boolean): Uint8Array => {
    const copy = frame.slice();
    copy.set([(hasMore ? 0x20 : 0) | (units >> 8), units & 255], 20);
    sealIpv4Header(copy);
    return copy;
  };
  const send = (...frames: Uint8Array[]): void => {
    for (const frame of frames) guest.network.receive(frame);
  };

  it("that come twice count once", () => {
    const [first, second, third] = parts(1);
    send(second!, second!.slice(), first!, first!.slice(), second!.slice(), third!);
    expect([received(), guest.network.statistics.incomplete]).toEqual([1, 0]);
    expect(guest.world.sockets[0]!.sent[0]!.data).toEqual(udp.data);
  });

  it("that overlap, by less than they have (teardrop) or with other bytes, are no datagram", () => {
    const [first, second, third] = parts(2);
    send(first!, moved(second!, 100, true), third!);
    const other = second!.slice();
    other[100]! ^= 1;
    send(...parts(3).slice(0, 1), ...parts(3).slice(1, 2), moved(parts(3)[1]!, 185, false));
    send(first!, other);
    expect(received()).toBe(0);
  });

  it("behind the end of what a datagram can have (ping of death), empty, uneven or with two ends are dropped", () => {
    const [first, second] = parts(4);
    send(first!, moved(second!, 8189, false));
    send(first!, moved(first!.slice(0, 34), 10, true));
    send(moved(first!.slice(0, 14 + 20 + 13), 0, true));
    send(moved(second!, 185, false), moved(second!, 370, false), first!);
    expect(received()).toBe(0);
  });

  it("without an end, of thousands of datagrams, are so many and leave after half a minute; honest ones come together", () => {
    for (let i = 0; i < 5000; i++) send(moved(parts(1)[0]!.slice(), 8 * (i % 100), true));
    const template = parts(1)[0]!;
    for (let id = 0; id < 20_000; id++) {
      template.set([id >> 8, id & 255], 18);
      sealIpv4Header(template);
      guest.network.receive(template.slice());
    }
    expect(guest.network.statistics.incomplete).toBe(32);
    send(...parts(7));
    expect(received()).toBe(1);
    guest.world.advance(31_000);
    send(parts(8)[0]!);
    expect(guest.network.statistics.incomplete).toBe(1);
  });

  it("in fragments, and headers that lead to themselves, end", () => {
    const outside = parseIpAddress("2606:2800:220:1::1")!;
    const frames = parts(9, GUEST_V6, outside);
    for (const frame of frames) frame[54] = 44; // What follows the fragment header is one again.
    send(...frames);
    for (const next of [0, 60, 44]) {
      const chain = frames[0]!.slice();
      chain[20] = next;
      chain.fill(0, 54);
      for (let at = 54; at < chain.length; at += 8) chain[at] = next;
      send(chain);
    }
    expect(received()).toBe(0);
    send(...parts(10, GUEST_V6, outside));
    expect(received()).toBe(1);
  });
});

it("packets in the gateway's own name, from it to itself, and answers to answers start nothing", () => {
  const segment: Partial<Segment> & { flags: number } = { flags: FLAG.SYN };
  guest.tcp(GUEST, 5000, segment, 5000);
  for (const source of [IPV4.gateway, IPV4.dns, OUTSIDE]) {
    const data = { sourcePort: 53, destinationPort: 53, data: dnsQuery("example.org") };
    guest.network.receive(udpFrame(LINK, { source, destination: IPV4.dns }, data));
  }
  const answer = dnsQuery("example.org");
  answer[2] = 0x80;
  guest.udp(IPV4.dns, 53, answer);
  guest.network.receive(arpFrame("reply", { mac: MAC, address: IPV4.gateway }, { mac: MAC, address: IPV4.gateway }));
  expect([guest.take().length, guest.world.timers, guest.world.asked.length]).toEqual([0, 0, 0]);
});

it("20,000 mutated packets: nothing throws, nothing loops, every answer is well-formed, everything is bounded", async () => {
  const { guest: mutants, ...result } = await runMutations(20_000, 1);
  expect(result.complaints).toEqual([]);
  expect(result.answers).toBeGreaterThan(5000);
  expect(result.liveConnections).toBeGreaterThan(3);
  expect(result.mostAnswers).toBeLessThan(2000);
  expect(result.mostSteps).toBeLessThan(10_000);
  expect(result.most.udpSockets).toBeLessThanOrEqual(512);
  expect(result.most.incomplete).toBeLessThanOrEqual(32);
  mutants.network.close();
  mutants.world.advance(600_000);
  expect(mutants.world.timers).toBe(0);
});
