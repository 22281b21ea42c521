import { expect, it } from "vitest";
import { KeptMsrs } from "../cpu/kept-msrs.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";
import { firmwareMemoryTypes } from "./memory-types.ts";

const msrs = firmwareMemoryTypes();

/** The type of an address above 1 MiB, as the manual's section on MTRR precedence says. */
function typeOf(address: number): number {
  for (let n = 0; n < 8; n++) {
    const [base, mask] = [msrs[0x200 + 2 * n] ?? 0n, msrs[0x201 + 2 * n] ?? 0n];
    const compared = mask & ~0xfffn;
    if ((mask & 0x800n) !== 0n && (BigInt(address) & compared) === (base & compared)) return Number(base & 0xffn);
  }
  return Number(msrs[0x2ff]! & 0xffn);
}

it("every value is one that the registers take", () => {
  const kept = new KeptMsrs();
  for (const [index, value] of Object.entries(msrs)) expect(kept.write(Number(index), value), index).toBe(true);
});

it("RAM is write-back, windows of devices are uncached", () => {
  const { lowRamEnd, highRamStart, pci64Start, pci64SizeBytes, localApicStart, ioApicStart } = MEMORY_MAP;
  for (const address of [0x10_0000, lowRamEnd - 1, highRamStart, pci64Start - 1, pci64Start + pci64SizeBytes]) {
    expect(typeOf(address), address.toString(16)).toBe(6);
  }
  for (const address of [lowRamEnd, highRamStart - 1, localApicStart, ioApicStart, pci64Start]) {
    expect(typeOf(address), address.toString(16)).toBe(0);
  }
  expect(typeOf(pci64Start + pci64SizeBytes - 1)).toBe(0);
});
