/**
 * Log pages of an NVMe controller (NVM Express 1.4, 5.14.1): errors, health, firmware; and the events that a driver asks to hear
 * of (5.2), of which there are those of errors in doorbells.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { ERROR_LOG_ENTRIES, FIRMWARE_REVISION, MAX_EVENT_REQUESTS } from "./identify.ts";
import { IO_QUEUES } from "./registers.ts";

export const LOG = { ERRORS: 0x01, HEALTH: 0x02, FIRMWARE: 0x03 } as const;
/** Of errors: which doorbell there is not, and which value none takes. */
export const ERROR_EVENT = { NO_DOORBELL: 0, BAD_VALUE: 1 } as const;

const ERROR_ENTRY_BYTES = 64;
const SECTORS_PER_UNIT = 1000;
const KELVIN = 303;

interface ErrorEntry {
  readonly count: number;
  readonly sq: number;
  readonly cid: number;
  readonly status: number;
  readonly lba: number;
}

export class LogPages {
  /** The newest first. */
  #errors: ErrorEntry[] = [];
  #errorCount = 0;
  #sectors = { read: 0, write: 0 };
  #commands = { read: 0, write: 0 };

  reset(): void {
    this.#errors = [];
    this.#errorCount = 0;
    this.#sectors = { read: 0, write: 0 };
    this.#commands = { read: 0, write: 0 };
  }

  transferred(operation: "read" | "write", sectors: number): void {
    this.#sectors[operation] = Math.min(Number.MAX_SAFE_INTEGER, this.#sectors[operation] + sectors);
    this.#commands[operation] = Math.min(Number.MAX_SAFE_INTEGER, this.#commands[operation] + 1);
  }

  failed(sq: number, cid: number, status: number, lba: number): void {
    this.#errorCount = Math.min(Number.MAX_SAFE_INTEGER, this.#errorCount + 1);
    const entry = { count: this.#errorCount, sq, cid, status, lba };
    this.#errors = [entry, ...this.#errors].slice(0, ERROR_LOG_ENTRIES);
  }

  /** Undefined: there is no such page. */
  read(page: number): Uint8Array | undefined {
    switch (page) {
      case LOG.ERRORS:
        return this.#errorPage();
      case LOG.HEALTH:
        return this.#healthPage();
      case LOG.FIRMWARE: {
        const bytes = new Uint8Array(512);
        bytes[0] = 1;
        bytes.set(new TextEncoder().encode(FIRMWARE_REVISION.padEnd(8)), 8);
        return bytes;
      }
      default:
        return undefined;
    }
  }

  save(): StateValue {
    return {
      errors: this.#errors.map((entry) => ({ ...entry })),
      errorCount: this.#errorCount,
      sectors: { ...this.#sectors },
      commands: { ...this.#commands },
    };
  }

  /** Throws StateError. */
  restore(reader: StateReader): void {
    const most = Number.MAX_SAFE_INTEGER;
    const pair = (key: string): { read: number; write: number } => {
      const both = reader.object(key);
      const values = { read: both.int("read", 0, most), write: both.int("write", 0, most) };
      both.end();
      return values;
    };
    this.#errors = reader.array("errors", ERROR_LOG_ENTRIES).map((entry) => {
      const error = {
        count: entry.int("count", 0, most),
        sq: entry.int("sq", 0, IO_QUEUES),
        cid: entry.u16("cid"),
        status: entry.int("status", 0, 0x7fff),
        lba: entry.int("lba", 0, most),
      };
      entry.end();
      return error;
    });
    this.#errorCount = reader.int("errorCount", 0, most);
    this.#sectors = pair("sectors");
    this.#commands = pair("commands");
    reader.end();
  }

  #errorPage(): Uint8Array {
    const view = new DataView(new ArrayBuffer(ERROR_ENTRY_BYTES * ERROR_LOG_ENTRIES));
    for (const [i, { count, sq, cid, status, lba }] of this.#errors.entries()) {
      const at = i * ERROR_ENTRY_BYTES;
      view.setBigUint64(at, BigInt(count), true);
      view.setUint16(at + 8, sq, true);
      view.setUint16(at + 10, cid, true);
      view.setUint16(at + 12, status << 1, true);
      view.setUint16(at + 14, 0xffff, true);
      view.setBigUint64(at + 16, BigInt(lba), true);
      view.setUint32(at + 24, 1, true);
    }
    return new Uint8Array(view.buffer);
  }

  #healthPage(): Uint8Array {
    const bytes = new Uint8Array(512);
    const view = new DataView(bytes.buffer);
    view.setUint16(1, KELVIN, true);
    bytes[3] = 100;
    bytes[4] = 10;
    const put = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
    put(32, Math.ceil(this.#sectors.read / SECTORS_PER_UNIT));
    put(48, Math.ceil(this.#sectors.write / SECTORS_PER_UNIT));
    put(64, this.#commands.read);
    put(80, this.#commands.write);
    put(112, 1);
    put(176, this.#errorCount);
    return bytes;
  }
}

/** Requests of a driver to hear of events, and events that nobody has heard of. */
export class AsyncEvents {
  #requests: number[] = [];
  #waiting: number[] = [];
  /** Told, and its log page was not read since. */
  #isMasked = false;

  get isFull(): boolean {
    return this.#requests.length >= MAX_EVENT_REQUESTS;
  }

  reset(): void {
    this.#requests = [];
    this.#waiting = [];
    this.#isMasked = false;
  }

  /** Precondition: not full. */
  request(cid: number): void {
    this.#requests.push(cid);
  }

  raise(event: number): void {
    if (!this.#waiting.includes(event)) this.#waiting.push(event);
  }

  logRead(): void {
    this.#isMasked = false;
  }

  /** The completion of a request, if one waits and something has happened. */
  take(): { readonly cid: number; readonly result: number } | undefined {
    if (this.#isMasked || this.#requests.length === 0 || this.#waiting.length === 0) return undefined;
    this.#isMasked = true;
    return { cid: this.#requests.shift()!, result: (LOG.ERRORS << 16) | (this.#waiting.shift()! << 8) };
  }

  save(): StateValue {
    return { requests: [...this.#requests], waiting: [...this.#waiting], isMasked: this.#isMasked };
  }

  /** Throws StateError. */
  restore(reader: StateReader): void {
    const numbers = (key: string, count: number, most: number): number[] =>
      reader.values(key, count).map((value) => {
        const isValid = typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most;
        if (!isValid) throw reader.invalid(key, "are no numbers of this kind");
        return value;
      });
    this.#requests = numbers("requests", MAX_EVENT_REQUESTS, 0xffff);
    this.#waiting = numbers("waiting", 2, ERROR_EVENT.BAD_VALUE);
    if (new Set(this.#waiting).size !== this.#waiting.length) throw reader.invalid("waiting", "are twice the same");
    this.#isMasked = reader.bool("isMasked");
    reader.end();
  }
}
