/**
 * What a network needs of the host that it is on: time, chance, sockets, names. Nothing here blocks; events come when the
 * host's event loop brings them, never from inside a call.
 */
import type { IpAddress } from "./address.ts";

export interface NetworkWorld {
  /** Of a clock that only goes forward, in milliseconds; fractions are welcome. */
  nowMs(): number;
  setTimer(afterMs: number, expired: () => void): Timer;
  /** 32 bits that nobody can guess: sequence numbers, identifiers. */
  randomU32(): number;
  connect(address: IpAddress, port: number, events: StreamEvents): HostStream;
  /** One socket for one of the guest's (address, port), used for any number of peers. */
  openUdp(family: 4 | 6, events: UdpEvents): HostUdp;
  /**
   * The addresses that a name leads to in the end, as the host knows them. Rejects with a NameError. It may take as long as
   * it likes: nobody waits for more than a few of them, nor for long.
   */
  resolve(name: string, family: 4 | 6): Promise<readonly IpAddress[]>;
}

export interface Timer {
  cancel(): void;
}

export type NameErrorCode =
  /** The name does not exist. */
  | "no-name"
  /** It exists, but has no address of this kind. */
  | "no-address"
  /** No answer, or one that says that the server failed. */
  | "no-answer";

export class NameError extends Error {
  readonly code: NameErrorCode;

  constructor(code: NameErrorCode, message: string) {
    super(message);
    this.name = "NameError";
    this.code = code;
  }
}

/** Why a connection came to nothing, or ended. */
export type StreamFailure = "refused" | "unreachable" | "timed-out" | "reset";

/** A byte stream to a peer on the host's side of the network. */
export interface HostStream {
  /** Precondition: opened, not ended. The bytes are the stream's from here on. */
  write(bytes: Uint8Array): void;
  /** Written, and not taken by the host's system yet. */
  readonly pendingBytes: number;
  /** No more bytes will be written; what is pending still goes out. */
  end(): void;
  /** At once; no event follows. */
  destroy(): void;
  /** No `data` events until `resume`. */
  pause(): void;
  resume(): void;
}

export interface StreamEvents {
  opened(): void;
  /** The bytes are the receiver's from here on. */
  data(bytes: Uint8Array): void;
  /** The peer will send no more. */
  ended(): void;
  /** `pendingBytes` has fallen. */
  drained(): void;
  /** It came to nothing, or was cut off. No event follows. */
  failed(why: StreamFailure): void;
}

export interface HostUdp {
  send(address: IpAddress, port: number, data: Uint8Array): void;
  close(): void;
}

export interface UdpEvents {
  received(address: IpAddress, port: number, data: Uint8Array): void;
  /** The peer said that nobody listens there. */
  refused(address: IpAddress, port: number): void;
}
