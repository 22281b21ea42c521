/**
 * The 256 bytes of a PCI function's configuration space: values, the guest's write masks, write-one-to-clear bits and
 * the capability list (PCI Local Bus 3.0, chapter 6). Knows bytes and masks only; what a write means is the
 * function's part (function.ts). Left out: the extended space of PCI Express, which reads as all ones.
 */
export const CONFIG = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  PROG_IF: 0x09,
  SUBCLASS: 0x0a,
  CLASS: 0x0b,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  EXPANSION_ROM: 0x30,
  CAPABILITIES_POINTER: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;

export const COMMAND = {
  IO_SPACE: 0x1,
  MEMORY_SPACE: 0x2,
  BUS_MASTER: 0x4,
  PARITY_ERROR_RESPONSE: 0x40,
  SERR_ENABLE: 0x100,
  INTERRUPT_DISABLE: 0x400,
} as const;

export const STATUS = {
  INTERRUPT: 0x8,
  CAPABILITIES_LIST: 0x10,
} as const;

export const CAPABILITY_ID = { MSI: 0x05, VENDOR_SPECIFIC: 0x09, MSIX: 0x11 } as const;

const SIZE_BYTES = 256;
const FIRST_CAPABILITY = 0x40;

export class ConfigSpace {
  readonly bytes: Uint8Array = new Uint8Array(SIZE_BYTES);
  readonly #writable = new Uint8Array(SIZE_BYTES);
  readonly #resetBytes = new Uint8Array(SIZE_BYTES);
  #capabilitiesEnd: number = FIRST_CAPABILITY;
  #lastCapability: number | undefined;

  /** Defines a register's reset value and the bits that the guest may change. */
  define(offset: number, size: 1 | 2 | 4, value: number, writable = 0): void {
    for (let i = 0; i < size; i++) {
      this.#resetBytes[offset + i] = this.bytes[offset + i] = (value >>> (8 * i)) & 0xff;
      this.#writable[offset + i] = (writable >>> (8 * i)) & 0xff;
    }
  }

  /** Appends to the capability list; `body` follows the identifier and the next pointer. Returns the capability's offset. */
  addCapability(id: number, body: Uint8Array, writable?: Uint8Array): number {
    const offset = this.#capabilitiesEnd;
    const end = offset + 2 + body.length;
    if (end > SIZE_BYTES) throw new RangeError(`capability ${id} does not fit into configuration space`);
    this.#capabilitiesEnd = (end + 3) & ~3;
    this.define(this.#lastCapability === undefined ? CONFIG.CAPABILITIES_POINTER : this.#lastCapability + 1, 1, offset);
    this.#lastCapability = offset;
    this.define(CONFIG.STATUS, 1, this.#resetBytes[CONFIG.STATUS]! | STATUS.CAPABILITIES_LIST);
    this.define(offset, 1, id);
    for (let i = 0; i < body.length; i++) this.define(offset + 2 + i, 1, body[i]!, writable?.[i] ?? 0);
    return offset;
  }

  /** The guest's read; bytes past the space are all ones. */
  read(offset: number, size: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.bytes[offset + i] ?? 0xff) << (8 * i);
    return value >>> 0;
  }

  /** The guest's write: only writable bits change. */
  write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      if (at >= SIZE_BYTES) return;
      const mask = this.#writable[at]!;
      this.bytes[at] = (this.bytes[at]! & ~mask) | ((value >>> (8 * i)) & mask);
    }
  }

  /** The model's own write, masks ignored. */
  set(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.bytes[offset + i] = (value >>> (8 * i)) & 0xff;
  }

  reset(): void {
    this.bytes.set(this.#resetBytes);
  }

  /** Puts back saved bytes: as guest writes, so that read-only registers stay this function's own. */
  restore(saved: Uint8Array): void {
    this.reset();
    for (let i = 0; i < SIZE_BYTES; i++) this.write(i, 1, saved[i] ?? 0);
  }

  /** Whether `saved` differs from this function only in bits that a guest may have written. */
  accepts(saved: Uint8Array): boolean {
    return this.#resetBytes.every((byte, i) => ((byte ^ (saved[i] ?? 0)) & ~this.#writable[i]!) === 0);
  }
}
