/**
 * A user network (packages/network) at the end of a VM's card, with the host's sockets; and ports of the host that lead to
 * ports of the guest.
 */
import { createServer, type Server, type Socket } from "node:net";
import { Egress, type GuestLink, type HostUdp, parseEgressRule, type TftpFiles, UserNetwork } from "@twinmetal/network";
import { VmError } from "../vm/vm-error.ts";
import type { Link, LinkEvents } from "./link.ts";
import type { ForwardOptions, NetworkOptions, NetworkProblem } from "./network-protocol.ts";
import { AppendedFile, connectionLine, LOG_BYTES } from "./network-records.ts";
import {
  hasIpv6,
  hostNameServer,
  listenUdp,
  NodeNetworkWorld,
  recentHostNetworks,
  SocketStream,
} from "./node-network-world.ts";
import { TftpFolder } from "./tftp-folder.ts";

const ETHERNET_HEADER_BYTES = 14;
const DEFAULT_MTU = 1500;
/** Of a large TCP segment, with headers: IP's length field bounds it. */
const LARGEST_FRAME_BYTES = 65_535;
/** Frames that came when the card had no room: answers to what the guest itself sends, so few. */
const MAX_WAITING = 64;
/** At a port of the host at a time. */
const MAX_FORWARDED = 512;

/** What a card's end offers besides. */
export interface UserLinkEvents extends LinkEvents {
  hasRoom(frameBytes: number): boolean;
  /** From here on frames come without their checksums, and large ones uncut. */
  takeOffloads(): void;
  /** The guest takes large TCP segments, at present. */
  takesLarge(): boolean;
  /** The log is not written any more. */
  problem(problem: NetworkProblem): void;
}

export class UserLink implements Link {
  readonly #network: UserNetwork;
  readonly #events: UserLinkEvents;
  readonly #servers: Server[] = [];
  readonly #udp: HostUdp[] = [];
  readonly #log: AppendedFile | undefined;
  #waiting: { readonly frame: Uint8Array; readonly segmentBytes: number }[] = [];

  private constructor(options: NetworkOptions, events: UserLinkEvents, files: TftpFiles | undefined) {
    this.#events = events;
    const rules = options.allow?.map(parseEgressRule) ?? [];
    if (options.log !== undefined) {
      this.#log = new AppendedFile(options.log, LOG_BYTES, (problem) => events.problem(problem));
    }
    const mtu = options.mtu ?? DEFAULT_MTU;
    const link: GuestLink = {
      mtu,
      hasChecksumOffload: false,
      get largestTcpFrame() {
        return events.takesLarge() ? LARGEST_FRAME_BYTES : 0;
      },
      canSend: () => {
        const bytes = events.takesLarge() ? LARGEST_FRAME_BYTES : mtu + ETHERNET_HEADER_BYTES;
        return this.#waiting.length === 0 && events.hasRoom(bytes);
      },
      send: (frame, { segmentBytes = 0 }) => {
        if (this.#waiting.length > 0 || !events.deliver(frame, segmentBytes)) this.#keep(frame, segmentBytes);
      },
    };
    this.#network = new UserNetwork({
      world: new NodeNetworkWorld(),
      link,
      egress: new Egress(options.egress ?? (options.allow ? "listed" : "public"), rules, recentHostNetworks()),
      hasIpv6: hasIpv6(),
      nameServer: hostNameServer(),
      files,
      bootFile: options.bootFile,
      log: (record) => this.#log?.write(connectionLine(record)),
    });
  }

  /** Rejects with VmError where a port of the host cannot be listened at, the log not be written, or the folder not be read. */
  static async open(options: NetworkOptions, events: UserLinkEvents): Promise<UserLink> {
    const link = new UserLink(
      options,
      events,
      options.tftp === undefined ? undefined : await TftpFolder.open(options.tftp),
    );
    try {
      for (const forward of options.forwards ?? []) await link.#forward(forward);
    } catch (error) {
      link.close();
      throw error;
    }
    events.takeOffloads();
    events.setUp(true);
    link.#network.seek();
    return link;
  }

  async #forward(forward: ForwardOptions): Promise<void> {
    const { protocol = "tcp", hostAddress = "127.0.0.1", hostPort, guestPort } = forward;
    try {
      if (protocol === "tcp") await this.#forwardTcp(hostAddress, hostPort, guestPort);
      else {
        this.#udp.push(await listenUdp(hostAddress, hostPort, (socket) => this.#network.forwardUdp(guestPort, socket)));
      }
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const why = code === "EADDRINUSE" ? "somebody else uses it" : message;
      const name = protocol === "tcp" ? "Port" : "UDP port";
      const what = `${name} ${hostPort} of ${hostAddress} cannot lead to the guest's port ${guestPort}: ${why}.`;
      throw new VmError("network-socket", `${what} Give another port in --forward.`, { cause });
    }
  }

  #forwardTcp(hostAddress: string, hostPort: number, guestPort: number): Promise<void> {
    const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: true };
    const server = createServer(options, (socket) => {
      this.#connectToGuest(socket, guestPort);
    });
    // The rest of the network's connections is the guest's own.
    server.maxConnections = MAX_FORWARDED;
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.on("error", reject);
      server.listen(hostPort, hostAddress, () => resolve());
    });
  }

  /** One connection to the Unix socket `path` goes on to the guest's port. */
  lead(path: string, guestPort: number): Promise<void> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      server.close();
      this.#connectToGuest(socket, guestPort);
    });
    server.maxConnections = 1;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, () => resolve());
    });
  }

  #connectToGuest(socket: Socket, guestPort: number): void {
    const stream = new SocketStream(socket);
    const events = this.#network.connectToGuest(guestPort, stream);
    if (events) stream.listen(events);
    else socket.destroy();
  }

  #keep(frame: Uint8Array, segmentBytes: number): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push({ frame, segmentBytes });
  }

  send(frame: Uint8Array, isOffloaded: boolean): boolean {
    this.#network.receive(frame.slice(), { isChecksumPartial: isOffloaded });
    return true;
  }

  resume(): void {
    while (this.#waiting.length > 0) {
      const { frame, segmentBytes } = this.#waiting[0]!;
      if (!this.#events.deliver(frame, segmentBytes)) return;
      this.#waiting.shift();
    }
    this.#network.ready();
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#udp) socket.close();
    this.#network.close();
    this.#log?.close();
  }
}
