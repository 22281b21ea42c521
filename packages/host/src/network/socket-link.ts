/**
 * A Unix socket between two VMs' cards. Whoever comes first makes it and listens, the other one connects; when one of them
 * goes, the one that stays is the first. There are two ends: a third VM is turned away, and tries again.
 *
 *   connect --there is one--> connected --lost--> connect          connect --nobody--> listen --somebody--> connected
 */
import { lstatSync, unlinkSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { VmError } from "../vm/vm-error.ts";
import { FrameSocket } from "./frame-socket.ts";
import type { Link, LinkEvents } from "./link.ts";
import { connected, listening, MAX_PATH_BYTES } from "./unix-socket.ts";

const TRY_AGAIN_MS = 250;

export class SocketLink implements Link {
  readonly #path: string;
  readonly #events: LinkEvents;
  #peer: FrameSocket | undefined;
  #server: Server | undefined;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(path: string, events: LinkEvents) {
    this.#path = path;
    this.#events = events;
  }

  /** Rejects with VmError where the socket cannot be made. */
  static async open(path: string, events: LinkEvents): Promise<SocketLink> {
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
      throw new VmError(
        "bad-option",
        `The path of a socket has at most ${MAX_PATH_BYTES} bytes, and ${path} has more.`,
      );
    }
    const link = new SocketLink(path, events);
    const error = await link.#join();
    if (error) {
      throw new VmError("network-socket", `The socket ${path} cannot be used: ${error.message}. Give another path.`, {
        cause: error,
      });
    }
    return link;
  }

  send(frame: Uint8Array): boolean {
    return this.#peer?.send(frame) ?? true;
  }

  resume(): void {
    this.#peer?.resume();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#peer?.close();
    this.#server?.close();
  }

  /** Undefined: connected, or listening. */
  async #join(): Promise<Error | undefined> {
    const socket = await connected(this.#path);
    if (this.#isClosed) {
      if (!(socket instanceof Error)) socket.destroy();
      return undefined;
    }
    if (!(socket instanceof Error)) {
      this.#use(socket);
      return undefined;
    }
    const { code } = socket as NodeJS.ErrnoException;
    if (code === "ECONNREFUSED" && isSocket(this.#path)) removeStale(this.#path);
    else if (code !== "ENOENT") return socket;
    const server = await listening(this.#path, (peer) => this.#accept(peer));
    if (server instanceof Error) {
      // Another one was quicker, and can be connected to.
      if ((server as NodeJS.ErrnoException).code !== "EADDRINUSE") return server;
      this.#joinLater();
    } else if (this.#isClosed) server.close();
    else this.#server = server;
    return undefined;
  }

  #joinLater(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      void this.#join().then((error) => {
        if (error) this.#joinLater();
      });
    }, TRY_AGAIN_MS);
  }

  #accept(peer: Socket): void {
    if (this.#peer || this.#isClosed) peer.destroy();
    else this.#use(peer);
  }

  #use(socket: Socket): void {
    this.#peer = new FrameSocket(socket, {
      deliver: (frame) => this.#events.deliver(frame),
      drained: () => this.#events.ready(),
      lost: () => this.#lost(),
    });
    this.#events.setUp(true);
  }

  #lost(): void {
    this.#peer = undefined;
    this.#events.setUp(false);
    this.#events.ready();
    if (!this.#server) this.#joinLater();
  }
}

/** Any other file is somebody's. */
function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? true;
}

/** A socket that nobody listens at. */
function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // What is in the way is told when it is listened at.
  }
}
