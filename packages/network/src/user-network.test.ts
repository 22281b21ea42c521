import { beforeEach, describe, expect, it } from "vitest";
import { addressOf, formatIpAddress, type IpAddress, parseIpAddress } from "./address.ts";
import { arpFrame, parseArp } from "./arp.ts";
import { BROADCAST, macOf } from "./ethernet.ts";
import { dnsQuery, FakeGuest, GUEST, LINK, MAC, OUTSIDE } from "./fake-guest.ts";
import { FakeStream } from "./fake-world.ts";
import { fragmentsOf } from "./ip/fragmentation.ts";
import { ICMP, icmpFrame } from "./ip/icmp.ts";
import type { IpPacket } from "./ip/packet.ts";
import { parseUdp, udpFrame } from "./ip/udp.ts";
import { GATEWAY_MAC, IPV4, IPV6 } from "./network-plan.ts";
import { FLAG, parseSegment, segmentFrame } from "./tcp/segment.ts";
import { NameError } from "./world.ts";

let guest: FakeGuest;
beforeEach(() => {
  guest = new FakeGuest();
});

describe("on the link", () => {
  it("answers ARP for the gateway and the name server, and for nobody else", () => {
    for (const target of ["10.0.2.2", "10.0.2.3", "10.0.2.99"]) {
      guest.network.receive(
        arpFrame("request", { mac: MAC, address: GUEST }, { mac: BROADCAST, address: parseIpAddress(target)! }),
      );
    }
    const answers = guest.take().map((frame) => parseArp(frame)!);
    expect(answers.map(({ sender, isRequest }) => [formatIpAddress(sender), isRequest])).toEqual([
      ["10.0.2.2", false],
      ["10.0.2.3", false],
    ]);
  });

  it("leases addresses by DHCP, the same for the same card, and says no to others", () => {
    const ask = (type: number, mac: number, requested?: IpAddress): Uint8Array => {
      const bytes = new Uint8Array(300);
      bytes.set([1, 1, 6, 0, 1, 2, 3, 4]);
      bytes.set([2, 0, 0, 0, 0, mac], 28);
      bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, type], 236);
      const end = requested ? [50, 4, ...[...requested].map((c) => c.charCodeAt(0)), 255] : [255];
      bytes.set(end, 243);
      const addresses = { source: addressOf(0, 0, 0, 0), destination: addressOf(255, 255, 255, 255) };
      const link = { to: BROADCAST, from: macOf(2, 0, 0, 0, 0, mac) };
      guest.network.receive(udpFrame(link, addresses, { sourcePort: 68, destinationPort: 67, data: bytes }));
      return parseUdp(guest.packets()[0]!, false)!.data;
    };
    const offer = ask(1, 1);
    expect([...offer.subarray(16, 20)]).toEqual([10, 0, 2, 15]);
    expect([...ask(1, 2).subarray(16, 20)]).toEqual([10, 0, 2, 16]);
    expect([...ask(1, 1).subarray(16, 20)]).toEqual([10, 0, 2, 15]);
    expect(ask(3, 1, parseIpAddress("10.0.2.15")!)[242]).toBe(5);
    expect(ask(3, 1, parseIpAddress("10.0.2.77")!)[242]).toBe(6);
    expect(guest.network.statistics.leases).toBe(2);
  });

  it("knows nothing of a guest that another one served, and takes it as it is: its address, and a reset for each connection", () => {
    const moved = { mac: MAC, address: GUEST };
    guest.network.seek();
    const [asked] = guest.take();
    expect([formatIpAddress(parseArp(asked!)!.target), parseArp(asked!)!.isRequest]).toEqual(["10.0.2.15", true]);
    guest.network.receive(arpFrame("reply", moved, { mac: GATEWAY_MAC, address: IPV4.gateway }));
    // It renews what it has (RFC 2131, 4.3.2), which is not what would be its turn.
    const bytes = new Uint8Array(300);
    bytes.set([1, 1, 6, 0, 1, 2, 3, 4]);
    bytes.set([10, 0, 2, 20], 12);
    bytes.set([2, 0, 0, 0, 0, 9], 28);
    bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, 3, 255], 236);
    const addresses = { source: addressOf(10, 0, 2, 20), destination: IPV4.gateway };
    const link = { to: GATEWAY_MAC, from: macOf(2, 0, 0, 0, 0, 9) };
    for (let i = 0; i < 2; i++) {
      guest.network.receive(udpFrame(link, addresses, { sourcePort: 68, destinationPort: 67, data: bytes }));
      const answer = parseUdp(guest.packets()[0]!, false)!.data;
      expect([answer[242], ...answer.subarray(16, 20)]).toEqual([5, 10, 0, 2, 20]);
    }
    // Connections that the other one ended here: at the guest's first word, keepalive included.
    const alive = { flags: FLAG.ACK, sequence: 4999, acknowledgement: 7000 };
    guest.tcp(OUTSIDE, 443, alive);
    expect(guest.segments()).toMatchObject([{ flags: FLAG.RST, sequence: 7000 }]);
    guest.tcp(OUTSIDE, 443, { flags: FLAG.SYN }, 5001);
    expect(guest.world.streams.length).toBe(1);
  });

  it("answers echoes to its own addresses, and says that others cannot be reached so", () => {
    const echo = (destination: IpAddress): IpPacket => {
      const head = Uint8Array.of(0, 7, 0, 1);
      guest.network.receive(
        icmpFrame(LINK, { source: GUEST, destination }, ICMP.ECHO, 0, head, Uint8Array.of(1, 2, 3)),
      );
      return guest.packets()[0]!;
    };
    expect([...echo(IPV4.gateway).payload.subarray(4)]).toEqual([0, 7, 0, 1, 1, 2, 3]);
    expect([...echo(OUTSIDE).payload.subarray(0, 2)]).toEqual([3, 13]);
  });

  it("tells an IPv6 guest prefix, router and name server, and answers for them", () => {
    const source = parseIpAddress("fe80::1")!;
    const all = parseIpAddress("ff02::2")!;
    const solicit = icmpFrame(
      LINK,
      { source, destination: all, hops: 255 },
      133,
      0,
      new Uint8Array(4),
      new Uint8Array(0),
    );
    guest.network.receive(solicit);
    const advertisement = guest.packets()[0]!;
    expect([advertisement.payload[0], formatIpAddress(advertisement.source)]).toEqual([134, "fe80::2"]);
    const target = new Uint8Array(16);
    for (let i = 0; i < 16; i++) target[i] = IPV6.gateway.charCodeAt(i);
    guest.network.receive(
      icmpFrame(LINK, { source, destination: IPV6.gateway, hops: 255 }, 135, 0, new Uint8Array(4), target),
    );
    expect(guest.packets()[0]!.payload[0]).toBe(136);
    // Is the address free? It is not (RFC 4862).
    const nobody = { source: parseIpAddress("::")!, destination: IPV6.gateway, hops: 255 };
    guest.network.receive(icmpFrame(LINK, nobody, 135, 0, new Uint8Array(4), target));
    const [taken] = guest.packets();
    expect([formatIpAddress(taken!.destination), taken!.payload[4]]).toEqual(["ff02::1", 0x20]);
  });
});

