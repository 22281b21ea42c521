/**
 * The memory type range registers as firmware leaves them: RAM is write-back by default, the VGA window, the PCI windows
 * and everything else below 4 GiB that is no RAM is uncached, option ROMs and BIOS are write-protected.
 */

import {
  IA32_MTRR_DEF_TYPE,
  IA32_MTRR_FIX4K_C0000,
  IA32_MTRR_FIX16K_80000,
  IA32_MTRR_FIX16K_A0000,
  IA32_MTRR_FIX64K_00000,
  IA32_MTRR_PHYSBASE0,
  MEMORY_TYPE,
  MTRR_DEF_TYPE,
  PHYSMASK_VALID,
} from "../cpu/memory-type-ranges.ts";
import { MAXPHYADDR } from "../cpu/physical.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";

/** Powers of two, at multiples of themselves. */
const UNCACHED: readonly (readonly [start: number, sizeBytes: number])[] = [
  [MEMORY_MAP.mmconfigStart, MEMORY_MAP.mmconfigSizeBytes],
  [MEMORY_MAP.pci32Start, MEMORY_MAP.highRamStart - MEMORY_MAP.pci32Start],
  [MEMORY_MAP.pci64Start, MEMORY_MAP.pci64SizeBytes],
];

const eightOf = (type: number): bigint => 0x0101_0101_0101_0101n * BigInt(type);

/** For VcpuState.msrs. */
export function firmwareMemoryTypes(): Record<string, bigint> {
  const msrs: Record<string, bigint> = {
    [IA32_MTRR_FIX64K_00000]: eightOf(MEMORY_TYPE.WB),
    [IA32_MTRR_FIX16K_80000]: eightOf(MEMORY_TYPE.WB),
    [IA32_MTRR_FIX16K_A0000]: eightOf(MEMORY_TYPE.UC),
    [IA32_MTRR_DEF_TYPE]: MTRR_DEF_TYPE.ENABLE | MTRR_DEF_TYPE.FIXED_ENABLE | BigInt(MEMORY_TYPE.WB),
  };
  for (let n = 0; n < 8; n++) msrs[IA32_MTRR_FIX4K_C0000 + n] = eightOf(MEMORY_TYPE.WP);
  for (const [n, [start, sizeBytes]] of UNCACHED.entries()) {
    const mask = (1n << BigInt(MAXPHYADDR)) - BigInt(sizeBytes);
    msrs[IA32_MTRR_PHYSBASE0 + 2 * n] = BigInt(start) | BigInt(MEMORY_TYPE.UC);
    msrs[IA32_MTRR_PHYSBASE0 + 2 * n + 1] = mask | PHYSMASK_VALID;
  }
  return msrs;
}
