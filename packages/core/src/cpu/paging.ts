/**
 * Address translation (SDM vol. 3, chapter 4): which way a linear address goes. The walks: paging-walk.ts; what they
 * found is cached: tlb.ts; faults: page-fault.ts. Left out: 5-level paging, protection keys.
 */
import { type Routine, routine } from "../ir/routine.ts";
import { CR0_PG, CR4_PAE, EFER_LMA } from "./control-bits.ts";
import * as L from "./layout.ts";
import { walk4Level, walk32Bit, walkNothing, walkPae } from "./paging-walk.ts";
import { countOne } from "./tlb.ts";

const translateLegacy: Routine = routine("translate_legacy", ["i64", "i32"], "i32", (b, va, access) => {
  const linear = b.keep(va.and(0xffffffffn));
  b.if(b.get(L.CR0).lo32().and(CR0_PG).eqz(), () => b.return(b.call(walkNothing, linear)));
  b.if(b.get(L.CR4).lo32().and(CR4_PAE), () => b.return(b.call(walkPae, linear, access)));
  b.return(b.call(walk32Bit, linear, access));
});

/**
 * Walks the tables for a canonical linear address. `access`: PF_W, PF_I, PF_U bits. Sets XLATE_PHYS (of the byte),
 * XLATE_HOST (RAM only) and XLATE_FLAGS, and the tables' A and D flags. XLATE_*. TLB_CURRENT tells implicit supervisor
 * accesses from explicit ones.
 */
export const translate: Routine = routine("translate", ["i64", "i32"], "i32", (b, va, access) => {
  countOne(b, L.TLB_MISSES);
  b.if(b.get(L.EFER).lo32().and(EFER_LMA).eqz(), () => b.return(b.call(translateLegacy, va, access)), undefined, false);
  walk4Level(b, va, access);
});