describe("datagrams", () => {
  it("go out by a socket of the host, and come back from peers that were written to", () => {
    guest.udp(OUTSIDE, 123, Uint8Array.of(1));
    const [socket] = guest.world.sockets;
    expect(socket!.sent).toEqual([{ address: OUTSIDE, port: 123, data: Uint8Array.of(1) }]);
    socket!.events.received(OUTSIDE, 123, Uint8Array.of(2));
    socket!.events.received(OUTSIDE, 124, Uint8Array.of(3));
    socket!.events.received(parseIpAddress("8.8.8.8")!, 123, Uint8Array.of(4));
    const answers = guest.packets().map((packet) => parseUdp(packet, false)!);
    expect(answers.map(({ data, sourcePort, destinationPort }) => [[...data], sourcePort, destinationPort])).toEqual([
      [[2], 123, 4000],
    ]);
  });

  it("that are long come in fragments, whole or not at all, and go back so", () => {
    const data = Uint8Array.from({ length: 5000 }, (_, i) => i);
    const udp = { sourcePort: 4000, destinationPort: 123, data };
    const parts = fragmentsOf(udpFrame(LINK, { source: GUEST, destination: OUTSIDE }, udp), 1500, 9);
    for (const part of [...parts].reverse()) guest.network.receive(part);
    expect(guest.world.sockets[0]!.sent[0]!.data).toEqual(data);
    guest.world.sockets[0]!.events.received(OUTSIDE, 123, data);
    const frames = guest.take();
    expect(frames.length).toBe(4);
    expect(Math.max(...frames.map(({ length }) => length))).toBeLessThanOrEqual(1514);
    // Two that overlap.
    guest.network.receive(fragmentsOf(udpFrame(LINK, { source: GUEST, destination: OUTSIDE }, udp), 1500, 10)[0]!);
    for (const part of fragmentsOf(udpFrame(LINK, { source: GUEST, destination: OUTSIDE }, udp), 1000, 10)) {
      guest.network.receive(part);
    }
    expect(guest.world.sockets[0]!.sent.length).toBe(1);
  });

  it("come to a forwarded port of the guest from outside, and its answers go back", () => {
    const sent: string[] = [];
    const socket = {
      send: (address: IpAddress, port: number, data: Uint8Array) =>
        void sent.push(`${formatIpAddress(address)}:${port} ${data}`),
      close: () => {},
    };
    const events = guest.network.forwardUdp(53, socket);
    events.received(IPV4.hostLoopback, 777, Uint8Array.of(1, 2));
    const [packet] = guest.packets();
    const asked = parseUdp(packet!, false)!;
    expect([packet!.source, asked.destinationPort, [...asked.data]]).toEqual([IPV4.gateway, 53, [1, 2]]);
    guest.udp(IPV4.gateway, asked.sourcePort, Uint8Array.of(3), 53);
    // Another port's answer is none, and the host's own port is not allowed.
    guest.udp(IPV4.gateway, asked.sourcePort, Uint8Array.of(4), 54);
    expect(sent).toEqual(["127.0.0.1:777 3"]);
    expect([guest.world.sockets.length, guest.records.length]).toEqual([0, 1]);
    const large = new Uint8Array(9000);
    events.received(IPV4.hostLoopback, 777, large);
    expect(guest.packets().length).toBeGreaterThan(6);
  });

  it("to port 0, which nobody has, are lost", () => {
    guest.udp(OUTSIDE, 0, Uint8Array.of(1));
    expect(guest.world.sockets).toEqual([]);
  });

  it("of thousands of ports hold so many sockets of the host and no more, and idle ones are closed", () => {
    for (let port = 1; port <= 3000; port++) guest.udp(OUTSIDE, 123, Uint8Array.of(1), port);
    expect(guest.world.sockets.filter(({ isClosed }) => !isClosed).length).toBe(512);
    guest.world.advance(200_000);
    expect(guest.world.sockets.filter(({ isClosed }) => !isClosed).length).toBe(0);
    expect(guest.world.timers).toBe(0);
  });
});

