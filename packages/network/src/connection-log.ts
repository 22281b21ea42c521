/**
 * What a guest has tried, allowed or not: one record for each connection, each peer of a datagram socket and each name that
 * was refused. A guest can try as often as it likes; records come at a bounded rate, and the rest are counted.
 */
import type { IpAddress } from "./address.ts";
import type { NetworkWorld } from "./world.ts";

export interface ConnectionRecord {
  readonly protocol: "tcp" | "udp" | "dns";
  /** Absent for a name. */
  readonly address?: IpAddress;
  readonly port?: number;
  /** By which the guest has learnt the address, or that it asked for. */
  readonly name?: string;
  readonly isAllowed: boolean;
  readonly why: string;
  /** Records that were left out since the last one, as there were too many. */
  readonly leftOut?: number;
}

const RECORDS = 200;
const PERIOD_MS = 1000;

export class ConnectionLog {
  readonly #world: NetworkWorld;
  readonly #listener: ((record: ConnectionRecord) => void) | undefined;
  #startMs = Number.NEGATIVE_INFINITY;
  #count = 0;
  #leftOut = 0;

  constructor(world: NetworkWorld, listener: ((record: ConnectionRecord) => void) | undefined) {
    this.#world = world;
    this.#listener = listener;
  }

  add(record: ConnectionRecord): void {
    const nowMs = this.#world.nowMs();
    if (nowMs - this.#startMs >= PERIOD_MS) {
      this.#startMs = nowMs;
      this.#count = 0;
    }
    if (++this.#count > RECORDS) {
      this.#leftOut++;
      return;
    }
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    this.#listener?.(leftOut > 0 ? { ...record, leftOut } : record);
  }
}
