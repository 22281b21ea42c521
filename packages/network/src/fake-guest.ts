/** For tests: a guest by hand on a user network, which sends what it is told to, and keeps what it is sent. */
import { addressOf, type IpAddress, parseIpAddress } from "./address.ts";
import { arpFrame } from "./arp.ts";
import type { ConnectionRecord } from "./connection-log.ts";
import { Egress, type EgressMode, parseEgressRule } from "./egress.ts";
import { BROADCAST, macOf } from "./ethernet.ts";
import { FakeWorld } from "./fake-world.ts";
import { type IpPacket, PROTOCOL, parseIp } from "./ip/packet.ts";
import { udpFrame } from "./ip/udp.ts";
import { GATEWAY_MAC, IPV4 } from "./network-plan.ts";
import { parseSegment, type Segment, segmentFrame } from "./tcp/segment.ts";
import type { TftpFiles } from "./tftp.ts";
import { UserNetwork } from "./user-network.ts";

export const MAC = macOf(2, 0, 0, 0, 0, 1);
export const GUEST = addressOf(10, 0, 2, 15);
export const GUEST_V6 = parseIpAddress("fd00:2::15")!;
export const OUTSIDE = addressOf(93, 184, 216, 34);
export const LINK = { to: GATEWAY_MAC, from: MAC };

export class FakeGuest<World extends FakeWorld = FakeWorld> {
  readonly world: World;
  readonly frames: Uint8Array[] = [];
  readonly records: ConnectionRecord[] = [];
  readonly network: UserNetwork;
  hasRoom = true;
  /** Frames that there is room for once more, though there is none. */
  room = 0;

  constructor(
    mode: EgressMode = "public",
    allow: readonly string[] = [],
    nameServer?: IpAddress,
    world: World = new FakeWorld() as World,
    files?: TftpFiles,
  ) {
    this.world = world;
    this.network = new UserNetwork({
      world: this.world,
      link: {
        mtu: 1500,
        hasChecksumOffload: false,
        largestTcpFrame: 0,
        canSend: () => this.hasRoom || this.room > 0,
        send: (frame) => {
          this.room--;
          this.arrived(frame);
        },
      },
      egress: new Egress(mode, allow.map(parseEgressRule)),
      hasIpv6: true,
      nameServer,
      files,
      log: (record) => void this.records.push(record),
    });
    this.network.receive(arpFrame("request", { mac: MAC, address: GUEST }, { mac: BROADCAST, address: IPV4.gateway }));
    this.take();
  }

  /** A frame from the network. */
  arrived = (frame: Uint8Array): void => void this.frames.push(frame);

  take(): Uint8Array[] {
    return this.frames.splice(0);
  }

  packets(): IpPacket[] {
    return this.take().flatMap((frame) => parseIp(frame) ?? []);
  }

  udp(destination: IpAddress, destinationPort: number, data: Uint8Array, sourcePort = 4000): void {
    const source = sourceFor(destination);
    this.network.receive(udpFrame(LINK, { source, destination }, { sourcePort, destinationPort, data }));
  }

  tcp(
    destination: IpAddress,
    destinationPort: number,
    segment: Partial<Segment> & { flags: number },
    sourcePort = 5000,
  ): void {
    const { payload = new Uint8Array(0) } = segment;
    const whole = {
      sequence: 1000,
      acknowledgement: 0,
      window: 65_535,
      options: {},
      ...segment,
      sourcePort,
      destinationPort,
      payloadBytes: payload.length,
    };
    const addresses = { source: sourceFor(destination), destination };
    this.network.receive(segmentFrame(LINK, addresses, whole, false, (into) => into.set(payload)));
  }

  segments(): Segment[] {
    return this.packets().flatMap((packet) =>
      packet.protocol === PROTOCOL.TCP ? (parseSegment(packet, false) ?? []) : [],
    );
  }
}

function sourceFor(destination: IpAddress): IpAddress {
  return destination.length === GUEST.length ? GUEST : GUEST_V6;
}

/** A query of the Internet's class, recursion desired, of id 0x1234; the name as it is written. */
export function dnsQuery(name: string, type = 1): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...[...label].map((c) => c.charCodeAt(0))]);
  return Uint8Array.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1]);
}
