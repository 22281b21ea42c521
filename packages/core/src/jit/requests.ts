/**
 * Blocks that wait for a translation, the hottest first when some are sent. A block may be gone before its turn comes: all
 * blocks are dropped at times, and another may lie at its address since.
 */
import * as L from "../cpu/layout.ts";
import type { Pages } from "./translations.ts";

/** How often a block runs until it is looked at again while its translation is on its way. */
export const RETRY = 1_000_000;
const MAX_QUEUE = 4096;
const MAX_BATCH = 12;

export interface Request {
  readonly block: number;
  readonly host: number;
  readonly mode: number;
  readonly pages: Pages;
  readonly isUser: boolean;
  /** How often the block had run by then. */
  readonly runs: number;
  /** How often all blocks had been dropped when it was made. */
  readonly epoch: number;
}

export class Requests {
  readonly #view: DataView;
  #queue: Request[] = [];
  /** Counts how often all blocks were dropped: what lies at a block's address since then is anything. */
  #epoch = 0;

  constructor(view: DataView) {
    this.#view = view;
  }

  get count(): number {
    return this.#queue.length;
  }

  add(request: Omit<Request, "epoch">): void {
    this.#queue.push({ ...request, epoch: this.#epoch });
    // Of a guest that changes its code faster than it is translated.
    if (this.#queue.length > MAX_QUEUE) this.#queue = this.#queue.filter((r) => this.isAlive(r)).slice(-MAX_QUEUE / 2);
  }

  /** All blocks are dropped. */
  forget(): void {
    this.#epoch++;
    this.#queue = [];
  }

  isAlive({ block, host, epoch }: Request): boolean {
    return epoch === this.#epoch && this.#view.getUint32(block + L.BLOCK_HOST, true) === host;
  }

  /** And its block is no further entry of a region that came meanwhile. */
  isWaiting(request: Request): boolean {
    return this.isAlive(request) && this.#view.getInt32(request.block + L.BLOCK_HEAT, true) >= 0;
  }

  alive(): readonly Request[] {
    return this.#queue.filter((request) => this.isAlive(request));
  }

  /** How often its block has run since it was asked for. */
  roundsSince({ block }: Request): number {
    return RETRY - this.#view.getInt32(block + L.BLOCK_HEAT, true);
  }

  /** Takes a batch out: those that ran most since they were asked for. What `isNeedless` is dropped. */
  take(isNeedless: (request: Request) => boolean): readonly Request[] {
    this.#queue = this.#queue.filter((r) => this.isWaiting(r) && !isNeedless(r));
    if (this.#queue.length > MAX_BATCH) this.#queue.sort((a, c) => this.roundsSince(c) - this.roundsSince(a));
    return this.#queue.splice(0, MAX_BATCH);
  }
}
