/** The address of a memory operand, from the fields of its micro-op (cpu/layout.ts, UOP_*). */
import * as L from "../cpu/layout.ts";
import { i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";

/** Effective address of the memory operand, before the segment base. */
export const effectiveOffset: Routine = routine("effective_offset", ["i32"], "i64", (b, up) => {
  const base = b.load("i64.load", "cpu", b.load("i32.load16_u", "host", up, L.UOP_BASE));
  const index = b.load("i64.load", "cpu", b.load("i32.load16_u", "host", up, L.UOP_INDEX));
  const how = b.load("i32.load8_u", "host", up, L.UOP_ADDRESS);
  const disp = b.load("i64.load32_s", "host", up, L.UOP_DISPLACEMENT);
  const offset = b.keep(base.add(index.shl(how.and(3).u64())).add(disp));
  b.if(how.and(L.ADDRESS_32), () => b.return(offset.and(0xffffffffn)));
  b.if(how.and(L.ADDRESS_16), () => b.return(offset.and(0xffff)));
  b.return(offset);
});

/** Linear address of the memory operand's byte `delta`, whose offset wraps at the address size; legacy segmentation wraps at 4 GiB. */
export const effectiveAddress: Routine = routine("effective_address", ["i32", "i32"], "i64", (b, up, delta) => {
  const segment = b.load("i64.load", "cpu", b.load("i32.load16_u", "host", up, L.UOP_SEGMENT_BASE));
  const offset = b.variable(b.call(effectiveOffset, up));
  b.if(delta, () => {
    const moved = b.keep(offset.get().add(delta.u64()));
    const how = b.load("i32.load8_u", "host", up, L.UOP_ADDRESS);
    const narrow = select(how.and(L.ADDRESS_16), i64(0xffff), i64(0xffffffffn));
    offset.set(moved.and(select(how.and(L.ADDRESS_16 | L.ADDRESS_32), narrow, i64(-1))));
  });
  const linear = b.keep(offset.get().add(segment));
  b.if(b.load("i32.load8_u", "host", up, L.UOP_ADDRESS).and(L.ADDRESS_LEGACY), () => b.return(linear.and(0xffffffffn)));
  b.return(linear);
});
