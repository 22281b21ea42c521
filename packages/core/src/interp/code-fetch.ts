/**
 * Where the interpreter's code comes from: the host address of the byte at RIP, through the software TLB's execute tags, and
 * what CS's limit says to it (SDM vol. 3, 5.3). In all of it 0 stands for a pending fault.
 */
import * as L from "../cpu/layout.ts";
import { PF_I, PF_U, XLATE_RAM } from "../cpu/page-fault.ts";
import { translate } from "../cpu/paging.ts";
import { EXC_GP, raise } from "../cpu/raise.ts";
import { fillTlb, tlbEntry } from "../cpu/tlb.ts";
import { type Builder, type Expr, i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";

/** Host address of the byte at a linear code address, through the TLB's execute tag. 0 = a fault is pending. */
export const fetchAddress: Routine = routine("fetch_address", ["i64"], "i32", (b, linear) => {
  b.if(linear.shl(16).shrS(16).ne(linear), () => {
    raise(b, EXC_GP, 0);
    b.return(0);
  });
  const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), linear));
  b.if(b.load("i64.load", "host", entry, L.TLB_EXECUTE).eq(linear.shrU(12)), () =>
    b.return(linear.lo32().add(b.load("i32.load", "host", entry, L.TLB_ADDEND))),
  );
  const user = select(b.get(L.CPL).eq(3), i32(PF_U), i32(0));
  const kind = b.call(translate, linear, user.or(PF_I));
  b.if(kind.eqz(), () => b.return(0));
  // Code outside RAM reads as all ones: the address of a page of them.
  b.if(kind.ne(XLATE_RAM), () => b.return(i32(L.ONES_PAGE).or(linear.lo32().and(0xfff))));
  b.call(fillTlb, linear);
  b.return(b.get(L.XLATE_HOST));
});

/** Linear address of code: CS.base and RIP, which wrap at 4 GiB outside 64-bit mode. */
export const wrapLinear: Routine = routine("wrap_linear", ["i64"], "i64", (b, linear) => {
  b.return(select(b.get(L.MODE).and(L.MODE_64), linear, linear.and(0xffffffffn)));
});

/** Linear address of RIP, i64. */
export function codeAddress(b: Builder): Expr {
  return b.call(wrapLinear, b.get(L.RIP).add(b.get(L.CODE_BASE)));
}

/** In a routine that answers 0 for a pending fault: #GP(0) if an offset in CS is beyond its limit. */
function checkCodeLimit(b: Builder, offset: Expr): void {
  b.if(b.get(L.MODE).and(L.MODE_64).eqz(), () =>
    b.if(offset.gtU(b.get(L.segLimit(L.CS)).u64()), () => {
      raise(b, EXC_GP, 0);
      b.return(0);
    }),
  );
}

/**
 * Finds the page of the code at RIP, whose linear address is `linear`: host address of the byte at RIP, or 0 = a fault is
 * pending. The page is remembered in CODE_PAGE, unless CS ends within it: then CODE_LIMITED is set.
 */
export const findCodePage: Routine = routine("find_code_page", ["i64"], "i32", (b, linear) => {
  const rip = b.get(L.RIP);
  b.put(L.CODE_LIMITED, 0);
  checkCodeLimit(b, rip);
  const host = b.call(fetchAddress, b.call(wrapLinear, linear));
  b.if(host.eqz(), () => b.return(0));
  b.put(L.CODE_HOST, host.and(-4096));
  b.if(b.get(L.MODE).and(L.MODE_64).eqz(), () => {
    const pageEnd = rip.add(4095).sub(linear.and(0xfff));
    b.if(pageEnd.gtU(b.get(L.segLimit(L.CS)).u64()), () => {
      b.put(L.CODE_PAGE, 1);
      b.put(L.CODE_LIMITED, 1);
      b.return(host);
    });
  });
  b.put(L.CODE_PAGE, linear.and(-4096));
  b.return(host);
});

/** Host address of the page behind that of `linear`, for an instruction that begins at RIP and goes on there. 0 = fault. */
export const fetchNextPage: Routine = routine("fetch_next_page", ["i64"], "i32", (b, linear) => {
  const next = b.keep(linear.and(-4096).add(4096));
  const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), next));
  const hit = b.load("i64.load", "host", entry, L.TLB_EXECUTE).eq(next.shrU(12));
  b.if(select(b.get(L.MODE).and(L.MODE_64 | L.MODE_FLAT), hit, i32(0)), () =>
    b.return(next.lo32().add(b.load("i32.load", "host", entry, L.TLB_ADDEND))),
  );
  checkCodeLimit(b, b.get(L.RIP).add(4096).sub(linear.and(0xfff)));
  b.return(b.call(fetchAddress, b.call(wrapLinear, next)));
});

/** Whether an instruction of `length` bytes at RIP ends within CS: 1, or 0 = #GP(0) is pending. */
export const checkInstructionEnd: Routine = routine("check_instruction_end", ["i32"], "i32", (b, length) => {
  b.if(b.get(L.CODE_LIMITED), () => checkCodeLimit(b, b.get(L.RIP).add(length.u64()).sub(1)));
  b.return(1);
});
