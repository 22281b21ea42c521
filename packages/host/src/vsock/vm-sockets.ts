/**
 * The host's side of a VM's socket device: connections to the guest's ports and from them, by the packets of the device's
 * channel. Everything that comes from the guest is bounded: connections, what each may have on the way, and answers that it
 * does not take. After a restore or a move the guest hears that its connections are gone.
 */
import type { Duplex } from "node:stream";
import {
  decodeVsockHeader,
  decodeVsockMessages,
  encodePacketMessage,
  encodeTransportReset,
  encodeVsockPacket,
  VSOCK_HEADER_BYTES,
  VSOCK_HOST_CID,
  VSOCK_OP,
  VSOCK_TYPE_STREAM,
  VSOCK_WINDOW_BYTES,
  type VsockHeader,
} from "@twinmetal/core";
import { VmError } from "../vm/vm-error.ts";
import { VsockStream } from "./vsock-stream.ts";

/** Of the device, and of its channel. */
export const VSOCK_NAME = "vsock0";
const MAX_CONNECTIONS = 256;
/** Of the window: answers without data come through although data waits. */
const RESERVED_BYTES = 32 * 1024;
/** Packets without data that wait for the window; the guest loses what is beyond. */
const MAX_WAITING = 1024;
/** Ports that nobody has chosen. */
const FIRST_OWN_PORT = 0x4000_0000;
const CONNECT_TIMEOUT_MS = 10_000;

/** Of a VM with `vsock`; methods throw VmError "no-vsock" where there is none. */
export interface VmSockets {
  /**
   * Connects to a port that a program of the guest listens at (AF_VSOCK). Rejects with VmError "refused", "timeout" (default
   * 10 s) or "guest-ended", or with the signal's reason.
   */
  connect(port: number, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<Duplex>;
  /**
   * Takes connections of the guest's to this port of the host (its context is 2). Returns what ends that; connections stay.
   * Throws VmError "bad-option" if somebody listens there.
   */
  listen(port: number, onConnection: (connection: Duplex) => void): () => void;
}

export interface SocketsBackend {
  /** Undefined: it has no such device. */
  readonly guestCid: number | undefined;
  send(channel: string, bytes: Uint8Array): void;
  ended(): string | undefined;
}

interface Connecting {
  readonly stream: VsockStream;
  readonly settle: (error?: VmError) => void;
}

export class SocketsOfVm implements VmSockets {
  /** Who takes connections to ports that nobody listens at. Returns false where there is none. */
  onOther: ((port: number, accept: () => VsockStream, refuse: () => void) => void) | undefined;
  readonly #backend: SocketsBackend;
  readonly #streams = new Map<string, VsockStream>();
  readonly #connecting = new Map<string, Connecting>();
  readonly #listeners = new Map<number, (connection: Duplex) => void>();
  /** Requests of the guest's that `onOther` has not answered yet. */
  readonly #asked = new Set<string>();
  #window = VSOCK_WINDOW_BYTES;
  #waiting: Uint8Array[] = [];
  #nextPort = FIRST_OWN_PORT;

  constructor(backend: SocketsBackend) {
    this.#backend = backend;
  }

