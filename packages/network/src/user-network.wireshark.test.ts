/** What the network sends, read by another hand: tshark finds nothing malformed and no wrong checksum in it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { addressOf, type IpAddress, parseIpAddress } from "./address.ts";
import { arpFrame } from "./arp.ts";
import { BROADCAST, formatMac } from "./ethernet.ts";
import { dnsQuery, FakeGuest, GUEST, GUEST_V6, LINK, MAC, OUTSIDE } from "./fake-guest.ts";
import { Pattern, ROUGH, runTraffic } from "./fake-traffic.ts";
import { FakeStream, FakeWorld } from "./fake-world.ts";
import { fragmentsOf } from "./ip/fragmentation.ts";
import { ICMP, ICMPV6, icmpFrame } from "./ip/icmp.ts";
import { udpFrame } from "./ip/udp.ts";
import { neighbourSolicitation } from "./neighbours.ts";
import { GATEWAY_MAC, IPV4, IPV6 } from "./network-plan.ts";
import { pcapHeader, pcapRecord } from "./pcap.ts";
import { FLAG } from "./tcp/segment.ts";

const OUTSIDE_V6 = parseIpAddress("2606:2800:220:1::1")!;
const LONG = Uint8Array.from({ length: 4000 }, (_, i) => i);

function hasTshark(): boolean {
  try {
    execFileSync("tshark", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/** Everything that a guest does with its network in its first minutes, frames of both sides. */
async function mixedSession(): Promise<Uint8Array[]> {
  const capture = [pcapHeader()];
  const keep = (frame: Uint8Array, nowMs: number): void => void capture.push(pcapRecord(1.7e12 + nowMs, frame));
  const files = {
    open: async () => ({
      sizeBytes: LONG.length,
      read: async (at: number, length: number) => LONG.subarray(at, at + length),
      close: () => {},
    }),
  };
  const world = new FakeWorld();
  const guest = new FakeGuest("public", [], undefined, world, files);
  guest.arrived = (frame) => {
    keep(frame, world.nowMs());
    guest.frames.push(frame);
  };
  const send = (frame: Uint8Array): void => {
    world.advance(1);
    keep(frame, world.nowMs());
    guest.network.receive(frame);
  };
  for (const target of [IPV4.gateway, IPV4.dns]) {
    send(arpFrame("request", { mac: MAC, address: GUEST }, { mac: BROADCAST, address: target }));
  }
  for (const [type, requested] of [
    [1, 15],
    [3, 15],
    [3, 99],
    [8, 15],
  ] as const) {
    const dhcp = new Uint8Array(300);
    dhcp.set([1, 1, 6, 0, 1, 2, 3, 4]);
    dhcp.set([2, 0, 0, 0, 0, 1], 28);
    dhcp.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, 50, 4, 10, 0, 2, requested, 255], 236);
    const addresses = { source: addressOf(0, 0, 0, 0), destination: addressOf(255, 255, 255, 255) };
    send(udpFrame({ to: BROADCAST, from: MAC }, addresses, { sourcePort: 68, destinationPort: 67, data: dhcp }));
  }
  const routers = { source: parseIpAddress("fe80::1")!, destination: parseIpAddress("ff02::2")!, hops: 255 };
  send(icmpFrame(LINK, routers, 133, 0, new Uint8Array(4), new Uint8Array(0)));
  send(neighbourSolicitation({ mac: MAC, address: GUEST_V6 }, IPV6.gateway));
  send(neighbourSolicitation({ mac: MAC, address: parseIpAddress("::")! }, IPV6.dns));

  const addresses = (destination: IpAddress): { source: IpAddress; destination: IpAddress } => ({
    source: destination.length === 4 ? GUEST : GUEST_V6,
    destination,
  });
  world.names.set("example.org", [OUTSIDE, OUTSIDE_V6]);
  world.names.set(
    "many.example.org",
    [...Array(24)].map((_, i) => addressOf(93, 184, 216, i)),
  );
  for (const name of ["example.org", "nowhere.example", "many.example.org", "host.twinmetal.internal"]) {
    for (const type of [1, 28, 12, 65]) {
      for (const server of [IPV4.dns, IPV6.dns]) {
        const data = dnsQuery(name, type);
        send(udpFrame(LINK, addresses(server), { sourcePort: 5353 + type, destinationPort: 53, data }));
      }
      await settled();
    }
  }
  for (const target of [IPV4.gateway, IPV6.gateway, OUTSIDE, OUTSIDE_V6, addressOf(10, 0, 2, 77)]) {
    const echo = target.length === 4 ? ICMP.ECHO : ICMPV6.ECHO;
    send(icmpFrame(LINK, addresses(target), echo, 0, Uint8Array.of(0, 7, 0, 1), LONG.subarray(0, 1400)));
  }
  const echo = icmpFrame(LINK, addresses(IPV4.gateway), ICMP.ECHO, 0, Uint8Array.of(0, 7, 0, 2), LONG);
  for (const part of fragmentsOf(echo, 1500, 5)) send(part);
  for (const target of [OUTSIDE, OUTSIDE_V6]) {
    send(udpFrame(LINK, addresses(target), { sourcePort: 9, destinationPort: 99, data: LONG.subarray(0, 1001) }));
    world.sockets.at(-1)!.events.received(target, 99, LONG);
    world.sockets.at(-1)!.events.received(target, 99, LONG.subarray(0, 1001));
    world.sockets.at(-1)!.events.received(target, 99, new Uint8Array(0));
  }
  for (const target of [addressOf(10, 1, 2, 3), parseIpAddress("fd12::1")!]) {
    send(udpFrame(LINK, addresses(target), { sourcePort: 9, destinationPort: 99, data: LONG.subarray(0, 1400) }));
  }
  const request = new TextEncoder().encode("\0\x01file\0octet\0blksize\x001400\0tsize\x000\0");
  send(udpFrame(LINK, addresses(IPV4.gateway), { sourcePort: 2000, destinationPort: 69, data: request }));
  await settled();
  for (let block = 0; block < 4; block++) {
    const acknowledgement = { sourcePort: 2000, destinationPort: 32_768, data: Uint8Array.of(0, 4, 0, block) };
    send(udpFrame(LINK, addresses(IPV4.gateway), acknowledgement));
    await settled();
  }
  // Refused, unreachable, to the guest, DNS over TCP.
  for (const [why, port] of [["refused", 1] as const, ["unreachable", 2] as const, ["timed-out", 3] as const]) {
    guest.tcp(OUTSIDE, 80, { flags: FLAG.SYN, options: { mss: 1460, isSackPermitted: true } }, port);
    world.streams.at(-1)!.events.failed(why);
  }
  const stream = new FakeStream(GUEST, 22, { opened() {}, data() {}, ended() {}, drained() {}, failed() {} });
  guest.network.connectToGuest(22, stream);
  guest.tcp(OUTSIDE_V6, 443, { flags: FLAG.SYN, options: { mss: 1440, windowScale: 7 } }, 4);
  world.streams.at(-1)!.events.opened();
  guest.tcp(IPV4.dns, 53, { flags: FLAG.SYN }, 6);
  await settled();
  const acknowledgement = (guest.segments().at(-1)!.sequence + 1) >>> 0;
  const question = dnsQuery("many.example.org");
  const payload = Uint8Array.from([0, question.length, ...question]);
  guest.tcp(IPV4.dns, 53, { flags: FLAG.ACK | FLAG.PSH, sequence: 1001, acknowledgement, payload }, 6);
  await settled();
  guest.network.close();

  const startMs = world.nowMs() + 1000;
  // With bytes by chance that look like no other protocol to tshark.
  const pattern = new Pattern(3);
  const ignored = { hostReceived() {}, guestReceived() {} };
  const traffic = { guestSends: 200_000, hostSends: 300_000, fromGuest: pattern, fromHost: pattern, ...ignored };
  const tap = (frame: Uint8Array, nowMs: number): void => keep(frame, startMs + nowMs);
  runTraffic(3, traffic, { ...ROUGH, tap }, 600_000);
  return capture;
}

