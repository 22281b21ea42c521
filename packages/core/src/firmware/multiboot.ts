/**
 * Kernels by the Multiboot Specification, version 0.6.96: a header in the file's first 8 KiB, ELF segments or the addresses
 * of the header's own ("a.out kludge"), modules, and an information structure in EBX.
 *
 * The entry state is 3.2's: protected mode without paging, flat segments, EAX the magic number. Left out: a video mode, drives,
 * APM, symbols, and Multiboot 2.
 */
import type { Gpa } from "../memory/guest-memory.ts";
import { concat, littleEndian } from "./acpi/aml.ts";
import { type BootFile, headOf } from "./boot-file.ts";
import { type E820Entry, e820Map, LOW_MEMORY } from "./e820.ts";
import { isElf, parseElf, physicalEntry } from "./elf.ts";
import type { GuestWrite } from "./guest-write.ts";
import type { KernelBootOptions, KernelPlan, LoadedPart } from "./kernel-boot.ts";
import { KERNEL_LAYOUT, placeModules, planLoading, textBytes } from "./kernel-loading.ts";
import { LinuxBootError } from "./linux-boot-error.ts";
import { entryState32, entryTables } from "./linux-entry.ts";

const HEADER_MAGIC = 0x1bad_b002;
const LOADER_MAGIC = 0x2bad_b002n;
const SEARCHED_BYTES = 8192;
const HEADER_BYTES = 12;
const HEADER_WITH_ADDRESSES_BYTES = 32;
/** Bits 0 to 15 are demands: page-aligned modules, memory information, and a video mode, which is not to be had. */
const FLAG = { PAGE_ALIGN: 1, MEMORY_INFO: 2, VIDEO_MODE: 4, ADDRESSES: 0x1_0000 } as const;
const KNOWN_DEMANDS = FLAG.PAGE_ALIGN | FLAG.MEMORY_INFO | FLAG.VIDEO_MODE;
const INFO = { MEMORY: 1, COMMAND_LINE: 4, MODULES: 8, MEMORY_MAP: 0x40, LOADER_NAME: 0x200 } as const;
const INFO_BYTES = 120;
/** Words of the BIOS data area. */
const BIOS_DATA = { EBDA_SEGMENT: 0x40e, BASE_KIB: 0x413 } as const;
/** Where PCs have an IRET. push bp; mov bp, sp; or word [bp+6], 1; pop bp; iret */
const BIOS_STUB = {
  SEGMENT: 0xf000,
  OFFSET: 0xff53,
  CODE: [0x55, 0x89, 0xe5, 0x83, 0x4e, 0x06, 0x01, 0x5d, 0xcf],
} as const;
const BASE_KIB = LOW_MEMORY.ebdaStart / 1024;
const LOADER_NAME = "Twinmetal";
const KIB = 1024;
const MIB = KIB * KIB;
const GPR = { RAX: 0, RBX: 3, RSI: 6 } as const;

export interface MultibootHeader {
  readonly at: number;
  readonly flags: number;
  /** Of the a.out kludge. */
  readonly addresses?: {
    readonly header: number;
    readonly load: number;
    readonly loadEnd: number;
    readonly bssEnd: number;
    readonly entry: number;
  };
}

export function findMultibootHeader(file: BootFile): MultibootHeader | undefined {
  const head = headOf(file).subarray(0, SEARCHED_BYTES);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  for (let at = 0; at + HEADER_BYTES <= head.length; at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(at + 4, true);
    if ((HEADER_MAGIC + flags + view.getUint32(at + 8, true)) % 2 ** 32 !== 0) continue;
    if ((flags & FLAG.ADDRESSES) === 0) return { at, flags };
    if (at + HEADER_WITH_ADDRESSES_BYTES > head.length) return undefined;
    const [header, load, loadEnd, bssEnd, entry] = [12, 16, 20, 24, 28].map((offset) =>
      view.getUint32(at + offset, true),
    );
    return {
      at,
      flags,
      addresses: { header: header!, load: load!, loadEnd: loadEnd!, bssEnd: bssEnd!, entry: entry! },
    };
  }
  return undefined;
}

