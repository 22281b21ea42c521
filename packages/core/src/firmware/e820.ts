/**
 * The memory map a PC's firmware hands to an operating system: the answer of INT 15H, AX=E820H (ACPI 6.5, section
 * 15.1), as 20-byte entries of base, length and type.
 *
 * The first MiB keeps the PC's form: 639 KiB of base memory, one KiB of extended BIOS data area, the hole of the VGA
 * frame buffer and option ROMs (no entry), then the BIOS area, where the ACPI tables are. PCI windows have no entry
 * either, so that the guest may place BARs there; the configuration window is reserved, without which Linux ignores it.
 * Left out: types 3 to 5 and the extended-attribute field.
 */
import { MEMORY_MAP } from "../machine/board-map.ts";

export const E820_TYPE = { ram: 1, reserved: 2 } as const;
export const E820_ENTRY_BYTES = 20;

/** Fixed addresses of the first MiB. */
export const LOW_MEMORY = {
  /** Where base memory ends and the extended BIOS data area starts. */
  ebdaStart: 0x9_fc00,
  vgaStart: 0xa_0000,
  /** ACPI tables lie from here up; guests also scan it for "RSD PTR " at 16-byte boundaries. */
  biosStart: 0xe_0000,
  /** SMBIOS's anchor is looked for from here up. */
  smbiosStart: 0xf_0000,
  end: 0x10_0000,
} as const;

export interface E820Entry {
  readonly start: number;
  readonly sizeBytes: number;
  readonly type: number;
}

export interface RamSize {
  /** RAM from address 0 up, at least 1 MiB, ending at or below the PCI hole. */
  readonly lowRamBytes: number;
  /** RAM from 4 GiB up. */
  readonly highRamBytes?: number;
}

/** The map in ascending order, without overlaps. */
export function e820Map(ram: RamSize): E820Entry[] {
  const map: E820Entry[] = [];
  const add = (type: number, start: number, end: number): void => {
    if (end > start) map.push({ start, sizeBytes: end - start, type });
  };
  add(E820_TYPE.ram, 0, LOW_MEMORY.ebdaStart);
  add(E820_TYPE.reserved, LOW_MEMORY.ebdaStart, LOW_MEMORY.vgaStart);
  add(E820_TYPE.reserved, LOW_MEMORY.biosStart, LOW_MEMORY.end);
  add(E820_TYPE.ram, LOW_MEMORY.end, ram.lowRamBytes);
  const mmconfig = MEMORY_MAP.mmconfigStart;
  add(E820_TYPE.reserved, mmconfig, mmconfig + MEMORY_MAP.mmconfigSizeBytes);
  add(E820_TYPE.reserved, MEMORY_MAP.ioApicStart, MEMORY_MAP.ioApicStart + MEMORY_MAP.ioApicSizeBytes);
  add(E820_TYPE.reserved, MEMORY_MAP.localApicStart, MEMORY_MAP.localApicStart + MEMORY_MAP.localApicSizeBytes);
  add(E820_TYPE.ram, MEMORY_MAP.highRamStart, MEMORY_MAP.highRamStart + (ram.highRamBytes ?? 0));
  return map;
}

export function encodeE820(map: readonly E820Entry[]): Uint8Array {
  const bytes = new Uint8Array(map.length * E820_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, entry] of map.entries()) {
    const at = index * E820_ENTRY_BYTES;
    view.setBigUint64(at, BigInt(entry.start), true);
    view.setBigUint64(at + 8, BigInt(entry.sizeBytes), true);
    view.setUint32(at + 16, entry.type, true);
  }
  return bytes;
}
