// Starts a file with a Linux setup header by the 32-bit boot protocol (Linux, Documentation/arch/x86/boot.rst): the
// protected-mode part at 1 MiB, boot_params with a memory map and a text screen, flat segments 10h and 18h, paging off.

import type { Pc } from "./pc.ts";

const SECTOR_BYTES = 512;
const DEFAULT_SETUP_SECTS = 4;
const LOAD_AT = 0x100000;
const BOOT_PARAMS = 0x90000;
const COMMAND_LINE = 0x91000;
const GDT = 0x8000;
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
const RSI = 6;
const RSP = 4;
/** Fields of struct boot_params. */
const ORIG_VIDEO_MODE = 6;
const ORIG_VIDEO_COLS = 7;
const ORIG_VIDEO_LINES = 0xe;
const ORIG_VIDEO_ISVGA = 0xf;
const ORIG_VIDEO_POINTS = 0x10;
const E820_ENTRIES = 0x1e8;
const SETUP_SECTS = 0x1f1;
const HEADER_END = 0x268;
const TYPE_OF_LOADER = 0x210;
const CMD_LINE_PTR = 0x228;
const E820_TABLE = 0x2d0;
const E820_RAM = 1;
const E820_RESERVED = 2;
const LOW_RAM_END = 0x9fc00;

export function startLinux32(pc: Pc, file: Uint8Array, commandLine: string): void {
  const setupSectors = file[SETUP_SECTS] || DEFAULT_SETUP_SECTS;
  pc.write(LOAD_AT, file.subarray((setupSectors + 1) * SECTOR_BYTES));
  pc.write(BOOT_PARAMS, bootParams(file, pc.machine.spec.memoryBytes));
  pc.write(COMMAND_LINE, new TextEncoder().encode(`${commandLine}\0`));
  const gdt = new DataView(new ArrayBuffer(32));
  gdt.setBigUint64(BOOT_CS, 0x00cf_9b00_0000_ffffn, true);
  gdt.setBigUint64(BOOT_DS, 0x00cf_9300_0000_ffffn, true);
  pc.write(GDT, new Uint8Array(gdt.buffer));
  pc.start((state) => {
    const data = { selector: BOOT_DS, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 };
    state.cs = { ...data, selector: BOOT_CS, attributes: 0xc09b };
    Object.assign(state, { ds: data, es: data, fs: data, gs: data, ss: data });
    state.gdtr = { base: BigInt(GDT), limit: 31 };
    state.cr0 = 0x11n;
    state.rip = BigInt(LOAD_AT);
    state.gpr.fill(0n);
    state.gpr[RSI] = BigInt(BOOT_PARAMS);
    state.gpr[RSP] = BigInt(GDT);
  });
}

function bootParams(file: Uint8Array, memoryBytes: number): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  bytes.set(file.subarray(SETUP_SECTS, HEADER_END), SETUP_SECTS);
  bytes[TYPE_OF_LOADER] = 0xff;
  view.setUint32(CMD_LINE_PTR, COMMAND_LINE, true);
  bytes[ORIG_VIDEO_MODE] = 3;
  bytes[ORIG_VIDEO_COLS] = 80;
  bytes[ORIG_VIDEO_LINES] = 25;
  bytes[ORIG_VIDEO_ISVGA] = 1;
  view.setUint16(ORIG_VIDEO_POINTS, 16, true);
  const map = [
    [0, LOW_RAM_END, E820_RAM],
    [LOW_RAM_END, 0xa0000 - LOW_RAM_END, E820_RESERVED],
    [0xf0000, 0x10000, E820_RESERVED],
    [LOAD_AT, memoryBytes - LOAD_AT, E820_RAM],
  ] as const;
  bytes[E820_ENTRIES] = map.length;
  for (const [i, [start, length, type]] of map.entries()) {
    view.setBigUint64(E820_TABLE + i * 20, BigInt(start), true);
    view.setBigUint64(E820_TABLE + i * 20 + 8, BigInt(length), true);
    view.setUint32(E820_TABLE + i * 20 + 16, type, true);
  }
  return bytes;
}
