/**
 * The four page-directory-pointer-table entries of PAE paging, which the processor keeps in registers: loaded when
 * MOV to CR0, CR3 or CR4 says so (SDM vol. 3, 4.4.1). In 4-level paging they are memory like the other levels.
 */
import { type Expr, i64, op, own } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { MAXPHYADDR, mmioRead, ramHost } from "./physical.ts";
import { EXC_GP, raise } from "./raise.ts";

/** Bits 2-1, 8-5 and those above the physical address. */
const RESERVED = 0x1e6n | ((1n << 64n) - (1n << BigInt(MAXPHYADDR)));

/** Loads the registers from the table that `cr3` points to. 0 = done; 1 = #GP(0) is pending and nothing has changed. */
export const loadPointers: Routine = routine("load_pointers", ["i64"], "i32", (b, cr3) => {
  const table = b.keep(cr3.and(0xffffffe0n));
  const host = b.variable(b.call(ramHost, table));
  b.if(host.get().eqz(), () => {
    for (let i = 0; i < 2; i++)
      b.call(mmioRead, op("f64.convert_i64_u", table.add(16 * i)), 16, own(L.CPU_BASE + L.SCRATCH_ENTRY + 16 * i));
    host.set(own(L.CPU_BASE + L.SCRATCH_ENTRY));
  });
  const entries = [0, 1, 2, 3].map((i): Expr => b.load("i64.load", "host", host.get(), 8 * i));
  for (const entry of entries)
    b.if(
      entry
        .and(1)
        .nez()
        .and(entry.and(i64(RESERVED)).nez()),
      () => {
        raise(b, EXC_GP, 0);
        b.return(1);
      },
    );
  for (const [i, entry] of entries.entries()) b.put(L.pdpte(i), entry);
  b.return(0);
});
