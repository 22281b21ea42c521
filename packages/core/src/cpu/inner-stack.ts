/**
 * The stack of an inner privilege level, from the current TSS (SDM vol. 3, 5.8.5 and 7.2): 16-bit, 32-bit and 64-bit
 * forms. In long mode SS becomes a null selector with the new level.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { descriptorAttributes, descriptorBase, descriptorLimit, readSystem, TYPE_TSS32 } from "./descriptors.ts";
import * as L from "./layout.ts";
import { EXC_SS, EXC_TS, raise } from "./raise.ts";
import { fetchStack, fillNull, fillSegment } from "./segments.ts";
import { legacyStackSize, STACK_64, type Stack } from "./stack-frame.ts";

/** Selector of the stack that `fetchInnerStack` found; its pointer is in RESULT[1], its descriptor in RESULT[0]. */
const SELECTOR = L.result(2);

/**
 * Finds the stack for privilege level `dpl` (0 to 2): descriptor, pointer and selector in RESULT[0] to [2]. `ext` is bit
 * 0 of error codes. 0 = done, 1 = #TS, #SS or a page fault is pending.
 */
export const fetchInnerStack: Routine = routine("fetch_inner_stack", ["i32", "i32"], "i32", (b, dpl, ext) => {
  const tss = b.get(L.segBase(L.TR));
  const limit = b.get(L.segLimit(L.TR));
  const tooShort = (last: Expr): void =>
    b.if(last.gtU(limit), () => {
      raise(b, EXC_TS, b.get(L.segSelector(L.TR)).and(0xfffc).or(ext));
      b.return(1);
    });
  const read = (offset: Expr, bytes: number): Expr => {
    const host = b.call(readSystem, tss.add(offset.u64()), bytes);
    b.if(host.eqz(), () => b.return(1));
    return host;
  };
  b.if(b.get(L.EFER).lo32().and(0x400), () => {
    const at = b.keep(dpl.shl(3).add(4));
    tooShort(at.add(7));
    const rsp = b.load("i64.load", "host", read(at, 8));
    b.if(rsp.shl(16).shrS(16).ne(rsp), () => {
      raise(b, EXC_SS, ext);
      b.return(1);
    });
    b.put(L.result(0), 0n);
    b.put(L.result(1), rsp);
    b.put(SELECTOR, dpl.u64());
    b.return(0);
  });
  const selector = b.variable(i32(0));
  const pointer = b.variable(i64(0));
  // Bit 3 of the type tells a 32-bit TSS from a 16-bit one.
  b.if(
    b.get(L.segAttributes(L.TR)).and(TYPE_TSS32 & ~1),
    () => {
      const at = b.keep(dpl.shl(3).add(4));
      tooShort(at.add(5));
      pointer.set(b.load("i64.load32_u", "host", read(at, 4)));
      selector.set(b.load("i32.load16_u", "host", read(at.add(4), 2)));
    },
    () => {
      const at = b.keep(dpl.shl(2).add(2));
      tooShort(at.add(3));
      pointer.set(b.load("i64.load16_u", "host", read(at, 2)));
      selector.set(b.load("i32.load16_u", "host", read(at.add(2), 2)));
    },
  );
  const ss = b.keep(selector.get());
  b.if(ss.and(0xfffc).eqz(), () => {
    raise(b, EXC_TS, ss.and(0xfffc).or(ext));
    b.return(1);
  });
  b.if(b.call(fetchStack, ss, dpl, EXC_TS, ext), () => b.return(1));
  b.put(L.result(1), pointer.get());
  b.put(SELECTOR, ss.u64());
  b.return(0);
});

export interface InnerStack extends Stack {
  readonly selector: Expr;
  readonly descriptor: Expr;
}

/** What `fetchInnerStack` found, for frames. `cpl`: the level it was asked for. */
export function innerStack(b: Builder, cpl: Expr): InnerStack {
  const descriptor = b.get(L.result(0));
  const attributes = b.keep(descriptorAttributes(descriptor));
  const isLong = b.get(L.EFER).lo32().and(0x400);
  return {
    base: b.keep(descriptorBase(descriptor)),
    limit: b.keep(descriptorLimit(descriptor)),
    attributes,
    rsp: b.get(L.result(1)),
    size: b.keep(select(isLong, i32(STACK_64), legacyStackSize(attributes))),
    cpl,
    selector: b.keep(b.get(SELECTOR).lo32()),
    descriptor,
  };
}

/** SS := that stack's. The mode is the caller's to bring up to date. */
export function loadInnerStack(b: Builder, stack: InnerStack): void {
  b.if(
    stack.size.eq(STACK_64),
    () => b.call(fillNull, L.SS, stack.selector, stack.cpl),
    () => b.call(fillSegment, L.SS, stack.selector, stack.descriptor),
  );
}
