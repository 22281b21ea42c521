// The fields of a CPU result that are compared one by one, by the names used in masks and reports.
//
// All of the machine state of CpuResult is here; nothing is left out for every instruction.

import { type CpuResult, FLAG, FXSAVE, SEGMENT_NAMES } from "./subject.ts";

export const GPR_NAMES = [
  "RAX",
  "RCX",
  "RDX",
  "RBX",
  "RSP",
  "RBP",
  "RSI",
  "RDI",
  "R8",
  "R9",
  "R10",
  "R11",
  "R12",
  "R13",
  "R14",
  "R15",
] as const;
export const STATUS_FLAGS = ["CF", "PF", "AF", "ZF", "SF", "OF"] as const;

export interface Field {
  readonly name: string;
  readonly read: (result: CpuResult) => bigint | string;
}

function littleEndian(bytes: Uint8Array, at: number, length: number): bigint {
  let value = 0n;
  for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]!);
  return value;
}

function inImage(name: string, at: number, length: number, mask = -1n): Field {
  return { name, read: ({ fxsave }) => littleEndian(fxsave, at, length) & mask };
}

function bitOfFsw(name: string, bit: number): Field {
  return { name, read: ({ fxsave }) => BigInt((fxsave[FXSAVE.FSW + (bit >> 3)]! >> (bit & 7)) & 1) };
}

/** Bits 14 and 8..10 of FSW, the condition code. */
const FSW_CONDITION_CODE = 0x4700n;

function writesText(result: CpuResult): string {
  return [...result.writes]
    .sort(([a], [b]) => a - b)
    .map(([offset, value]) => `+${offset.toString(16)}=${value.toString(16).padStart(16, "0")}`)
    .join(" ");
}

export const FIELDS: readonly Field[] = [
  { name: "vector", read: ({ exception }) => (exception === null ? "none" : BigInt(exception.vector)) },
  { name: "error code", read: ({ exception }) => BigInt(exception?.errorCode ?? 0) },
  { name: "CR2", read: ({ exception }) => exception?.cr2 ?? 0n },
  { name: "RIP", read: ({ rip }) => rip },
  ...GPR_NAMES.map((name, i): Field => ({ name, read: ({ gpr }) => gpr[i]! })),
  ...Object.entries(FLAG).map(
    ([name, bit]): Field => ({ name, read: ({ rflags }) => ((rflags & bit) === 0n ? 0n : 1n) }),
  ),
  ...Array.from({ length: 16 }, (_, i) => inImage(`XMM${i}`, FXSAVE.XMM + 16 * i, 16)),
  inImage("MXCSR", FXSAVE.MXCSR, 4),
  inImage("FCW", FXSAVE.FCW, 2),
  inImage("FSW", FXSAVE.FSW, 2, ~FSW_CONDITION_CODE),
  bitOfFsw("C0", 8),
  bitOfFsw("C1", 9),
  bitOfFsw("C2", 10),
  bitOfFsw("C3", 14),
  inImage("FTW", FXSAVE.FTW, 1),
  inImage("FOP", FXSAVE.FOP, 2),
  inImage("FIP", FXSAVE.FIP, 8),
  inImage("FDP", FXSAVE.FDP, 8),
  ...Array.from({ length: 8 }, (_, i) => inImage(`ST${i}`, FXSAVE.ST + 16 * i, 10)),
  { name: "memory", read: writesText },
];

/**
 * Compared beside the others in cases that bring segment registers. The host's are seen after a return from its kernel,
 * which clears the RPL of null selectors (SDM volume 2, IRET).
 */
export const SEGMENT_FIELDS: readonly Field[] = SEGMENT_NAMES.map((name, i) => ({
  name,
  read: ({ selectors }) => {
    const selector = selectors?.[i] ?? 0;
    return BigInt(selector < 4 ? 0 : selector);
  },
}));
