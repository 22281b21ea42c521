/**
 * Direct start of a Linux kernel, without firmware or boot loader, by the 64-bit boot protocol or, for a kernel without
 * a 64-bit entry, the 32-bit one (Linux, Documentation/arch/x86/boot.rst and zero-page.rst): what to write to guest memory and the state the first vCPU
 * starts in. Pure: the machine carries the plan out.
 *
 *   0x07000 boot_params   0x08000 GDT   0x09000 page tables   0x20000 command line   0xe0000 ACPI tables
 *   kernel at its preferred address, init_size bytes reserved for its unpacking
 *   initrd as high as the header's initrd_addr_max and RAM below the PCI hole allow
 *
 * Left out: loading above 4 GiB, setup_data lists, EFI and video information.
 */
import type { VcpuState } from "../cpu/state.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";
import type { Gpa } from "../memory/guest-memory.ts";
import { type BootFile, headOf } from "./boot-file.ts";
import { type BzImage, LOADFLAGS_LOADED_HIGH, parseBzImage, SETUP_HEADER } from "./bzimage.ts";
import { E820_ENTRY_BYTES, e820Map, encodeE820, LOW_MEMORY, type RamSize } from "./e820.ts";
import { describeFileKind } from "./file-kind.ts";
import type { GuestWrite } from "./guest-write.ts";
import { LinuxBootError } from "./linux-boot-error.ts";
import { BOOT_LAYOUT, entryState, entryState32, entryTables } from "./linux-entry.ts";

export interface LinuxBootOptions {
  /** The bzImage file. */
  readonly kernel: BootFile;
  readonly initrd?: BootFile;
  readonly commandLine: string;
  readonly ram: RamSize;
  /** A VGA is there, in text mode 3. */
  readonly hasVga?: boolean;
  /** The firmware tables and where their root pointer is; absent: the kernel searches and finds none. */
  readonly acpi?: { readonly writes: readonly GuestWrite[]; readonly rsdp: Gpa };
}

/** Part of a file that has to be in guest memory. */
export interface GuestCopy {
  readonly gpa: Gpa;
  readonly file: BootFile;
  readonly start: number;
  readonly length: number;
}

export interface LinuxBootPlan {
  /** In any order, without overlaps, also with `copies`. The rest of RAM may hold anything. */
  readonly writes: readonly GuestWrite[];
  readonly copies: readonly GuestCopy[];
  readonly state: VcpuState;
  readonly kernelAddress: Gpa;
  readonly initrdAddress: Gpa | undefined;
}

/** Offsets in struct boot_params outside the setup header. */
const BOOT_PARAMS = {
  orig_video_mode: 0x006,
  orig_video_cols: 0x007,
  orig_video_ega_bx: 0x00a,
  orig_video_lines: 0x00e,
  orig_video_isVGA: 0x00f,
  orig_video_points: 0x010,
  acpi_rsdp_addr: 0x070,
  e820_entries: 0x1e8,
  e820_table: 0x2d0,
  e820MaxEntries: 128,
  sizeBytes: 0x1000,
} as const;

/** A loader without an assigned identifier. */
const LOADER_UNDEFINED = 0xff;
const VID_MODE_NORMAL = 0xffff;
/** Text mode 3 as the video BIOS describes it. */
const TEXT = { mode: 3, columns: 80, lines: 25, points: 16, memory256Kib: 3 } as const;
const ENTRY_64_OFFSET = 0x200;
const PAGE_BYTES = 0x1000;
const MIB = 0x10_0000;

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Throws LinuxBootError. Precondition: `ram` fits the board's map. */
export function planLinuxBoot(options: LinuxBootOptions): LinuxBootPlan {
  const image = parseBzImage(options.kernel);
  const commandLine = encodeCommandLine(options.commandLine, image);
  const kernel = placeKernel(image, options.ram, options.initrd?.length ?? 0);
  const initrdAddress = options.initrd && placeInitrd(options.initrd, image, kernel, options.ram);

  const bootParams = buildBootParams(image, options, initrdAddress);
  const writes: GuestWrite[] = [
    { gpa: BOOT_LAYOUT.bootParams, bytes: bootParams },
    ...entryTables(),
    { gpa: BOOT_LAYOUT.commandLine, bytes: commandLine },
    ...(options.acpi?.writes ?? []),
  ];
  const copies: GuestCopy[] = [{ gpa: kernel.start, file: options.kernel, ...image.payload }];
  if (options.initrd && initrdAddress !== undefined)
    copies.push({ gpa: initrdAddress, file: options.initrd, start: 0, length: options.initrd.length });
  const state = image.has64BitEntry ? entryState(kernel.start + ENTRY_64_OFFSET) : entryState32(kernel.start);
  return { writes, copies, state, kernelAddress: kernel.start, initrdAddress };
}

