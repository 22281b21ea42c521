/**
 * A network for guests on a host that gives no rights: an Ethernet with a gateway on it that ends every connection here and
 * goes on with the host's own sockets. What goes out is judged (egress.ts) and logged; a guest gets its address by DHCP or
 * router advertisement, and names from the gateway's name service.
 *
 * Left out: echo to the outside (a socket for it needs rights; it is refused as prohibited), multicast, other protocols.
 * GUEST-CONTROLLED: every frame.
 */
import { addressOf, type IpAddress, isIpv4 } from "./address.ts";
import { arpFrame, parseArp } from "./arp.ts";
import { ConnectionLog, type ConnectionRecord } from "./connection-log.ts";
import { answerDhcp, DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "./dhcp.ts";
import { DnsStream } from "./dns/dns-stream.ts";
import { DNS_PORT, NameService } from "./dns/name-service.ts";
import type { Egress, Verdict } from "./egress.ts";
import {
  BROADCAST,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE,
  ethertypeOf,
  isGroup,
  MAC_BYTES,
  type MacAddress,
  macAt,
} from "./ethernet.ts";
import { fragmentsOf } from "./ip/fragmentation.ts";
import { echoReply, parseEcho, type Unreachable, unreachable } from "./ip/icmp.ts";
import { IPV6_HEADER_BYTES, type IpPacket, type LinkHeader, PROTOCOL, parseIp } from "./ip/packet.ts";
import { Reassembly } from "./ip/reassembly.ts";
import { parseUdp, type Udp, udpFrame } from "./ip/udp.ts";
import type { GuestLink, Offload } from "./link.ts";
import { neighbourAdvertisement, parseNeighbour, routerAdvertisement } from "./neighbours.ts";
import { GATEWAY_MAC, guestAddress, IPV4, IPV6, isDns, isGateway, isOnLink, MAX_GUESTS } from "./network-plan.ts";
import { parseSegment } from "./tcp/segment.ts";
import { type Admission, TcpFlows } from "./tcp-flows.ts";
import { type TftpFiles, TftpServer } from "./tftp.ts";
import { type Endpoint, UdpFlows } from "./udp-flows.ts";
import { UdpForwards } from "./udp-forwards.ts";
import type { HostStream, HostUdp, NetworkWorld, StreamEvents, UdpEvents } from "./world.ts";

const UNSPECIFIED = addressOf(0, 0, 0, 0);
const LIMITED_BROADCAST = addressOf(255, 255, 255, 255);
/** Ports that the gateway itself uses begin here when somebody connects to the guest. */
const FIRST_DIAL_PORT = 49_152;
const DIAL_PORTS = 16_384;
const UDP_AND_TFTP_BYTES = 8 + 4;

export interface UserNetworkOptions {
  readonly world: NetworkWorld;
  readonly link: GuestLink;
  readonly egress: Egress;
  /** Guests get IPv6 addresses, too. Default false. */
  readonly hasIpv6?: boolean;
  readonly hostName?: string;
  /** The host's own name server, for questions that are not for addresses. */
  readonly nameServer?: IpAddress;
  /** For PXE: what is started, a file of `files`, or what else the guest's firmware understands, such as a URL. */
  readonly bootFile?: string;
  /** What the gateway has by TFTP, for everybody. Default: nothing, and there is no server. */
  readonly files?: TftpFiles;
  readonly log?: (record: ConnectionRecord) => void;
}

export interface UserNetworkStatistics {
  readonly tcpConnections: number;
  readonly udpSockets: number;
  /** Outside peers of forwarded ports. */
  readonly udpPeers: number;
  readonly leases: number;
  /** Addresses of which the card is known. */
  readonly stations: number;
  /** Datagrams of which parts are missing. */
  readonly incomplete: number;
}

export class UserNetwork {
  readonly #options: UserNetworkOptions;
  readonly #world: NetworkWorld;
  readonly #link: GuestLink;
  readonly #egress: Egress;
  readonly #log: ConnectionLog;
  readonly #tcp: TcpFlows;
  readonly #udp: UdpFlows;
  readonly #forwards: UdpForwards;
  readonly #tftp: TftpServer | undefined;
  readonly #names: NameService;
  readonly #reassembly = new Reassembly();
  /** A card -> which of the guests' addresses it has. */
  readonly #leases = new Map<MacAddress, number>();
  readonly #stations = new Map<IpAddress, MacAddress>();
  #datagramId = 0;
  #nextDialPort = 0;

  constructor(options: UserNetworkOptions) {
    const { world, link, egress } = options;
    this.#options = options;
    this.#world = world;
    this.#link = link;
    this.#egress = egress;
    this.#log = new ConnectionLog(world, options.log);
    this.#tcp = new TcpFlows({ world, link, linkTo: (guest) => this.#linkTo(guest) });
    this.#udp = new UdpFlows({
      world,
      outside,
      received: (guest, peer, data) => this.#sendUdp(peer, guest, data),
      refused: () => {},
    });
    this.#forwards = new UdpForwards(world);
    this.#tftp = options.files && this.#serveFiles(options.files);
    this.#names = new NameService({
      world,
      egress,
      nameServer: options.nameServer,
      ownNames: new Map([
        ["host.twinmetal.internal", [IPV4.gateway, IPV6.gateway]],
        ["gateway.twinmetal.internal", [IPV4.gateway, IPV6.gateway]],
      ]),
      refused: (name, why) => this.#log.add({ protocol: "dns", name, isAllowed: false, why }),
    });
  }

  get statistics(): UserNetworkStatistics {
    return {
      tcpConnections: this.#tcp.count,
      udpSockets: this.#udp.count,
      udpPeers: this.#forwards.count,
      leases: this.#leases.size,
      stations: this.#stations.size,
      incomplete: this.#reassembly.count,
    };
  }

  /** The address that the first card got, or gets when it asks. */
  get guestAddress(): IpAddress {
    return guestAddress(0);
  }

  /** A frame from the guest, which is the network's from here on. */
  receive(frame: Uint8Array, offload: Offload = {}): void {
    if (frame.length < ETHERNET_HEADER_BYTES || isGroup(macAt(frame, MAC_BYTES))) return;
    this.#tcp.heard();
    switch (ethertypeOf(frame)) {
      case ETHERTYPE.ARP:
        this.#receiveArp(frame);
        return;
      case ETHERTYPE.IPV4:
      case ETHERTYPE.IPV6:
        this.#receiveIp(frame, offload.isChecksumPartial ?? false);
        return;
      default:
    }
  }

  #receiveArp(frame: Uint8Array): void {
    const arp = parseArp(frame);
    if (!arp) return;
    this.#learn(arp.sender, arp.senderMac);
    if (!arp.isRequest || (arp.target !== IPV4.gateway && arp.target !== IPV4.dns)) return;
    const own = { mac: GATEWAY_MAC, address: arp.target };
    this.#link.send(arpFrame("reply", own, { mac: arp.senderMac, address: arp.sender }), {});
  }

  #learn(address: IpAddress, mac: MacAddress): void {
    if (address === UNSPECIFIED || !isOnLink(address) || isGateway(address) || isDns(address) || isGroup(mac)) return;
    this.#stations.delete(address);
    this.#stations.set(address, mac);
    if (this.#stations.size > MAX_GUESTS * 4) this.#stations.delete(this.#stations.keys().next().value!);
  }

  #linkTo(guest: IpAddress): LinkHeader | undefined {
    const to = this.#stations.get(guest);
    return to && { to, from: GATEWAY_MAC };
  }

  #receiveIp(frame: Uint8Array, isTrusted: boolean): void {
    const part = parseIp(frame);
    // To itself: it could only be answered in the guest's own name.
    if (!part || part.source === part.destination) return;
    const packet = this.#reassembly.add(part, this.#world.nowMs());
    if (!packet) return;
    const mac = macAt(frame, MAC_BYTES);
    const isV4 = isIpv4(packet.source);
    if (!isV4 && !this.#options.hasIpv6) return;
    this.#learn(packet.source, mac);
    if (packet.protocol === PROTOCOL.UDP) {
      this.#receiveUdp(packet, isTrusted, mac);
      return;
    }
    // From here on only stations of this network, to single addresses: no spoofing, no multicast.
    if (!this.#stations.has(packet.source) && !isNeighbourDiscovery(packet)) return;
    if (packet.protocol === PROTOCOL.TCP) this.#receiveTcp(packet, isTrusted);
    else if (packet.protocol === PROTOCOL.ICMP || packet.protocol === PROTOCOL.ICMPV6) this.#receiveIcmp(packet, mac);
  }

  #receiveIcmp(packet: IpPacket, mac: MacAddress): void {
    if (packet.protocol === PROTOCOL.ICMPV6 && this.#receiveNeighbour(packet, mac)) return;
    const echo = parseEcho(packet);
    const link = this.#linkTo(packet.source);
    if (!echo || !link) return;
    if (!isGateway(packet.destination) && !isDns(packet.destination)) {
      this.#unreachable(packet, isOnLink(packet.destination) ? "host" : "prohibited");
      return;
    }
    for (const frame of this.#fragments(echoReply(link, packet, echo))) this.#link.send(frame, {});
  }

  #receiveNeighbour(packet: IpPacket, mac: MacAddress): boolean {
    const message = parseNeighbour(packet);
    if (!message) return false;
    if (message.kind === "router-solicitation") {
      const { router, network, dns } = IPV6;
      const advertised = { router, prefix: network.address, dns, mtu: this.#link.mtu };
      this.#link.send(routerAdvertisement(GATEWAY_MAC, advertised), {});
    } else if (message.kind === "solicitation") {
      const { target } = message;
      const isOwn = isGateway(target) || isDns(target);
      // Without a source it is a test whether an address is free (RFC 4862): ours are not.
      if (isOwn) this.#link.send(neighbourAdvertisement({ to: mac, from: GATEWAY_MAC }, packet.source, target), {});
    }
    return true;
  }

  #receiveUdp(packet: IpPacket, isTrusted: boolean, mac: MacAddress): void {
    const udp = parseUdp(packet, isTrusted);
    if (!udp) return;
    const { destination, source } = packet;
    if (
      udp.destinationPort === DHCP_SERVER_PORT &&
      (destination === LIMITED_BROADCAST || destination === IPV4.gateway)
    ) {
      this.#receiveDhcp(udp.data, mac);
      return;
    }
    if (!this.#stations.has(source) || isMulticast(destination)) return;
    const [guest, peer] = [
      { address: source, port: udp.sourcePort },
      { address: destination, port: udp.destinationPort },
    ];
    if (isDns(destination) || (isGateway(destination) && udp.destinationPort === DNS_PORT)) {
      if (udp.destinationPort !== DNS_PORT) this.#unreachable(packet, "port");
      else this.#names.ask(udp.data, true, (answer) => this.#sendUdp(peer, guest, answer));
      return;
    }
    if (isOnLink(destination) && !isGateway(destination)) {
      this.#unreachable(packet, "host");
      return;
    }
    if (isGateway(destination) && this.#isForGateway(guest, udp)) return;
    if (!this.#udp.isKnown(guest, peer)) {
      const verdict = this.#judge(peer);
      this.#log.add({ protocol: "udp", ...peer, ...verdict });
      if (!verdict.isAllowed) {
        this.#unreachable(packet, "prohibited");
        return;
      }
    }
    this.#udp.send(guest, peer, udp.data);
  }

  #judge({ address, port }: Endpoint): Verdict {
    if (isGateway(address)) return this.#egress.judgeHost(port);
    return this.#egress.judge(address, port, this.#world.nowMs());
  }

  /** What is for a server of this network, or for a peer that it stands for. */
  #isForGateway(guest: Endpoint, { destinationPort, data }: Udp): boolean {
    return this.#tftp?.receive(guest, destinationPort, data) || this.#forwards.answer(guest, destinationPort, data);
  }

  #serveFiles(files: TftpFiles): TftpServer {
    return new TftpServer({
      world: this.#world,
      files,
      largestBlockBytes: this.#link.mtu - IPV6_HEADER_BYTES - UDP_AND_TFTP_BYTES,
      send: (port, to, data) => {
        const address = isIpv4(to.address) ? IPV4.gateway : IPV6.gateway;
        this.#sendUdp({ address, port }, to, data);
      },
    });
  }

  #receiveDhcp(message: Uint8Array, mac: MacAddress): void {
    const { hostName, bootFile } = this.#options;
    const reply = answerDhcp(message, {
      server: IPV4.gateway,
      mask: IPV4.mask,
      router: IPV4.gateway,
      dns: IPV4.dns,
      mtu: this.#link.mtu,
      hostName,
      bootFile,
      addressFor: (client, current) => this.#lease(client, current),
    });
    if (!reply) return;
    if (reply.leased !== undefined) this.#learn(reply.leased, mac);
    const udp = { sourcePort: DHCP_SERVER_PORT, destinationPort: DHCP_CLIENT_PORT, data: reply.message };
    const addresses = { source: IPV4.gateway, destination: LIMITED_BROADCAST };
    this.#link.send(udpFrame({ to: BROADCAST, from: GATEWAY_MAC }, addresses, udp), {});
  }

  #lease(mac: MacAddress, current: IpAddress | undefined): IpAddress | undefined {
    const known = this.#leases.get(mac);
    if (known !== undefined) return guestAddress(known);
    const taken = new Set(this.#leases.values());
    const free = Array.from({ length: MAX_GUESTS }, (_, i) => i).filter((i) => !taken.has(i));
    const index = free.find((i) => guestAddress(i) === current) ?? free[0];
    if (index === undefined) return undefined;
    this.#leases.set(mac, index);
    return guestAddress(index);
  }

  /** Asks for the first card: one that has its address already, from a network that was there before, can be connected to at once. */
  seek(): void {
    const own = { mac: GATEWAY_MAC, address: IPV4.gateway };
    this.#link.send(arpFrame("request", own, { mac: BROADCAST, address: this.guestAddress }), {});
  }

  #receiveTcp(packet: IpPacket, isTrusted: boolean): void {
    const segment = parseSegment(packet, isTrusted);
    if (!segment || isMulticast(packet.destination)) return;
    this.#tcp.receive(packet, segment, {
      admit: (_guest, peer) => this.#admit(peer),
      unreachable: (about, why) => this.#unreachable(about, why),
    });
  }

  #admit(peer: Endpoint): Admission {
    const { address, port } = peer;
    const isOwn = isGateway(address) || isDns(address);
    if (isOwn && port === DNS_PORT) return (events) => new DnsStream(this.#names, events);
    if (isDns(address) || (isOnLink(address) && !isOwn)) return "refused";
    const verdict = this.#judge(peer);
    this.#log.add({ protocol: "tcp", ...peer, ...verdict });
    return verdict.isAllowed ? (events) => this.#world.connect(outside(address), port, events) : "prohibited";
  }

  #unreachable(packet: IpPacket, why: Unreachable): void {
    const link = this.#linkTo(packet.source);
    if (link && !isMulticast(packet.destination)) this.#link.send(unreachable(link, packet, why), {});
  }

  #sendUdp(from: Endpoint, to: Endpoint, data: Uint8Array): void {
    const link = this.#linkTo(to.address);
    // Port 0 wants no answer (RFC 768).
    if (!link || to.port === 0) return;
    const addresses = { source: from.address, destination: to.address };
    const frame = udpFrame(link, addresses, { sourcePort: from.port, destinationPort: to.port, data });
    for (const fragment of this.#fragments(frame)) this.#link.send(fragment, {});
  }

  #fragments(frame: Uint8Array): Uint8Array[] {
    this.#datagramId = (this.#datagramId + 1) >>> 0;
    return fragmentsOf(frame, this.#link.mtu, this.#datagramId);
  }

  /** The card has room again after it had none. */
  ready(): void {
    this.#tcp.ready();
  }

  /**
   * Connects a stream to a port of a guest, which sees the gateway as its peer. Answers where the stream's events go;
   * undefined: there are too many connections, or the guest has not been heard of yet.
   */
  connectToGuest(port: number, stream: HostStream, guest: IpAddress = this.guestAddress): StreamEvents | undefined {
    if (!this.#stations.has(guest)) return undefined;
    const gateway = isIpv4(guest) ? IPV4.gateway : IPV6.gateway;
    for (let tries = 0; tries < 16; tries++) {
      const own = FIRST_DIAL_PORT + (this.#nextDialPort++ % DIAL_PORTS);
      const events = this.#tcp.toGuest({ address: guest, port }, { address: gateway, port: own }, stream);
      if (events) return events;
    }
    return undefined;
  }

  /**
   * What arrives at `socket` goes on to a port of a guest, whose answers go back; to the guest each peer is a port of the gateway.
   * Answers where the socket's events go. The socket stays its owner's.
   */
  forwardUdp(port: number, socket: HostUdp, guest: IpAddress = this.guestAddress): UdpEvents {
    const forward = { socket, guest: { address: guest, port } };
    const gateway = isIpv4(guest) ? IPV4.gateway : IPV6.gateway;
    return {
      received: (address, peerPort, data) => {
        if (!this.#stations.has(guest)) return;
        const gatewayPort = this.#forwards.portOf(forward, { address, port: peerPort });
        this.#sendUdp({ address: gateway, port: gatewayPort }, forward.guest, data);
      },
      refused: () => {},
    };
  }

  /** Ends everything. */
  close(): void {
    this.#tcp.close();
    this.#udp.close();
    this.#tftp?.close();
    this.#names.close();
  }
}

function outside(address: IpAddress): IpAddress {
  if (!isGateway(address)) return address;
  return isIpv4(address) ? IPV4.hostLoopback : IPV6.hostLoopback;
}

/** Or a broadcast: of what goes to many nobody is told that it did not get there (RFC 1122, 3.2.2). */
function isMulticast(address: IpAddress): boolean {
  const first = address.charCodeAt(0);
  return isIpv4(address) ? first >= 224 || address === IPV4.broadcast : first === 0xff;
}

function isNeighbourDiscovery({ protocol, payload }: IpPacket): boolean {
  return protocol === PROTOCOL.ICMPV6 && payload[0]! >= 133 && payload[0]! <= 136;
}
