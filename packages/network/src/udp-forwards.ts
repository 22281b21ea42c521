/**
 * Datagrams from the host's side to ports of a guest: each peer of a forwarded port is a port of the gateway to the guest, to
 * which it answers. Peers that are idle, and the least recently used of too many, give way. HOST-CONTROLLED, and by whoever
 * reaches the host's port: how many peers there are.
 */
import type { Endpoint } from "./udp-flows.ts";
import type { HostUdp, NetworkWorld } from "./world.ts";

/** The gateway's ports, for peers in turn. */
const FIRST_PORT = 49_152;
const PORTS = 2048;
const MAX_PEERS = 1024;
/** RFC 4787, REQ-5. */
const IDLE_MS = 120_000;

/** A port of the host that leads to one of a guest. */
export interface UdpForward {
  /** At which datagrams arrive, and from which answers leave. */
  readonly socket: HostUdp;
  readonly guest: Endpoint;
}

interface Peer {
  readonly forward: UdpForward;
  readonly outside: Endpoint;
  lastMs: number;
}

export class UdpForwards {
  readonly #world: NetworkWorld;
  /** By the gateway's port; the least recently used first. */
  readonly #peers = new Map<number, Peer>();
  /** Of each forward: an outside address and port -> the gateway's port. */
  readonly #ports = new Map<UdpForward, Map<string, number>>();
  #next = 0;

  constructor(world: NetworkWorld) {
    this.#world = world;
  }

  get count(): number {
    return this.#peers.size;
  }

  /** The port of the gateway that is the outside peer to the guest. */
  portOf(forward: UdpForward, outside: Endpoint): number {
    let ports = this.#ports.get(forward);
    if (!ports) this.#ports.set(forward, (ports = new Map()));
    const known = ports.get(key(outside));
    const port = known ?? this.#freePort();
    ports.set(key(outside), port);
    this.#use(port, { forward, outside, lastMs: this.#world.nowMs() });
    return port;
  }

  #use(port: number, peer: Peer): void {
    this.#peers.delete(port);
    this.#peers.set(port, peer);
  }

  #freePort(): number {
    for (const [port, { lastMs, forward, outside }] of this.#peers) {
      if (this.#peers.size < MAX_PEERS && this.#world.nowMs() - lastMs <= IDLE_MS) break;
      this.#peers.delete(port);
      this.#ports.get(forward)?.delete(key(outside));
    }
    for (;;) {
      const port = FIRST_PORT + this.#next;
      this.#next = (this.#next + 1) % PORTS;
      if (!this.#peers.has(port)) return port;
    }
  }

  /** A guest's datagram to a port of the gateway. False: it is no answer to a peer. */
  answer(guest: Endpoint, gatewayPort: number, data: Uint8Array): boolean {
    const peer = this.#peers.get(gatewayPort);
    if (!peer || key(peer.forward.guest) !== key(guest)) return false;
    peer.lastMs = this.#world.nowMs();
    this.#use(gatewayPort, peer);
    peer.forward.socket.send(peer.outside.address, peer.outside.port, data);
    return true;
  }
}

function key({ address, port }: Endpoint): string {
  return address + String.fromCharCode(port);
}
