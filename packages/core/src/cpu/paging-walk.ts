/**
 * Page walks (SDM vol. 3, 4.3 to 4.6 and 4.8): 32-bit paging with 4 MiB pages and PSE-36, PAE and 4-level paging with 4
 * KiB, 2 MiB and 1 GiB pages; reserved bits, access rights with CR0.WP, SMEP, SMAP and XD, accessed and dirty flags.
 *
 * Flags are written when the walk is known to succeed: A in every entry that was used, D in the last one of a write. A
 * table outside RAM is read from the bus (firmware has them in ROM); flags are not written there.
 */
import { type Builder, type Expr, i32, i64, op, own, select, type Variable } from "../ir/builder.ts";
import { isParallel, type Routine, routine } from "../ir/routine.ts";
import type { Label } from "../ir/types.ts";
import { COMPARE_EXCHANGE } from "./atomics.ts";
import { CR0_WP, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_NXE } from "./control-bits.ts";
import { RF_AC } from "./flags.ts";
import * as L from "./layout.ts";
import { badEntry, PF_I, PF_P, PF_U, PF_W, pageFault, XLATE_MMIO, XLATE_RAM } from "./page-fault.ts";
import { inVgaWindow, isShadowProtected, MAXPHYADDR, mmioRead, ramHost } from "./physical.ts";
import {
  noteStore,
  PAGE_1G,
  PAGE_2M,
  PAGE_4M,
  PAGE_DIRTY,
  PAGE_EXECUTABLE,
  PAGE_GLOBAL,
  PAGE_READABLE,
  PAGE_WRITABLE,
} from "./tlb.ts";

/** Entries. */
const P = 1n;
const RW = 2;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const PS = 0x80n;
const XD = 1n << 63n;
/** Physical address of a table or a 4 KiB page. */
const FRAME = (1n << BigInt(MAXPHYADDR)) - 0x1000n;
const bitsUpTo = (high: number, low: number): bigint => (1n << BigInt(high + 1)) - (1n << BigInt(low));
/** Reserved in every entry; bits 62-52 are software's with 4 levels, and reserved under PAE. */
const RESERVED_4LEVEL = bitsUpTo(51, MAXPHYADDR);
const RESERVED_PAE = bitsUpTo(62, MAXPHYADDR);
/** Reserved in entries of large pages: below the page's address, above PAT. */
const RESERVED_1G = bitsUpTo(29, 13);
const RESERVED_2M = bitsUpTo(20, 13);
/** PSE-36: bits 20-13 (as RESERVED_2M) are the page's address bits 39-32. */
const RESERVED_4M = 0x200000n;

interface Entry {
  /** Host address, 0 outside RAM. */
  readonly slot: Expr;
  readonly value: Expr;
}

/** Reads an entry outside RAM. */
const entryOutsideRam: Routine = routine(
  "entry_outside_ram",
  ["i64", "i32", "i32"],
  "i64",
  (b, phys, bytes, access) => {
    // A fetch is no part of an instruction: nothing of a block is behind it.
    b.if(access.and(PF_I), () => b.put(L.CURRENT_UOP, 0));
    const at = own(L.CPU_BASE + L.SCRATCH_ENTRY);
    b.store("i64.store", "host", at, i64(0));
    b.call(mmioRead, op("f64.convert_i64_u", phys), bytes, at);
    b.return(b.load("i64.load", "host", at));
  },
);

class Walk {
  readonly b: Builder;
  readonly va: Expr;
  readonly access: Expr;
  /** P, and what must be 0: an entry is good if only P of these is set. */
  readonly #checked: Expr;
  readonly #lowRam: Expr;
  readonly #ram: Expr;
  readonly #bytes: 4 | 8;
  /** R/W, U/S and A of all entries so far, and XD inverted: AND of the levels. */
  readonly rights: Variable;
  /** Slots of the entries above the last one that have an A flag; 0 = none. */
  readonly upper: readonly [Variable, Variable, Variable];
  readonly slot: Variable;
  readonly entry: Variable;
  /** Of vCPUs in parallel: starts the walk again, because another one has changed an entry meanwhile. */
  readonly #again: Label | undefined;

