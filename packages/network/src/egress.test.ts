/**
 * Where a guest gets, told by its packets: each row is what it may (`public`, `all`, or the `--allow` rules), what it does, and
 * what comes of the last thing that it did. Names are what the host's resolver says at that moment.
 *
 *   NAME=ADDRESS[,ADDRESS]    from now on the name has these addresses; a CNAME's are those that it leads to in the end
 *   ask NAME, ask-tcp NAME    of the gateway's name service: "told" the addresses, or "refused"
 *   tcp A:P, udp A:P, ping A  "goes" to the outside, "denied" at once with ICMP, "reset", "answered" by the gateway, or "nothing"
 *   redirect A:P B:P          the server at the first address sends the guest on to the second one (HTTP 302)
 *   wait HOURS
 */
import { describe, expect, it } from "vitest";
import { type IpAddress, parseIpAddress } from "./address.ts";
import { Egress, parseEgressRule } from "./egress.ts";
import { dnsQuery, FakeGuest, GUEST, GUEST_V6, LINK, OUTSIDE } from "./fake-guest.ts";
import { ICMP, ICMPV6, icmpFrame } from "./ip/icmp.ts";
import { type IpPacket, PROTOCOL } from "./ip/packet.ts";
import { parseUdp } from "./ip/udp.ts";
import { IPV4 } from "./network-plan.ts";
import { parsePrefix } from "./prefix.ts";
import { FLAG, parseSegment } from "./tcp/segment.ts";

type Row = readonly [may: string, does: string, outcome: string];

