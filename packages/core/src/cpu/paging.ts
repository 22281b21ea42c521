/**
 * Address translation (SDM vol. 3, chapter 4): 4-level paging with 4 KiB, 2 MiB and 1 GiB pages, permission bits (U/S,
 * R/W, XD, CR0.WP, SMEP), reserved bits, accessed and dirty flags; and the software TLB that caches it.
 * Left out: 32-bit and PAE paging, SMAP, protection keys, PCID.
 *
 * TLB rules: a write tag is only there when the page's D flag is set and no decoded code lies in it; MMIO is never
 * cached; every fill is logged, so that a flush costs as much as what was filled.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { EXC_PF, raise } from "./raise.ts";

/** Bits of a page-fault error code, also used to name the kind of access. */
export const PF_P = 1;
export const PF_W = 2;
export const PF_U = 4;
export const PF_RSVD = 8;
export const PF_I = 16;

export const XLATE_FAULT = 0;
export const XLATE_RAM = 1;
export const XLATE_MMIO = 2;

const FLAG_WRITABLE = 1;
const FLAG_EXECUTABLE = 4;
const FLAG_GLOBAL = 8;
const FLAG_DIRTY = 16;
const FLAG_LARGE = 32;

/** Host address of a RAM byte, 0 if the physical address is not RAM. */
export const ramHost: Routine = routine("ram_host", ["i64"], "i32", (b, phys) => {
  const low = b.keep(b.get(L.LOW_RAM_BYTES).u64());
  b.if(phys.ltU(low), () => b.return(phys.lo32().add(b.get(L.RAM_HOST))), undefined, true);
  const high = b.keep(phys.sub(0x100000000n));
  b.if(high.ltU(b.get(L.RAM_BYTES).u64().sub(low)), () => b.return(high.add(low).lo32().add(b.get(L.RAM_HOST))));
  b.return(0);
});

function pageFault(b: Builder, va: Expr, code: Expr): void {
  b.put(L.CR2, va);
  raise(b, EXC_PF, code);
  b.return(XLATE_FAULT);
}

/**
 * Walks the tables for a canonical linear address. `access`: PF_W, PF_I, PF_U bits. Sets XLATE_PHYS (of the byte),
 * XLATE_HOST (RAM only) and XLATE_FLAGS, and the tables' A and D flags. XLATE_*.
 */