async function ask(name: string, type = 1): Promise<{ rcode: number; answers: number; bytes: Uint8Array } | undefined> {
  guest.udp(IPV4.dns, 53, dnsQuery(name, type));
  for (let i = 0; i < 5; i++) await Promise.resolve();
  const packet = guest.packets()[0];
  const bytes = packet && parseUdp(packet, false)!.data;
  return bytes && { rcode: bytes[3]! & 15, answers: (bytes[6]! << 8) | bytes[7]!, bytes };
}

describe("names", () => {
  it("are resolved by the host; what does not exist is told so", async () => {
    guest.world.names.set("example.org", [OUTSIDE]);
    guest.world.names.set("nowhere.org", new NameError("no-name", "?"));
    const found = await ask("Example.ORG");
    expect(found).toMatchObject({ rcode: 0, answers: 1 });
    expect([...found!.bytes.subarray(-4)]).toEqual([93, 184, 216, 34]);
    expect(await ask("nowhere.org")).toMatchObject({ rcode: 3, answers: 0 });
    expect(guest.world.asked).toEqual(["example.org/4", "nowhere.org/4"]);
    expect(await ask("host.twinmetal.internal")).toMatchObject({ rcode: 0, answers: 1 });
  });

  it("of other types go to the host's own name server, and only its answer to this question comes back", async () => {
    const server = parseIpAddress("9.9.9.9")!;
    guest = new FakeGuest("public", [], server);
    expect(await ask("example.org", 15)).toBeUndefined();
    const [socket] = guest.world.sockets;
    const { data, address } = socket!.sent[0]!;
    expect(address).toBe(server);
    const answer = Uint8Array.from([...data, 1, 2, 3]);
    answer[2] = 0x81;
    const wrong = Uint8Array.from(answer);
    wrong[13]! ^= 1;
    socket!.events.received(server, 53, wrong);
    socket!.events.received(OUTSIDE, 53, answer);
    expect(guest.packets().length).toBe(0);
    socket!.events.received(server, 53, answer);
    expect([...parseUdp(guest.packets()[0]!, false)!.data.subarray(0, 2)]).toEqual([0x12, 0x34]);
  });

  it("that the host's resolver would understand otherwise are not asked for, and open nothing", async () => {
    guest = new FakeGuest("listed", ["*.example.net"]);
    for (const name of ["evil.com\0.example.net", "\xadevil.example.net", "evil.com .example.net"]) {
      guest.world.names.set(name, [OUTSIDE]);
      expect((await ask(name))?.answers).toBe(0);
    }
    expect(guest.world.asked).toEqual([]);
    guest.world.names.set("a_b-1.example.net", [OUTSIDE]);
    expect(await ask("a_b-1.example.net")).toMatchObject({ answers: 1 });
  });

  it("of private addresses, and records that lead on by themselves, do not come from the host's name server", async () => {
    guest = new FakeGuest("public", ["192.168.7.0/24"], parseIpAddress("9.9.9.9")!);
    const own = `${"1.0.0.0.".repeat(7)}0.0.d.f.ip6.arpa`;
    for (const name of ["5.1.168.192.in-addr.arpa", "10.in-addr.arpa", "in-addr.arpa", own]) {
      expect(await ask(name, 12)).toMatchObject({ rcode: 3, answers: 0 });
    }
    for (const type of [64, 65, 255]) expect(await ask("example.org", type)).toMatchObject({ rcode: 0, answers: 0 });
    expect(guest.world.sockets).toEqual([]);
    const open = `${"1.0.0.0.".repeat(7)}1.0.0.2.ip6.arpa`.replace(/1\.0\.0\.0\.1\.0\.0\.2/, "0.0.6.2.1.0.0.2");
    for (const name of ["34.216.184.93.in-addr.arpa", "9.7.168.192.in-addr.arpa", open]) await ask(name, 12);
    expect(guest.world.sockets[0]!.sent.length).toBe(3);
  });

  it("that are no queries, or too many at a time, get no answer", async () => {
    guest.udp(IPV4.dns, 53, new Uint8Array(5));
    guest.udp(IPV4.dns, 53, dnsQuery("a".repeat(63)).subarray(0, 40));
    expect(guest.packets().length).toBe(0);
    for (let i = 0; i < 1000; i++) guest.udp(IPV4.dns, 53, dnsQuery(`host${i}.org`));
    for (let i = 0; i < 400; i++) await Promise.resolve();
    expect([guest.world.asked.length, guest.packets().length]).toEqual([64, 64]);
  });

  it("that the host's resolver is stuck on get an answer in time, and keep so many of its places and no more", async () => {
    const answers: (() => void)[] = [];
    const { world } = guest;
    world.resolve = (name) => {
      world.asked.push(name);
      return new Promise((resolve) => answers.push(() => resolve([OUTSIDE])));
    };
    for (let i = 0; i < 100; i++) guest.udp(IPV4.dns, 53, dnsQuery(`stuck${i % 10}.org`));
    expect(world.asked).toEqual(["stuck0.org", "stuck1.org", "stuck2.org", "stuck3.org"]);
    world.advance(5000);
    const failures = guest.packets().map((packet) => parseUdp(packet, false)!.data[3]! & 15);
    expect(failures).toEqual(new Array(64).fill(2));
    // Those that nobody waits for any more are not asked for; the guest tries again, and has its answer.
    expect(await ask("fine.org")).toBeUndefined();
    for (const answer of answers.splice(0)) answer();
    for (let i = 0; i < 5; i++) await Promise.resolve();
    expect(world.asked.slice(4)).toEqual(["fine.org"]);
    answers[0]!();
    for (let i = 0; i < 5; i++) await Promise.resolve();
    expect(parseUdp(guest.packets()[0]!, false)!.data[7]).toBe(1);
    expect(world.timers).toBe(0);
  });

  it("are told over TCP, too", async () => {
    guest.world.names.set("example.org", [OUTSIDE]);
    guest.tcp(IPV4.dns, 53, { flags: FLAG.SYN });
    await Promise.resolve();
    const [answer] = guest.segments();
    const message = dnsQuery("example.org");
    const payload = Uint8Array.from([0, message.length, ...message]);
    const acknowledgement = (answer!.sequence + 1) >>> 0;
    guest.tcp(IPV4.dns, 53, { flags: FLAG.ACK | FLAG.PSH, sequence: 1001, acknowledgement, payload });
    for (let i = 0; i < 8; i++) await Promise.resolve();
    const told = guest.segments().find((segment) => segment.payload.length > 0)!;
    expect(told.payload[1]).toBe(told.payload.length - 2);
    expect([...told.payload.subarray(-4)]).toEqual([93, 184, 216, 34]);
  });
});

