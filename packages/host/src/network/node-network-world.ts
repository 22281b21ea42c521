/** The host's side of a user network (packages/network): Node's sockets, its resolver, its clock. */
import { randomBytes } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { ADDRCONFIG, ALL, getServers, promises as names } from "node:dns";
import { once } from "node:events";
import { connect, isIPv6, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import {
  formatIpAddress,
  type HostStream,
  type HostUdp,
  type IpAddress,
  NameError,
  type NetworkWorld,
  type Prefix,
  parseIpAddress,
  parsePrefix,
  type StreamEvents,
  type StreamFailure,
  type Timer,
  type UdpEvents,
} from "@twinmetal/network";

/** As long as a guest's own system would try. */
const CONNECT_LIMIT_MS = 75_000;
/** Datagrams on their way out of one socket; more are dropped, as on any wire. */
const MAX_UDP_UNDER_WAY = 64;

export class NodeNetworkWorld implements NetworkWorld {
  nowMs(): number {
    return performance.now();
  }

  setTimer(afterMs: number, expired: () => void): Timer {
    const timer = setTimeout(expired, Math.ceil(afterMs));
    return { cancel: () => clearTimeout(timer) };
  }

  randomU32(): number {
    return randomBytes(4).readUInt32LE();
  }

  connect(address: IpAddress, port: number, events: StreamEvents): HostStream {
    const target = { host: formatIpAddress(address), port };
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true, keepAlive: true });
    socket.setTimeout(CONNECT_LIMIT_MS, () => socket.destroy(Object.assign(new Error(), { code: "ETIMEDOUT" })));
    socket.once("connect", () => socket.setTimeout(0));
    return new SocketStream(socket, events);
  }

  openUdp(family: 4 | 6, events: UdpEvents): HostUdp {
    return new NodeUdp(createSocket({ type: family === 4 ? "udp4" : "udp6" }), events);
  }

  async resolve(name: string, family: 4 | 6): Promise<readonly IpAddress[]> {
    try {
      const found = await names.lookup(name, { family, all: true, hints: family === 6 ? 0 : ADDRCONFIG & ~ALL });
      return found.flatMap(({ address }) => parseIpAddress(address) ?? []);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOTFOUND") throw new NameError("no-name", `${name} does not exist`);
      if (code === "ENODATA") throw new NameError("no-address", `${name} has no such address`);
      throw new NameError("no-answer", `no name server answered for ${name}`);
    }
  }
}

/** The host's own name server, the first that is given as an address and has the usual port. */
export function hostNameServer(): IpAddress | undefined {
  return getServers().flatMap((text) => parseIpAddress(text) ?? [])[0];
}

/** Some card of the host has an IPv6 address that others can reach. */
export function hasIpv6(): boolean {
  const addresses = Object.values(networkInterfaces()).flatMap((card) => card ?? []);
  return addresses.some(({ family, internal, scopeid }) => family === "IPv6" && !internal && scopeid === 0);
}

/** What networkInterfaces answers is asked for so often, at most. */
const NETWORKS_MS = 2000;

/** The networks that this host is in, and its own addresses; of a tunnel for everything its own address. */
export function hostNetworks(): readonly Prefix[] {
  const cards = Object.values(networkInterfaces()).flatMap((card) => card ?? []);
  return cards.flatMap(({ cidr, address }) => {
    const network = cidr === null ? undefined : parsePrefix(cidr);
    return (network && network.length >= 8 ? network : parsePrefix(address)) ?? [];
  });
}

/** `hostNetworks`, for asking at each packet. */
export function recentHostNetworks(): () => readonly Prefix[] {
  let networks: readonly Prefix[] = [];
  let readMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = performance.now();
    if (nowMs - readMs >= NETWORKS_MS) [networks, readMs] = [hostNetworks(), nowMs];
    return networks;
  };
}

