/**
 * Disks in memory: the back-end of block channels where nothing is to outlive the machine, in tests and in browsers.
 * Requests are carried out when they are submitted; their completions are taken at the next boundary.
 */
import { type BlockBackend, type BlockCompletion, type BlockRequest, NO_BYTES } from "./block-channel.ts";

export class MemoryBlocks implements BlockBackend {
  readonly #disks: ReadonlyMap<string, Uint8Array>;
  readonly #done: (BlockCompletion & { readonly channel: string })[] = [];
  #buffer: Uint8Array = NO_BYTES;

  /** The bytes of each channel's disk, which stay the caller's. */
  constructor(disks: Readonly<Record<string, Uint8Array>>) {
    this.#disks = new Map(Object.entries(disks));
  }

  writeBuffer(_channel: string, length: number): Uint8Array {
    this.#buffer = new Uint8Array(length);
    return this.#buffer;
  }

  submit(channel: string, request: BlockRequest): void {
    const bytes = this.#carryOut(this.#disks.get(channel), request);
    this.#done.push({ channel, id: request.id, isOk: bytes !== undefined, bytes: bytes ?? NO_BYTES });
  }

  get hasDone(): boolean {
    return this.#done.length > 0;
  }

  take(): (BlockCompletion & { readonly channel: string }) | undefined {
    return this.#done.shift();
  }

  #carryOut(disk: Uint8Array | undefined, { operation, offset, length }: BlockRequest): Uint8Array | undefined {
    if (!disk || offset + length > disk.length) return undefined;
    if (operation === "read") return disk.slice(offset, offset + length);
    if (operation === "write") disk.set(this.#buffer, offset);
    else if (operation !== "flush") disk.fill(0, offset, offset + length);
    return NO_BYTES;
  }
}
