/**
 * Limits and types of segments in legacy and compatibility mode (SDM vol. 3, 5.3 to 5.5, vol. 2 for real mode). The
 * check works on linear addresses: the offset is what the segment's base leaves of it, modulo 4 GiB.
 *
 * Most segments are flat and writable; SEGMENT_CHECKS (cpu/layout.ts) names those that are not, so that the others cost
 * one test of a bit.
 */
import type { Builder, Expr } from "../ir/builder.ts";
import { i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { RF_VM } from "./flags.ts";
import * as L from "./layout.ts";
import { EXC_GP, EXC_SS, raise } from "./raise.ts";

export const UNUSABLE = 0x10000;
const CODE = 8;
/** Data: expands down; code: conforming. */
const EXPAND_DOWN = 4;
/** Data: writable; code: readable. */
const WRITABLE = 2;
const BIG = 0x4000;

/**
 * 1 if offsets `first` to `first` + `size` - 1 lie within a segment of these attributes and limit. `size`: 1 to 2^31.
 */
export const withinLimit: Routine = routine(
  "within_limit",
  ["i32", "i32", "i64", "i64"],
  "i32",
  (b, attributes, limit, first, size) => {
    const last = b.keep(first.add(size).sub(1));
    const end = b.keep(limit.u64());
    b.if(attributes.and(0x10 | CODE | EXPAND_DOWN).eq(0x10 | EXPAND_DOWN), () => {
      const upper = select(attributes.and(BIG), i32(-1), i32(0xffff));
      b.return(first.gtU(end).and(last.leU(upper.u64())));
    });
    b.return(last.leU(end));
  },
);

/** 1 if a segment register lets through an access of `size` bytes at a linear address; `write`: 0 or 1. */
export const segmentAllows: Routine = routine(
  "segment_allows",
  ["i64", "i32", "i32", "i32"],
  "i32",
  (b, va, size, segment, write) => {
    b.if(b.get(L.SEGMENT_CHECKS).shrU(segment).and(1).eqz(), () => b.return(1));
    const place = b.keep(segment.shl(5));
    const attributes = b.load("i32.load", "cpu", place, L.SEGMENTS + 4);
    const limit = b.load("i32.load", "cpu", place, L.SEGMENTS + 16);
    const offset = b.keep(va.sub(b.load("i64.load", "cpu", place, L.SEGMENTS + 8)).and(0xffffffffn));
    b.if(attributes.and(UNUSABLE), () => b.return(0));
    // Real and virtual-8086 mode write through CS, too.
    b.if(b.get(L.MODE).and(L.MODE_PROTECTED), () => {
      const isCode = b.keep(attributes.and(CODE));
      const mayRead = isCode.eqz().or(attributes.and(WRITABLE).nez());
      const mayWrite = isCode.eqz().and(attributes.and(WRITABLE).nez());
      b.if(select(write, mayWrite, mayRead).eqz(), () => b.return(0));
    });
    b.return(b.call(withinLimit, attributes, limit, offset, size.u64()));
  },
);

/** Fails a routine that answers 0 for a pending fault, with #SS(0) or #GP(0), unless the segment lets the access through. */
export function checkSegment(b: Builder, va: Expr, size: Expr, segment: Expr, write: 0 | 1): void {
  b.if(
    b.get(L.SEGMENT_CHECKS).shrU(segment).and(1),
    () =>
      b.if(b.call(segmentAllows, va, size, segment, write).eqz(), () => {
        raise(b, select(segment.eq(L.SS), i32(EXC_SS), i32(EXC_GP)), 0);
        b.return(0);
      }),
    undefined,
    false,
  );
}

const FLAT_CHECKS = [L.ES, L.SS, L.DS].reduce<number>((bits, s) => bits | (1 << s) | (1 << (s + L.SEGMENT_BASED)), 0);
const FLAT_CODE = L.MODE_32 | L.MODE_STACK32 | L.MODE_PROTECTED;

/**
 * Recomputes SEGMENT_CHECKS and MODE_FLAT after a change of a segment register or of the mode. Precondition: the rest of
 * MODE is right, and no other instruction of the running block follows.
 */
export const updateSegmentChecks: Routine = routine("update_segment_checks", [], undefined, (b) => {
  b.if(b.get(L.MODE).and(L.MODE_64), () => {
    b.put(L.SEGMENT_CHECKS, 0);
    b.return();
  });
  let checks: Expr = i32(1 << L.CS);
  for (const s of [L.ES, L.SS, L.DS, L.FS, L.GS]) checks = checks.or(checksOf(b, i32(s)));
  putChecks(b, checks);
});

/** The same after a change of one register for data. */
export const updateSegmentCheck: Routine = routine("update_segment_check", ["i32"], undefined, (b, segment) => {
  b.if(b.get(L.MODE).and(L.MODE_64), () => b.return());
  const others = i32(1 | (1 << L.SEGMENT_BASED))
    .shl(segment)
    .not();
  putChecks(b, b.get(L.SEGMENT_CHECKS).and(others).or(checksOf(b, segment)));
});

/** The bits of SEGMENT_CHECKS of a register for data. */
function checksOf(b: Builder, segment: Expr): Expr {
  const place = b.keep(segment.shl(5));
  const isData = b
    .load("i32.load", "cpu", place, L.SEGMENTS + 4)
    .and(UNUSABLE | 0x90 | CODE | EXPAND_DOWN | WRITABLE)
    .eq(0x90 | WRITABLE);
  const isFlat = isData.and(b.load("i32.load", "cpu", place, L.SEGMENTS + 16).eq(-1));
  const isBased = b.load("i64.load", "cpu", place, L.SEGMENTS + 8).nez();
  return isFlat.xor(1).or(isBased.shl(L.SEGMENT_BASED)).shl(segment);
}

function putChecks(b: Builder, checks: Expr): void {
  const kept = b.keep(checks);
  b.put(L.SEGMENT_CHECKS, kept);
  const mode = b.keep(b.get(L.MODE).and(~L.MODE_FLAT));
  const isFlatCode = b
    .get(L.segLimit(L.CS))
    .eq(-1)
    .and(b.get(L.segBase(L.CS)).eqz());
  const isFlat = kept.and(FLAT_CHECKS).eqz().and(mode.and(FLAT_CODE).eq(FLAT_CODE)).and(isFlatCode);
  b.put(L.MODE, mode.or(isFlat.mul(L.MODE_FLAT)));
}

/** Virtual-8086 mode (i32, 0 or not). */
export function isV86(b: Builder): Expr {
  return b.get(L.SYSTEM_FLAGS).and(RF_VM);
}
