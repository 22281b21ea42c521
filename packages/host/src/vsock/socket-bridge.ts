/**
 * A VM's sockets for programs of the host, by Unix sockets, in the text protocol that others of this kind have: who connects to
 * PATH writes "CONNECT port" and a line feed, reads "OK port" (or finds the end), and is at that port of the guest; a guest
 * that connects to port P of the host is at PATH_P, if a program listens there.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Duplex, pipeline } from "node:stream";
import { listenAt, whyNotListening } from "../socket/listen-at.ts";
import { VmError } from "../vm/vm-error.ts";
import type { SocketsOfVm } from "./vm-sockets.ts";

const MAX_LINE_BYTES = 64;
const LINE_MS = 10_000;
const MAX_CLIENTS = 128;

export class SocketBridge {
  readonly #server: Server;
  readonly #sockets: SocketsOfVm;
  readonly #clients = new Set<Socket>();

  private constructor(path: string, sockets: SocketsOfVm) {
    this.#sockets = sockets;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#keep(socket);
      void this.#serve(socket);
    });
    this.#server.maxConnections = MAX_CLIENTS;
    sockets.onOther = (port, accept, refuse) => {
      const socket = connect({ path: `${path}_${port}`, allowHalfOpen: true });
      this.#keep(socket);
      socket.once("error", refuse);
      socket.once("connect", () => {
        socket.off("error", refuse);
        join(socket, accept());
      });
    };
  }

  /** Rejects with VmError where nobody can listen at the path. Does not keep the process alive. */
  static async open(path: string, sockets: SocketsOfVm): Promise<SocketBridge> {
    const bridge = new SocketBridge(path, sockets);
    const server = bridge.#server;
    await listenAt(server, { kind: "unix", path }).catch((error: NodeJS.ErrnoException) => {
      throw new VmError(
        "not-writable",
        `The VM's sockets cannot be served at ${path}: ${whyNotListening(error)}. Name another path.`,
      );
    });
    server.unref();
    return bridge;
  }

  async close(): Promise<void> {
    this.#sockets.onOther = undefined;
    for (const socket of this.#clients) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #keep(socket: Socket): void {
    this.#clients.add(socket);
    socket.on("error", () => {}); // Its end follows.
    socket.on("close", () => this.#clients.delete(socket));
  }

  async #serve(socket: Socket): Promise<void> {
    try {
      const [line, rest] = await firstLine(socket);
      const port = /^CONNECT (\d{1,10})\r?$/.exec(line)?.[1];
      if (port === undefined) throw new Error("no such request");
      const stream = await this.#sockets.connect(Number(port));
      socket.write(`OK ${(stream as { localPort?: number }).localPort ?? 0}\n`);
      if (rest.length > 0) stream.write(rest);
      join(socket, stream);
    } catch {
      socket.destroy(); // As the protocol has it: the end, without a word.
    }
  }
}

/** Both directions, each with its own end. */
function join(socket: Socket, stream: Duplex): void {
  pipeline(socket, stream, () => {});
  pipeline(stream, socket, () => {});
}

/** The line, and what came after it. */
async function firstLine(socket: Socket): Promise<[string, Buffer]> {
  let text = Buffer.alloc(0);
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(new Error("no line")), LINE_MS);
    timer.unref();
    const finish = (error?: Error, at = 0): void => {
      clearTimeout(timer);
      socket.off("data", onData).off("end", onEnd).pause();
      if (error) reject(error);
      else resolve([text.subarray(0, at).toString("latin1"), text.subarray(at + 1)]);
    };
    const onData = (data: Buffer): void => {
      text = Buffer.concat([text, data]);
      const at = text.indexOf(10);
      if (at >= 0) finish(undefined, at);
      else if (text.length > MAX_LINE_BYTES) finish(new Error("too long"));
    };
    const onEnd = (): void => finish(new Error("no line"));
    socket.on("data", onData).on("end", onEnd);
  });
}
