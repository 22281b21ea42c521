/**
 * The page fault (SDM vol. 3, 4.7): error code and CR2. The same bits name the kind of access that is translated.
 * Left out: protection keys, shadow stacks, SGX; they do not exist here.
 */
import { i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { CR4_PAE, CR4_SMEP, EFER_NXE } from "./control-bits.ts";
import * as L from "./layout.ts";
import { EXC_PF, raise } from "./raise.ts";

/** Bits of the error code. */
export const PF_P = 1;
export const PF_W = 2;
export const PF_U = 4;
export const PF_RSVD = 8;
export const PF_I = 16;

/** What `translate` answers. */
export const XLATE_FAULT = 0;
export const XLATE_RAM = 1;
export const XLATE_MMIO = 2;

/** Makes #PF pending for `access` (PF_W, PF_U, PF_I) to `va`; `cause`: PF_P, PF_RSVD. XLATE_FAULT. */
export const pageFault: Routine = routine("page_fault", ["i64", "i32", "i32"], "i32", (b, va, access, cause) => {
  const cr4 = b.get(L.CR4).lo32();
  const nxe = b.get(L.EFER).lo32().and(EFER_NXE).nez();
  const kept = b.keep(cr4);
  // I is only reported where fetches can be forbidden.
  const reportsFetch = kept.and(CR4_SMEP).nez().or(kept.and(CR4_PAE).nez().and(nxe));
  const code = access
    .and(PF_W | PF_U)
    .or(select(reportsFetch, access.and(PF_I), i32(0)))
    .or(cause);
  b.put(L.CR2, va);
  raise(b, EXC_PF, code);
  b.return(XLATE_FAULT);
});

/** A paging-structure entry that is not present or has a reserved bit set. XLATE_FAULT. */
export const badEntry: Routine = routine("bad_entry", ["i64", "i32", "i64"], "i32", (b, va, access, entry) => {
  b.return(b.call(pageFault, va, access, select(entry.lo32().and(1), i32(PF_P | PF_RSVD), i32(0))));
});