const ATTEMPTS: Readonly<Record<string, readonly Row[]>> = {
  "by address": [
    ["public", "tcp 93.184.216.34:80", "goes"],
    ["public", "udp 93.184.216.34:443", "goes"],
    ["public", "tcp [2606:2800:220:1::1]:80", "goes"],
    ["public", "ping 93.184.216.34", "denied"],
    ["93.184.216.34", "tcp 93.184.216.34:80", "goes"],
    ["93.184.216.34:443", "tcp 93.184.216.34:443", "goes"],
    ["93.184.216.34:443", "tcp 93.184.216.34:80", "denied"],
    ["93.184.216.34:443", "udp 93.184.216.34:80", "denied"],
    ["93.184.216.0/24", "tcp 93.184.216.34:80", "goes"],
    ["93.184.217.0/24", "tcp 93.184.216.34:80", "denied"],
    ["[2606:2800::]:443", "tcp [2606:2800::]:443", "goes"],
    ["[2606:2800::]:443", "tcp [2606:2800::1]:443", "denied"],
    ["0.0.0.0/0:443", "tcp 93.184.216.34:443", "goes"],
    ["example.org", "tcp 93.184.216.34:80", "denied"],
    ["all", "tcp 192.168.1.1:80", "goes"],
  ],
  "to what is not public": [
    ["public", "tcp 10.1.2.3:80", "denied"],
    ["public", "tcp 172.16.0.1:80", "denied"],
    ["public", "tcp 172.32.0.1:80", "goes"],
    ["public", "tcp 192.168.1.1:443", "denied"],
    ["public", "udp 192.168.1.1:53", "denied"],
    ["public", "tcp 100.64.0.1:80", "denied"],
    ["public", "tcp 100.128.0.1:80", "goes"],
    ["public", "tcp 127.0.0.1:22", "denied"],
    ["public", "tcp 127.9.9.9:22", "denied"],
    ["public", "tcp 0.0.0.0:22", "denied"],
    ["public", "tcp [::1]:22", "denied"],
    ["public", "tcp [fd12::1]:22", "denied"],
    ["public", "udp [fd12::1]:53", "denied"],
    ["public", "tcp [4000::1]:22", "denied"],
    ["0.0.0.0/0", "tcp 10.1.1.1:443", "denied"],
    ["0.0.0.0/0", "tcp 169.254.169.254:80", "denied"],
    ["128.0.0.0/1", "tcp 192.168.1.1:80", "denied"],
    ["::/0", "tcp [fd12::1]:80", "denied"],
    ["10.1.0.0/16", "tcp 10.1.2.3:80", "goes"],
    ["10.1.0.0/16:443", "tcp 10.1.2.3:80", "denied"],
    ["fd12::/16", "tcp [fd12::1]:80", "goes"],
    ["127.0.0.1", "tcp 127.0.0.1:80", "goes"],
  ],
  "to a cloud's metadata": [
    ["public", "tcp 169.254.169.254:80", "denied"],
    ["public", "tcp [fd00:ec2::254]:80", "denied"],
    ["public", "tcp 168.63.129.16:80", "denied"],
    ["public", "tcp 100.100.100.200:80", "denied"],
    ["public", "tcp 192.0.0.192:80", "denied"],
    ["public", "redirect 93.184.216.34:80 169.254.169.254:80", "denied"],
    ["public", "redirect 93.184.216.34:80 [::ffff:a9fe:a9fe]:80", "denied"],
    ["public", "redirect 93.184.216.34:80 8.8.8.8:80", "goes"],
    ["169.254.169.254:80", "tcp 169.254.169.254:80", "goes"],
  ],
  "to IPv4 by way of IPv6": [
    ["public", "tcp [::ffff:10.0.0.1]:22", "denied"],
    ["public", "tcp [::ffff:127.0.0.1]:22", "denied"],
    ["public", "tcp [::ffff:8.8.8.8]:443", "goes"],
    ["public", "tcp [::127.0.0.1]:22", "denied"],
    ["public", "tcp [64:ff9b::a00:1]:22", "denied"],
    ["public", "tcp [64:ff9b:1::a00:1]:22", "denied"],
    ["public", "tcp [2002:a00:1::1]:22", "denied"],
    ["64:ff9b::/96", "tcp [64:ff9b::a00:1]:22", "denied"],
    ["64:ff9b::/96", "tcp [64:ff9b::808:808]:22", "goes"],
    ["::ffff:10.0.0.1", "tcp 10.0.0.1:22", "goes"],
    ["10.0.0.1", "tcp [::ffff:10.0.0.1]:22", "goes"],
    ["10.0.0.1", "tcp [::ffff:10.0.0.2]:22", "denied"],
  ],
  "on the link and to many": [
    ["public", "tcp 10.0.2.2:22", "denied"],
    ["public", "udp 10.0.2.2:161", "denied"],
    ["public", "tcp [fd00:2::2]:22", "denied"],
    ["public", "tcp [fe80::2]:22", "denied"],
    ["public", "tcp 10.0.2.3:80", "reset"],
    ["public", "tcp [fe80::1234]:22", "reset"],
    ["public", "udp 10.0.2.77:22", "denied"],
    ["public", "udp 10.0.2.255:137", "nothing"],
    ["public", "tcp 224.0.0.1:22", "nothing"],
    ["public", "udp 224.0.0.251:5353", "nothing"],
    ["public", "udp [ff02::fb]:5353", "nothing"],
    ["public", "udp 255.255.255.255:9", "nothing"],
    ["all", "udp 224.0.0.251:5353", "nothing"],
    ["public", "ping 10.0.2.2", "answered"],
    ["host:22", "tcp 10.0.2.2:22", "goes"],
    ["host:22", "tcp 10.0.2.2:23", "denied"],
    ["host:22", "tcp [fd00:2::2]:22", "goes"],
    ["host", "udp 10.0.2.2:161", "goes"],
    ["host", "tcp 127.0.0.1:23", "denied"],
  ],
  "by name": [
    ["public", "example.org=93.184.216.34; ask example.org", "told 93.184.216.34"],
    ["example.org:443", "example.org=93.184.216.34; ask example.org; tcp 93.184.216.34:443", "goes"],
    ["example.org:443", "example.org=93.184.216.34; ask example.org; udp 93.184.216.34:443", "goes"],
    ["example.org:443", "example.org=93.184.216.34; ask example.org; tcp 93.184.216.34:80", "denied"],
    ["example.org:443", "example.org=93.184.216.34; ask example.org; tcp 93.184.216.35:443", "denied"],
    ["example.org", "example.org=93.184.216.34; ask-tcp example.org; tcp 93.184.216.34:80", "goes"],
    ["example.org", "other.org=8.8.8.8; ask other.org", "refused"],
    ["example.org", "other.org=8.8.8.8; ask-tcp other.org", "refused"],
    ["example.org", "other.org=8.8.8.8; ask other.org; tcp 8.8.8.8:80", "denied"],
    ["example.org", "example.org=93.184.216.34; ask EXAMPLE.oRg; tcp 93.184.216.34:80", "goes"],
    ["Example.ORG.", "example.org=93.184.216.34; ask example.org; tcp 93.184.216.34:80", "goes"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example=8.8.8.8; ask xn--bcher-kva.example", "told 8.8.8.8"],
    ["xn--bcher-kva.example", "b\xfccher.example=8.8.8.8; ask b\xfccher.example", "refused"],
    ["*.cdn.example", "a.cdn.example=8.8.8.8; ask a.cdn.example; tcp 8.8.8.8:80", "goes"],
    ["*.cdn.example", "a.b.cdn.example=8.8.8.8; ask a.b.cdn.example; tcp 8.8.8.8:80", "goes"],
    ["*.cdn.example", "cdn.example=8.8.8.8; ask cdn.example", "refused"],
    ["*.cdn.example", "evil-cdn.example=8.8.8.8; ask evil-cdn.example", "refused"],
    ["*.cdn.example", "cdn.example.evil.org=8.8.8.8; ask cdn.example.evil.org", "refused"],
    ["*.cdn.example", "evil\0.cdn.example=8.8.8.8; ask evil\0.cdn.example", "told"],
    ["public", "ask host.twinmetal.internal", "told 10.0.2.2"],
  ],
  "by a name that lies": [
    ["public", "rebind.org=10.0.0.5; ask rebind.org", "refused"],
    ["public", "rebind.org=10.0.0.5; ask rebind.org; tcp 10.0.0.5:80", "denied"],
    ["rebind.org", "rebind.org=127.0.0.1; ask rebind.org; tcp 127.0.0.1:80", "denied"],
    ["rebind.org", "rebind.org=169.254.169.254; ask-tcp rebind.org", "refused"],
    ["rebind.org", "rebind.org=10.0.2.2; ask rebind.org; tcp 10.0.2.2:80", "denied"],
    ["rebind.org", "rebind.org=93.184.216.34,10.0.0.5; ask rebind.org", "told 93.184.216.34"],
    ["rebind.org", "rebind.org=93.184.216.34,10.0.0.5; ask rebind.org; tcp 10.0.0.5:80", "denied"],
    [
      "rebind.org",
      "rebind.org=8.8.8.8; ask rebind.org; rebind.org=10.0.0.5; ask rebind.org; tcp 10.0.0.5:80",
      "denied",
    ],
    ["rebind.org", "rebind.org=8.8.8.8; ask rebind.org; rebind.org=8.8.4.4; tcp 8.8.4.4:80", "denied"],
    ["rebind.org 10.0.0.5", "rebind.org=10.0.0.5; ask rebind.org", "told 10.0.0.5"],
    ["rebind.org 10.0.0.5:80", "rebind.org=10.0.0.5; ask rebind.org; tcp 10.0.0.5:80", "goes"],
    ["rebind.org 10.0.0.5:80", "rebind.org=10.0.0.5; ask rebind.org; tcp 10.0.0.5:22", "denied"],
    ["rebind.org 0.0.0.0/0:80", "rebind.org=10.0.0.5; ask rebind.org", "refused"],
  ],
  "of other resolvers, and later": [
    ["public", "udp 8.8.8.8:53", "goes"],
    ["example.org", "udp 8.8.8.8:53", "denied"],
    ["example.org", "tcp 8.8.8.8:53", "denied"],
    ["example.org", "tcp 8.8.8.8:853", "denied"],
    ["example.org:443", "example.org=8.8.8.8; ask example.org; udp 8.8.8.8:53", "denied"],
    ["example.org 9.9.9.9:53", "udp 9.9.9.9:53; tcp 93.184.216.34:80", "denied"],
    ["example.org", "example.org=93.184.216.34; ask example.org; wait 0.9; tcp 93.184.216.34:80", "goes"],
    ["example.org", "example.org=93.184.216.34; ask example.org; wait 1.1; tcp 93.184.216.34:80", "denied"],
    ["example.org", "example.org=8.8.8.8; ask example.org; udp 8.8.8.8:443; wait 1.1; udp 8.8.8.8:443", "denied"],
    [
      "example.org",
      "example.org=8.8.8.8; ask example.org; wait 0.9; ask example.org; wait 0.9; tcp 8.8.8.8:80",
      "goes",
    ],
  ],
};

class Attempt {
  readonly #guest: FakeGuest;
  #port = 4000;

  constructor(may: string) {
    const mode = may === "public" ? "public" : may === "all" ? "open" : "listed";
    this.#guest = new FakeGuest(mode, mode === "listed" ? may.split(" ") : []);
    this.#guest.udp(parseIpAddress("fd00:2::2")!, 53, new Uint8Array(0)); // So that its IPv6 address is known.
  }

  async run(does: string): Promise<string> {
    let outcome = "";
    for (const step of does.split("; ")) outcome = await this.#step(step);
    return outcome;
  }

  async #step(step: string): Promise<string> {
    const [what = "", where = "", next = ""] = step.split(" ");
    switch (what) {
      case "wait":
        this.#guest.world.advance(Number(where) * 3_600_000);
        return "";
      case "ask":
        return this.#ask(where);
      case "ask-tcp":
        return this.#askByTcp(where);
      case "tcp":
      case "udp":
        return this.#send(what, where);
      case "ping":
        return this.#ping(parseIpAddress(where)!);
      case "redirect":
        return this.#redirect(where, next);
      default: {
        const [name = "", addresses = ""] = step.split("=");
        this.#guest.world.names.set(
          name,
          addresses.split(",").map((text) => parseIpAddress(text)!),
        );
        return "";
      }
    }
  }

  #send(protocol: "tcp" | "udp", where: string): string {
    const guest = this.#guest;
    const [, bracketed, plain, port] = /^(?:\[(.*)\]|(.*)):(\d+)$/.exec(where)!;
    const address = parseIpAddress(bracketed ?? plain!)!;
    const sent = (): number =>
      guest.world.streams.length + guest.world.sockets.reduce((n, { sent }) => n + sent.length, 0);
    const before = sent();
    // One socket of the guest's for all its datagrams.
    if (protocol === "udp") guest.udp(address, Number(port), Uint8Array.of(1));
    else guest.tcp(address, Number(port), { flags: FLAG.SYN }, this.#port++);
    const isOut = sent() > before;
    const [answer] = guest.packets();
    if (isOut) return answer ? "goes, and is answered" : "goes";
    return answer ? told(answer) : "nothing";
  }

  /** The guest's browser does as it is told. */
  #redirect(from: string, to: string): string {
    const { world } = this.#guest;
    if (this.#send("tcp", from) !== "goes") return "not even there";
    const { events } = world.streams.at(-1)!;
    events.opened();
    const [syn] = this.#guest.segments();
    const acknowledgement = (syn!.sequence + 1) >>> 0;
    const [address, port] = [world.streams.at(-1)!.address, world.streams.at(-1)!.port];
    this.#guest.tcp(address, port, { flags: FLAG.ACK, sequence: 1001, acknowledgement }, syn!.destinationPort);
    events.data(new TextEncoder().encode(`HTTP/1.1 302 Found\r\nLocation: http://${to}/\r\n\r\n`));
    const text = new TextDecoder().decode(this.#guest.segments()[0]!.payload);
    return this.#send("tcp", /Location: http:\/\/(.*)\/\r/.exec(text)![1]!);
  }

  #ping(destination: IpAddress): string {
    const isV4 = destination.length === 4;
    const addresses = { source: isV4 ? GUEST : GUEST_V6, destination };
    this.#guest.network.receive(
      icmpFrame(LINK, addresses, isV4 ? ICMP.ECHO : ICMPV6.ECHO, 0, new Uint8Array(4), Uint8Array.of(1)),
    );
    const [answer] = this.#guest.packets();
    return answer ? told(answer) : "nothing";
  }

  async #ask(name: string): Promise<string> {
    this.#guest.udp(IPV4.dns, 53, dnsQuery(name));
    await settled();
    return answered(parseUdp(this.#guest.packets()[0]!, false)!.data);
  }

  async #askByTcp(name: string): Promise<string> {
    const guest = this.#guest;
    const port = this.#port++;
    guest.tcp(IPV4.dns, 53, { flags: FLAG.SYN }, port);
    await settled();
    const acknowledgement = (guest.segments()[0]!.sequence + 1) >>> 0;
    const message = dnsQuery(name);
    const payload = Uint8Array.from([0, message.length, ...message]);
    guest.tcp(IPV4.dns, 53, { flags: FLAG.ACK | FLAG.PSH, sequence: 1001, acknowledgement, payload }, port);
    await settled();
    return answered(
      guest
        .segments()
        .find((segment) => segment.payload.length > 0)!
        .payload.subarray(2),
    );
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

function answered(message: Uint8Array): string {
  const REFUSED = 5;
  if ((message[3]! & 15) === REFUSED) return "refused";
  const count = (message[6]! << 8) | message[7]!;
  const addresses = Array.from({ length: count }, (_, i) => [...message.subarray(message.length - 16 * (count - i))]);
  return ["told", ...addresses.map((record) => record.slice(12, 16).join("."))].join(" ");
}

function told(packet: IpPacket): string {
  if (packet.protocol === PROTOCOL.TCP) return parseSegment(packet, false)!.flags & FLAG.RST ? "reset" : "answered";
  const type = packet.payload[0]!;
  const isUnreachable = type === (packet.protocol === PROTOCOL.ICMP ? ICMP.UNREACHABLE : ICMPV6.UNREACHABLE);
  return isUnreachable ? "denied" : "answered";
}

describe.each(Object.entries(ATTEMPTS))("%s", (_kind, rows) => {
  it.each(rows.map(([may, does, outcome]) => [may, does, outcome]))("--allow %j: %j %s", async (may, does, outcome) => {
    expect(await new Attempt(may!).run(does!)).toBe(outcome);
  });
});

describe("rules", () => {
  it("the host's own networks have to be named by address, public ones, too", () => {
    const [card, named] = ["93.184.216.0/24", "2606:2800::/32"].map((text) => parsePrefix(text)!);
    const egress = new Egress("public", [parseEgressRule("93.184.216.9")], () => [card!, named!]);
    const isAllowed = (text: string): boolean => egress.judge(parseIpAddress(text)!, 22, 0).isAllowed;
    for (const text of ["93.184.216.34", "2606:2800::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]) {
      expect(isAllowed(text)).toBe(false);
      expect(egress.pin("example.org", [parseIpAddress(text)!], 0)).toEqual([]);
    }
    for (const text of ["93.184.216.9", "93.184.217.1", "2606:2801::1"]) expect(isAllowed(text)).toBe(true);
  });

  it("the log says by which name, and why", async () => {
    const guest = new FakeGuest("listed", ["example.org:443"]);
    guest.world.names.set("example.org", [OUTSIDE]);
    guest.udp(IPV4.dns, 53, dnsQuery("example.org"));
    guest.udp(IPV4.dns, 53, dnsQuery("other.org"));
    await settled();
    for (const port of [443, 80]) guest.tcp(OUTSIDE, port, { flags: FLAG.SYN }, port);
    guest.world.advance(3_700_000);
    guest.tcp(OUTSIDE, 443, { flags: FLAG.SYN }, 7);
    expect(guest.records).toEqual([
      { protocol: "dns", name: "other.org", isAllowed: false, why: "no rule names it" },
      { protocol: "tcp", address: OUTSIDE, port: 443, name: "example.org", isAllowed: true, why: "example.org:443" },
      { protocol: "tcp", address: OUTSIDE, port: 80, name: "example.org", isAllowed: false, why: "no rule names it" },
      {
        protocol: "tcp",
        address: OUTSIDE,
        port: 443,
        name: "example.org",
        isAllowed: false,
        why: "it was example.org's longer than an hour ago",
      },
    ]);
  });

  it.each([
    "",
    ":80",
    "a b",
    "host:0",
    "host:65536",
    "host:x",
    "1.2.3",
    "1.2.3.4.5",
    "*",
    "*.",
    "-a.org",
    "[::1",
    "a..b",
    "[host]:1",
    "b\xfccher.example",
  ])("%j is no rule", (text) => {
    expect(() => parseEgressRule(text)).toThrow(/is no|says nothing/);
  });
});