it("a connection to the name server that asked nonsense ends all the same", async () => {
  guest.tcp(IPV4.dns, 53, { flags: FLAG.SYN });
  await Promise.resolve();
  const acknowledgement = (guest.segments()[0]!.sequence + 1) >>> 0;
  const payload = Uint8Array.of(0, 3, 1, 2, 3);
  guest.tcp(IPV4.dns, 53, { flags: FLAG.ACK | FLAG.FIN, sequence: 1001, acknowledgement, payload });
  for (let i = 0; i < 5; i++) await Promise.resolve();
  expect(guest.segments().some(({ flags }) => flags & FLAG.FIN)).toBe(true);
});

describe("connections", () => {
  it("keep of a byte in a long frame the byte", () => {
    const kept: Uint8Array[] = [];
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN });
    const stream = guest.world.streams[0]!;
    stream.write = (bytes) => void kept.push(bytes);
    stream.events.opened();
    const acknowledgement = (guest.segments()[0]!.sequence + 1) >>> 0;
    const header = { sourcePort: 5000, destinationPort: 80, sequence: 1001, acknowledgement, flags: FLAG.ACK };
    const segment = { ...header, window: 100, options: {}, payloadBytes: 1 };
    const frame = segmentFrame(LINK, { source: GUEST, destination: OUTSIDE }, segment, false);
    const padded = new Uint8Array(60_000);
    padded.set(frame);
    guest.network.receive(padded);
    expect(kept.map(({ buffer }) => buffer.byteLength)).toEqual([1]);
  });

  const establish = (port: number): { stream: FakeStream; acknowledgement: number; window: number } => {
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN, options: { mss: 1460, windowScale: 7 } }, port);
    const stream = guest.world.streams.at(-1)!;
    stream.events.opened();
    const acknowledgement = (guest.segments()[0]!.sequence + 1) >>> 0;
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence: 1001, acknowledgement }, port);
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence: 1001, acknowledgement, payload: Uint8Array.of(1) }, port);
    guest.world.advance(100);
    return { stream, acknowledgement, window: guest.segments().at(-1)!.window << 7 };
  };

  it("share the memory that there is: many get less each, and one alone gets all again", () => {
    const first = establish(1);
    expect(first.window).toBeGreaterThan(1_000_000);
    let announced = 0;
    for (let port = 2; port <= 2048; port++) announced += establish(port).window;
    expect(announced).toBeLessThan(1 << 30);
    const last = guest.world.streams.at(-1)!;
    last.events.data(new Uint8Array(200_000));
    expect(last.isPaused).toBe(true);
    for (const stream of guest.world.streams.slice(1)) stream.events.failed("reset");
    guest.take();
    first.stream.events.data(new Uint8Array(200_000));
    expect(first.stream.isPaused).toBe(false);
    const payload = new Uint8Array(1000);
    for (let i = 0; i < 10; i++) {
      const sequence = 1002 + i * 1000;
      guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence, acknowledgement: first.acknowledgement, payload }, 1);
    }
    expect(guest.segments().at(-1)!.window << 7).toBeGreaterThan(1_000_000);
  });

  it("of a guest that was reset end when it is asked; one that stands still keeps them", () => {
    const { stream, acknowledgement } = establish(1);
    guest.world.advance(3_600_000);
    const probes = guest.segments();
    expect(probes.length).toBeGreaterThan(0);
    expect(probes[0]).toMatchObject({ sequence: (acknowledgement - 1) >>> 0, flags: FLAG.ACK });
    expect([stream.isDestroyed, guest.network.statistics.tcpConnections]).toEqual([false, 1]);
    guest.tcp(OUTSIDE, 80, { flags: FLAG.RST, sequence: probes[0]!.acknowledgement }, 1);
    expect([stream.isDestroyed, guest.network.statistics.tcpConnections]).toEqual([true, 0]);
    guest.world.advance(3_600_000);
    expect(guest.world.timers).toBe(0);
  });

  it("of a guest that is paused outlast an hour, and what it was sent meanwhile arrives; one that is there and silent is given up", () => {
    const { stream, acknowledgement } = establish(1);
    stream.events.data(Uint8Array.of(1, 2, 3));
    guest.world.advance(3_600_000);
    expect(guest.take().length).toBeLessThan(400);
    expect(stream.isDestroyed).toBe(false);
    // It goes on, and has heard nothing yet.
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence: 1002, acknowledgement, payload: Uint8Array.of(2) }, 1);
    guest.world.advance(61_000);
    expect(guest.segments().some(({ payload }) => payload.length === 3)).toBe(true);
    for (let i = 0; i < 1000 && !stream.isDestroyed; i++) {
      guest.udp(OUTSIDE, 123, Uint8Array.of(1));
      guest.world.advance(1000);
    }
    expect(stream.isDestroyed).toBe(true);
  });

  it("are the host's: opened, written, read, ended", () => {
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN, options: { mss: 1460 } });
    expect(guest.segments()).toEqual([]); // Not before the peer has answered.
    const stream = guest.world.streams[0]!;
    expect([formatIpAddress(stream.address), stream.port]).toEqual(["93.184.216.34", 80]);
    stream.events.opened();
    const [syn] = guest.segments();
    expect(syn!.flags).toBe(FLAG.SYN | FLAG.ACK);
    const acknowledgement = (syn!.sequence + 1) >>> 0;
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence: 1001, acknowledgement, payload: Uint8Array.of(1, 2, 3) });
    expect([...stream.bytes]).toEqual([1, 2, 3]);
    stream.events.data(Uint8Array.of(4, 5));
    stream.events.ended();
    const sent = guest.segments();
    expect(sent.flatMap(({ payload }) => [...payload])).toEqual([4, 5]);
    expect(sent.some(({ flags }) => flags & FLAG.FIN)).toBe(true);
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK | FLAG.FIN, sequence: 1004, acknowledgement: acknowledgement + 3 });
    expect(stream.isEnded).toBe(true);
    guest.world.advance(30_000);
    expect(guest.network.statistics.tcpConnections).toBe(0);
  });

  it.each([
    ["refused", "a reset", (packets: IpPacket[]) => parseSegment(packets[0]!, false)!.flags === (FLAG.RST | FLAG.ACK)],
    [
      "unreachable",
      "ICMP: network",
      (packets: IpPacket[]) => packets[0]!.payload[0] === 3 && packets[0]!.payload[1] === 0,
    ],
    ["timed-out", "ICMP: host", (packets: IpPacket[]) => packets[0]!.payload[0] === 3 && packets[0]!.payload[1] === 1],
  ] as const)("that the host finds %s end in %s", (why, _what, isRight) => {
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN });
    guest.world.streams[0]!.events.failed(why);
    expect(isRight(guest.packets())).toBe(true);
    expect(guest.network.statistics.tcpConnections).toBe(0);
  });

  it("segments for none get a reset, and resets nothing", () => {
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, acknowledgement: 77 });
    expect(guest.segments()[0]).toMatchObject({ flags: FLAG.RST, sequence: 77 });
    guest.tcp(OUTSIDE, 80, { flags: FLAG.RST });
    expect(guest.segments()).toEqual([]);
  });

  it("from the host's side reach a port of the guest", () => {
    const stream = new FakeStream(GUEST, 22, { opened() {}, data() {}, ended() {}, drained() {}, failed() {} });
    const events = guest.network.connectToGuest(22, stream)!;
    const [syn] = guest.segments();
    expect([syn!.flags, syn!.destinationPort]).toEqual([FLAG.SYN, 22]);
    const answer = { flags: FLAG.SYN | FLAG.ACK, sequence: 500, acknowledgement: (syn!.sequence + 1) >>> 0 };
    guest.tcp(IPV4.gateway, syn!.sourcePort, answer, 22);
    events.data(Uint8Array.of(9));
    expect(guest.segments().flatMap(({ payload }) => [...payload])).toEqual([9]);
    expect(stream.isPaused).toBe(false);
  });

  it("wait for a card without room, and go on when it has some", () => {
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN, options: { mss: 1460 } });
    const stream = guest.world.streams[0]!;
    stream.events.opened();
    const acknowledgement = (guest.segments()[0]!.sequence + 1) >>> 0;
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence: 1001, acknowledgement });
    guest.hasRoom = false;
    stream.events.data(new Uint8Array(5000));
    expect(guest.segments().length).toBe(0);
    guest.hasRoom = true;
    guest.network.ready();
    expect(guest.segments().reduce((sum, { payload }) => sum + payload.length, 0)).toBe(5000);
  });
});

