/**
 * What firmware for virtual PCs expects in CMOS RAM: the sizes of memory (IBM PC AT's registers 15H to 18H and 30H; 34H
 * and 5BH to 5DH as SeaBIOS and U-Boot for QEMU's boards read them), the number of further processors (5FH), the equipment byte and the types of floppy drives (10H).
 * Left out: types of disks and boot order, which firmware is told otherwise; the checksum, which nobody of these looks at.
 */
import { MEMORY_MAP } from "../machine/board-map.ts";

const KIB = 1024;
const BASE_KIB = 640;
const SIXTEEN_MIB = 16 * KIB * KIB;
/** A coprocessor; no display adapter of its own. */
const EQUIPMENT = 0x02;
/** The number of floppy drives less one in bits 7 and 6. */
const HAS_FLOPPY = 0x01;
/** 3.5 inches, 1440 KiB. */
const FLOPPY_TYPE = 4;

/** CMOS RAM by register for a machine's memory: up to the PCI hole, and the rest from 4 GiB up. */
export function cmosOf(memoryBytes: number, cpuCount = 1, floppies = 0): Record<number, number> {
  const lowBytes = Math.min(memoryBytes, MEMORY_MAP.lowRamEnd);
  const extendedKib = Math.min((lowBytes - KIB * KIB) / KIB, 0xffff);
  const above16 = Math.min(Math.max(0, lowBytes - SIXTEEN_MIB) / (64 * KIB), 0xffff);
  const cmos: Record<number, number> = { 20: EQUIPMENT };
  if (floppies > 0) {
    cmos[0x10] = (FLOPPY_TYPE << 4) | (floppies > 1 ? FLOPPY_TYPE : 0);
    cmos[0x14] = EQUIPMENT | HAS_FLOPPY | ((floppies - 1) << 6);
  }
  const put = (register: number, value: number, bytes: number): void => {
    for (let i = 0; i < bytes; i++) cmos[register + i] = Math.floor(value / 256 ** i) % 256;
  };
  put(0x15, BASE_KIB, 2);
  put(0x17, extendedKib, 2);
  put(0x30, extendedKib, 2);
  put(0x34, above16, 2);
  put(0x5b, (memoryBytes - lowBytes) / (64 * KIB), 3);
  put(0x5f, cpuCount - 1, 1);
  return cmos;
}
