/**
 * A TFTP server (RFC 1350) with options (RFC 2347): blksize (2348), timeout and tsize (2349). Each transfer has a port of its own;
 * block numbers begin again at 0 after 65535.
 *
 * Left out: writing, which is refused; netascii and mail; windows of blocks (RFC 7440); multicast.
 *
 * GUEST-CONTROLLED: every datagram, and how many there are.
 */
import type { Endpoint } from "./udp-flows.ts";
import type { NetworkWorld, Timer } from "./world.ts";

export const TFTP_PORT = 69;
const OPCODE = { RRQ: 1, WRQ: 2, DATA: 3, ACK: 4, ERROR: 5, OACK: 6 } as const;
export const TFTP_ERROR = { OTHER: 0, NO_FILE: 1, ACCESS: 2, ILLEGAL: 4, UNKNOWN_TRANSFER: 5, OPTION: 8 } as const;
const HEADER_BYTES = 4;
const DEFAULT_BLOCK_BYTES = 512;
/** A request has to fit into one datagram of so many bytes (RFC 2347). */
const MAX_REQUEST_BYTES = 512;
const BLOCK_BYTES = { least: 8, most: 65_464 } as const;
const TIMEOUT_SECONDS = { least: 1, most: 255 } as const;
const DEFAULT_TIMEOUT_MS = 1000;
const MAX_TRIES = 6;
const MAX_TRANSFERS = 32;
/** The ports of transfers, in turn. */
const FIRST_PORT = 32_768;
const PORTS = 16_384;

export interface TftpFile {
  readonly sizeBytes: number;
  /** As many bytes as asked for, or fewer at the end. Rejects when they cannot be read. */
  read(offset: number, bytes: number): Promise<Uint8Array>;
  close(): void;
}

export interface TftpFiles {
  /** Rejects with a TftpError where there is no such file for a guest. The name is anything. */
  open(name: string): Promise<TftpFile>;
}

/** What a client is told. */
export class TftpError extends Error {
  /** Of TFTP_ERROR. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = "TftpError";
    this.code = code;
  }
}

export interface TftpServerOptions {
  readonly world: NetworkWorld;
  readonly files: TftpFiles;
  /** Of a data block that need not be cut into fragments. */
  readonly largestBlockBytes: number;
  readonly send: (from: number, to: Endpoint, data: Uint8Array) => void;
}

interface Transfer {
  readonly client: Endpoint;
  readonly port: number;
  file: TftpFile | undefined;
  blockBytes: number;
  timeoutMs: number;
  /** The block that was sent last, from 0 for the options; on, not modulo anything. */
  block: number;
  isLast: boolean;
  /** Sent, and not acknowledged yet. Undefined: it is being read. */
  message: Uint8Array | undefined;
  tries: number;
  timer: Timer | undefined;
}

export class TftpServer {
  readonly #options: TftpServerOptions;
  /** By the server's port. */
  readonly #transfers = new Map<number, Transfer>();
  #next: number;

  constructor(options: TftpServerOptions) {
    this.#options = options;
    this.#next = options.world.randomU32() % PORTS;
  }

  get transfers(): number {
    return this.#transfers.size;
  }

  /** A datagram from a client. False: it is for nobody here. */
  receive(client: Endpoint, port: number, data: Uint8Array): boolean {
    if (port === TFTP_PORT) {
      this.#begin(client, data);
      return true;
    }
    const transfer = this.#transfers.get(port);
    if (!transfer || !isSame(transfer.client, client)) return false;
    if (data.length < HEADER_BYTES) return true;
    const opcode = u16(data, 0);
    if (opcode === OPCODE.ERROR) this.#end(transfer);
    // An acknowledgement of what was sent before is one that was late: answering it would double everything from there on.
    else if (opcode === OPCODE.ACK && transfer.message && u16(data, 2) === (transfer.block & 0xffff)) {
      if (transfer.isLast) this.#end(transfer);
      else void this.#sendNext(transfer);
    }
    return true;
  }

  #begin(client: Endpoint, data: Uint8Array): void {
    const request = parseRequest(data);
    const refuse = (code: number, why: string): void =>
      this.#options.send(TFTP_PORT, client, errorMessage(new TftpError(code, why)));
    if (data.length >= 2 && u16(data, 0) === OPCODE.WRQ) refuse(TFTP_ERROR.ACCESS, "files are read only");
    if (!request) return;
    if (request.mode !== "octet") {
      refuse(TFTP_ERROR.ILLEGAL, "octet is the only mode");
      return;
    }
    // Asked again: the answer was lost.
    for (const other of this.#transfers.values()) if (isSame(other.client, client)) this.#end(other);
    if (this.#transfers.size >= MAX_TRANSFERS) {
      refuse(TFTP_ERROR.OTHER, "there are too many transfers");
      return;
    }
    const transfer: Transfer = {
      client,
      port: this.#freePort(),
      file: undefined,
      blockBytes: Math.min(DEFAULT_BLOCK_BYTES, this.#options.largestBlockBytes),
      timeoutMs: DEFAULT_TIMEOUT_MS,
      block: 0,
      isLast: false,
      message: undefined,
      tries: 0,
      timer: undefined,
    };
    this.#transfers.set(transfer.port, transfer);
    void this.#open(transfer, request);
  }

  #freePort(): number {
    do this.#next = (this.#next + 1) % PORTS;
    while (this.#transfers.has(FIRST_PORT + this.#next));
    return FIRST_PORT + this.#next;
  }

  async #open(transfer: Transfer, request: Request): Promise<void> {
    try {
      const file = await this.#options.files.open(request.name);
      if (!this.#isLive(transfer)) {
        file.close();
        return;
      }
      transfer.file = file;
    } catch (error) {
      this.#fail(transfer, error);
      return;
    }
    const agreed = this.#agree(transfer, request.options);
    if (agreed.length === 0) await this.#sendNext(transfer);
    else this.#send(transfer, optionMessage(agreed));
  }