export const translate: Routine = routine("translate", ["i64", "i32"], "i32", (b, va, access) => {
  b.block((found) => {
    b.if(b.get(L.CR0).geS(0).and(b.get(L.CR0).and(0x80000000n).eqz()), () => {
      b.put(L.XLATE_PHYS, va);
      b.put(L.XLATE_FLAGS, FLAG_WRITABLE | FLAG_EXECUTABLE | FLAG_DIRTY);
      b.br(found);
    });
    const nxe = b.keep(b.get(L.EFER).and(0x800).nez());
    const isWrite = b.keep(access.and(PF_W));
    const isUser = b.keep(access.and(PF_U));
    const table = b.variable(b.get(L.CR3).and(0xffffffffff000n));
    const shift = b.variable(i64(39));
    // Rights accumulate over the levels: bit 1 R/W, bit 2 U/S; bit 63 collects XD.
    const rights = b.variable(i64(6));
    const xd = b.variable(i64(0));
    b.loop((level) => {
      const slot = b.call(ramHost, table.get().add(va.shrU(shift.get()).and(0x1ff).shl(3)));
      const entry = b.variable(i64(0));
      b.if(slot.nez(), () => entry.set(b.load("i64.load", "host", slot)));
      b.if(entry.get().and(1).eqz(), () =>
        pageFault(b, va, access.and(~PF_I).or(select(nxe, access.and(PF_I), i32(0)))),
      );
      const large = b.keep(
        shift
          .get()
          .eq(12)
          .or(shift.get().leU(30).and(entry.get().and(0x80).nez())),
      );
      // Reserved: bits 51:40 (MAXPHYADDR 40), XD without NXE, PS at level 4, address bits of large pages below their size.
      const reserved = b.variable(entry.get().and(0xff0000000000n));
      reserved.set(reserved.get().or(entry.get().and(0xf000000000000n)));
      b.if(nxe.eqz(), () => reserved.set(reserved.get().or(entry.get().and(1n << 63n))));
      b.if(shift.get().eq(39), () => reserved.set(reserved.get().or(entry.get().and(0x80))));
      b.if(large.and(shift.get().gtU(12)), () => {
        reserved.set(reserved.get().or(entry.get().and(i64(1).shl(shift.get()).sub(1).and(0xffffffffe000n))));
      });
      b.if(reserved.get().nez(), () =>
        pageFault(
          b,
          va,
          access
            .and(~PF_I)
            .or(select(nxe, access.and(PF_I), i32(0)))
            .or(PF_P | PF_RSVD),
        ),
      );
      rights.set(rights.get().and(entry.get()));
      xd.set(xd.get().or(entry.get().shrU(63)));
      b.if(large, () => {
        // Permission check before any flag is written.
        const userPage = b.keep(rights.get().and(4).nez());
        const writable = b.keep(rights.get().and(2).nez());
        const mayWrite = b.keep(writable.or(isUser.eqz().and(b.get(L.CR0).and(0x10000).eqz())));
        const noExecute = b.keep(nxe.and(xd.get().nez()));
        const smep = b.keep(b.get(L.CR4).and(0x100000).nez());
        const blockedFetch = access
          .and(PF_I)
          .nez()
          .and(noExecute.or(isUser.eqz().and(userPage).and(smep)));
        const denied = isUser.nez().and(userPage.eqz()).or(isWrite.nez().and(mayWrite.eqz())).or(blockedFetch);
        b.if(denied, () => {
          const reportsFetch = nxe.or(smep);
          pageFault(
            b,
            va,
            access
              .and(~PF_I)
              .or(select(reportsFetch, access.and(PF_I), i32(0)))
              .or(PF_P),
          );
        });
        const dirty = b.keep(entry.get().or(select(isWrite.nez(), i64(0x60), i64(0x20))));
        b.if(dirty.ne(entry.get()), () => b.store("i64.store", "host", slot, dirty));
        const offsetMask = b.keep(i64(1).shl(shift.get()).sub(1));
        b.put(L.XLATE_PHYS, entry.get().and(0xfffffff000n).and(offsetMask.not()).or(va.and(offsetMask)));
        const flags = mayWrite
          .or(noExecute.or(userPage.and(smep).and(isUser.eqz())).xor(1).shl(2))
          .or(entry.get().shrU(8).lo32().and(1).and(b.get(L.CR4).shrU(7).lo32()).shl(3))
          .or(dirty.shrU(6).lo32().and(1).shl(4))
          .or(shift.get().gtU(12).shl(5));
        b.put(L.XLATE_FLAGS, flags);
        b.br(found);
      });
      const accessed = b.keep(entry.get().or(0x20));
      b.if(accessed.ne(entry.get()), () => b.store("i64.store", "host", slot, accessed));
      table.set(entry.get().and(0xfffffff000n));
      shift.set(shift.get().sub(9));
      b.br(level);
    });
  });
  const host = b.call(ramHost, b.get(L.XLATE_PHYS));
  b.if(host.eqz(), () => b.return(XLATE_MMIO));
  b.put(L.XLATE_HOST, host);
  b.return(XLATE_RAM);
});

/** Address of the entry of `va` in the TLB set at `set`. */
export function tlbEntry(set: Expr, va: Expr): Expr {
  return set.add(
    va
      .shrU(7)
      .lo32()
      .and((L.TLB_ENTRIES - 1) * L.TLB_ENTRY_BYTES),
  );
}

/** Enters the last translation (of `va`, to RAM) into the current set. */
export const fillTlb: Routine = routine("fill_tlb", ["i64"], undefined, (b, va) => {
  const set = b.get(L.TLB_CURRENT);
  b.if(set.eq(L.TLB_NONE), () => b.return());
  const entry = b.keep(tlbEntry(set, va));
  const flags = b.get(L.XLATE_FLAGS);
  const vpn = b.keep(va.shrU(12));
  const host = b.get(L.XLATE_HOST);
  const page = b.keep(host.sub(b.get(L.RAM_HOST)).shrU(12));
  const granules = b.load("i64.load", "host", page.shl(3).add(b.get(L.PAGE_GRANULES)));
  const mayWrite = flags.and(FLAG_WRITABLE).and(flags.shrU(4)).and(granules.eqz());
  b.store("i64.store", "host", entry, vpn, L.TLB_READ);
  b.store("i64.store", "host", entry, select(mayWrite, vpn, i64(-1)), L.TLB_WRITE);
  b.store("i64.store", "host", entry, select(flags.and(FLAG_EXECUTABLE), vpn, i64(-1)), L.TLB_EXECUTE);
  b.store("i32.store", "host", entry, host.sub(va.lo32()), L.TLB_ADDEND);
  b.if(flags.and(FLAG_LARGE), () => {
    const region = b.keep(va.shrU(21).lo32().and(4095));
    const at = b.keep(region.shrU(3).add(L.TLB_LARGE));
    b.store("i32.store8", "host", at, b.load("i32.load8_u", "host", at).or(i32(1).shl(region.and(7))));
  });
  const log = b.keep(select(flags.and(FLAG_GLOBAL), i32(L.TLB_LOG_GLOBAL), i32(L.TLB_LOG)));
  const count = b.load("i32.load", "host", log);
  b.if(
    count.ltU(L.TLB_LOG_ENTRIES),
    () => {
      b.store("i32.store", "host", log.add(count.shl(2)), entry, 4);
      b.store("i32.store", "host", log, count.add(1));
    },
    () => b.store("i32.store", "host", log, i32(L.TLB_LOG_ENTRIES + 1)),
  );
});

