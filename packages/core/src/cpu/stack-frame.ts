/**
 * Stack frames that the processor itself writes and reads: far calls, interrupts, their returns. A frame is put
 * together in the state block first (SCRATCH_FRAME), then pushed as a whole: every fault of it comes before its first
 * store.
 */
import { type Builder, type Expr, i32, i64, type Operand, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { commitStore, readLinear, writeLinear, writeProbed } from "./access.ts";
import { ATTR_BIG } from "./descriptors.ts";
import * as L from "./layout.ts";
import { updateTlbSet } from "./mode.ts";
import { withinLimit } from "./segment-limits.ts";

/** Width of stack addresses: 0 16 bits, 1 32 bits, 2 64 bits. */
export const STACK_16 = 0;
export const STACK_32 = 1;
export const STACK_64 = 2;

export interface Stack {
  readonly base: Expr;
  readonly limit: Expr;
  readonly attributes: Expr;
  readonly rsp: Expr;
  /** STACK_*. */
  readonly size: Expr;
  /** Privilege of the accesses. */
  readonly cpl: Expr;
}

/** The stack in use. */
export function currentStack(b: Builder): Stack {
  const attributes = b.get(L.segAttributes(L.SS));
  const mode = b.get(L.MODE);
  const size = b.keep(select(mode.and(L.MODE_64), i32(STACK_64), attributes.shrU(14).and(1)));
  return {
    base: b.keep(select(size.eq(STACK_64), i64(0), b.get(L.segBase(L.SS)))),
    limit: b.get(L.segLimit(L.SS)),
    attributes,
    rsp: b.get(L.RSP),
    size,
    cpl: b.get(L.CPL),
  };
}

/** STACK_16 or STACK_32 of a legacy stack segment's attributes. */
export function legacyStackSize(attributes: Expr): Expr {
  return attributes.and(ATTR_BIG).nez();
}

const offsetMask = (size: Expr): Expr =>
  select(size.eq(STACK_64), i64(-1), select(size, i64(0xffffffffn), i64(0xffff)));

/** A stack pointer moved by `bytes` (i64): the bits above the stack's width stay as in `rsp`, but 32-bit ones clear them. */
export const movedPointer: Routine = routine("moved_pointer", ["i64", "i64", "i32"], "i64", (b, rsp, bytes, size) => {
  const moved = b.keep(rsp.add(bytes));
  b.if(size.eq(STACK_16), () => b.return(rsp.and(-0x10000).or(moved.and(0xffff))));
  b.return(select(size.eq(STACK_64), moved, moved.and(0xffffffffn)));
});

/** Puts a value into the frame; number 0 is pushed first. */
export function frameValue(b: Builder, index: number | Expr, value: Expr): void {
  const at = typeof index === "number" ? i32(index * 8) : index.shl(3);
  b.store("i64.store", "cpu", at, value.u64(), L.SCRATCH_FRAME);
}

const FRAME_FITS = 0;
export const FRAME_FAULT = 1;
export const FRAME_BEYOND_LIMIT = 2;

const pushFrameRoutine: Routine = routine(
  "push_frame",
  ["i32", "i32", "i64", "i32", "i32", "i64", "i32", "i32"],
  "i32",
  (b, count, width, base, limit, attributes, rsp, size, cpl) => {
    const oldCpl = b.get(L.CPL);
    const oldSet = b.get(L.TLB_CURRENT);
    b.put(L.CPL, cpl);
    b.if(cpl.ne(oldCpl), () => b.call(updateTlbSet));
    const mask = b.keep(offsetMask(size));
    const isLong = b.keep(size.eq(STACK_64));
    const status = b.variable(i32(FRAME_FITS));
    const i = b.variable(i32(0));
    const slot = (): { offset: Expr; linear: Expr } => {
      const below = i.get().add(1).mul(width).u64();
      const offset = b.keep(rsp.sub(below).and(mask));
      const sum = b.keep(base.add(offset));
      return { offset, linear: b.keep(select(isLong, sum, sum.and(0xffffffffn))) };
    };
    b.block((failed) => {
      b.while(
        () => i.get().ltU(count),
        () => {
          const { offset, linear } = slot();
          const fits = b.keep(isLong.or(b.call(withinLimit, attributes, limit, offset, width.u64())));
          b.if(fits.eqz(), () => {
            status.set(i32(FRAME_BEYOND_LIMIT));
            b.br(failed);
          });
          b.if(b.call(writeLinear, linear, width, L.NEW_STACK, 0).eqz(), () => {
            status.set(i32(FRAME_FAULT));
            b.br(failed);
          });
          i.set(i.get().add(1));
        },
      );
      i.set(i32(0));
      b.while(
        () => i.get().ltU(count),
        () => {
          const { linear } = slot();
          const value = b.load("i64.load", "cpu", i.get().shl(3), L.SCRATCH_FRAME);
          const host = b.call(writeProbed, linear, width, L.NEW_STACK);
          b.if(
            width.eq(2),
            () => b.store("i64.store16", "host", host, value),
            () =>
              b.if(
                width.eq(4),
                () => b.store("i64.store32", "host", host, value),
                () => b.store("i64.store", "host", host, value),
              ),
          );
          b.call(commitStore, host);
          i.set(i.get().add(1));
        },
      );
    });
    b.put(L.CPL, oldCpl);
    b.put(L.TLB_CURRENT, oldSet);
    b.return(status.get());
  },
);

/**
 * Pushes the first `count` values of the frame, `width` bytes each, on a stack: 0 = done, FRAME_FAULT = a page fault or
 * #SS(0) is pending, FRAME_BEYOND_LIMIT = the caller raises what belongs. RSP is the caller's to move.
 */
export function pushFrame(b: Builder, count: Operand, width: Operand, stack: Stack): Expr {
  const { base, limit, attributes, rsp, size, cpl } = stack;
  return b.call(pushFrameRoutine, count, width, base, limit, attributes, rsp, size, cpl);
}

/** Linear address of a stack offset outside 64-bit mode. */
export const legacyStackAddress: Routine = routine("legacy_stack_address", ["i64"], "i64", (b, rsp) => {
  const mask = select(b.get(L.MODE).and(L.MODE_STACK32), i64(0xffffffffn), i64(0xffff));
  b.return(b.get(L.segBase(L.SS)).add(rsp.and(mask)).and(0xffffffffn));
});

/** Host address of `width` bytes at `offset` (i64) above the top of the stack in use, or 0 = a fault is pending. */
const stackHost: Routine = routine("stack_host", ["i64", "i32"], "i32", (b, offset, width) => {
  const linear = b.variable(b.get(L.RSP).add(offset));
  b.if(b.get(L.MODE).and(L.MODE_64).eqz(), () => linear.set(b.call(legacyStackAddress, linear.get())));
  b.return(b.call(readLinear, linear.get(), width, L.SS, 0));
});

/** A word of `width` bytes (2, 4 or 8) at a host address, zero-extended to i64. */
export const loadWord: Routine = routine("load_word", ["i32", "i32"], "i64", (b, host, width) => {
  b.if(width.eq(8), () => b.return(b.load("i64.load", "host", host)));
  b.if(width.eq(4), () => b.return(b.load("i64.load32_u", "host", host)));
  b.return(b.load("i64.load16_u", "host", host));
});

/** In a routine that answers 1 for a pending fault: a word of the stack in use, i64. */
export function stackWord(b: Builder, offset: Expr, width: Expr): Expr {
  const host = b.call(stackHost, offset, width);
  b.if(host.eqz(), () => b.return(1));
  return b.call(loadWord, host, width);
}
