/**
 * Which pages of RAM are written, by the guest (KVM's log, one bit for each page, cleared by reading) and by devices, which
 * the log knows nothing of. While it is on, the guest's first store to each page after a `take` costs a fault.
 */
import { type DirtyTracking, PAGE_BYTES } from "@twinmetal/core";
import { DIRTY_LOG, DIRTY_LOG_BYTES, KVM, MEM_LOG_DIRTY_PAGES } from "./abi.ts";
import type { RamSlot } from "./ram-slots.ts";
import type { VmHandle } from "./vm-handle.ts";

const WASM_PAGE = 65_536;

export class DirtyLog implements DirtyTracking {
  readonly #vm: VmHandle;
  /** As they are now. */
  readonly #slots: () => readonly RamSlot[];
  /** Sets all slots anew, with these flags. */
  readonly #setSlots: (flags: number) => void;
  /** One byte for each page, in the order of the segments: by devices, and of slots that are gone; undefined while it is off. */
  #pages: Uint8Array | undefined;
  /** For the kernel's answers: memory that does not move. */
  #bitmap: Uint8Array = new Uint8Array();

  constructor(vm: VmHandle, slots: () => readonly RamSlot[], setSlots: (flags: number) => void) {
    this.#vm = vm;
    this.#slots = slots;
    this.#setSlots = setSlots;
  }

  start(): void {
    const ramBytes = Math.max(...this.#slots().map(({ at, sizeBytes }) => at + sizeBytes));
    // For one slot that has everything: they change.
    const pages = Math.ceil(bitmapBytes(ramBytes) / WASM_PAGE);
    this.#bitmap = new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer);
    this.#pages = new Uint8Array(ramBytes / PAGE_BYTES);
    this.#setSlots(MEM_LOG_DIRTY_PAGES);
  }

  /** A device has written to RAM: `at` as it lies in the host's memory, from RAM's start on. */
  written(at: number, length: number): void {
    this.#pages?.fill(1, Math.floor(at / PAGE_BYTES), Math.ceil((at + length) / PAGE_BYTES));
  }

  /** What the log has of these slots: before they go, too. */
  keep(slots: readonly RamSlot[]): void {
    const pages = this.#pages;
    if (!pages) return;
    for (const { slot, sizeBytes, at } of slots)
      mergeBitmap(this.#read(slot, sizeBytes), pages.subarray(at / PAGE_BYTES, (at + sizeBytes) / PAGE_BYTES));
  }

  take(into: Uint8Array): number {
    const pages = this.#pages;
    if (!pages) return 0;
    this.keep(this.#slots());
    let count = 0;
    for (const [page, isWritten] of pages.entries()) {
      if (isWritten === 0) continue;
      into[page] = 1;
      count++;
    }
    pages.fill(0);
    return count;
  }

  stop(): void {
    if (!this.#pages) return;
    this.#pages = undefined;
    this.#bitmap = new Uint8Array();
    this.#setSlots(0);
  }

  #read(slot: number, sizeBytes: number): Uint8Array {
    const bitmap = this.#bitmap.subarray(0, bitmapBytes(sizeBytes));
    const request = new DataView(new ArrayBuffer(DIRTY_LOG_BYTES));
    request.setUint32(DIRTY_LOG.slot, slot, true);
    request.setBigUint64(DIRTY_LOG.dirty_bitmap, this.#vm.calls.addressOf(bitmap), true);
    this.#vm.onVm("KVM_GET_DIRTY_LOG", KVM.GET_DIRTY_LOG, new Uint8Array(request.buffer));
    return bitmap;
  }
}

/** In whole words of 64 bits, as the kernel writes it. */
function bitmapBytes(sizeBytes: number): number {
  return Math.ceil(sizeBytes / PAGE_BYTES / 64) * 8;
}

/** Least significant bit first. */
function mergeBitmap(bitmap: Uint8Array, pages: Uint8Array): void {
  for (const [i, bits] of bitmap.entries()) {
    if (bits === 0) continue;
    for (let bit = 0; bit < 8; bit++) if ((bits >> bit) & 1 && i * 8 + bit < pages.length) pages[i * 8 + bit] = 1;
  }
}
