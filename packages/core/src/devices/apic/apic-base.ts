/**
 * IA32_APIC_BASE (Intel SDM vol. 3, 11.4.4 and 11.12.5): where the registers are and in which of three modes.
 *
 *   off <-> xAPIC -> x2APIC -> off      (EXTD without EN, x2APIC -> xAPIC and off -> x2APIC: #GP)
 *
 * Left out: a page of registers that the guest moves onto RAM; there it does not hide the RAM.
 */
import { MEMORY_MAP } from "../../machine/board-map.ts";

const BSP = 0x100;
const EXTD = 0x400;
const EN = 0x800;
/** Bits 7:0 and 9 are reserved. */
const RESERVED_LOW = 0x2ffn;
const PAGE_BYTES = 0x1000;

export interface ApicBaseOptions {
  readonly isBootstrapProcessor: boolean;
  /** MAXPHYADDR of the CPU model. */
  readonly physicalAddressBits: number;
  /** The CPU model has CPUID.01H:ECX.x2APIC. */
  readonly hasX2apic: boolean;
}

export class ApicBase {
  readonly #options: ApicBaseOptions;
  #value = 0;

  constructor(options: ApicBaseOptions) {
    this.#options = options;
    this.reset();
  }

  get value(): bigint {
    return BigInt(this.#value);
  }

  get isEnabled(): boolean {
    return (this.#value & EN) !== 0;
  }

  get isX2apic(): boolean {
    return (this.#value & EXTD) !== 0;
  }

  /** Where the page of registers is; undefined while there is none. */
  get mmioBase(): number | undefined {
    return this.isEnabled && !this.isX2apic ? this.#value - (this.#value % PAGE_BYTES) : undefined;
  }

  /** The guest's write. False: #GP(0), nothing changed. */
  write(value: bigint): boolean {
    if (!this.#isLegal(value)) return false;
    const next = Number(value);
    const [isOn, isX2apic] = [(next & EN) !== 0, (next & EXTD) !== 0];
    if (this.isX2apic ? isOn && !isX2apic : !this.isEnabled && isX2apic) return false;
    this.#value = next;
    return true;
  }

  reset(): void {
    this.#value = MEMORY_MAP.localApicStart + EN + (this.#options.isBootstrapProcessor ? BSP : 0);
  }

  /** Puts back a saved value. False if no guest could have got there. */
  restore(value: bigint): boolean {
    if (!this.#isLegal(value)) return false;
    this.#value = Number(value);
    return true;
  }

  #isLegal(value: bigint): boolean {
    if (value >> BigInt(this.#options.physicalAddressBits) !== 0n || (value & RESERVED_LOW) !== 0n) return false;
    const low = Number(value & 0xfffn);
    return (low & EXTD) === 0 || (this.#options.hasX2apic && (low & EN) !== 0);
  }
}
