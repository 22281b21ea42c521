/** For tests: states that a few bytes of guest code start in, and a bus that writes down what comes to it. */
import { resetState, type VcpuBus, type VcpuState } from "@twinmetal/core";

export const LONG_MODE_TABLES = 0x8000;
const IA32_APIC_BASE = 0x1b;

/** Real mode, at a physical address below 64 KiB. */
export function realMode(rip: number): VcpuState {
  const state = resetState(0);
  const flat = { selector: 0, base: 0n, limit: 0xffff };
  return {
    ...state,
    rip: BigInt(rip),
    gpr: state.gpr.map((value, i) => (i === 4 ? 0x7000n : value)),
    cs: { ...flat, attributes: 0x9b },
    ss: { ...flat, attributes: 0x93 },
  };
}

/** 64-bit code in ring 0; the tables map the lower 4 GiB onto themselves. Precondition: `longModeTables` are there. */
export function longMode(rip: number): VcpuState {
  const state = realMode(rip);
  const flat = { selector: 16, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 };
  return {
    ...state,
    cs: { selector: 8, base: 0n, limit: 0xffff_ffff, attributes: 0xa09b },
    ss: flat,
    ds: flat,
    es: flat,
    fs: flat,
    gs: flat,
    cr0: 0x8000_0011n,
    cr3: BigInt(LONG_MODE_TABLES),
    cr4: 0x20n,
    msrs: { ...state.msrs, [String(0xc000_0080)]: 0x500n },
  };
}

/** Page tables with pages of 2 MiB, for `LONG_MODE_TABLES`. */
export function longModeTables(): Uint8Array {
  const view = new DataView(new ArrayBuffer(6 * 4096));
  view.setBigUint64(0, BigInt(LONG_MODE_TABLES + 4096) | 7n, true);
  for (let i = 0; i < 4; i++) view.setBigUint64(4096 + 8 * i, BigInt(LONG_MODE_TABLES + (2 + i) * 4096) | 7n, true);
  for (let i = 0; i < 2048; i++) view.setBigUint64(8192 + 8 * i, (BigInt(i) << 21n) | 0x87n, true);
  return new Uint8Array(view.buffer);
}

export interface NotingBus extends VcpuBus {
  readonly notes: string[];
}

/** Ports and MMIO read as `answer`. The clock of the time-stamp counter runs at 1 GHz. */
export function notingBus(answer = 0x12345678): NotingBus {
  const notes: string[] = [];
  const masked = (size: number): number => (size === 4 ? answer : answer & (size === 2 ? 0xffff : 0xff));
  return {
    notes,
    readPort: (port, size) => {
      notes.push(`in${size} ${port.toString(16)}`);
      return masked(size);
    },
    writePort: (port, size, value) => void notes.push(`out${size} ${port.toString(16)} ${value.toString(16)}`),
    readMmio: (gpa, size) => {
      notes.push(`read${size} ${gpa.toString(16)}`);
      return masked(size);
    },
    writeMmio: (gpa, size, value) => void notes.push(`write${size} ${gpa.toString(16)} ${value.toString(16)}`),
    readMsr: (index) => (index === IA32_APIC_BASE ? 0xfee0_0900n : undefined),
    writeMsr: (index, value) => {
      notes.push(`msr ${index.toString(16)} ${value.toString(16)}`);
      return index === IA32_APIC_BASE;
    },
    readTsc: (retired) => BigInt(retired),
    randomBits: () => 0n,
  };
}
