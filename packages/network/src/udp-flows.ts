/**
 * Datagrams between a guest and peers on the host's side: one host socket for each of the guest's (address, port), endpoints
 * kept apart, answers only from peers that were written to (RFC 4787: endpoint-independent mapping, address- and
 * port-dependent filtering). GUEST-CONTROLLED: how many ports and peers there are; the least recently used give way.
 */
import type { IpAddress } from "./address.ts";
import type { HostUdp, NetworkWorld, Timer } from "./world.ts";

const MAX_FLOWS = 512;
const MAX_PEERS = 256;
/** RFC 4787, REQ-5: at least two minutes. */
const IDLE_MS = 120_000;
const SWEEP_MS = 10_000;

export interface UdpFlowsOptions {
  readonly world: NetworkWorld;
  /** An answer for the guest. */
  readonly received: (guest: Endpoint, peer: Endpoint, data: Uint8Array) => void;
  readonly refused: (guest: Endpoint, peer: Endpoint) => void;
  /** Where the host reaches what the guest calls so, and back: this host's loopback has another address there. */
  readonly outside: (address: IpAddress) => IpAddress;
}

export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

interface Flow {
  readonly socket: HostUdp;
  /** By address and port on the host's side: what the guest calls it, and when it was written to. */
  readonly peers: Map<string, { readonly peer: Endpoint; readonly writtenMs: number }>;
  lastMs: number;
}

export class UdpFlows {
  readonly #options: UdpFlowsOptions;
  readonly #flows = new Map<string, Flow>();
  #sweep: Timer | undefined;

  constructor(options: UdpFlowsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#flows.size;
  }

  /** The guest has written to the peer lately. */
  isKnown(guest: Endpoint, peer: Endpoint): boolean {
    const { outside, world } = this.#options;
    const known = this.#flows.get(key(guest))?.peers.get(key({ address: outside(peer.address), port: peer.port }));
    return known !== undefined && world.nowMs() - known.writtenMs <= IDLE_MS;
  }

  /** From the guest. Precondition: it is allowed. */
  send(guest: Endpoint, peer: Endpoint, data: Uint8Array): void {
    const { world, outside } = this.#options;
    const flowKey = key(guest);
    const flow = this.#flows.get(flowKey) ?? this.#open(guest);
    this.#flows.delete(flowKey);
    this.#flows.set(flowKey, flow);
    flow.lastMs = world.nowMs();
    const target = { address: outside(peer.address), port: peer.port };
    const peerKey = key(target);
    flow.peers.delete(peerKey);
    flow.peers.set(peerKey, { peer, writtenMs: flow.lastMs });
    if (flow.peers.size > MAX_PEERS) flow.peers.delete(flow.peers.keys().next().value!);
    flow.socket.send(target.address, target.port, data);
    this.#sweep ??= world.setTimer(SWEEP_MS, () => this.#sweepIdle());
  }

  #open(guest: Endpoint): Flow {
    if (this.#flows.size >= MAX_FLOWS) this.#end(this.#flows.keys().next().value!);
    const { world, received, refused } = this.#options;
    const peers: Flow["peers"] = new Map();
    const flow: Flow = {
      peers,
      lastMs: 0,
      socket: world.openUdp(guest.address.length === 4 ? 4 : 6, {
        received: (address, port, data) => {
          const known = peers.get(key({ address, port }));
          if (!known) return;
          flow.lastMs = world.nowMs();
          received(guest, known.peer, data);
        },
        refused: (address, port) => {
          const known = peers.get(key({ address, port }));
          if (known) refused(guest, known.peer);
        },
      }),
    };
    return flow;
  }

  #end(flowKey: string): void {
    this.#flows.get(flowKey)?.socket.close();
    this.#flows.delete(flowKey);
  }

  #sweepIdle(): void {
    this.#sweep = undefined;
    const nowMs = this.#options.world.nowMs();
    for (const [flowKey, { lastMs }] of [...this.#flows]) if (nowMs - lastMs > IDLE_MS) this.#end(flowKey);
    if (this.#flows.size > 0) this.#sweep = this.#options.world.setTimer(SWEEP_MS, () => this.#sweepIdle());
  }

  close(): void {
    this.#sweep?.cancel();
    for (const flowKey of [...this.#flows.keys()]) this.#end(flowKey);
  }
}

function key({ address, port }: Endpoint): string {
  return address + String.fromCharCode(port);
}
