/**
 * What the regions on the host's stack rely on while they wait for their calls to return: mode, privilege, mappings, the
 * code they were made from, checks of segments, whether the FPU may be used. An instruction that ends a region may change
 * any of it, or make an event pending. What was before is compared with what is then, and the answer says how far
 * the stack has to be left.
 */
import * as L from "../cpu/layout.ts";
import { i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { jumpKey, LEFT_ANEW, LEFT_DISPATCH, LEFT_NEXT, parkFlags } from "./routines.ts";

/** What JUMP_CACHE does not go by, as one number. */
export const worldRest: Routine = routine("world_rest", [], "i64", (b) => {
  const limited = select(b.get(L.segLimit(L.CS)).eq(-1), i32(0), i32(1 << 30));
  const low = b.get(L.FPU_BLOCKED).or(b.get(L.SEGMENT_CHECKS).shl(4)).or(limited);
  b.return(b.get(L.CODE_BASE).shl(32).or(low.u64()));
});

/** How a region is left behind its last instruction: LEFT_*. `key` and `rest` are of before. */
export const leaveRegion: Routine = routine("leave_region", ["i32", "i64"], "i32", (b, key, rest) => {
  parkFlags(b);
  b.if(b.get(L.ATTENTION), () => b.return(LEFT_DISPATCH), undefined, false);
  b.if(jumpKey(b).eq(key).and(b.call(worldRest).eq(rest)), () => b.return(LEFT_NEXT));
  // Regions run in flat code, and where the TLB is used.
  const isFlat = b.get(L.MODE).and(L.MODE_64 | L.MODE_FLAT);
  const isPlain = isFlat.nez().and(b.get(L.TLB_CURRENT).ne(L.TLB_NONE));
  b.return(select(isPlain, i32(LEFT_ANEW), i32(LEFT_DISPATCH)));
});
