/** What the VM object and the thread that carries the frames of its network cards (network-worker.ts) say to each other. */
import type { WireLimits } from "@twinmetal/network";
import type { KickPlace } from "../vm/machine-kick.ts";
import type { ServiceReply } from "../vm/service-thread.ts";
import type { FrameRing } from "./frame-ring.ts";

export const NETWORK_MODELS = ["virtio", "e1000"] as const;
export type NetworkModel = (typeof NETWORK_MODELS)[number];

/** One network card of a VM, as its user asks for it. */
export interface NetworkOptions {
  /**
   * What is at the other end. "loopback": frames come back. "socket": the VM whose card has the same `path`; the first of the
   * two makes the Unix socket. "switch": all cards of this user's VMs on this host that have the same `name`. "nothing": the cable is not plugged in. "user": a gateway that goes on with this host's
   * own sockets.
   */
  readonly to: "loopback" | "socket" | "switch" | "nothing" | "user";
  readonly path?: string;
  /** Of "switch": up to 32 letters, digits, dots, lines and underscores. */
  readonly name?: string;
  /**
   * Of "user": where the guest may go besides what `egress` opens: names, *.names, addresses, address/length, "host" for this
   * host; each with :PORT or for all ports.
   */
  readonly allow?: readonly string[];
  /** Of "user". Default: "listed" with `allow`, else "public": the Internet, without private and this host's networks. */
  readonly egress?: "public" | "listed" | "open";
  /** Of "user": ports of this host that lead to the guest. */
  readonly forwards?: readonly ForwardOptions[];
  /** Of "user": a file with a line of JSON for each connection that the guest tried, allowed or not; at most 64 MiB. */
  readonly log?: string;
  /** Of "user": a folder whose files the guest reads by TFTP from its gateway. */
  readonly tftp?: string;
  /** Of "user": what DHCP tells the guest's firmware to start: a file's name in `tftp`, or a URL for iPXE. At most 127 bytes. */
  readonly bootFile?: string;
  /** A file of all frames, as Wireshark and tcpdump read them; at most 1 GiB. */
  readonly pcap?: string;
  /** What the guest finds. Default: "virtio". Of a VM that exists, its own. */
  readonly model?: NetworkModel;
  /** "52:54:00:12:34:56". Default: from the VM's name, or else its seed. Of a VM that exists, its own. */
  readonly mac?: string;
  /** The largest payload of a frame, of virtio; default 1500. Of a VM that exists, its own. */
  readonly mtu?: number;
  /** Of its wire, to begin with; `vm.network.limit` changes them. Default: none. */
  readonly limits?: CardLimits;
}

/** Of a card's wire, each way by itself. With any of them large TCP segments are cut for it as for a real one. */
export interface CardLimits {
  readonly toGuest?: WireLimits;
  readonly fromGuest?: WireLimits;
}

export interface ForwardOptions {
  /** Default: "tcp". */
  readonly protocol?: "tcp" | "udp";
  /** Default: "127.0.0.1". */
  readonly hostAddress?: string;
  readonly hostPort: number;
  readonly guestPort: number;
}

/** A file that frames or connections were written into has no more of them; the VM goes on. */
export interface NetworkProblem {
  readonly path: string;
  /** "limit": it is as large as it may be. */
  readonly code: "limit" | "disk-full" | "not-writable";
  readonly message: string;
}

/** What the thread says unasked. */
export interface NetworkProblemTold {
  readonly type: "problem";
  readonly problem: NetworkProblem;
}

export interface NetworkThreadStart {
  /** In the order of the ring's channels. */
  readonly networks: readonly NetworkOptions[];
  readonly ring: FrameRing;
}

/** Since the VM's start; `sent` and `received` are the guest's. A frame that was put together from several counts as one. */
export interface CardUsage {
  readonly sentFrames: number;
  readonly sentBytes: number;
  readonly receivedFrames: number;
  readonly receivedBytes: number;
}

export interface NetworkReply extends ServiceReply {
  readonly usage?: readonly CardUsage[];
}

export type NetworkQuestion =
  | { readonly type: "usage" }
  | { readonly type: "limit"; readonly card: number; readonly limits: CardLimits }
  /** The other end of a card is another one. */
  | { readonly type: "change"; readonly card: number; readonly options: NetworkOptions }
  /** Of the first card that leads to a user network: listen at `path` for one connection to the guest's port. */
  | { readonly type: "lead"; readonly path: string; readonly guestPort: number }
  | { readonly type: "open" }
  | { readonly type: "close" };

export type ToNetwork = KickPlace | (NetworkQuestion & { readonly id: number });