it.skipIf(!hasTshark())(
  "tshark finds no malformed packet and no wrong checksum in a mixed session [needs tshark]",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-wireshark-"));
    try {
      const file = join(folder, "session.pcap");
      writeFileSync(file, Buffer.concat(await mixedSession()));
      const read = (filter: string, ...fields: string[]): string[] => {
        const checks = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);
        const shown = fields.length > 0 ? ["-T", "fields", ...fields.flatMap((field) => ["-e", field])] : [];
        const args = [
          "-n",
          "-r",
          file,
          ...checks,
          "-Y",
          `eth.src == ${formatMac(GATEWAY_MAC)} && (${filter})`,
          ...shown,
        ];
        return execFileSync("tshark", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
          .split("\n")
          .filter((line) => line !== "");
      };
      const BAD = ["ip", "tcp", "udp", "icmp", "icmpv6"].map((name) => `${name}.checksum.status == 0`).join(" || ");
      expect(read(`_ws.malformed || _ws.short || _ws.expert.severity == "Error" || ${BAD}`)).toEqual([]);
      const protocols = new Set(read("frame", "frame.protocols").flatMap((line) => line.split(":")));
      const expected = ["arp", "dhcp", "dns", "icmp", "icmpv6", "tcp", "tftp", "udp", "ipv6"];
      expect(expected.filter((name) => !protocols.has(name))).toEqual([]);
      const counts = [
        "ip.flags.mf == 1",
        "ipv6.fraghdr",
        "tcp.analysis.retransmission",
        "tcp.flags.reset == 1",
        "dns && tcp",
      ];
      expect(counts.filter((filter) => read(filter).length === 0)).toEqual([]);
      // They were looked at.
      const right = read("tcp.checksum.status == 1 || udp.checksum.status == 1 || ip.checksum.status == 1");
      expect(right.length).toBeGreaterThan(100);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  180_000,
);