/** Throws LinuxBootError. */
export function planMultiboot(header: MultibootHeader, options: KernelBootOptions): KernelPlan {
  const unknown = header.flags & 0xffff & ~KNOWN_DEMANDS;
  if (unknown !== 0)
    throw malformed(`it demands what no boot loader of version 0.6.96 knows (0x${unknown.toString(16)})`);
  const { parts, entry } = header.addresses ? addressedParts(header, options.kernel) : elfParts(options.kernel);
  const loading = planLoading(parts, options.ram);
  const modules = placeModules(options.modules, loading.end, options.ram);
  const commandLine = textBytes(options.commandLine);
  const list = concat(
    ...modules.map(({ start, end, textAt }) =>
      concat(...[start, end, textAt, 0].map((value) => littleEndian(value, 4))),
    ),
  );
  const map = memoryMap(e820Map(options.ram));
  const state = entryState32(entry);
  state.gpr[GPR.RAX] = LOADER_MAGIC;
  state.gpr[GPR.RBX] = BigInt(KERNEL_LAYOUT.info);
  state.gpr[GPR.RSI] = 0n;
  return {
    writes: [
      ...entryTables(),
      ...failingServices(),
      // Kernels look at both before they use base memory.
      { gpa: BIOS_DATA.EBDA_SEGMENT, bytes: littleEndian(LOW_MEMORY.ebdaStart >> 4, 2) },
      { gpa: BIOS_DATA.BASE_KIB, bytes: littleEndian(BASE_KIB, 2) },
      { gpa: KERNEL_LAYOUT.info, bytes: information(options, modules.length, map.length) },
      { gpa: KERNEL_LAYOUT.loaderName, bytes: textBytes(LOADER_NAME) },
      { gpa: KERNEL_LAYOUT.commandLine, bytes: commandLine },
      { gpa: KERNEL_LAYOUT.memoryMap, bytes: map },
      { gpa: KERNEL_LAYOUT.modules, bytes: list },
      ...modules.map(({ textAt, text }) => ({ gpa: textAt, bytes: text })),
      ...(options.acpi?.writes ?? []),
    ],
    copies: [...loading.copies, ...modules.map(({ copy }) => copy)],
    zeroes: loading.zeroes,
    state,
  };
}

function elfParts(kernel: BootFile): { parts: readonly LoadedPart[]; entry: Gpa } {
  if (!isElf(kernel)) throw malformed("it has no load addresses and is no ELF file");
  const elf = parseElf(kernel);
  const parts = elf.segments.map(({ physical, fileStart, fileBytes, memoryBytes }) => ({
    gpa: physical,
    file: kernel,
    start: fileStart,
    length: fileBytes,
    memoryBytes,
  }));
  return { parts, entry: physicalEntry(elf) };
}

/** 3.1.3: the file from `load_addr` on lies where `header_addr` says that the header lies. */
function addressedParts(
  { at, addresses }: MultibootHeader,
  kernel: BootFile,
): { parts: readonly LoadedPart[]; entry: Gpa } {
  const { header, load, loadEnd, bssEnd, entry } = addresses!;
  const start = at - (header - load);
  if (load > header || start < 0) throw malformed("its load address contradicts its header's");
  const end = loadEnd === 0 ? load + (kernel.length - start) : loadEnd;
  const length = end - load;
  if (length <= 0 || start + length > kernel.length) throw malformed("it is shorter than its load addresses say");
  const memoryBytes = bssEnd === 0 ? length : bssEnd - load;
  if (memoryBytes < length) throw malformed("its zeroed memory ends before what is loaded");
  return { parts: [{ gpa: load, file: kernel, start, length, memoryBytes }], entry };
}

function information(options: KernelBootOptions, moduleCount: number, mapBytes: number): Uint8Array {
  const bytes = new Uint8Array(INFO_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (at: number, value: number): void => view.setUint32(at, value, true);
  put(0, INFO.MEMORY | INFO.COMMAND_LINE | INFO.MODULES | INFO.MEMORY_MAP | INFO.LOADER_NAME);
  put(4, BASE_KIB);
  put(8, (options.ram.lowRamBytes - MIB) / KIB);
  put(16, KERNEL_LAYOUT.commandLine);
  put(20, moduleCount);
  put(24, KERNEL_LAYOUT.modules);
  put(44, mapBytes);
  put(48, KERNEL_LAYOUT.memoryMap);
  put(64, KERNEL_LAYOUT.loaderName);
  return bytes;
}

/** A kernel that goes back to real mode finds no BIOS: each of its services returns at once, with carry set. */
function failingServices(): GuestWrite[] {
  const { SEGMENT, OFFSET, CODE } = BIOS_STUB;
  const vector = concat(littleEndian(OFFSET, 2), littleEndian(SEGMENT, 2));
  return [
    { gpa: 0, bytes: concat(...Array.from({ length: 256 }, () => vector)) },
    { gpa: SEGMENT * 16 + OFFSET, bytes: Uint8Array.from(CODE) },
  ];
}

/** Each entry's size does not count its own field. */
function memoryMap(map: readonly E820Entry[]): Uint8Array {
  return concat(
    ...map.map(({ start, sizeBytes, type }) =>
      concat(littleEndian(20, 4), littleEndian(start, 8), littleEndian(sizeBytes, 8), littleEndian(type, 4)),
    ),
  );
}

function malformed(what: string): LinuxBootError {
  return new LinuxBootError("kernel-malformed", `The kernel cannot be started by Multiboot: ${what}.`);
}
