/**
 * The setup header of a Linux kernel for x86, a "bzImage" (Linux, Documentation/arch/x86/boot.rst), as far as starting
 * it by the 64-bit or 32-bit boot protocol takes. The file is hostile: every field is checked here, before anything uses it.
 * Layout of the file: boot sector, `setup_sects` sectors of real-mode code (not run here), then the protected-mode part
 * of `syssize` paragraphs; what follows, such as a signature, is not loaded.
 */
import { type BootFile, headOf } from "./boot-file.ts";
import { describeFileKind } from "./file-kind.ts";
import { LinuxBootError } from "./linux-boot-error.ts";

/** Offsets in the file and, the same, in struct boot_params. */
export const SETUP_HEADER = {
  setup_sects: 0x1f1,
  syssize: 0x1f4,
  vid_mode: 0x1fa,
  boot_flag: 0x1fe,
  jump: 0x200,
  header: 0x202,
  version: 0x206,
  type_of_loader: 0x210,
  loadflags: 0x211,
  ramdisk_image: 0x218,
  ramdisk_size: 0x21c,
  cmd_line_ptr: 0x228,
  initrd_addr_max: 0x22c,
  kernel_alignment: 0x230,
  relocatable_kernel: 0x234,
  xloadflags: 0x236,
  cmdline_size: 0x238,
  setup_data: 0x250,
  pref_address: 0x258,
  init_size: 0x260,
} as const;

export const LOADFLAGS_LOADED_HIGH = 0x01;
const XLF_KERNEL_64 = 0x01;
/** "HdrS" */
const HEADER_MAGIC = 0x5372_6448;
/** The first protocol with xloadflags, of Linux 3.8. */
const OLDEST_PROTOCOL = 0x020c;
const SECTOR_BYTES = 512;
const ENTRY_64_OFFSET = 0x200;
/** Up to the end of init_size. */
const SHORTEST_HEADER_END = 0x264;
/** Where struct boot_params has other fields again. */
const LONGEST_HEADER_END = 0x290;

export interface BzImage {
  /** The file's bytes from setup_sects to the header's end, for struct boot_params. */
  readonly header: Uint8Array;
  /** Where in the file the protected-mode part lies, without a trailing signature. */
  readonly payload: { readonly start: number; readonly length: number };
  readonly protocol: number;
  /** Else it is a 32-bit kernel, entered at its first byte. */
  readonly has64BitEntry: boolean;
  readonly isRelocatable: boolean;
  /** A power of two. */
  readonly alignment: number;
  readonly preferredAddress: number;
  /** RAM that the kernel uses from its load address on, before it knows the memory map. */
  readonly initSizeBytes: number;
  /** The highest address the initrd's last byte may have. */
  readonly initrdAddressMax: number;
  /** Without the terminating zero. */
  readonly commandLineMaxBytes: number;
}

/** Throws LinuxBootError. */
export function parseBzImage(wholeFile: BootFile): BzImage {
  const fileBytes = wholeFile.length;
  const file = headOf(wholeFile);
  if (fileBytes === 0) {
    throw new LinuxBootError("kernel-empty", "The kernel file is empty. Give a Linux bzImage, e.g. /boot/vmlinuz.");
  }
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < SETUP_HEADER.header + 4) {
    if (startsAsEfiProgram(file)) throw truncated(file.length, SHORTEST_HEADER_END);
    throw notBzImage(file);
  }
  if (view.getUint32(SETUP_HEADER.header, true) !== HEADER_MAGIC) throw notBzImage(file);
  if (view.getUint16(SETUP_HEADER.boot_flag, true) !== 0xaa55) throw notBzImage(file);
  if (file.length < SHORTEST_HEADER_END) throw truncated(file.length, SHORTEST_HEADER_END);

  const protocol = view.getUint16(SETUP_HEADER.version, true);
  if (protocol < OLDEST_PROTOCOL) {
    throw new LinuxBootError(
      "protocol-too-old",
      `The kernel speaks boot protocol ${protocolName(protocol)}, but this start needs 2.12 or later. Use Linux 3.8 or later.`,
    );
  }
  if ((view.getUint8(SETUP_HEADER.loadflags) & LOADFLAGS_LOADED_HIGH) === 0) {
    throw malformed("it asks to be loaded below 1 MiB (a zImage), which kernels of that age never do");
  }

  // GUEST-CONTROLLED: a header shorter than its own fields, or one that runs into boot_params' next field.
  const headerEnd = SETUP_HEADER.header + view.getUint8(SETUP_HEADER.jump + 1);
  if (headerEnd < SHORTEST_HEADER_END || headerEnd > LONGEST_HEADER_END) {
    throw malformed(`its header ends at offset 0x${headerEnd.toString(16)}`);
  }
  const payloadStart = ((view.getUint8(SETUP_HEADER.setup_sects) || 4) + 1) * SECTOR_BYTES;
  const payloadBytes = view.getUint32(SETUP_HEADER.syssize, true) * 16;
  if (payloadBytes <= ENTRY_64_OFFSET) throw malformed("its protected-mode part is shorter than its entry point");
  if (fileBytes < payloadStart + payloadBytes) throw truncated(fileBytes, payloadStart + payloadBytes);

  const alignment = view.getUint32(SETUP_HEADER.kernel_alignment, true);
  if (alignment === 0 || (alignment & (alignment - 1)) !== 0) {
    throw malformed(`its alignment ${alignment} is not a power of two`);
  }
  const preferred = view.getBigUint64(SETUP_HEADER.pref_address, true);
  if (preferred >= 1n << 52n) throw malformed(`it wants to run at 0x${preferred.toString(16)}`);
  return {
    header: file.subarray(SETUP_HEADER.setup_sects, headerEnd),
    payload: { start: payloadStart, length: payloadBytes },
    protocol,
    has64BitEntry: (view.getUint16(SETUP_HEADER.xloadflags, true) & XLF_KERNEL_64) !== 0,
    isRelocatable: view.getUint8(SETUP_HEADER.relocatable_kernel) !== 0,
    alignment,
    preferredAddress: Number(preferred),
    initSizeBytes: Math.max(view.getUint32(SETUP_HEADER.init_size, true), payloadBytes),
    initrdAddressMax: view.getUint32(SETUP_HEADER.initrd_addr_max, true),
    commandLineMaxBytes: view.getUint32(SETUP_HEADER.cmdline_size, true),
  };
}

function protocolName(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, "0")}`;
}

/** As nearly every bzImage does: its first sector is also an EFI program's. */
function startsAsEfiProgram(file: Uint8Array): boolean {
  return file[0] === 0x4d && file[1] === 0x5a;
}

function notBzImage(file: Uint8Array): LinuxBootError {
  return new LinuxBootError(
    "not-a-bzimage",
    `The kernel file is not a Linux bzImage for x86: it looks like ${describeFileKind(file)}. Give the file that Debian installs as /boot/vmlinuz-VERSION.`,
  );
}

function truncated(haveBytes: number, needBytes: number): LinuxBootError {
  return new LinuxBootError(
    "kernel-truncated",
    `The kernel file is truncated: it has ${haveBytes} bytes and needs at least ${needBytes}. Copy or download it again.`,
    { neededBytes: needBytes },
  );
}

function malformed(what: string): LinuxBootError {
  return new LinuxBootError(
    "kernel-malformed",
    `The kernel's setup header makes no sense: ${what}. The file is damaged or not a Linux kernel; get it again.`,
  );
}
