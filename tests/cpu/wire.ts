// The records exchanged with host-harness.c, little-endian: struct batch, input, patch, output and change there.

import {
  type CpuCase,
  type CpuException,
  type CpuResult,
  FLAG,
  FXSAVE,
  FXSAVE_STATE_SIZE,
  SEGMENT_NAMES,
  type WindowPatch,
} from "./subject.ts";

export const BATCH_MAGIC = 0x31504d54;
export const BATCH_HEADER_SIZE = 16;

const INPUT = {
  SIZE: 0,
  CODE_LENGTH: 4,
  FLAGS: 5,
  PATCH_COUNT: 6,
  RFLAGS: 8,
  GPR: 16,
  STATE: 144,
  CODE: 560,
  RIP: 576,
  SEGMENTS: 584,
  END: 600,
};
const OUTPUT = {
  SIZE: 0,
  CHANGE_COUNT: 4,
  STATUS: 6,
  SIGNAL: 7,
  VECTOR: 8,
  ERROR: 16,
  CR2: 24,
  RIP: 32,
  RFLAGS: 40,
  GPR: 48,
  STATE: 176,
  SEGMENTS: 592,
  END: 608,
};
const FLAG_UNTIL_DONE = 1;
const FLAG_COMPATIBILITY = 2;
const FLAG_SEGMENTS = 4;
const PATCH_HEADER_SIZE = 8;
const STATUS_TEXT = ["", "the case killed the process", "the case did not end"];
const VECTOR_DEBUG = 1;

/** Every defined bit but VM, VIF and VIP, which user mode cannot see change. */
const VISIBLE_FLAGS: bigint = Object.values(FLAG).reduce((all, bit) => all | bit, 2n | (3n << 12n));

const patchSize = (patch: WindowPatch): number => PATCH_HEADER_SIZE + ((patch.bytes.length + 7) & ~7);

export function encodeBatch(cases: readonly CpuCase[]): Uint8Array<ArrayBuffer> {
  let size = BATCH_HEADER_SIZE;
  for (const input of cases) size += INPUT.END + input.patches.reduce((sum, patch) => sum + patchSize(patch), 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, BATCH_MAGIC, true);
  view.setUint32(4, cases.length, true);
  view.setBigUint64(8, BigInt(size - BATCH_HEADER_SIZE), true);
  let at = BATCH_HEADER_SIZE;
  for (const input of cases) at = encodeCase(input, bytes, view, at);
  return bytes;
}

function encodeCase(input: CpuCase, bytes: Uint8Array, view: DataView, start: number): number {
  view.setUint8(start + INPUT.CODE_LENGTH, input.code.length);
  const flags =
    (input.untilDone ? FLAG_UNTIL_DONE : 0) |
    (input.codeSize === undefined ? 0 : FLAG_COMPATIBILITY) |
    (input.selectors === undefined ? 0 : FLAG_SEGMENTS);
  view.setUint8(start + INPUT.FLAGS, flags);
  view.setUint16(start + INPUT.PATCH_COUNT, input.patches.length, true);
  view.setBigUint64(start + INPUT.RFLAGS, input.rflags, true);
  for (let i = 0; i < 16; i++) view.setBigUint64(start + INPUT.GPR + 8 * i, input.gpr[i]!, true);
  bytes.set(input.fxsave.subarray(0, FXSAVE_STATE_SIZE), start + INPUT.STATE);
  bytes.set(input.code, start + INPUT.CODE);
  view.setBigUint64(start + INPUT.RIP, input.rip, true);
  for (const [i, selector] of (input.selectors ?? []).entries())
    view.setUint16(start + INPUT.SEGMENTS + 2 * i, selector, true);
  let at = start + INPUT.END;
  for (const patch of input.patches) {
    view.setUint16(at, patch.offset, true);
    view.setUint16(at + 2, patch.bytes.length, true);
    bytes.set(patch.bytes, at + PATCH_HEADER_SIZE);
    at += patchSize(patch);
  }
  view.setUint32(start + INPUT.SIZE, at - start, true);
  return at;
}

/** `bytes` is a batch's body, without its header. */
export function decodeBatch(bytes: Uint8Array, count: number): CpuResult[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const results: CpuResult[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    results.push(decodeResult(bytes, view, at));
    at += view.getUint32(at + OUTPUT.SIZE, true);
  }
  return results;
}

function decodeResult(bytes: Uint8Array, view: DataView, at: number): CpuResult {
  const vector = Number(view.getBigUint64(at + OUTPUT.VECTOR, true));
  const exception: CpuException | null =
    vector === VECTOR_DEBUG
      ? null
      : {
          vector,
          errorCode: view.getUint32(at + OUTPUT.ERROR, true),
          cr2: view.getBigUint64(at + OUTPUT.CR2, true),
        };
  const gpr = new BigUint64Array(16);
  for (let i = 0; i < 16; i++) gpr[i] = view.getBigUint64(at + OUTPUT.GPR + 8 * i, true);
  const fxsave = new Uint8Array(512);
  fxsave.set(bytes.subarray(at + OUTPUT.STATE, at + OUTPUT.STATE + FXSAVE_STATE_SIZE));
  fxsave.fill(0, FXSAVE.MXCSR_MASK, FXSAVE.ST);
  const writes = new Map<number, bigint>();
  for (let i = 0; i < view.getUint16(at + OUTPUT.CHANGE_COUNT, true); i++) {
    const change = at + OUTPUT.END + 16 * i;
    writes.set(Number(view.getBigUint64(change, true)), view.getBigUint64(change + 8, true));
  }
  const rip = view.getBigUint64(at + OUTPUT.RIP, true);
  const rflags = view.getBigUint64(at + OUTPUT.RFLAGS, true) & VISIBLE_FLAGS;
  const selectors = SEGMENT_NAMES.map((_, i) => view.getUint16(at + OUTPUT.SEGMENTS + 2 * i, true));
  const status = view.getUint8(at + OUTPUT.STATUS);
  const unobserved =
    status === 0 ? undefined : `${STATUS_TEXT[status]} (signal ${view.getUint8(at + OUTPUT.SIGNAL)}, step ${vector})`;
  return { exception, rip, rflags, gpr, fxsave, writes, selectors, unobserved };
}
