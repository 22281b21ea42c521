/**
 * PCI function 00:00.0, the host bridge of Intel's Q35 MCH (data sheet 316966, chapter 5): identity, and PCIEXBAR,
 * the register that places the memory-mapped configuration window (ECAM). Left out: the memory controller's other
 * registers (PAM, SMRAM, MCHBAR), which read as written or as zero.
 */
import type { IoHandler } from "../io.ts";
import { PciFunction } from "./function.ts";

/** PCIEXBAR: bit 0 enables, bits 2:1 choose 256, 128 or 64 MiB. */
export const PCIEXBAR = 0x60;
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
