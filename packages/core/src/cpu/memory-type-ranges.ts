/**
 * Memory type range registers (Intel SDM vol. 3, 12.11): eight variable ranges, the fixed ranges below 1 MiB, the default
 * type. They are state only: memory of this CPU model has no caches that a type could change. Write combining is
 * announced, system management ranges (SMRR) are not.
 */
import { MAXPHYADDR } from "./physical.ts";

export const MEMORY_TYPE = { UC: 0, WC: 1, WT: 4, WP: 5, WB: 6 } as const;

export const IA32_MTRRCAP = 0xfe;
export const IA32_MTRR_PHYSBASE0 = 0x200;
export const IA32_MTRR_FIX64K_00000 = 0x250;
export const IA32_MTRR_FIX16K_80000 = 0x258;
export const IA32_MTRR_FIX16K_A0000 = 0x259;
export const IA32_MTRR_FIX4K_C0000 = 0x268;
export const IA32_MTRR_DEF_TYPE = 0x2ff;

export const VARIABLE_RANGES = 8;
export const MTRR_DEF_TYPE = { FIXED_ENABLE: 0x400n, ENABLE: 0x800n } as const;
export const PHYSMASK_VALID = 0x800n;
/** VCNT, FIX, WC. */
export const MTRRCAP_VALUE: bigint = BigInt(VARIABLE_RANGES) | 0x500n;

const TYPES: ReadonlySet<bigint> = new Set(Object.values(MEMORY_TYPE).map(BigInt));
const ADDRESS = ((1n << BigInt(MAXPHYADDR)) - 1n) & ~0xfffn;

const isType = (value: bigint): boolean => TYPES.has(value & 0xffn);

function isFixedRange(value: bigint): boolean {
  for (let byte = 0n; byte < 64n; byte += 8n) if (!isType(value >> byte)) return false;
  return true;
}

/** The registers that can be written, all zero after power-on, and which values they take; others are #GP(0). */
export const MTRRS: ReadonlyMap<number, (value: bigint) => boolean> = new Map([
  ...Array.from({ length: VARIABLE_RANGES }, (_, n): [number, (value: bigint) => boolean][] => [
    [IA32_MTRR_PHYSBASE0 + 2 * n, (value) => (value & ~(ADDRESS | 0xffn)) === 0n && isType(value)],
    [IA32_MTRR_PHYSBASE0 + 2 * n + 1, (value) => (value & ~(ADDRESS | PHYSMASK_VALID)) === 0n],
  ]).flat(),
  ...[IA32_MTRR_FIX64K_00000, IA32_MTRR_FIX16K_80000, IA32_MTRR_FIX16K_A0000]
    .concat(Array.from({ length: 8 }, (_, n) => IA32_MTRR_FIX4K_C0000 + n))
    .map((index): [number, (value: bigint) => boolean] => [index, isFixedRange]),
  [
    IA32_MTRR_DEF_TYPE,
    (value) => (value & ~(0xffn | MTRR_DEF_TYPE.FIXED_ENABLE | MTRR_DEF_TYPE.ENABLE)) === 0n && isType(value),
  ],
]);