const FAILURES: Readonly<Record<string, StreamFailure>> = {
  ECONNREFUSED: "refused",
  ETIMEDOUT: "timed-out",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  EACCES: "unreachable",
  EPERM: "unreachable",
};

const SMALL_BYTES = 1024;
const BLOCK_BYTES = 4096;

/** A socket as a user network's stream. Also for sockets that a forwarded port has accepted. */
export class SocketStream implements HostStream {
  readonly #socket: Socket;
  #events: StreamEvents | undefined;
  /** Small pieces that wait behind others, put together: each write of its own costs memory that no window counts. */
  #block: Uint8Array | undefined;
  #blockBytes = 0;

  constructor(socket: Socket, events?: StreamEvents) {
    this.#socket = socket;
    if (events) this.listen(events);
  }

  listen(events: StreamEvents): void {
    this.#events = events;
    const socket = this.#socket;
    socket.on("connect", () => events.opened());
    socket.on("data", (bytes) => events.data(bytes));
    socket.on("end", () => events.ended());
    socket.on("drain", () => events.drained());
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const failed = this.#events;
      this.#events = undefined;
      failed?.failed(FAILURES[error.code ?? ""] ?? "reset");
    });
  }

  write(bytes: Uint8Array): void {
    if (this.#socket.writableLength === 0 || bytes.length >= SMALL_BYTES) {
      this.#flush();
      this.#put(bytes);
      return;
    }
    if (this.#blockBytes + bytes.length > BLOCK_BYTES) this.#flush();
    this.#block ??= new Uint8Array(BLOCK_BYTES);
    this.#block.set(bytes, this.#blockBytes);
    this.#blockBytes += bytes.length;
  }

  #flush(): void {
    if (this.#blockBytes === 0) return;
    const bytes = this.#block!.slice(0, this.#blockBytes);
    this.#blockBytes = 0;
    this.#put(bytes);
  }

  #put(bytes: Uint8Array): void {
    this.#socket.write(bytes, () => {
      this.#flush();
      // Node's own `drain` comes when nothing is left; the guest's window opens earlier.
      this.#events?.drained();
    });
  }

  get pendingBytes(): number {
    return this.#socket.writableLength + this.#blockBytes;
  }

  end(): void {
    this.#flush();
    this.#socket.end();
  }

  destroy(): void {
    this.#events = undefined;
    this.#socket.removeAllListeners("data");
    this.#socket.on("error", () => {});
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}

/** A socket at a port of the host. Its events go where `events` says once it is there. Rejects with Node's error. */
export async function listenUdp(
  address: string,
  port: number,
  events: (socket: HostUdp) => UdpEvents,
): Promise<HostUdp> {
  const socket = createSocket({ type: isIPv6(address) ? "udp6" : "udp4" });
  let receiver: UdpEvents | undefined;
  const udp = new NodeUdp(socket, {
    received: (...datagram) => receiver?.received(...datagram),
    refused: (...peer) => receiver?.refused(...peer),
  });
  const bound = once(socket, "listening");
  socket.bind({ address, port, exclusive: true });
  try {
    await bound;
  } catch (error) {
    udp.close();
    throw error;
  }
  receiver = events(udp);
  return udp;
}

class NodeUdp implements HostUdp {
  readonly #socket: UdpSocket;
  #underWay = 0;
  #isClosed = false;

  constructor(socket: UdpSocket, events: UdpEvents) {
    this.#socket = socket;
    this.#socket.on("message", (data, { address, port }) => {
      const from = parseIpAddress(address.split("%", 1)[0]!);
      if (from !== undefined) events.received(from, port, data);
    });
    // One that cannot be bound or sent from loses what it was given, as a wire does.
    this.#socket.on("error", () => {});
  }

  send(address: IpAddress, port: number, data: Uint8Array): void {
    if (this.#isClosed || this.#underWay >= MAX_UDP_UNDER_WAY) return;
    this.#underWay++;
    this.#socket.send(data, port, formatIpAddress(address), () => {
      this.#underWay--;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }
}
