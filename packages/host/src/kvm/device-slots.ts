/**
 * Memory of devices as slots of KVM's: the guest's accesses are then no exits. A slot that is read-only makes exits of stores.
 * Where KVM does not take a slot (other memory is there, or the address is beyond what it maps) accesses stay exits.
 */
import { type DeviceMemory, type DeviceMemoryKind, MEMORY_MAP, PAGE_BYTES } from "@twinmetal/core";
import { DIRTY_LOG, DIRTY_LOG_BYTES, KVM, MEM_LOG_DIRTY_PAGES, MEM_READONLY } from "./abi.ts";
import { LinuxError } from "./linux-calls.ts";
import type { VmHandle } from "./vm-handle.ts";

const WASM_PAGE = 65_536;

export class DeviceSlot implements DeviceMemory {
  readonly bytes: Uint8Array;
  readonly #vm: VmHandle;
  readonly #slot: number;
  readonly #kind: DeviceMemoryKind;
  /** For the kernel's answers: memory that does not move. */
  readonly #bitmap: Uint8Array;
  #at: number | undefined;

  /** Precondition: whole pages. Throws RangeError where the host has no memory. */
  constructor(vm: VmHandle, slot: number, sizeBytes: number, kind: DeviceMemoryKind) {
    this.#vm = vm;
    this.#slot = slot;
    this.#kind = kind;
    const bitmapBytes = Math.ceil(sizeBytes / PAGE_BYTES / 64) * 8;
    const pages = Math.ceil((sizeBytes + bitmapBytes) / WASM_PAGE);
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(buffer, 0, sizeBytes);
    this.#bitmap = new Uint8Array(buffer, sizeBytes, bitmapBytes);
  }

  place(gpa: number | undefined): void {
    if (gpa === this.#at) return;
    if (this.#at !== undefined) this.#set(this.#at, 0);
    this.#at = undefined;
    if (gpa === undefined || !this.#canBeAt(gpa)) return;
    try {
      this.#set(gpa, this.bytes.length);
      this.#at = gpa;
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
    }
  }

  takeWritten(note: (offset: number, length: number) => void): void {
    if (this.#at === undefined || this.#kind === "read-only") return;
    const request = new DataView(new ArrayBuffer(DIRTY_LOG_BYTES));
    request.setUint32(DIRTY_LOG.slot, this.#slot, true);
    request.setBigUint64(DIRTY_LOG.dirty_bitmap, this.#vm.calls.addressOf(this.#bitmap), true);
    this.#vm.onVm("KVM_GET_DIRTY_LOG", KVM.GET_DIRTY_LOG, new Uint8Array(request.buffer));
    for (const [i, bits] of this.#bitmap.entries())
      for (let bit = 0; bit < 8; bit++) if ((bits >> bit) & 1) note((i * 8 + bit) * PAGE_BYTES, PAGE_BYTES);
  }

  /** The local APIC's page is no memory, whatever lies there. */
  #canBeAt(gpa: number): boolean {
    const { localApicStart, localApicSizeBytes } = MEMORY_MAP;
    const isFree = gpa >= localApicStart + localApicSizeBytes || gpa + this.bytes.length <= localApicStart;
    return isFree && gpa % PAGE_BYTES === 0;
  }

  #set(guestAddress: number, sizeBytes: number): void {
    this.#vm.setSlot({
      slot: this.#slot,
      flags: this.#kind === "read-only" ? MEM_READONLY : MEM_LOG_DIRTY_PAGES,
      guestAddress,
      sizeBytes,
      hostAddress: this.#vm.calls.addressOf(this.bytes),
    });
  }
}