it("connections that wait for room in the card take turns", () => {
  const streams = [5001, 5002].map((port) => {
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN, options: { mss: 1460 } }, port);
    const stream = guest.world.streams.at(-1)!;
    stream.events.opened();
    const acknowledgement = (guest.segments()[0]!.sequence + 1) >>> 0;
    guest.tcp(OUTSIDE, 80, { flags: FLAG.ACK, sequence: 1001, acknowledgement }, port);
    return stream;
  });
  guest.hasRoom = false;
  for (const { events } of streams) events.data(new Uint8Array(30_000));
  const ports: number[] = [];
  for (let turn = 0; turn < 4; turn++) {
    guest.room = 1;
    guest.network.ready();
    ports.push(...guest.segments().map(({ destinationPort }) => destinationPort));
  }
  expect(ports).toEqual([5001, 5002, 5001, 5002]);
});

describe("hostile frames", () => {
  it("spoofed and broadcast senders get nowhere", () => {
    const spoofed = { source: parseIpAddress("8.8.8.8")!, destination: OUTSIDE };
    guest.network.receive(udpFrame(LINK, spoofed, { sourcePort: 1, destinationPort: 2, data: new Uint8Array(1) }));
    const frame = udpFrame(
      { ...LINK, from: BROADCAST },
      { source: GUEST, destination: OUTSIDE },
      { sourcePort: 1, destinationPort: 2, data: new Uint8Array(1) },
    );
    guest.network.receive(frame);
    expect(guest.world.sockets.length).toBe(0);
  });
});
