// What a CPU under test looks like to this rig: one user-mode instruction in, everything it changed out.
//
// The machine around the instruction is fixed, so that a real Linux process can be it:
//   64-bit mode, CPL 3, IOPL 0, CR0.AM = NE = WP = 1, CR4.OSFXSR = OSXMMEXCPT = 1, EFER.NXE = 1, no I/O bitmap
//   CS 33h, SS 2Bh, DS = ES = FS = GS = 0; FS and GS bases as below
//   CODE_BASE    one page, user, read and execute; the instruction ends on its last byte, CCh fills the rest
//   DATA_BASE    three pages, user, read and write, not executable; see windowByte()
//   everything else is not present
// TF is set in every case, as it is on the host, so that PUSHF and the frames show it.

export const PAGE_SIZE = 4096;
export const CODE_BASE = 0x2000_0000n;
export const CODE_END: bigint = CODE_BASE + 4096n;
export const DATA_BASE = 0x3000_0000n;
export const DATA_SIZE: number = 3 * PAGE_SIZE;
export const FS_BASE = 0x4000_0000n;
export const GS_BASE = 0x2fff_f000n;
export const SELECTORS = { cs: 0x33, ss: 0x2b, ds: 0, es: 0, fs: 0, gs: 0 } as const;
export const CODE_FILL = 0xcc;

/** Offsets in an FXSAVE64 image (Intel SDM volume 1, table 10-2, with REX.W: 64-bit FIP and FDP). */
export const FXSAVE = { FCW: 0, FSW: 2, FTW: 4, FOP: 6, FIP: 8, FDP: 16, MXCSR: 24, MXCSR_MASK: 28, ST: 32, XMM: 160 };
/** Bytes of the image that hold state; the rest is reserved. */
export const FXSAVE_STATE_SIZE = 416;

export const SEGMENT_NAMES = ["CS", "SS", "DS", "ES", "FS", "GS"] as const;

export interface WindowPatch {
  /** From DATA_BASE. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface CpuCase {
  /** Where the case came from: the seed and number that make it again. */
  readonly origin: string;
  /** 1 to 16 bytes; the 16th exists only in cases about the length limit. */
  readonly code: Uint8Array;
  /** CODE_END - code.length, less the base of the code segment where there are selectors. */
  readonly rip: bigint;
  /**
   * REP string instructions only. Set: run all iterations, that is until RIP moves or an exception comes, as if TF
   * were clear. Clear: stop after one iteration, as TF does.
   */
  readonly untilDone: boolean;
  /**
   * Missing: 64-bit code. 32: compatibility mode, that is CS 23h and DS = ES = SS = 2Bh, flat; of the registers only
   * what such code can see is compared. 16: likewise, with selectors of such segments.
   */
  readonly codeSize?: 16 | 32;
  /** Segment registers in the order of SEGMENT_NAMES; segments.ts has the descriptors. */
  readonly selectors?: readonly number[];
  readonly rflags: bigint;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8..R15: the order of the encoding. */
  readonly gpr: BigUint64Array;
  /** FXSAVE64 image: x87, MXCSR and XMM. */
  readonly fxsave: Uint8Array;
  /** Applied to the window in this order. */
  readonly patches: readonly WindowPatch[];
}

export interface CpuException {
  readonly vector: number;
  /** 0 for vectors that have none. */
  readonly errorCode: number;
  /** Linear address for vector 14, else 0. */
  readonly cr2: bigint;
}

export interface CpuResult {
  /** null: the instruction (or one iteration) completed, and only the single-step trap followed. */
  readonly exception: CpuException | null;
  /** RIP and RFLAGS as the exception's, or the single-step trap's, frame holds them: RF included. */
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly gpr: BigUint64Array;
  readonly fxsave: Uint8Array;
  /** Aligned 8-byte words of the window that changed: offset from DATA_BASE to new value. */
  readonly writes: ReadonlyMap<number, bigint>;
  /** In the order of SEGMENT_NAMES; compared only where the case has some. */
  readonly selectors?: readonly number[];
  /** Only the host sets it: the case could not be observed (it killed the process, or never ended). */
  readonly unobserved?: string;
}

/** One implementation per tier. */
export interface CpuSubject {
  readonly name: string;
  /** Executes exactly one instruction (see CpuCase.untilDone) from the given state. Never throws for guest faults. */
  step(input: CpuCase): CpuResult;
}

/** The window's content before the patches. */
export function windowByte(offset: number): number {
  return Math.imul(offset, 0x9e3779b1) >>> 24;
}

const PATTERN: Uint8Array = Uint8Array.from({ length: DATA_SIZE }, (_, offset) => windowByte(offset));

/** The window as the instruction finds it. */
export function initialWindow(input: CpuCase): Uint8Array {
  const window = PATTERN.slice();
  for (const patch of input.patches) window.set(patch.bytes, patch.offset);
  return window;
}

/** What code in compatibility mode can see of a result: the upper halves of registers are undefined after it. */
export function narrowed(result: CpuResult): CpuResult {
  const low = (value: bigint): bigint => value & 0xffff_ffffn;
  const { exception } = result;
  return {
    ...result,
    exception: exception && { ...exception, cr2: low(exception.cr2) },
    rip: low(result.rip),
    gpr: result.gpr.map((value, i) => (i < 8 ? low(value) : 0n)),
  };
}

/** The changed words between two images of the window, as CpuResult.writes wants them. */
export function changedWords(before: Uint8Array, after: Uint8Array): Map<number, bigint> {
  const changed = new Map<number, bigint>();
  const was = new DataView(before.buffer, before.byteOffset, DATA_SIZE);
  const is = new DataView(after.buffer, after.byteOffset, DATA_SIZE);
  for (let offset = 0; offset < DATA_SIZE; offset += 8) {
    const value = is.getBigUint64(offset, true);
    if (value !== was.getBigUint64(offset, true)) changed.set(offset, value);
  }
  return changed;
}

/** Linux's user-mode flag image: bit 1 and IF are always set. */
export const FLAG = {
  CF: 1n << 0n,
  PF: 1n << 2n,
  AF: 1n << 4n,
  ZF: 1n << 6n,
  SF: 1n << 7n,
  TF: 1n << 8n,
  IF: 1n << 9n,
  DF: 1n << 10n,
  OF: 1n << 11n,
  NT: 1n << 14n,
  RF: 1n << 16n,
  AC: 1n << 18n,
  ID: 1n << 21n,
} as const;
export type FlagName = keyof typeof FLAG;
