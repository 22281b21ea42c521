/**
 * A learning switch (IEEE 802.1D, 7.7 to 7.9): what a station sends says at which port it is; frames for a station that is known
 * go there, all others to every other port. Every number that a guest could drive up is bounded: stations, and those of one
 * port; frames that go to all. Ports are the ends of a star, so there is no loop but one that a guest makes with two cards; its
 * frames come back at another port while their station still speaks at its own, and are dropped.
 *
 * Left out: spanning trees, virtual LANs (a tagged frame is one with another type), and the protection of one guest's
 * address against another one's: who may join a switch is trusted with it.
 *
 * GUEST-CONTROLLED: every frame.
 */
import { ETHERNET_HEADER_BYTES, isGroup, MAC_BYTES, type MacAddress, macAt } from "./ethernet.ts";
import type { NetworkWorld } from "./world.ts";

export const MAX_SWITCH_PORTS = 128;
/** At one port: a guest with more of them has a switch of its own. */
const MAX_STATIONS_OF_PORT = 256;
/** 802.1D, table 7-5. */
const AGEING_MS = 300_000;
/** So long a station that has spoken is at its port and at no other, while that is there. */
const HOLD_MS = 1000;
/** Frames that go to all, of one port: in a second, and at once. */
const FLOODED_PER_SECOND = 10_000;
const FLOODED_AT_ONCE = 5000;
/** 01-80-c2-00-00-00 to -0f are for the next switch, and go no further (802.1D, table 7-10). */
const RESERVED = "\x01\x80\xc2\x00\x00";

/** Where a switch's frames go. */
export interface SwitchPort {
  /** The bytes are valid during the call. What finds no room is lost. */
  send(frame: Uint8Array): void;
}

interface Station {
  readonly port: Attached;
  seenMs: number;
}

interface Attached {
  readonly port: SwitchPort;
  /** Those heard longest ago first. */
  readonly stations: Map<MacAddress, Station>;
  /** What is left of the frames that go to all, and since when. */
  floods: number;
  floodsMs: number;
}

export interface SwitchStatistics {
  readonly ports: number;
  readonly stations: number;
  /** Frames that a rule has dropped: too many for all, or a station at two ports. */
  readonly dropped: number;
}

export class EthernetSwitch {
  readonly #world: Pick<NetworkWorld, "nowMs">;
  readonly #ports = new Map<SwitchPort, Attached>();
  readonly #stations = new Map<MacAddress, Station>();
  #dropped = 0;

  constructor(world: Pick<NetworkWorld, "nowMs">) {
    this.#world = world;
  }

  get statistics(): SwitchStatistics {
    return { ports: this.#ports.size, stations: this.#stations.size, dropped: this.#dropped };
  }

  /** False: it has all the ports that it can have. */
  attach(port: SwitchPort): boolean {
    if (this.#ports.size >= MAX_SWITCH_PORTS) return false;
    const floodsMs = this.#world.nowMs();
    this.#ports.set(port, { port, stations: new Map(), floods: FLOODED_AT_ONCE, floodsMs });
    return true;
  }

  detach(port: SwitchPort): void {
    for (const mac of this.#ports.get(port)?.stations.keys() ?? []) this.#stations.delete(mac);
    this.#ports.delete(port);
  }

  /** A frame from a port. Precondition: it is attached. */
  receive(from: SwitchPort, frame: Uint8Array): void {
    const attached = this.#ports.get(from);
    if (!attached || frame.length < ETHERNET_HEADER_BYTES) return;
    const source = macAt(frame, MAC_BYTES);
    if (isGroup(source) || !this.#learn(source, attached)) {
      this.#dropped++;
      return;
    }
    const destination = macAt(frame, 0);
    if (destination.startsWith(RESERVED) && destination.charCodeAt(5) < 16) return;
    const station = this.#stations.get(destination);
    if (station && this.#world.nowMs() - station.seenMs < AGEING_MS) {
      if (station.port !== attached) station.port.port.send(frame);
      return;
    }
    if (!this.#mayFlood(attached)) {
      this.#dropped++;
      return;
    }
    for (const [port] of this.#ports) if (port !== from) port.send(frame);
  }

  /** False: the station is at another port. */
  #learn(mac: MacAddress, port: Attached): boolean {
    const nowMs = this.#world.nowMs();
    const known = this.#stations.get(mac);
    if (known?.port === port) {
      known.seenMs = nowMs;
      port.stations.delete(mac);
      port.stations.set(mac, known);
      return true;
    }
    if (known && nowMs - known.seenMs < HOLD_MS) return false;
    known?.port.stations.delete(mac);
    const station = { port, seenMs: nowMs };
    this.#stations.set(mac, station);
    port.stations.set(mac, station);
    if (port.stations.size > MAX_STATIONS_OF_PORT) {
      const [oldest] = port.stations.keys();
      port.stations.delete(oldest!);
      this.#stations.delete(oldest!);
    }
    return true;
  }

  #mayFlood(port: Attached): boolean {
    const nowMs = this.#world.nowMs();
    const earned = ((nowMs - port.floodsMs) * FLOODED_PER_SECOND) / 1000;
    port.floods = Math.min(FLOODED_AT_ONCE, port.floods + earned);
    port.floodsMs = nowMs;
    if (port.floods < 1) return false;
    port.floods--;
    return true;
  }
}