  /** The options that hold, which are those that were asked for and make sense; others are passed over. */
  #agree(transfer: Transfer, options: ReadonlyMap<string, string>): [name: string, value: number][] {
    const agreed: [string, number][] = [];
    for (const [name, text] of options) {
      const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
      if (name === "blksize" && value >= BLOCK_BYTES.least) {
        transfer.blockBytes = Math.min(value, BLOCK_BYTES.most, this.#options.largestBlockBytes);
        agreed.push([name, transfer.blockBytes]);
      } else if (name === "timeout" && value >= TIMEOUT_SECONDS.least && value <= TIMEOUT_SECONDS.most) {
        transfer.timeoutMs = value * 1000;
        agreed.push([name, value]);
      } else if (name === "tsize") agreed.push([name, transfer.file!.sizeBytes]);
    }
    return agreed;
  }

  async #sendNext(transfer: Transfer): Promise<void> {
    transfer.timer?.cancel();
    transfer.message = undefined;
    const { blockBytes, block } = transfer;
    let data: Uint8Array;
    try {
      data = await transfer.file!.read(block * blockBytes, blockBytes);
    } catch (error) {
      this.#fail(transfer, error);
      return;
    }
    if (!this.#isLive(transfer)) return;
    transfer.block = block + 1;
    transfer.isLast = data.length < blockBytes;
    const message = new Uint8Array(HEADER_BYTES + data.length);
    message.set([0, OPCODE.DATA, (transfer.block >> 8) & 0xff, transfer.block & 0xff]);
    message.set(data, HEADER_BYTES);
    this.#send(transfer, message);
  }

  #send(transfer: Transfer, message: Uint8Array): void {
    transfer.message = message;
    transfer.tries = 0;
    this.#sendAgain(transfer);
  }

  #sendAgain(transfer: Transfer): void {
    if (++transfer.tries > MAX_TRIES) {
      this.#end(transfer);
      return;
    }
    const { world, send } = this.#options;
    transfer.timer = world.setTimer(transfer.timeoutMs, () => this.#sendAgain(transfer));
    send(transfer.port, transfer.client, transfer.message!);
  }

  #fail(transfer: Transfer, error: unknown): void {
    if (!this.#isLive(transfer)) return;
    const told = error instanceof TftpError ? error : new TftpError(TFTP_ERROR.OTHER, "the file cannot be read");
    this.#end(transfer);
    this.#options.send(transfer.port, transfer.client, errorMessage(told));
  }

  #isLive(transfer: Transfer): boolean {
    return this.#transfers.get(transfer.port) === transfer;
  }

  #end(transfer: Transfer): void {
    transfer.timer?.cancel();
    transfer.file?.close();
    this.#transfers.delete(transfer.port);
  }

  close(): void {
    for (const transfer of [...this.#transfers.values()]) this.#end(transfer);
  }
}

interface Request {
  readonly name: string;
  readonly mode: string;
  readonly options: ReadonlyMap<string, string>;
}

/** Of a read request; undefined: it is none. */
function parseRequest(data: Uint8Array): Request | undefined {
  if (data.length > MAX_REQUEST_BYTES || data.length < 4 || u16(data, 0) !== OPCODE.RRQ) return undefined;
  if (data[data.length - 1] !== 0) return undefined;
  const words = new TextDecoder().decode(data.subarray(2, data.length - 1)).split("\0");
  const [name, mode, ...rest] = words;
  if (!name || mode === undefined || rest.length % 2 !== 0) return undefined;
  const options = new Map<string, string>();
  for (let i = 0; i < rest.length; i += 2) options.set(rest[i]!.toLowerCase(), rest[i + 1]!);
  return { name, mode: mode.toLowerCase(), options };
}

function optionMessage(options: readonly (readonly [string, number])[]): Uint8Array {
  const text = options.map(([name, value]) => `${name}\0${value}\0`).join("");
  return new Uint8Array([0, OPCODE.OACK, ...new TextEncoder().encode(text)]);
}

function errorMessage({ code, message }: TftpError): Uint8Array {
  return new Uint8Array([0, OPCODE.ERROR, 0, code, ...new TextEncoder().encode(message), 0]);
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
