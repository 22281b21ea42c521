/**
 * Names what a file is from its first bytes, for the message a user gets who gave the wrong file as a kernel. A guess
 * for people, never a decision: nothing is parsed on the strength of it. Magic numbers are those of the formats' own
 * specifications.
 */

interface Signature {
  readonly at: number;
  /** Compared as Latin-1 text. */
  readonly magic: string;
  readonly kind: string;
}

/** First match wins: the more specific come first. */
const SIGNATURES: readonly Signature[] = [
  { at: 0x38, magic: "ARM\x64", kind: "a Linux kernel for arm64" },
  { at: 0x38, magic: "RSC\x05", kind: "a Linux kernel for RISC-V" },
  { at: 0x24, magic: "\x18\x28\x6f\x01", kind: "a Linux kernel for 32-bit ARM (zImage)" },
  { at: 4, magic: "zimg", kind: "a compressed EFI kernel (EFI zboot) for another architecture" },
  { at: 0, magic: "\x27\x05\x19\x56", kind: "a U-Boot image" },
  { at: 0, magic: "\x1f\x8b", kind: "gzip-compressed data" },
  { at: 0, magic: "\xfd7zXZ\x00", kind: "xz-compressed data" },
  { at: 0, magic: "\x28\xb5\x2f\xfd", kind: "zstd-compressed data" },
  { at: 0, magic: "BZh", kind: "bzip2-compressed data" },
  { at: 0, magic: "\x02\x21\x4c\x18", kind: "lz4-compressed data" },
  { at: 0, magic: "\x04\x22\x4d\x18", kind: "lz4-compressed data" },
  { at: 0, magic: "070701", kind: "a cpio archive, perhaps the initrd" },
  { at: 0, magic: "070702", kind: "a cpio archive, perhaps the initrd" },
  { at: 0, magic: "!<arch>\n", kind: "a Debian package or other ar archive" },
  { at: 0, magic: "PK\x03\x04", kind: "a zip archive" },
  { at: 257, magic: "ustar", kind: "a tar archive" },
  { at: 0, magic: "QFI\xfb", kind: "a qcow2 disk image" },
  { at: 0, magic: "KDMV", kind: "a VMDK disk image" },
  { at: 0x8001, magic: "CD001", kind: "an ISO 9660 CD image" },
  { at: 0x200, magic: "EFI PART", kind: "a disk image with a GUID partition table" },
  { at: 0, magic: "#!", kind: "a script" },
  { at: 0, magic: "MZ", kind: "an EFI or Windows program" },
  { at: 0x1fe, magic: "\x55\xaa", kind: "a boot sector or disk image" },
];

const ELF_MACHINES: Readonly<Record<number, string>> = {
  3: "x86 (32-bit)",
  40: "ARM",
  62: "x86-64",
  183: "arm64",
  243: "RISC-V",
  258: "LoongArch",
};

/** A phrase like "gzip-compressed data", to follow "it looks like". */
export function describeFileKind(bytes: Uint8Array): string {
  if (bytes.length === 0) return "an empty file";
  if (hasText(bytes, 0, "\x7fELF")) return describeElf(bytes);
  for (const { at, magic, kind } of SIGNATURES) if (hasText(bytes, at, magic)) return kind;
  const head = bytes.subarray(0, 512);
  if (head.every((byte) => byte === 0)) return "zeros";
  if (head.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10 || byte === 13)) {
    const text = Array.from(head, (byte) => String.fromCharCode(byte)).join("");
    return /^\s*<(!doctype|html)/i.test(text) ? "a web page (HTML), perhaps of a failed download" : "a text file";
  }
  return "data of an unknown kind";
}

function describeElf(bytes: Uint8Array): string {
  const machine = (bytes[18] ?? 0) | ((bytes[19] ?? 0) << 8);
  const name = ELF_MACHINES[machine];
  return `an ELF file for ${name ?? `machine type ${machine}`}, perhaps an uncompressed kernel (vmlinux)`;
}

function hasText(bytes: Uint8Array, at: number, magic: string): boolean {
  if (at + magic.length > bytes.length) return false;
  for (let i = 0; i < magic.length; i++) if (bytes[at + i] !== magic.charCodeAt(i)) return false;
  return true;
}
