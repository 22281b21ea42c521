/**
 * The host's end of one connection of a VM's socket device, as a stream of Node's: data in both directions, ends of one
 * direction (SHUTDOWN), resets, and credit both ways (virtio 1.2, 5.10.6.3): neither side sends more than the other has room
 * for, and what is read here becomes room for the guest again.
 */
import { Duplex } from "node:stream";
import { VSOCK_OP, VSOCK_SHUTDOWN, type VsockHeader } from "@twinmetal/core";

/** What a guest may have on the way in one connection. */
export const VSOCK_BUFFER_BYTES: number = 64 * 1024;
/** One packet to the guest. */
const MAX_PIECE_BYTES = 16 * 1024;

export interface StreamBackend {
  /** Room for packets with data, as of now. */
  room(): number;
  send(op: number, flags: number, credit: { bufAlloc: number; fwdCnt: number }, data?: Uint8Array): void;
  /** Nobody knows the connection any more. */
  forget(): void;
}

type Done = (error?: Error | null) => void;

export class VsockStream extends Duplex {
  readonly localPort: number;
  readonly guestPort: number;
  readonly #backend: StreamBackend;
  /** Bytes received, and those that the guest was told have been read; modulo 2^32. */
  #received = 0;
  #toldRead = 0;
  #sent = 0;
  #guestRoom = 0;
  #guestRead = 0;
  #waiting: { bytes: Uint8Array; done: Done } | undefined;
  #isGone = false;
  #hasGuestEnded = false;

  /** `guestRoom`: what the guest has room for, as far as it is known. */
  constructor(
    backend: StreamBackend,
    ports: { readonly localPort: number; readonly guestPort: number },
    guestRoom: number,
  ) {
    super({ readableHighWaterMark: VSOCK_BUFFER_BYTES, writableHighWaterMark: MAX_PIECE_BYTES, allowHalfOpen: true });
    this.#backend = backend;
    this.#guestRoom = guestRoom;
    this.localPort = ports.localPort;
    this.guestPort = ports.guestPort;
  }

  /** A packet of the guest's for this connection. */
  receive({ op, flags, bufAlloc, fwdCnt }: VsockHeader, data: Uint8Array): void {
    this.#guestRoom = bufAlloc;
    this.#guestRead = fwdCnt;
    switch (op) {
      case VSOCK_OP.RW:
        this.#take(data);
        break;
      case VSOCK_OP.SHUTDOWN:
        this.#shutDown(flags);
        break;
      case VSOCK_OP.CREDIT_REQUEST:
        this.#tell(VSOCK_OP.CREDIT_UPDATE);
        break;
      case VSOCK_OP.RST:
        this.lose();
        break;
      default:
        break;
    }
    this.advance();
  }

  /** Sends what waits, as far as there is room on the way and at the other end. */
  advance(): void {
    while (this.#waiting) {
      const { bytes, done } = this.#waiting;
      const used = (this.#sent - this.#guestRead) >>> 0;
      const room = Math.min(this.#guestRoom - used, this.#backend.room(), MAX_PIECE_BYTES);
      if (room <= 0) return;
      const piece = bytes.subarray(0, room);
      this.#sent = (this.#sent + piece.length) >>> 0;
      this.#tell(VSOCK_OP.RW, 0, piece);
      if (piece.length < bytes.length) this.#waiting = { bytes: bytes.subarray(piece.length), done };
      else {
        this.#waiting = undefined;
        done();
      }
    }
  }

  /** The other end is gone: what has arrived can still be read. */
  lose(error?: Error): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#backend.forget();
    if (error) this.destroy(error);
    else {
      if (!this.#hasGuestEnded) this.push(null);
      this.#hasGuestEnded = true;
      this.#giveUpWriting();
    }
  }

  /** The answer to the guest's REQUEST, or the REQUEST itself. */
  open(op: number): void {
    this.#tell(op);
  }

  /** Whoever takes bytes out makes room; Node calls `_read` only once until something arrives. */
  override read(bytes?: number): Buffer | null {
    const taken = super.read(bytes) as Buffer | null;
    this.#tellRead();
    return taken;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#isGone) {
      done(closed());
      return;
    }
    this.#waiting = { bytes: chunk, done };
    this.advance();
  }

  override _final(done: Done): void {
    if (!this.#isGone) this.#tell(VSOCK_OP.SHUTDOWN, VSOCK_SHUTDOWN.SEND);
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    if (!this.#isGone) {
      this.#isGone = true;
      // An end in order: all is sent, and the guest may still read it.
      const isOrderly = error === null && this.writableFinished;
      if (isOrderly) this.#tell(VSOCK_OP.SHUTDOWN, VSOCK_SHUTDOWN.SEND | VSOCK_SHUTDOWN.RECEIVE);
      else this.#tell(VSOCK_OP.RST);
      this.#backend.forget();
    }
    this.#waiting = undefined;
    done(error);
  }

  #take(data: Uint8Array): void {
    this.#received = (this.#received + data.length) >>> 0;
    if (this.readableLength + data.length > VSOCK_BUFFER_BYTES || this.#hasGuestEnded) {
      this.#tell(VSOCK_OP.RST);
      this.lose(new Error("the guest sent more than there was room for, or after its end"));
      return;
    }
    if (data.length > 0) this.push(Buffer.from(data));
    this.#tellRead();
  }

  #shutDown(flags: number): void {
    if (flags & VSOCK_SHUTDOWN.SEND && !this.#hasGuestEnded) {
      this.#hasGuestEnded = true;
      this.push(null);
    }
    if ((flags & 3) !== 3) return;
    this.#tell(VSOCK_OP.RST);
    this.lose();
  }

  /** What was read makes room: told before the guest has to wait for it. */
  #tellRead(): void {
    const read = (this.#received - this.readableLength) >>> 0;
    if (!this.#isGone && (read - this.#toldRead) >>> 0 >= VSOCK_BUFFER_BYTES / 4) this.#tell(VSOCK_OP.CREDIT_UPDATE);
  }

  #tell(op: number, flags = 0, data?: Uint8Array): void {
    this.#toldRead = (this.#received - this.readableLength) >>> 0;
    this.#backend.send(op, flags, { bufAlloc: VSOCK_BUFFER_BYTES, fwdCnt: this.#toldRead }, data);
  }

  #giveUpWriting(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(closed());
    if (!waiting && !this.writableEnded) this.end();
  }
}

function closed(): Error {
  return Object.assign(new Error("the guest's end of the connection is closed"), { code: "EPIPE" });
}
