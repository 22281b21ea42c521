/**
 * An ELF executable for x86 as a boot loader reads it (System V ABI, chapters 4 and 5; 32 and 64 bits, little-endian): the
 * segments to load, the entry point, and notes. The file is hostile: every field is checked here, before anything uses it.
 */
import { type BootFile, headOf, piecesOf } from "./boot-file.ts";
import { LinuxBootError } from "./linux-boot-error.ts";

const MAGIC = 0x464c_457f;
const CLASS = { ELF32: 1, ELF64: 2 } as const;
const DATA_LITTLE_ENDIAN = 1;
const MACHINE = { X86: 3, X86_64: 62 } as const;
const PROGRAM = { LOAD: 1, NOTE: 4 } as const;
const MAX_PROGRAM_HEADERS = 256;
const MAX_NOTE_BYTES = 64 * 1024;

export interface ElfSegment {
  readonly physical: number;
  readonly virtual: bigint;
  readonly fileStart: number;
  readonly fileBytes: number;
  /** At least `fileBytes`; what is beyond is zero. */
  readonly memoryBytes: number;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly body: Uint8Array;
}

export interface Elf {
  readonly is64Bit: boolean;
  readonly entry: bigint;
  /** That take memory, at least one. */
  readonly segments: readonly ElfSegment[];
  readonly notes: readonly ElfNote[];
}

export function isElf(file: BootFile): boolean {
  const head = headOf(file);
  return head.length >= 4 && new DataView(head.buffer, head.byteOffset).getUint32(0, true) === MAGIC;
}

/** Throws LinuxBootError. */
export function parseElf(file: BootFile): Elf {
  const head = headOf(file);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.length < 64) throw malformed("it ends within its header");
  const is64Bit = view.getUint8(4) === CLASS.ELF64;
  if (!is64Bit && view.getUint8(4) !== CLASS.ELF32) throw malformed("its class is unknown");
  const machine = view.getUint16(18, true);
  if (view.getUint8(5) !== DATA_LITTLE_ENDIAN || (machine !== MACHINE.X86 && machine !== MACHINE.X86_64))
    throw malformed("it is for another processor");
  const entry = is64Bit ? view.getBigUint64(24, true) : BigInt(view.getUint32(24, true));
  const tableAt = is64Bit ? toNumber(view.getBigUint64(32, true)) : view.getUint32(28, true);
  const entryBytes = view.getUint16(is64Bit ? 54 : 42, true);
  const count = view.getUint16(is64Bit ? 56 : 44, true);
  if (entryBytes < (is64Bit ? 56 : 32) || count === 0 || count > MAX_PROGRAM_HEADERS)
    throw malformed(`it has ${count} program headers of ${entryBytes} bytes`);
  const table = part(file, tableAt, entryBytes * count, "its program headers");
  const segments: ElfSegment[] = [];
  const notes: ElfNote[] = [];
  for (let i = 0; i < count; i++) {
    const header = new DataView(table.buffer, table.byteOffset + i * entryBytes, entryBytes);
    const field = (at32: number, at64: number): number =>
      is64Bit ? toNumber(header.getBigUint64(at64, true)) : header.getUint32(at32, true);
    const type = header.getUint32(0, true);
    const fileStart = field(4, 8);
    const fileBytes = field(16, 32);
    if (type === PROGRAM.NOTE) {
      if (fileBytes <= MAX_NOTE_BYTES) notes.push(...notesOf(part(file, fileStart, fileBytes, "its notes")));
    } else if (type === PROGRAM.LOAD) {
      const memoryBytes = field(20, 40);
      if (memoryBytes < fileBytes) throw malformed("a segment is larger in the file than in memory");
      if (fileStart + fileBytes > file.length) throw truncated(file.length, fileStart + fileBytes);
      const virtual = is64Bit ? header.getBigUint64(16, true) : BigInt(header.getUint32(8, true));
      if (memoryBytes > 0) segments.push({ physical: field(12, 24), virtual, fileStart, fileBytes, memoryBytes });
    }
  }
  if (segments.length === 0) throw malformed("it has nothing to load");
  return { is64Bit, entry, segments, notes };
}

/** The physical address of an entry point that may be a virtual one. */
export function physicalEntry({ entry, segments }: Elf): number {
  for (const { virtual, physical, memoryBytes } of segments) {
    const within = entry - virtual;
    if (within >= 0n && within < BigInt(memoryBytes)) return physical + Number(within);
  }
  return toNumber(entry);
}

function notesOf(bytes: Uint8Array): ElfNote[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const notes: ElfNote[] = [];
  for (let at = 0; at + 12 <= bytes.length; ) {
    const nameBytes = view.getUint32(at, true);
    const bodyBytes = view.getUint32(at + 4, true);
    const bodyAt = at + 12 + padded(nameBytes);
    const next = bodyAt + padded(bodyBytes);
    if (nameBytes > bytes.length || bodyBytes > bytes.length || bodyAt + bodyBytes > bytes.length) break;
    const name = String.fromCharCode(...bytes.subarray(at + 12, at + 12 + Math.min(nameBytes, 64))).replace(
      /\0.*$/s,
      "",
    );
    notes.push({ name, type: view.getUint32(at + 8, true), body: bytes.slice(bodyAt, bodyAt + bodyBytes) });
    at = next;
  }
  return notes;
}

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4;

function part(file: BootFile, start: number, length: number, what: string): Uint8Array {
  if (start + length > file.length) throw malformed(`${what} are behind its end`);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of piecesOf(file, start, length)) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** What no address of a machine reaches becomes one that none accepts. */
function toNumber(value: bigint): number {
  return value > 0xff_ffff_ffffn ? 2 ** 50 : Number(value);
}

function malformed(what: string): LinuxBootError {
  return new LinuxBootError("kernel-malformed", `The kernel's ELF file makes no sense: ${what}. Get it again.`);
}

function truncated(haveBytes: number, needBytes: number): LinuxBootError {
  return new LinuxBootError(
    "kernel-truncated",
    `The kernel file is truncated: it has ${haveBytes} bytes and needs at least ${needBytes}. Copy or download it again.`,
    { neededBytes: needBytes },
  );
}