  constructor(b: Builder, va: Expr, access: Expr, bytes: 4 | 8, reserved: bigint, again?: Label) {
    this.#again = again;
    this.b = b;
    this.va = va;
    this.access = access;
    this.#bytes = bytes;
    const nxe = b.get(L.EFER).lo32().and(EFER_NXE);
    this.#checked = bytes === 4 ? i64(P) : b.keep(select(nxe, i64(reserved | P), i64(reserved | P | XD)));
    this.#lowRam = b.keep(b.get(L.LOW_RAM_BYTES).u64());
    this.#ram = b.get(L.RAM_HOST);
    this.rights = b.variable(i64(-1));
    this.upper = [b.variable(i32(0)), b.variable(i32(0)), b.variable(i32(0))];
    this.slot = b.variable(i32(0));
    this.entry = b.variable(i64(0));
  }

  /** Reads the entry of `va` in a table, whose index begins at bit `shift`; fails the walk if it is not good. */
  read(table: Expr, shift: number, reserved = 0n): Entry {
    const b = this.b;
    const is64 = this.#bytes === 8;
    const index = is64 ? this.va.shrU(shift).and(0x1ff).shl(3) : this.va.shrU(shift).and(0x3ff).shl(2);
    const phys = b.keep(table.add(index));
    const slot = b.variable(i32(0));
    const value = b.variable(i64(0));
    const load = (): void => value.set(b.load(is64 ? "i64.load" : "i64.load32_u", "host", slot.get()));
    b.if(
      phys.ltU(this.#lowRam),
      () => {
        slot.set(phys.lo32().add(this.#ram));
        load();
      },
      () => {
        slot.set(b.call(ramHost, phys));
        b.if(slot.get().nez(), load, () => value.set(b.call(entryOutsideRam, phys, this.#bytes, this.access)));
        // Tables in ROM get no flags.
        b.if(slot.get().geU(b.get(L.ROM_HOST)), () => slot.set(i32(0)));
      },
      true,
    );
    const entry = { slot: b.keep(slot.get()), value: b.keep(value.get()) };
    this.require(entry, reserved);
    return entry;
  }

  require(entry: Entry, reserved: bigint): void {
    const b = this.b;
    const checked = reserved ? this.#checked.or(reserved) : this.#checked;
    b.if(
      entry.value.and(checked).ne(P),
      () => b.return(b.call(badEntry, this.va, this.access, entry.value)),
      undefined,
      false,
    );
  }

  /** Takes an entry into account, as the last one until the next. */
  use(entry: Entry): void {
    this.rights.set(this.rights.get().and(entry.value.xor(XD)));
    this.slot.set(entry.slot);
    this.entry.set(entry.value);
  }

  is(entry: Entry, bit: bigint): Expr {
    return entry.value.and(bit).nez();
  }

  /**
   * Access rights, flags and result for the page whose entry was used last; `frame`: its address and more bits above the
   * page's size, `shift`: log2 of that size (i64). Returns from the routine.
   */
  finish(frame: Expr, shift: Expr, size: Expr): void {
    const { b, va, access } = this;
    const rights = b.keep(this.rights.get());
    const low = b.keep(rights.lo32());
    const allowed = b.variable(i32(0));
    const isUserPage = low.and(4);
    const executable = b.keep(rights.shrU(63).lo32().mul(PAGE_EXECUTABLE));
    b.if(
      access.and(PF_U),
      () => b.if(isUserPage, () => allowed.set(low.and(RW).shrU(1).or(executable).or(PAGE_READABLE))),
      () => {
        const readOnly = b.get(L.CR0).lo32().and(CR0_WP).nez().and(low.and(RW).eqz());
        allowed.set(readOnly.xor(PAGE_WRITABLE).or(executable).or(PAGE_READABLE));
        b.if(low.and(4), () => allowed.set(allowed.get().and(b.call(supervisorRights))));
      },
    );
    const needed = select(
      access.and(PF_I),
      i32(PAGE_EXECUTABLE),
      select(access.and(PF_W), i32(PAGE_WRITABLE), i32(PAGE_READABLE)),
    );
    b.if(allowed.get().and(needed).eqz(), () => b.return(b.call(pageFault, va, access, PF_P)), undefined, false);

    const marked = b.keep(
      this.entry
        .get()
        .lo32()
        .or(select(access.and(PF_W), i32(ACCESSED | DIRTY), i32(ACCESSED))),
    );
    b.if(
      low.and(ACCESSED).eqz(),
      () => {
        for (const slot of this.upper)
          this.#ifKept(slot.get(), () => {
            if (this.#again) {
              b.br(this.#again, b.call(markUsed, slot.get()).eqz());
              return;
            }
            const entry = b.load("i32.load8_u", "host", slot.get());
            noteStore(b, slot.get());
            b.store("i32.store8", "host", slot.get(), entry.or(ACCESSED));
          });
      },
      undefined,
      false,
    );
    b.if(marked.ne(this.entry.get().lo32()), () =>
      this.#ifKept(this.slot.get(), () => {
        noteStore(b, this.slot.get());
        if (this.#again) {
          const walked = b.keep(this.entry.get().lo32());
          b.br(this.#again, b.call(COMPARE_EXCHANGE[32], this.slot.get(), walked, marked).ne(walked));
        } else b.store("i32.store8", "host", this.slot.get(), marked);
      }),
    );
    const global = b.get(L.CR4).lo32().shrU(7).and(marked.shrU(8)).and(1).mul(PAGE_GLOBAL);
    b.put(L.XLATE_FLAGS, allowed.get().or(global).or(marked.and(DIRTY).shrU(2)).or(size));
    const within = b.keep(i64(1).shl(shift).sub(1));
    const phys = b.keep(frame.and(within.not()).or(va.and(within)));
    b.put(L.XLATE_PHYS, phys);
    b.if(
      phys.ltU(this.#lowRam),
      () => {
        b.if(inVgaWindow(b, phys), () => b.return(XLATE_MMIO), undefined, false);
        b.put(L.XLATE_HOST, phys.lo32().add(this.#ram));
        b.return(XLATE_RAM);
      },
      undefined,
      true,
    );
    b.return(b.call(locatePage));
  }

  /** For flags of an entry: not outside RAM, and not in RAM that stands for ROM. */
  #ifKept(slot: Expr, mark: () => void): void {
    this.b.if(slot.nez(), () => this.b.if(isShadowProtected(this.b, slot).eqz(), mark));
  }
}

/** The A flag in the entry at a host address, with others about. 0: it is not present any more, or has just changed. */
const markUsed: Routine = routine("mark_used", ["i32"], "i32", (b, slot) => {
  const entry = b.load("i32.load", "host", slot);
  b.if(entry.and(1).eqz(), () => b.return(0));
  b.if(entry.and(ACCESSED), () => b.return(1));
  noteStore(b, slot);
  b.return(b.call(COMPARE_EXCHANGE[32], slot, entry, entry.or(ACCESSED)).eq(entry));
});

/** A walk, again and again while other vCPUs change the entries under it. */
function walked(b: Builder, walk: (again?: Label) => void): void {
  if (isParallel()) b.loop(walk);
  else walk();
}

/** XLATE_HOST from XLATE_PHYS: XLATE_RAM, or XLATE_MMIO. */
const locatePage: Routine = routine("locate_page", [], "i32", (b) => {
  const host = b.call(ramHost, b.get(L.XLATE_PHYS));
  b.if(host.eqz(), () => b.return(XLATE_MMIO));
  b.put(L.XLATE_HOST, host);
  b.return(XLATE_RAM);
});

/**
 * What SMEP and SMAP leave of a user page's rights to supervisor accesses: a mask of PAGE_*. AC lifts SMAP from explicit
 * accesses; implicit ones (descriptor tables, task state) are made with the set TLB_SUPERVISOR.
 */
const supervisorRights: Routine = routine("supervisor_rights", [], "i32", (b) => {
  const cr4 = b.keep(b.get(L.CR4).lo32());
  const kept = b.variable(i32(-1));
  b.if(cr4.and(CR4_SMEP), () => kept.set(i32(~PAGE_EXECUTABLE)));
  const set = b.get(L.TLB_CURRENT);
  const hasAc = set.eq(L.TLB_NONE).and(b.get(L.SYSTEM_FLAGS).and(RF_AC).nez());
  b.if(cr4.and(CR4_SMAP), () =>
    b.if(hasAc.or(set.eq(b.get(L.TLB_SHIFT).add(L.TLB_SUPERVISOR_AC))).eqz(), () =>
      kept.set(kept.get().and(~(PAGE_READABLE | PAGE_WRITABLE))),
    ),
  );
  b.return(kept.get());
});

/** Size of the page that a walk ends with. */
class PageSize {
  readonly shift: Variable;
  readonly flag: Variable;
  constructor(b: Builder) {
    this.shift = b.variable(i64(12));
    this.flag = b.variable(i32(0));
  }
  set(shift: number, flag: number): void {
    this.shift.set(shift);
    this.flag.set(flag);
  }
}

/** The levels that PAE and 4-level paging have in common: page directory and page table. */
function lowerLevels(walk: Walk, directory: Expr, size: PageSize, leaf: Label): void {
  const { b } = walk;
  const pde = walk.read(directory, 21);
  walk.use(pde);
  b.if(walk.is(pde, PS), () => {
    walk.require(pde, RESERVED_2M);
    size.set(21, PAGE_2M);
    b.br(leaf);
  });
  walk.upper[2].set(pde.slot);
  walk.use(walk.read(pde.value.and(FRAME), 12));
}

/** The body of a routine that walks the tables of 4-level paging for a canonical linear address. */
export function walk4Level(b: Builder, va: Expr, access: Expr): void {
  walked(b, (again) => walk4Levels(b, va, access, again));
}
function walk4Levels(b: Builder, va: Expr, access: Expr, again: Label | undefined): void {
  const walk = new Walk(b, va, access, 8, RESERVED_4LEVEL, again);
  const size = new PageSize(b);
  const pml4e = walk.read(b.get(L.CR3).and(FRAME), 39, PS);
  walk.use(pml4e);
  walk.upper[0].set(pml4e.slot);
  const pdpte = walk.read(pml4e.value.and(FRAME), 30);
  walk.use(pdpte);
  b.block((leaf) => {
    b.if(
      walk.is(pdpte, PS),
      () => {
        walk.require(pdpte, RESERVED_1G);
        size.set(30, PAGE_1G);
        b.br(leaf);
      },
      undefined,
      false,
    );
    walk.upper[1].set(pdpte.slot);
    lowerLevels(walk, pdpte.value.and(FRAME), size, leaf);
  });
  walk.finish(walk.entry.get().and(FRAME), size.shift.get(), size.flag.get());
}

/** PAE paging, for a linear address of 32 bits. Its first level is in registers, checked when they were loaded. */
export const walkPae: Routine = routine("walk_pae", ["i64", "i32"], "i32", (b, va, access) => {
  const pdpte = b.load("i64.load", "cpu", va.shrU(30).lo32().shl(3), L.pdpte(0).offset);
  b.if(pdpte.and(P).eqz(), () => b.return(b.call(pageFault, va, access, 0)));
  walked(b, (again) => {
    const walk = new Walk(b, va, access, 8, RESERVED_PAE, again);
    const size = new PageSize(b);
    b.block((leaf) => lowerLevels(walk, pdpte.and(FRAME), size, leaf));
    walk.finish(walk.entry.get().and(FRAME), size.shift.get(), size.flag.get());
  });
});

/** 32-bit paging, for a linear address of 32 bits. Without CR4.PSE nothing in an entry is reserved. */
export const walk32Bit: Routine = routine("walk_32bit", ["i64", "i32"], "i32", (b, va, access) =>
  walked(b, (again) => walkTwoLevels(b, va, access, again)),
);
function walkTwoLevels(b: Builder, va: Expr, access: Expr, again: Label | undefined): void {
  const walk = new Walk(b, va, access, 4, 0n, again);
  const size = new PageSize(b);
  const frame = b.variable(i64(0));
  const pde = walk.read(b.get(L.CR3).and(0xfffff000n), 22);
  walk.use(pde);
  b.block((leaf) => {
    b.if(walk.is(pde, PS).and(b.get(L.CR4).lo32().and(CR4_PSE).nez()), () => {
      walk.require(pde, RESERVED_4M);
      frame.set(pde.value.and(0xffc00000n).or(pde.value.and(RESERVED_2M).shl(19)));
      size.set(22, PAGE_4M);
      b.br(leaf);
    });
    walk.upper[0].set(pde.slot);
    const pte = walk.read(pde.value.and(0xfffff000n), 12);
    walk.use(pte);
    frame.set(pte.value.and(0xfffff000n));
  });
  walk.finish(frame.get(), size.shift.get(), size.flag.get());
}

/** CR0.PG = 0: linear addresses of 32 bits are physical. */
export const walkNothing: Routine = routine("walk_nothing", ["i64"], "i32", (b, va) => {
  b.put(L.XLATE_PHYS, va);
  b.put(L.XLATE_FLAGS, PAGE_READABLE | PAGE_WRITABLE | PAGE_EXECUTABLE | PAGE_DIRTY);
  b.return(b.call(locatePage));
});
