/** Areas of state in memory: where the running instruction's memory operand wraps (cpu/x87-environment.ts). */
import * as L from "../../cpu/layout.ts";
import { AREA_BASE, AREA_MASK } from "../../cpu/x87-environment.ts";
import { i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";

/** For the micro-op at an address: to be called before the area is probed. */
export const openArea: Routine = routine("open_area", ["i32"], undefined, (b, up) => {
  const how = b.load("i32.load8_u", "host", up, L.UOP_ADDRESS);
  const narrow = select(how.and(L.ADDRESS_16), i64(0xffff), i64(0xffffffffn));
  const isWide = how.and(L.ADDRESS_16 | L.ADDRESS_32 | L.ADDRESS_LEGACY).eqz();
  b.put(AREA_MASK, select(isWide, i64(-1), narrow));
  b.put(AREA_BASE, b.load("i64.load", "cpu", b.load("i32.load16_u", "host", up, L.UOP_SEGMENT_BASE)));
});
