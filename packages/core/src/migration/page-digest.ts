/**
 * The checksums of all pages, as they were sent or have arrived last. Both sides keep them, and compare what they make
 * when the guest stands still: a page that was lost, or came in the wrong place, is found before anything runs.
 */
import { crc32c } from "../state/crc32c.ts";
import { type PageEntry, ZERO_PAGE_CRC } from "./page-batch.ts";

const IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

export class PageDigest {
  readonly #crcs: Uint32Array;

  /** Of memory that is zero. */
  constructor(pages: number) {
    this.#crcs = new Uint32Array(pages).fill(ZERO_PAGE_CRC);
  }

  note(entries: readonly PageEntry[]): void {
    for (const { page, crc } of entries) this.#crcs[page] = crc;
  }

  /** Independent of the host's byte order. The guest stands still for it. */
  get value(): number {
    if (IS_LITTLE_ENDIAN) return crc32c(new Uint8Array(this.#crcs.buffer));
    const bytes = new Uint8Array(this.#crcs.length * 4);
    const view = new DataView(bytes.buffer);
    for (const [page, crc] of this.#crcs.entries()) view.setUint32(page * 4, crc, true);
    return crc32c(bytes);
  }
}
