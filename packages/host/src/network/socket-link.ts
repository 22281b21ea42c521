/**
 * A Unix socket between two VMs' cards. Whoever comes first makes it and listens, the other one connects; when one of them
 * goes, the one that stays is the first. There are two ends: a third VM is turned away, and tries again.
 *
 *   connect --there is one--> connected --lost--> connect          connect --nobody--> listen --somebody--> connected
 */
import { lstatSync, unlinkSync } from "node:fs";
import { createServer, connect as openSocket, type Server, type Socket } from "node:net";
import { VmError } from "../vm/vm-error.ts";
import { encodeFrame, FrameDecoder } from "./frame-stream.ts";

const TRY_AGAIN_MS = 250;
/** A path that is longer is cut off by the kernel. */
const MAX_PATH_BYTES = 107;

/** The card's side. */
export interface LinkEvents {
  /** False: there is no room, and `resume` is called once there is some. */
  deliver(frame: Uint8Array, segmentBytes?: number): boolean;
  setUp(isUp: boolean): void;
  /** After `send` has refused a frame. */
  ready(): void;
}

export interface Link {
  /**
   * Valid during the call. False: not taken, since the one before has not left yet. `isOffloaded`: as network-channel.ts says,
   * only where the link has said that it takes that.
   */
  send(frame: Uint8Array, isOffloaded: boolean): boolean;
  /** There is room again for what was refused. */
  resume(): void;
  close(): void;
}

export class SocketLink implements Link {
  readonly #path: string;
  readonly #events: LinkEvents;
  readonly #decoder = new FrameDecoder();
  #socket: Socket | undefined;
  #server: Server | undefined;
  #refused: Uint8Array | undefined;
  #isClosed = false;
  #isFull = false;
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
    const socket = this.#socket;
    if (!socket) return true;
    if (this.#isFull) return false;
    if (!socket.write(encodeFrame(frame))) this.#isFull = true;
    return true;
  }

  resume(): void {
    const socket = this.#socket;
    if (!socket?.isPaused()) return;
    if (this.#deliver()) socket.resume();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
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
    if (this.#socket || this.#isClosed) peer.destroy();
    else this.#use(peer);
  }

  #use(socket: Socket): void {
    this.#socket = socket;
    this.#isFull = false;
    this.#refused = undefined;
    const decoder = this.#decoder;
    decoder.reset();
    socket.on("data", (chunk: Buffer) => {
      decoder.feed(chunk);
      if (!this.#deliver()) socket.pause();
    });
    socket.on("drain", () => {
      this.#isFull = false;
      this.#events.ready();
    });
    socket.on("error", () => {}); // "close" comes, too.
    socket.on("close", () => this.#lost(socket));
    this.#events.setUp(true);
  }

  #lost(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#events.setUp(false);
    this.#events.ready();
    if (!this.#server) this.#joinLater();
  }

  /** False: there is no room. */
  #deliver(): boolean {
    try {
      for (let frame = this.#refused ?? this.#decoder.next(); frame; frame = this.#decoder.next()) {
        this.#refused = undefined;
        if (this.#events.deliver(frame)) continue;
        this.#refused = frame;
        return false;
      }
    } catch {
      this.#socket?.destroy(); // It speaks another protocol.
    }
    return true;
  }
}

function connected(path: string): Promise<Socket | Error> {
  return new Promise((resolve) => {
    const socket = openSocket(path);
    socket.once("error", resolve);
    socket.once("connect", () => {
      socket.off("error", resolve);
      resolve(socket);
    });
  });
}

function listening(path: string, onPeer: (socket: Socket) => void): Promise<Server | Error> {
  return new Promise((resolve) => {
    const server = createServer(onPeer);
    server.once("error", resolve);
    server.listen(path, () => {
      server.off("error", resolve);
      resolve(server);
    });
  });
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
