/** A socket as a link of core's migration: bounded in both directions. */
import type { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import type { MigrationLink } from "@twinmetal/core";

/** What may wait to be sent, and what is kept of what has come. */
const MAX_UNSENT_BYTES = 1024 * 1024;
const MAX_UNREAD_BYTES = 1024 * 1024;
/** Above it the link is what is waited for. */
const BACKLOG_BYTES = 512 * 1024;
/** Others in this process get their turn after so much. */
const TURN_BYTES = 512 * 1024;
/** For the last bytes, when a link is closed. */
const LINGER_MS = 1000;

export class SocketLink implements MigrationLink {
  readonly #socket: Socket;
  #chunks: Uint8Array[] = [];
  #unreadBytes = 0;
  #sinceTurn = 0;
  #waiting: { resolve: (chunk: Uint8Array | undefined) => void; reject: (error: Error) => void } | undefined;
  #error: Error | undefined;
  #hasEnded = false;
  #drains = new Set<() => void>();

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (data: Buffer) => this.#receive(data));
    socket.on("end", () => this.#end());
    socket.on("error", (error) => this.#end(error));
    socket.on("close", () => this.#end());
    socket.on("drain", () => this.#drained());
  }

  get isBacklogged(): boolean {
    return this.#socket.writableLength > BACKLOG_BYTES;
  }

  async send(bytes: Uint8Array): Promise<void> {
    this.#requireOpen();
    this.#socket.write(bytes);
    this.#sinceTurn += bytes.length;
    if (this.#sinceTurn > TURN_BYTES) {
      this.#sinceTurn = 0;
      await turn();
    }
    while (this.#socket.writableLength > MAX_UNSENT_BYTES) {
      this.#requireOpen();
      await new Promise<void>((resolve) => this.#drains.add(resolve));
    }
  }

  async receive(): Promise<Uint8Array | undefined> {
    const chunk = this.#chunks.shift();
    if (chunk) {
      this.#unreadBytes -= chunk.length;
      if (this.#unreadBytes < MAX_UNREAD_BYTES / 2) this.#socket.resume();
      return chunk;
    }
    if (this.#error) throw this.#error;
    if (this.#hasEnded) return undefined;
    return await new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  close(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    socket.end();
    // A peer that does not take the rest loses it.
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once("close", () => clearTimeout(timer));
    timer.unref();
    this.#chunks = [];
    this.#unreadBytes = 0;
    this.#end();
    socket.resume();
  }

  #receive(data: Buffer): void {
    if (this.#hasEnded) return;
    const chunk = new Uint8Array(data.buffer, data.byteOffset, data.length);
    const waiting = this.#waiting;
    if (waiting) {
      this.#waiting = undefined;
      waiting.resolve(chunk);
      return;
    }
    this.#chunks.push(chunk);
    this.#unreadBytes += chunk.length;
    if (this.#unreadBytes > MAX_UNREAD_BYTES) this.#socket.pause();
  }

  #end(error?: Error): void {
    this.#error ??= error && new Error(describe(error), { cause: error });
    this.#hasEnded = true;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#error) waiting?.reject(this.#error);
    else waiting?.resolve(undefined);
    this.#drained();
  }

  #drained(): void {
    for (const resolve of this.#drains) resolve();
    this.#drains.clear();
  }

  #requireOpen(): void {
    if (this.#error) throw this.#error;
    if (this.#hasEnded || this.#socket.destroyed) throw new Error("the other side has closed it");
  }
}

/** What a socket's error means, in words. */
export function describe(error: Error): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  if (code === "ECONNREFUSED" || code === "ENOENT") return `nobody listens there (${code})`;
  if (code === "EACCES" || code === "EPERM") return `this user may not use it (${code})`;
  if (/CERT|ALERT|SIGN|ISSUER|HANDSHAKE|SSL/.test(code)) {
    return `the two sides do not accept each other's certificates (${code}: ${message})`;
  }
  return code === "" ? message : `${message} (${code})`;
}
