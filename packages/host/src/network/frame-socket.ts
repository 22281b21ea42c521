/** A connection that carries frames (frame-stream.ts) both ways, with what waits at either end of it. */
import type { Socket } from "node:net";
import { encodeFrame, FrameDecoder } from "./frame-stream.ts";

/** A peer before which so much waits does not read. */
const MAX_PENDING_BYTES = 1 << 20;

export interface FrameSocketEvents {
  /** Valid during the call. False: there is no room, and `resume` is called once there is some. */
  deliver(frame: Uint8Array): boolean;
  /** After `send` has refused a frame. */
  drained(): void;
  /** It is over, also by what is no frame. Not after `close`. */
  lost(): void;
}

export class FrameSocket {
  readonly #socket: Socket;
  readonly #events: FrameSocketEvents;
  readonly #decoder = new FrameDecoder();
  #refused: Uint8Array | undefined;
  #isFull = false;
  #isClosed = false;

  constructor(socket: Socket, events: FrameSocketEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on("data", (chunk: Buffer) => {
      this.#decoder.feed(chunk);
      if (!this.#deliver()) socket.pause();
    });
    socket.on("drain", () => {
      this.#isFull = false;
      events.drained();
    });
    socket.on("error", () => {}); // "close" comes, too.
    socket.on("close", () => {
      if (!this.#isClosed) events.lost();
    });
  }

  /** False: not taken, since what was sent before has not left yet. */
  send(frame: Uint8Array): boolean {
    if (this.#isFull) return false;
    if (!this.#socket.write(encodeFrame(frame))) this.#isFull = true;
    return true;
  }

  /** For who does not wait: lost where the peer does not read. */
  post(frame: Uint8Array): void {
    if (this.#socket.writableLength < MAX_PENDING_BYTES) this.#socket.write(encodeFrame(frame));
  }

  resume(): void {
    if (this.#socket.isPaused() && this.#deliver()) this.#socket.resume();
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.destroy();
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
      this.#socket.destroy(); // It speaks another protocol.
    }
    return true;
  }
}
