/**
 * Where a page of code lies, without leaving a trace: the TLB's answer, or else the tables' (SDM vol. 3, 4.5, 4-level
 * paging), as far as every entry on the way is marked as accessed already. Nothing is filled, marked or raised. For looks at
 * pages that code may go to, but has not gone to yet.
 */
import { i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { CR4_SMEP, EFER_LMA } from "./control-bits.ts";
import * as L from "./layout.ts";
import { MAXPHYADDR, ramHost } from "./physical.ts";
import { tlbEntry } from "./tlb.ts";

const PRESENT_ACCESSED = 0x21n;
const USER = 4n;
const PS = 0x80n;
const XD = 1n << 63n;
const FRAME = (1n << BigInt(MAXPHYADDR)) - 0x1000n;
const RESERVED = (1n << 52n) - (1n << BigInt(MAXPHYADDR));
const LEVELS = [39, 30, 21, 12] as const;

/** Host address of the byte at a linear address of code, or 0: not known. */
export const codeHost: Routine = routine("code_host", ["i64"], "i32", (b, va) => {
  const tlb = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
  b.if(
    b.load("i64.load", "host", tlb, L.TLB_EXECUTE).eq(va.shrU(12)),
    () => b.return(va.lo32().add(b.load("i32.load", "host", tlb, L.TLB_ADDEND))),
    undefined,
    true,
  );
  const isLong = b.get(L.EFER).lo32().and(EFER_LMA).nez();
  b.if(isLong.eqz().or(va.shl(16).shrS(16).ne(va)), () => b.return(0));
  const user = b.keep(b.get(L.CPL).eq(3));
  const needed = b.keep(select(user, i64(PRESENT_ACCESSED | USER), i64(PRESENT_ACCESSED)));
  const checked = b.keep(needed.or(RESERVED | XD));
  const table = b.variable(b.get(L.CR3).and(FRAME));
  const all = b.variable(i64(-1));
  const size = b.variable(i64(12));
  b.block((leaf) => {
    for (const shift of LEVELS) {
      const slot = b.call(ramHost, table.get().add(va.shrU(shift).and(0x1ff).shl(3)));
      b.if(slot.eqz(), () => b.return(0));
      const entry = b.load("i64.load", "host", slot);
      b.if(entry.and(checked).ne(needed), () => b.return(0));
      all.set(all.get().and(entry));
      table.set(entry.and(FRAME));
      if (shift === 12) continue;
      b.if(entry.and(PS).nez(), () => {
        if (shift === 39) b.return(0);
        size.set(shift);
        b.br(leaf);
      });
    }
  });
  const isHidden = user.eqz().and(b.get(L.CR4).lo32().and(CR4_SMEP).nez()).and(all.get().and(USER).nez());
  b.if(isHidden, () => b.return(0));
  const within = b.keep(i64(1).shl(size.get()).sub(1));
  // Bit 12 of a large page's entry is PAT's; the others below the page's size are reserved.
  const reserved = select(size.get().eq(12), i64(0), within.and(-0x2000n));
  b.if(table.get().and(reserved).nez(), () => b.return(0));
  return b.return(b.call(ramHost, table.get().and(within.not()).or(va.and(within))));
});