/** Makes every entry of one log miss. A log that overflowed empties both sets. */
const flushLog: Routine = routine("flush_log", ["i32"], undefined, (b, log) => {
  const count = b.load("i32.load", "host", log);
  b.if(
    count.gtU(L.TLB_LOG_ENTRIES),
    () => b.fill(i32(L.TLB_SUPERVISOR), i32(0xff), i32(2 * L.TLB_SET_BYTES)),
    () => {
      const i = b.variable(i32(0));
      b.while(
        () => i.get().ltU(count),
        () => {
          const entry = b.load("i32.load", "host", log.add(i.get().shl(2)), 4);
          b.store("i64.store", "host", entry, i64(-1), L.TLB_READ);
          b.store("i64.store", "host", entry, i64(-1), L.TLB_WRITE);
          b.store("i64.store", "host", entry, i64(-1), L.TLB_EXECUTE);
          i.set(i.get().add(1));
        },
      );
    },
  );
  b.store("i32.store", "host", log, i32(0));
});

/** The code page is looked up again before the next block. */
export function forgetCodePage(b: Builder): void {
  b.put(L.CODE_PAGE, 1);
}

/** MOV CR3: everything that is not global goes. */
export const flushTlb: Routine = routine("flush_tlb", [], undefined, (b) => {
  b.call(flushLog, L.TLB_LOG);
  forgetCodePage(b);
});

export const flushTlbAll: Routine = routine("flush_tlb_all", [], undefined, (b) => {
  b.call(flushLog, L.TLB_LOG);
  b.call(flushLog, L.TLB_LOG_GLOBAL);
  b.fill(i32(L.TLB_LARGE), i32(0), i32(512));
  forgetCodePage(b);
});

/** INVLPG. */
export const flushPage: Routine = routine("flush_page", ["i64"], undefined, (b, va) => {
  const region = b.keep(va.shrU(21).lo32().and(4095));
  const large = b.load("i32.load8_u", "host", region.shrU(3).add(L.TLB_LARGE)).shrU(region.and(7)).and(1);
  b.if(large, () => {
    b.call(flushTlbAll);
    b.return();
  });
  for (const set of [L.TLB_SUPERVISOR, L.TLB_USER]) {
    const entry = b.keep(tlbEntry(i32(set), va));
    b.store("i64.store", "host", entry, i64(-1), L.TLB_READ);
    b.store("i64.store", "host", entry, i64(-1), L.TLB_WRITE);
    b.store("i64.store", "host", entry, i64(-1), L.TLB_EXECUTE);
  }
  forgetCodePage(b);
});

/** Drops the write tags of every entry that maps the RAM page at host address `page`: code was decoded in it. */
export const protectPage: Routine = routine("protect_page", ["i32"], undefined, (b, page) => {
  const entry = b.variable(i32(L.TLB_SUPERVISOR));
  b.while(
    () => entry.get().ltU(L.TLB_SUPERVISOR + 2 * L.TLB_SET_BYTES),
    () => {
      const at = b.keep(entry.get());
      const tag = b.load("i64.load", "host", at, L.TLB_WRITE);
      const mapped = tag
        .shl(12)
        .lo32()
        .add(b.load("i32.load", "host", at, L.TLB_ADDEND))
        .eq(page);
      b.if(mapped.and(tag.ne(-1)), () => b.store("i64.store", "host", at, i64(-1), L.TLB_WRITE));
      entry.set(at.add(L.TLB_ENTRY_BYTES));
    },
  );
});
