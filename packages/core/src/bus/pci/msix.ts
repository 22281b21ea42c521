/**
 * MSI-X (PCI Local Bus 3.0, 6.8.2): the capability, the vector table and the pending bit array, in a memory BAR of
 * their own. A vector that is masked, by itself or by the function, latches its pending bit and is sent on unmasking.
 */
import type { StateValue } from "../../devices/device.ts";
import type { StateReader } from "../../state/reader.ts";
import type { AccessSize, IoHandler } from "../io.ts";
import type { MsiSink } from "../irq.ts";

export const MSIX_MAX_VECTORS = 128;
/** The table starts at 0, the pending bits here: one 4 KiB BAR holds both. */
export const MSIX_PBA_OFFSET = 0x800;
export const MSIX_BAR_BYTES = 0x1000;
export const MSIX_CONTROL = { FUNCTION_MASK: 0x4000, ENABLE: 0x8000 } as const;

const ENTRY_BYTES = 16;
const ENTRY_WORDS = 4;
const VECTOR_CONTROL_MASK = 1;

export class Msix implements IoHandler {
  readonly vectors: number;
  readonly #table: Uint32Array;
  readonly #pending: Uint32Array;
  readonly #send: MsiSink;
  #enabled = false;
  #functionMasked = false;

  /** `send` is called while the function may master the bus; it checks that itself. */
  constructor(vectors: number, send: MsiSink) {
    if (!(vectors >= 1 && vectors <= MSIX_MAX_VECTORS)) throw new RangeError(`1 to ${MSIX_MAX_VECTORS} vectors`);
    this.vectors = vectors;
    this.#table = new Uint32Array(vectors * ENTRY_WORDS);
    this.#pending = new Uint32Array(Math.ceil(vectors / 32));
    this.#send = send;
    this.reset();
  }

  /** The guest has switched MSI-X on: INTx must stay low then. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** Requests an interrupt. Ignored while MSI-X is off or for a vector that does not exist (virtio's 0xFFFF). */
  notify(vector: number): void {
    if (!this.#enabled || !(vector >= 0 && vector < this.vectors)) return;
    if (this.#functionMasked || this.#isMasked(vector)) {
      this.#pending[vector >>> 5]! |= 1 << (vector & 31);
      return;
    }
    const entry = vector * ENTRY_WORDS;
    this.#send({ address: this.#table[entry]!, addressHigh: this.#table[entry + 1]!, data: this.#table[entry + 2]! });
  }

  /** The message control register was written. */
  setControl(control: number): void {
    this.#enabled = (control & MSIX_CONTROL.ENABLE) !== 0;
    this.#functionMasked = (control & MSIX_CONTROL.FUNCTION_MASK) !== 0;
    this.#sendUnmasked();
  }

  read(offset: number, size: AccessSize): number {
    const word = this.#wordAt(offset & ~3);
    return size === 4 ? word : (word >>> (8 * (offset & 3))) & (size === 2 ? 0xffff : 0xff);
  }

  /** Only aligned 4-byte accesses are defined; others are ignored. */
  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || (offset & 3) !== 0 || offset >= this.vectors * ENTRY_BYTES) return;
    const word = offset >>> 2;
    const isControl = word % ENTRY_WORDS === 3;
    this.#table[word] = isControl ? value & VECTOR_CONTROL_MASK : word % ENTRY_WORDS === 0 ? value & ~3 : value;
    if (isControl) this.#sendUnmasked();
  }

  reset(): void {
    this.#enabled = false;
    this.#functionMasked = false;
    this.#pending.fill(0);
    for (let word = 0; word < this.#table.length; word++) {
      this.#table[word] = word % ENTRY_WORDS === 3 ? VECTOR_CONTROL_MASK : 0;
    }
  }

  save(): StateValue {
    return { table: [...this.#table], pending: [...this.#pending] };
  }

  /** `control` is the capability's message control register, kept in configuration space. */
  restore(state: StateReader, control: number): void {
    const table = state.ints("table", this.#table.length, 0, 0xffff_ffff);
    const pending = state.ints("pending", this.#pending.length, 0, 0xffff_ffff);
    state.end();
    this.reset();
    for (let word = 0; word < table.length; word++) {
      const kind = word % ENTRY_WORDS;
      this.#table[word] =
        kind === 3 ? table[word]! & VECTOR_CONTROL_MASK : kind === 0 ? table[word]! & ~3 : table[word]!;
    }
    this.#enabled = (control & MSIX_CONTROL.ENABLE) !== 0;
    this.#functionMasked = (control & MSIX_CONTROL.FUNCTION_MASK) !== 0;
    for (let vector = 0; vector < this.vectors; vector++) {
      if ((pending[vector >>> 5]! >>> (vector & 31)) & 1) this.#pending[vector >>> 5]! |= 1 << (vector & 31);
    }
  }

  #isMasked(vector: number): boolean {
    return (this.#table[vector * ENTRY_WORDS + 3]! & VECTOR_CONTROL_MASK) !== 0;
  }

  #sendUnmasked(): void {
    if (!this.#enabled || this.#functionMasked) return;
    for (let vector = 0; vector < this.vectors; vector++) {
      const bit = 1 << (vector & 31);
      if ((this.#pending[vector >>> 5]! & bit) === 0 || this.#isMasked(vector)) continue;
      this.#pending[vector >>> 5]! &= ~bit;
      this.notify(vector);
    }
  }

  #wordAt(offset: number): number {
    if (offset < this.#table.length * 4) return this.#table[offset >>> 2]!;
    if (offset >= MSIX_PBA_OFFSET) return this.#pending[(offset - MSIX_PBA_OFFSET) >>> 2] ?? 0;
    return 0;
  }
}
