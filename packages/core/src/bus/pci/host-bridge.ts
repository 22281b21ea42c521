/**
 * PCI function 00:00.0, the host bridge of Intel's Q35 MCH (data sheet 316966, chapter 5): identity, and PCIEXBAR,
 * the register that places the memory-mapped configuration window (ECAM). PAM0 to PAM6, by which firmware turns the ROM
 * between 0xC0000 and 1 MiB into RAM, keep what is written and do nothing: that memory is RAM from the start, with a copy of
 * the ROM's end in it (machine/board.ts), and is never write-protected. Left out: SMRAM, MCHBAR.
 */
import type { IoHandler } from "../io.ts";
import { PciFunction } from "./function.ts";

/** PCIEXBAR: bit 0 enables, bits 2:1 choose 256, 128 or 64 MiB. */
export const PCIEXBAR = 0x60;
/** Seven bytes; of PAM0 only the upper half, for 0xF0000 to 1 MiB. */
export const PAM0 = 0x90;
const PAM = { COUNT: 7, UPPER: 0x30, BOTH: 0x33 } as const;
const ENABLE = 1;
const SIZES_BYTES = [0x1000_0000, 0x0800_0000, 0x0400_0000] as const;
const BASE_LOW = 0xfc00_0000;
const BASE_HIGH = 0xf;

export function createHostBridge(ecam: IoHandler): PciFunction {
  const pci = new PciFunction({
    name: "host-bridge",
    vendorId: 0x8086,
    deviceId: 0x29c0,
    classCode: 0x06_0000,
    revisionId: 0x02,
  });
  pci.config.define(PCIEXBAR, 4, 0xe000_0000, BASE_LOW | 0x7);
  pci.config.define(PCIEXBAR + 4, 4, 0, BASE_HIGH);
  for (let i = 0; i < PAM.COUNT; i++) pci.config.define(PAM0 + i, 1, 0, i === 0 ? PAM.UPPER : PAM.BOTH);
  for (const [length, sizeBytes] of SIZES_BYTES.entries()) {
    pci.addFixedWindow({
      name: `ECAM of ${sizeBytes / 0x10_0000} MiB`,
      space: "memory",
      sizeBytes,
      handler: ecam,
      base: () => {
        const low = pci.config.read(PCIEXBAR, 4);
        if ((low & ENABLE) === 0 || ((low >>> 1) & 3) !== length) return undefined;
        const base = pci.config.read(PCIEXBAR + 4, 4) * 2 ** 32 + ((low & BASE_LOW) >>> 0);
        return base - (base % sizeBytes);
      },
    });
  }
  return pci;
}
