/** Sends pages of a RAM that may change meanwhile: copies, checksums, zero pages, compression, the bandwidth's limit. */
import { crc32c } from "../state/crc32c.ts";
import { zeroPageTest } from "../state/zero-page.ts";
import { FRAME, type FramedLink } from "./frames.ts";
import type { CancelSignal, MigrationTime, PageCompressor } from "./link.ts";
import { encodePages, MAX_PAGES, MAX_ZERO_PAGES, PAGE_BYTES, type PageEntry, ZERO_PAGE_CRC } from "./page-batch.ts";
import type { PageDigest } from "./page-digest.ts";
import { pause } from "./waiting.ts";

export interface PageSenderOptions {
  readonly ram: Uint8Array;
  readonly frames: FramedLink;
  readonly time: MigrationTime;
  readonly digest: PageDigest;
  readonly compressor: PageCompressor;
  /** "auto": while the link is what is waited for. */
  readonly compression: "auto" | "always" | "never";
  readonly bytesPerSecond: number | undefined;
  readonly stallMs: number;
  readonly cancel: CancelSignal;
  readonly onSent: (pages: number) => void;
}

export class PageSender {
  readonly #options: PageSenderOptions;
  readonly #isZero: (page: number) => boolean;
  #paidUntilMs = 0;
  pages = 0;
  zeroPages = 0;

  constructor(options: PageSenderOptions) {
    this.#options = options;
    this.#isZero = zeroPageTest(options.ram);
  }

  /** Sends the pages whose byte in `marked` is 1. `knowsZeros` false: the other side's memory is zero there. */
  async send(marked: Uint8Array, knowsZeros: boolean): Promise<void> {
    const { ram } = this.#options;
    let zeros: PageEntry[] = [];
    let entries: PageEntry[] = [];
    let bytes = new Uint8Array(MAX_PAGES * PAGE_BYTES);
    for (let page = marked.indexOf(1); page >= 0; page = marked.indexOf(1, page + 1)) {
      if (this.#isZero(page)) {
        this.zeroPages++;
        if (!knowsZeros) continue;
        zeros.push({ page, crc: ZERO_PAGE_CRC });
        if (zeros.length < MAX_ZERO_PAGES) continue;
        await this.#batch(zeros, undefined);
        zeros = [];
        continue;
      }
      const copy = bytes.subarray(entries.length * PAGE_BYTES, (entries.length + 1) * PAGE_BYTES);
      copy.set(ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
      entries.push({ page, crc: crc32c(copy) });
      if (entries.length < MAX_PAGES) continue;
      await this.#batch(entries, bytes);
      entries = [];
      bytes = new Uint8Array(MAX_PAGES * PAGE_BYTES);
    }
    if (zeros.length > 0) await this.#batch(zeros, undefined);
    if (entries.length > 0) await this.#batch(entries, bytes.subarray(0, entries.length * PAGE_BYTES));
  }

  async #batch(entries: readonly PageEntry[], bytes: Uint8Array | undefined): Promise<void> {
    const { frames, compressor, compression, stallMs, cancel, digest, onSent } = this.#options;
    const compresses = compression === "always" || (compression === "auto" && this.#isLinkSlow());
    const { payload, directoryBytes } = await encodePages({ entries, bytes }, compresses ? compressor : undefined);
    await this.#pace(payload.length);
    await frames.send(FRAME.PAGES, payload, stallMs, { coveredBytes: directoryBytes, cancel });
    digest.note(entries);
    this.pages += entries.length;
    onSent(entries.length);
  }

  #isLinkSlow(): boolean {
    const { bytesPerSecond, frames } = this.#options;
    return bytesPerSecond !== undefined || frames.isBacklogged;
  }

  /** Waits until these bytes are within the bandwidth. */
  async #pace(sizeBytes: number): Promise<void> {
    const { bytesPerSecond, time, cancel } = this.#options;
    if (bytesPerSecond === undefined) return;
    const nowMs = time.nowMs();
    const waitMs = this.#paidUntilMs - nowMs;
    this.#paidUntilMs = Math.max(this.#paidUntilMs, nowMs) + (sizeBytes / bytesPerSecond) * 1000;
    if (waitMs > 0) await pause(time, waitMs, cancel);
  }
}