/** With the terminating zero. */
function encodeCommandLine(text: string, image: BzImage): Uint8Array {
  if (text.includes("\0")) {
    throw new LinuxBootError(
      "command-line-invalid",
      "The kernel command line contains a zero byte, which would end it early. Remove it.",
    );
  }
  const bytes = new TextEncoder().encode(text);
  const maxBytes = Math.min(image.commandLineMaxBytes, BOOT_LAYOUT.commandLineMaxBytes);
  if (bytes.length > maxBytes) {
    throw new LinuxBootError(
      "command-line-too-long",
      `The kernel command line has ${bytes.length} bytes, but this kernel takes at most ${maxBytes}. Shorten it.`,
      { roomBytes: maxBytes },
    );
  }
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

/**
 * A relocatable kernel unpacks itself to its load address rounded up to its alignment, but never below the preferred
 * address, so that loading it lower would save nothing.
 */
function placeKernel(image: BzImage, ram: RamSize, initrdBytes: number): Range {
  const lowest = Math.max(image.preferredAddress, LOW_MEMORY.end);
  const start = image.isRelocatable ? alignUp(lowest, image.alignment) : image.preferredAddress;
  const end = start + image.initSizeBytes;
  if (start < LOW_MEMORY.end || end > MEMORY_MAP.lowRamEnd) {
    throw new LinuxBootError(
      "kernel-malformed",
      `The kernel wants to run at ${hex(start)} with ${mib(image.initSizeBytes)}, which no machine of this kind has: RAM for it lies between ${hex(LOW_MEMORY.end)} and ${hex(MEMORY_MAP.lowRamEnd)}. The file is damaged or built for another machine.`,
    );
  }
  if (end > ram.lowRamBytes) {
    const neededBytes = alignUp(end + alignUp(initrdBytes, PAGE_BYTES), MIB);
    throw new LinuxBootError(
      "memory-too-small",
      `The VM has ${mib(ram.lowRamBytes)} of memory, but this kernel${initrdBytes > 0 ? " and initrd need" : " needs"} at least ${mib(neededBytes)} to start. Raise the memory size.`,
      { neededBytes },
    );
  }
  return { start, end };
}

/** The highest page-aligned address that keeps clear of the kernel and of the first MiB. */
function placeInitrd(initrd: BootFile, image: BzImage, kernel: Range, ram: RamSize): Gpa {
  if (initrd.length === 0) {
    throw new LinuxBootError("initrd-empty", "The initrd file is empty. Give a cpio archive, or leave the option out.");
  }
  const top = Math.min(ram.lowRamBytes, image.initrdAddressMax + 1);
  const gaps: Range[] = [
    { start: alignUp(kernel.end, PAGE_BYTES), end: top },
    { start: LOW_MEMORY.end, end: Math.min(kernel.start, top) },
  ];
  let roomBytes = 0;
  for (const gap of gaps) {
    const start = alignDown(gap.end - initrd.length, PAGE_BYTES);
    if (start >= gap.start) return start;
    roomBytes = Math.max(roomBytes, gap.end - gap.start);
  }
  const neededBytes = alignUp(kernel.end, PAGE_BYTES) + alignUp(initrd.length, PAGE_BYTES);
  const reachable = neededBytes <= Math.min(MEMORY_MAP.lowRamEnd, image.initrdAddressMax + 1);
  const advice = reachable
    ? `Raise the memory size to at least ${mib(alignUp(neededBytes, MIB))} or use a smaller initrd.`
    : `The kernel takes initrds below ${hex(image.initrdAddressMax)} only: use a smaller one.`;
  throw new LinuxBootError(
    "initrd-too-large",
    `The initrd has ${initrd.length} bytes, but beside the kernel there is room for ${roomBytes} in ${mib(ram.lowRamBytes)} of memory. ${advice}${hintAtInitrd(initrd)}`,
    reachable ? { roomBytes, neededBytes: alignUp(neededBytes, MIB) } : { roomBytes },
  );
}

function hintAtInitrd(initrd: BootFile): string {
  const kind = describeFileKind(headOf(initrd));
  return /disk|ISO|ELF|EFI|script/.test(kind) ? ` (The initrd looks like ${kind}.)` : "";
}

function buildBootParams(image: BzImage, options: LinuxBootOptions, initrdAddress: Gpa | undefined): Uint8Array {
  const bytes = new Uint8Array(BOOT_PARAMS.sizeBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(image.header, SETUP_HEADER.setup_sects);
  view.setUint16(SETUP_HEADER.vid_mode, VID_MODE_NORMAL, true);
  view.setUint8(SETUP_HEADER.type_of_loader, LOADER_UNDEFINED);
  view.setUint8(SETUP_HEADER.loadflags, LOADFLAGS_LOADED_HIGH);
  view.setUint32(SETUP_HEADER.ramdisk_image, initrdAddress ?? 0, true);
  view.setUint32(SETUP_HEADER.ramdisk_size, initrdAddress === undefined ? 0 : (options.initrd?.length ?? 0), true);
  view.setUint32(SETUP_HEADER.cmd_line_ptr, BOOT_LAYOUT.commandLine, true);
  view.setBigUint64(SETUP_HEADER.setup_data, 0n, true);
  view.setBigUint64(BOOT_PARAMS.acpi_rsdp_addr, BigInt(options.acpi?.rsdp ?? 0), true);

  if (options.hasVga) {
    view.setUint8(BOOT_PARAMS.orig_video_mode, TEXT.mode);
    view.setUint8(BOOT_PARAMS.orig_video_cols, TEXT.columns);
    view.setUint16(BOOT_PARAMS.orig_video_ega_bx, TEXT.memory256Kib, true);
    view.setUint8(BOOT_PARAMS.orig_video_lines, TEXT.lines);
    view.setUint8(BOOT_PARAMS.orig_video_isVGA, 1);
    view.setUint16(BOOT_PARAMS.orig_video_points, TEXT.points, true);
  }

  const map = encodeE820(e820Map(options.ram).slice(0, BOOT_PARAMS.e820MaxEntries));
  view.setUint8(BOOT_PARAMS.e820_entries, map.length / E820_ENTRY_BYTES);
  bytes.set(map, BOOT_PARAMS.e820_table);
  return bytes;
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function mib(bytes: number): string {
  const exact = bytes / MIB;
  return `${Number.isInteger(exact) ? exact : exact.toFixed(1)} MiB`;
}
