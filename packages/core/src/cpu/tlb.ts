/**
 * The software TLB (SDM vol. 3, 4.10): what it holds, how it is filled and emptied. Sets by privilege: supervisor, user,
 * and supervisor with EFLAGS.AC under CR4.SMAP, the only one of the two supervisor sets that then holds user pages.
 *
 * A write tag is only there when the page's D flag is set, no decoded code lies in it and, while stores are tracked, one
 * has been noted (PAGE_UNWRITTEN); MMIO is never cached; every fill is logged, so that a flush costs as much as what was filled. Entries are of 4 KiB whatever the page's size.
 * PCIDs are not part of an entry: a new CR3 drops everything that is not global.
 */
import { type Builder, type Expr, type Field, i32, i64, own as ownTable, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { CR4_SMAP } from "./control-bits.ts";
import * as L from "./layout.ts";

/** XLATE_FLAGS (cpu/layout.ts): what the translated page lets this privilege do, and what kind of page it is. */
export const PAGE_WRITABLE = 1;
export const PAGE_READABLE = 2;
export const PAGE_EXECUTABLE = 4;
export const PAGE_GLOBAL = 8;
export const PAGE_DIRTY = 16;
/** 2 MiB, 4 MiB, 1 GiB. */
export const PAGE_2M = 32;
export const PAGE_4M = 64;
export const PAGE_1G = 128;

const SETS = [L.TLB_SUPERVISOR, L.TLB_USER, L.TLB_SUPERVISOR_AC] as const;

/** Address of the entry of `va` in the TLB set at `set`. */
export function tlbEntry(set: Expr, va: Expr): Expr {
  return set.add(
    va
      .shrU(7)
      .lo32()
      .and((L.TLB_ENTRIES - 1) * L.TLB_ENTRY_BYTES),
  );
}

const regionOf = (va: Expr): Expr => va.shrU(21).lo32().and(4095);
const gibOf = (va: Expr): Expr => va.shrU(30).lo32().and(32767);

/** What the running vCPU has of its own, by the address that the first one has it at. */
const own = (b: Builder, at: number): Expr => b.get(L.TLB_SHIFT).add(at);

function bitOf(b: Builder, map: Expr | number, index: Expr): Expr {
  const n = b.keep(index);
  return b.load("i32.load8_u", "host", n.shrU(3).add(map)).shrU(n.and(7)).and(1);
}
function setBits(b: Builder, map: Expr | number, index: Expr, bits: Expr): void {
  const n = b.keep(index);
  const at = b.keep(n.shrU(3).add(map));
  b.store("i32.store8", "host", at, b.load("i32.load8_u", "host", at).or(bits.shl(n.and(7))));
}

/** For INVLPG, which must find every entry of a large page. A 4 MiB page is two regions. */
function noteLarge(b: Builder, va: Expr, flags: Expr): void {
  b.if(
    flags.and(PAGE_1G),
    () => setBits(b, own(b, L.TLB_HUGE), gibOf(va), i32(1)),
    () =>
      b.if(
        flags.and(PAGE_4M),
        () => setBits(b, own(b, L.TLB_LARGE), regionOf(va).and(-2), i32(3)),
        () => setBits(b, own(b, L.TLB_LARGE), regionOf(va), i32(1)),
      ),
  );
}

/** A store to the RAM at a host address was or will be made: before `fillTlb`, which then gives its page a write tag. */
export function noteStore(b: Builder, host: Expr): void {
  const page = host.sub(b.get(L.RAM_HOST)).shrU(12);
  b.store("i32.store8", "host", page.add(b.get(L.PAGE_UNWRITTEN)), i32(0));
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
  const unwritten = b.load("i32.load8_u", "host", page.add(b.get(L.PAGE_UNWRITTEN)));
  const mayWrite = flags.and(PAGE_WRITABLE).and(flags.shrU(4)).and(granules.eqz()).and(unwritten.eqz());
  b.store("i64.store", "host", entry, select(flags.and(PAGE_READABLE), vpn, i64(-1)), L.TLB_READ);
  b.store("i64.store", "host", entry, select(mayWrite, vpn, i64(-1)), L.TLB_WRITE);
  b.store("i64.store", "host", entry, select(flags.and(PAGE_EXECUTABLE), vpn, i64(-1)), L.TLB_EXECUTE);
  b.store("i32.store", "host", entry, host.sub(va.lo32()), L.TLB_ADDEND);
  b.store("i32.store", "host", entry, flags.and(PAGE_GLOBAL), L.TLB_GLOBAL);
  b.if(flags.and(PAGE_2M | PAGE_4M | PAGE_1G), () => noteLarge(b, va, flags), undefined, false);
  const log = b.keep(select(flags.and(PAGE_GLOBAL), i32(L.TLB_LOG_GLOBAL), i32(L.TLB_LOG)).add(b.get(L.TLB_SHIFT)));
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

const reliedPage = (va: Expr): Expr =>
  va
    .shrU(12)
    .lo32()
    .and(L.RELIED_PAGES_BYTES * 8 - 1);

/** Translated code will rely on the mapping of the page of `va`. */
export function relyOnPage(b: Builder, va: Expr): void {
  setBits(b, ownTable(L.RELIED_PAGES), reliedPage(va), i32(1));
}

/** Makes every entry of one log miss. A log that overflowed empties all sets. */
const flushLog: Routine = routine("flush_log", ["i32"], undefined, (b, log) => {
  const count = b.load("i32.load", "host", log);
  b.if(
    count.gtU(L.TLB_LOG_ENTRIES),
    () => b.fill(own(b, L.TLB_SUPERVISOR), i32(0xff), i32(SETS.length * L.TLB_SET_BYTES)),
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

function nextGeneration(b: Builder, generation: Field): void {
  const next = b.keep(b.get(generation).add(2 * L.JUMP_STEP));
  b.put(generation, next);
  // They come again.
  b.if(next.eqz(), () => b.fill(ownTable(L.JUMP_CACHE), i32(0xff), i32(L.JUMP_CACHE_BYTES)), undefined, false);
}

/** What translated code knows of mappings that are not global goes (JUMP_CACHE, STACK_PAGE). */
const forgetPrivateJumps: Routine = routine("forget_private_jumps", [], undefined, (b) => {
  b.put(L.STACK_LIMIT, 0n);
  nextGeneration(b, L.JUMP_GENERATION);
});

/** What translated code knows of mappings goes: one of them, or code, has changed. */
export const forgetJumps: Routine = routine("forget_jumps", [], undefined, (b) => {
  b.call(forgetPrivateJumps);
  nextGeneration(b, L.JUMP_GLOBAL_GENERATION);
  b.fill(ownTable(L.RELIED_PAGES), i32(0), i32(L.RELIED_PAGES_BYTES));
});

/** Counts one more in a field for statistics. */
export function countOne(b: Builder, field: Field): void {
  b.put(field, b.get(field).add(1));
}

/** MOV CR3: everything that is not global goes. */
export const flushTlb: Routine = routine("flush_tlb", [], undefined, (b) => {
  countOne(b, L.TLB_FLUSHES);
  b.call(flushLog, own(b, L.TLB_LOG));
  forgetCodePage(b);
  b.call(forgetPrivateJumps);
});

export const flushTlbAll: Routine = routine("flush_tlb_all", [], undefined, (b) => {
  countOne(b, L.TLB_FLUSHES);
  b.call(flushLog, own(b, L.TLB_LOG));
  b.call(flushLog, own(b, L.TLB_LOG_GLOBAL));
  b.fill(own(b, L.TLB_LARGE), i32(0), i32(L.TLB_LARGE_BYTES));
  b.fill(own(b, L.TLB_HUGE), i32(0), i32(L.TLB_HUGE_BYTES));
  forgetCodePage(b);
  b.call(forgetJumps);
});

/** INVLPG. */
export const flushPage: Routine = routine("flush_page", ["i64"], undefined, (b, va) => {
  countOne(b, L.TLB_PAGE_FLUSHES);
  const large = bitOf(b, own(b, L.TLB_LARGE), regionOf(va)).or(bitOf(b, own(b, L.TLB_HUGE), gibOf(va)));
  b.if(large, () => {
    b.call(flushTlbAll);
    b.return();
  });
  for (const set of SETS) {
    const entry = b.keep(tlbEntry(own(b, set), va));
    b.store("i64.store", "host", entry, i64(-1), L.TLB_READ);
    b.store("i64.store", "host", entry, i64(-1), L.TLB_WRITE);
    b.store("i64.store", "host", entry, i64(-1), L.TLB_EXECUTE);
  }
  forgetCodePage(b);
  // Translated code knows nothing of other pages.
  b.if(bitOf(b, ownTable(L.RELIED_PAGES), reliedPage(va)), () => b.call(forgetJumps), undefined, false);
});

/** Drops the write tags of every entry that maps the RAM page at host address `page`: code was decoded in it. */
export const protectPage: Routine = routine("protect_page", ["i32"], undefined, (b, page) => {
  b.put(L.STACK_LIMIT, 0n);
  const entry = b.variable(own(b, L.TLB_SUPERVISOR));
  // Without SMAP the third set is empty.
  const smap = b.get(L.CR4).lo32().and(CR4_SMAP);
  const sets = select(smap, i32(L.TLB_SUPERVISOR_AC + L.TLB_SET_BYTES), i32(L.TLB_SUPERVISOR_AC));
  const end = b.keep(sets.add(b.get(L.TLB_SHIFT)));
  b.while(
    () => entry.get().ltU(end),
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
