/**
 * PCI function 00:00.0, the host bridge of Intel's Q35 MCH (data sheet 316966, chapter 5): identity, and PCIEXBAR,
 * the register that places the memory-mapped configuration window (ECAM), and PAM0 to PAM6, by which reads and stores between
 * 0xC0000 and 1 MiB go to RAM or to the ROM (devices/shadow-ram.ts). Left out: SMRAM, MCHBAR.
 */
import type { IoHandler } from "../io.ts";
import { PciFunction } from "./function.ts";

/** PCIEXBAR: bit 0 enables, bits 2:1 choose 256, 128 or 64 MiB. */
export const PCIEXBAR = 0x60;
/**
 * Seven bytes, for 16 KiB in each half: bits 0 and 4 enable reads, 1 and 5 writes. PAM1 to PAM6 begin at 0xC0000; PAM0 has its
 * upper half only, for the 64 KiB from 0xF0000.
 */
export const PAM0 = 0x90;
/** Of the lower half; of the upper one four bits higher. */
const PAM = { COUNT: 7, UPPER: 0x30, BOTH: 0x33, READ: 0x01, WRITE: 0x02 } as const;
const TOP_PARTS = 0xf000;
const ENABLE = 1;
const SIZES_BYTES = [0x1000_0000, 0x0800_0000, 0x0400_0000] as const;
const BASE_LOW = 0xfc00_0000;
const BASE_HIGH = 0xf;

export interface HostBridgeOptions {
  readonly ecam: IoHandler;
  /** Bit n, of each: reads, and stores, of the 16 KiB at 0xC0000 + n * 16 KiB go to RAM. Called at once, and at changes. */
  readonly routeShadow: (readable: number, writable: number) => void;
  /** At reset all of that is RAM, as where firmware is done: for boards that start without any. */
  readonly startsOpen?: boolean;
}

export function createHostBridge({ ecam, routeShadow, startsOpen = false }: HostBridgeOptions): PciFunction {
  const pci = new PciFunction({
    name: "host-bridge",
    vendorId: 0x8086,
    deviceId: 0x29c0,
    classCode: 0x06_0000,
    revisionId: 0x02,
  });
  pci.config.define(PCIEXBAR, 4, 0xe000_0000, BASE_LOW | 0x7);
  pci.config.define(PCIEXBAR + 4, 4, 0, BASE_HIGH);
  for (let i = 0; i < PAM.COUNT; i++) {
    const bits = i === 0 ? PAM.UPPER : PAM.BOTH;
    pci.config.define(PAM0 + i, 1, startsOpen ? bits : 0, bits);
  }
  const route = (): void => routeShadow(partsWith(pci, PAM.READ), partsWith(pci, PAM.WRITE));
  pci.onConfigChange(route);
  route();
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

/** Those whose bit is set. */
function partsWith({ config }: PciFunction, bit: number): number {
  const upper = bit << 4;
  let parts = config.read(PAM0, 1) & upper ? TOP_PARTS : 0;
  for (let i = 1; i < PAM.COUNT; i++) {
    const register = config.read(PAM0 + i, 1);
    if ((register & bit) !== 0) parts |= 1 << (2 * i - 2);
    if ((register & upper) !== 0) parts |= 2 << (2 * i - 2);
  }
  return parts;
}