  async connect(port: number, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Duplex> {
    this.#require();
    const { timeoutMs = CONNECT_TIMEOUT_MS, signal } = options;
    signal?.throwIfAborted();
    checkPort(port);
    if (this.#count >= MAX_CONNECTIONS)
      throw new VmError("refused", `The VM has ${MAX_CONNECTIONS} connections, which is all it can have.`);
    const localPort = this.#freePort(port);
    const stream = this.#stream(localPort, port, 0);
    const key = keyOf(localPort, port);
    return await new Promise<Duplex>((resolve, reject) => {
      const finish = (error?: unknown): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        this.#connecting.delete(key);
        if (error === undefined) {
          resolve(stream);
          return;
        }
        this.#streams.delete(key);
        stream.destroy();
        reject(error);
      };
      const onAbort = (): void => finish(signal?.reason);
      const timer = setTimeout(() => {
        const seconds = timeoutMs / 1000;
        finish(
          new VmError(
            "timeout",
            `The guest did not answer at port ${port} within ${seconds} s: it may have no driver.`,
          ),
        );
      }, timeoutMs);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#connecting.set(key, { stream, settle: finish });
      stream.open(VSOCK_OP.REQUEST);
    });
  }

  listen(port: number, onConnection: (connection: Duplex) => void): () => void {
    this.#require();
    checkPort(port);
    if (this.#listeners.has(port)) throw new VmError("bad-option", `Somebody listens at port ${port} already.`);
    this.#listeners.set(port, onConnection);
    return () => {
      if (this.#listeners.get(port) === onConnection) this.#listeners.delete(port);
    };
  }

  /** What the device says. */
  receive(bytes: Uint8Array): void {
    for (const message of decodeVsockMessages(bytes)) {
      if (message.kind === "credit") this.#freed(message.bytes);
      else if (message.kind === "reset") this.#dropAll("the guest's driver started again");
      else this.#packet(decodeVsockHeader(message.bytes), message.bytes.subarray(VSOCK_HEADER_BYTES));
    }
  }

  /** This is a new end: the guest comes from a saved state or from elsewhere. */
  tellReset(): void {
    if (this.#backend.guestCid !== undefined) this.#backend.send(VSOCK_NAME, encodeTransportReset());
  }

  end(reason: string): void {
    this.#dropAll(reason);
  }

  get #count(): number {
    return this.#streams.size + this.#asked.size;
  }

  #packet(header: VsockHeader, data: Uint8Array): void {
    const { srcPort: guestPort, dstPort: localPort, op, type } = header;
    const key = keyOf(localPort, guestPort);
    const stream = this.#streams.get(key);
    const connecting = this.#connecting.get(key);
    if (type !== VSOCK_TYPE_STREAM) this.#refuse(localPort, guestPort, type);
    else if (connecting) this.#answered(connecting, header);
    else if (stream) stream.receive(header, data);
    else if (op === VSOCK_OP.REQUEST) this.#requested(header, key);
    else if (op !== VSOCK_OP.RST) this.#refuse(localPort, guestPort);
  }

  #answered({ stream, settle }: Connecting, header: VsockHeader): void {
    if (header.op === VSOCK_OP.RST) {
      stream.lose();
      settle(new VmError("refused", `Nobody in the guest listens at port ${stream.guestPort}.`));
    } else if (header.op === VSOCK_OP.RESPONSE) {
      settle();
      stream.receive(header, new Uint8Array(0));
    }
  }

  #requested({ srcPort: guestPort, dstPort: localPort, bufAlloc }: VsockHeader, key: string): void {
    const accept = (): VsockStream => {
      this.#asked.delete(key);
      const stream = this.#stream(localPort, guestPort, bufAlloc);
      stream.open(VSOCK_OP.RESPONSE);
      return stream;
    };
    const refuse = (): void => {
      if (this.#asked.delete(key)) this.#refuse(localPort, guestPort);
    };
    if (this.#asked.has(key)) return;
    if (this.#count >= MAX_CONNECTIONS) {
      this.#refuse(localPort, guestPort);
      return;
    }
    this.#asked.add(key);
    const listener = this.#listeners.get(localPort);
    if (listener) listener(accept());
    else if (this.onOther) this.onOther(localPort, accept, refuse);
    else refuse();
  }

  #stream(localPort: number, guestPort: number, guestRoom: number): VsockStream {
    const key = keyOf(localPort, guestPort);
    const ports = { localPort, guestPort };
    const stream: VsockStream = new VsockStream(
      {
        room: () => this.#window - RESERVED_BYTES - VSOCK_HEADER_BYTES,
        send: (op, flags, credit, data) => this.#send({ ...ports, op, flags, ...credit }, data),
        forget: () => {
          if (this.#streams.get(key) === stream) this.#streams.delete(key);
        },
      },
      ports,
      guestRoom,
    );
    // Whoever does not listen for it sees the stream closed: no guest ends the process with what it sends.
    stream.on("error", () => {});
    this.#streams.set(key, stream);
    return stream;
  }

  #refuse(localPort: number, guestPort: number, type: number = VSOCK_TYPE_STREAM): void {
    this.#send({ localPort, guestPort, op: VSOCK_OP.RST, flags: 0, bufAlloc: 0, fwdCnt: 0, type });
  }

  #send(
    {
      localPort,
      guestPort,
      type = VSOCK_TYPE_STREAM,
      ...words
    }: {
      localPort: number;
      guestPort: number;
      type?: number;
      op: number;
      flags: number;
      bufAlloc: number;
      fwdCnt: number;
    },
    data?: Uint8Array,
  ): void {
    const address = {
      srcCid: VSOCK_HOST_CID,
      dstCid: this.#backend.guestCid ?? 0,
      srcPort: localPort,
      dstPort: guestPort,
    };
    const packet = encodeVsockPacket({ ...address, type, ...words }, data);
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(packet);
    this.#flush();
  }

  #flush(): void {
    for (let packet = this.#waiting[0]; packet && packet.length <= this.#window; packet = this.#waiting[0]) {
      this.#waiting.shift();
      this.#window -= packet.length;
      this.#backend.send(VSOCK_NAME, encodePacketMessage(packet));
    }
  }

  #freed(bytes: number): void {
    this.#window = Math.min(VSOCK_WINDOW_BYTES, this.#window + bytes);
    this.#flush();
    for (const stream of [...this.#streams.values()]) stream.advance();
  }

  #dropAll(why: string): void {
    this.#waiting = [];
    this.#asked.clear();
    for (const { settle } of [...this.#connecting.values()]) {
      settle(new VmError("guest-ended", `The connection was not made: ${why}.`));
    }
    for (const stream of [...this.#streams.values()]) {
      stream.lose(Object.assign(new Error(`the connection is lost: ${why}`), { code: "ECONNRESET" }));
    }
  }

  #freePort(guestPort: number): number {
    for (;;) {
      const port = this.#nextPort++;
      if (this.#nextPort > 0x7fff_ffff) this.#nextPort = FIRST_OWN_PORT;
      if (!this.#streams.has(keyOf(port, guestPort))) return port;
    }
  }

  #require(): void {
    const ended = this.#backend.ended();
    if (ended !== undefined) throw new VmError("guest-ended", `The guest has ended: ${ended}.`);
    if (this.#backend.guestCid !== undefined) return;
    throw new VmError(
      "no-vsock",
      "The VM has no sockets to its host. Make it with them: vsock, or twinmetal run --vsock.",
    );
  }
}

function checkPort(port: number): void {
  if (Number.isInteger(port) && port >= 0 && port <= 0xffff_fffe) return;
  throw new VmError("bad-option", `${port} is no port: give a whole number up to ${0xffff_fffe}.`);
}

function keyOf(localPort: number, guestPort: number): string {
  return `${localPort}:${guestPort}`;
}
