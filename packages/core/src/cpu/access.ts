/**
 * Loads and stores at linear addresses: what happens when the TLB misses, an access crosses a page, or memory is not
 * RAM. A read gives the host address where its bytes are; a write is probed first (all faults happen then), stored at
 * the address it got, and committed, which cannot fault. Code that hits the TLB needs no commit.
 */
import { type Builder, type Expr, i32, op, own, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { codeWritten } from "./code-cache.ts";
import { CR0_AM } from "./control-bits.ts";
import { watch } from "./debug.ts";
import { RF_AC } from "./flags.ts";
import * as L from "./layout.ts";
import { PF_U, PF_W, XLATE_MMIO } from "./page-fault.ts";
import { translate } from "./paging.ts";
import { isShadowProtected, mmioRead, mmioWrite } from "./physical.ts";
import { EXC_AC, EXC_GP, EXC_SS, raise } from "./raise.ts";
import { checkSegment } from "./segment-limits.ts";
import { fillTlb, noteStore, tlbEntry } from "./tlb.ts";

/** Absolute address of a place in the state block. */
export const cpuAddress = (offset: number): Expr => own(L.CPU_BASE + offset);

function userAccess(b: Builder): Expr {
  return select(b.get(L.CPL).eq(3), i32(PF_U), i32(0));
}

/** i32, 0 or 1: misaligned accesses are #AC, at CPL 3 with CR0.AM and EFLAGS.AC (SDM vol. 3, 6.15). */
export function checksAlignment(b: Builder): Expr {
  const isOn = b.get(L.SYSTEM_FLAGS).and(RF_AC).nez().and(b.get(L.CR0).and(CR0_AM).nez());
  return b.get(L.CPL).eq(3).and(isOn);
}

/** #GP(0), or #SS(0) for the stack segment, if any byte is outside canonical space; #AC(0) if misaligned under AC at CPL 3. */
function checkLinear(b: Builder, va: Expr, size: Expr, segment: Expr): void {
  const last = b.keep(va.add(size.sub(1).u64()));
  const bad = va.shl(16).shrS(16).ne(va).or(last.shl(16).shrS(16).ne(last));
  b.if(bad, () => {
    // NEW_STACK is SS for this.
    raise(b, select(segment.and(7).eq(L.SS), i32(EXC_SS), i32(EXC_GP)), 0);
    b.return(0);
  });
  b.if(checksAlignment(b).and(b.get(L.TLB_CURRENT).eq(L.TLB_NONE)), () => {
    b.if(size.leU(8).and(va.lo32().and(size.sub(1)).nez()), () => {
      raise(b, EXC_AC, 0);
      b.return(0);
    });
  });
}

/** Segments of legacy and compatibility mode wrap at 4 GiB. */
function wrapped(b: Builder, va: Expr, segment: Expr): Expr {
  const full = b.keep(va);
  const isWide = b.get(L.MODE).and(L.MODE_64).or(segment.and(L.NO_SEGMENT));
  return b.keep(select(isWide, full, full.and(0xffffffffn)));
}

/** Translates for data; returns from the routine with 0 on a fault. */
function xlate(b: Builder, va: Expr, access: Expr): Expr {
  const kind = b.call(translate, va, access);
  b.if(kind.eqz(), () => b.return(0));
  return kind;
}

const physical = (b: Builder): Expr => op("f64.convert_i64_u", b.get(L.XLATE_PHYS));

/** The slow path of a load: host address of `size` bytes (1 to 16; alignment power of two), or 0 = a fault is pending. */
export const readSlow: Routine = routine("read_slow", ["i64", "i32", "i32"], "i32", (b, va, size, segment) => {
  checkLinear(b, va, size, segment);
  b.call(watch, va, size, 0);
  const first = b.keep(i32(4096).sub(va.lo32().and(0xfff)));
  b.if(first.geU(size), () => {
    const kind = xlate(b, va, userAccess(b));
    b.if(kind.eq(XLATE_MMIO), () => {
      b.call(mmioRead, physical(b), size, cpuAddress(L.SCRATCH_READ));
      b.return(cpuAddress(L.SCRATCH_READ));
    });
    b.call(fillTlb, va);
    b.return(b.get(L.XLATE_HOST));
  });
  const rest = b.keep(size.sub(first));
  const second = wrapped(b, va.add(first.u64()), segment);
  // The first page's fault comes first.
  xlate(b, va, userAccess(b));
  xlate(b, second, userAccess(b));
  const part = (address: Expr, bytes: Expr, to: Expr): void => {
    const kind = b.call(translate, address, userAccess(b));
    b.if(
      kind.eq(XLATE_MMIO),
      () => b.call(mmioRead, physical(b), bytes, to),
      () => b.copy(to, b.get(L.XLATE_HOST), bytes),
    );
  };
  part(va, first, cpuAddress(L.SCRATCH_READ));
  part(second, rest, b.keep(first.add(cpuAddress(L.SCRATCH_READ))));
  b.return(cpuAddress(L.SCRATCH_READ));
});

/**
 * The slow path of a store's probe. `readsToo` 1: the old bytes are needed (read-modify-write). Host address to store
 * to; if that is the scratch area, commitStore finishes the store. 0 = a fault is pending.
 */
export const writeSlow: Routine = routine(
  "write_slow",
  ["i64", "i32", "i32", "i32"],
  "i32",
  (b, va, size, segment, readsToo) => {
    checkLinear(b, va, size, segment);
    b.call(watch, va, size, select(readsToo, i32(2), i32(1)));
    const access = b.keep(userAccess(b).or(PF_W));
    const first = b.keep(i32(4096).sub(va.lo32().and(0xfff)));
    const one = b.keep(first.geU(size));
    b.put(L.PENDING_BYTES[1], 0);
    b.if(one.eqz(), () => {
      // The first page's fault comes first.
      xlate(b, va, access);
      const rest = b.keep(size.sub(first));
      const kind = xlate(b, wrapped(b, va.add(first.u64()), segment), access);
      b.put(L.PENDING_BYTES[1], rest);
      b.put(L.PENDING_HOST[1], select(kind.eq(XLATE_MMIO), i32(0), b.get(L.XLATE_HOST)));
      b.put(L.PENDING_PHYS[1], b.get(L.XLATE_PHYS));
    });
    const kind = xlate(b, va, access);
    const inRam = b.keep(kind.ne(XLATE_MMIO));
    const host = b.get(L.XLATE_HOST);
    b.if(one.and(inRam), () => {
      noteStore(b, host);
      b.call(fillTlb, va);
      const page = host.sub(b.get(L.RAM_HOST)).shrU(12);
      b.if(b.load("i64.load", "host", page.shl(3).add(b.get(L.PAGE_GRANULES))).eqz(), () => b.return(host));
    });
    b.put(L.PENDING_HOST[0], select(inRam, host, i32(0)));
    b.put(L.PENDING_PHYS[0], b.get(L.XLATE_PHYS));
    b.put(L.PENDING_BYTES[0], select(one, size, first));
    b.if(readsToo, () => {
      for (const part of [0, 1] as const) {
        const bytes = b.get(L.PENDING_BYTES[part]);
        const to =
          part === 0 ? cpuAddress(L.SCRATCH_WRITE) : b.keep(b.get(L.PENDING_BYTES[0]).add(cpuAddress(L.SCRATCH_WRITE)));
        b.if(bytes.nez(), () => {
          const from = b.get(L.PENDING_HOST[part]);
          b.if(
            from.nez(),
            () => b.copy(to, from, bytes),
            () => b.call(mmioRead, op("f64.convert_i64_u", b.get(L.PENDING_PHYS[part])), bytes, to),
          );
        });
      }
    });
    b.return(cpuAddress(L.SCRATCH_WRITE));
  },
);

/** Finishes a store whose probe gave `host`. */
export const commitSlow: Routine = routine("commit_slow", [], undefined, (b) => {
  for (const part of [0, 1] as const) {
    const bytes = b.get(L.PENDING_BYTES[part]);
    const from =
      part === 0 ? cpuAddress(L.SCRATCH_WRITE) : b.keep(b.get(L.PENDING_BYTES[0]).add(cpuAddress(L.SCRATCH_WRITE)));
    const toBus = (): void => {
      b.call(mmioWrite, op("f64.convert_i64_u", b.get(L.PENDING_PHYS[part])), bytes, from);
    };
    b.if(bytes.nez(), () => {
      const to = b.get(L.PENDING_HOST[part]);
      b.if(
        to.nez(),
        () =>
          // A store into ROM is lost.
          b.if(to.ltU(b.get(L.ROM_HOST)), () => {
            b.if(isShadowProtected(b, to), toBus, () => {
              b.copy(to, from, bytes);
              b.call(codeWritten, to, bytes);
            });
          }),
        toBus,
      );
    });
  }
});

/** Does the TLB hit for the whole access? `tag`: TLB_READ or TLB_WRITE. */
export function tlbHit(b: Builder, entry: Expr, va: Expr, size: number, tag: number): Expr {
  const last = size === 1 ? va : va.add(size - 1);
  return last.shrU(12).eq(b.load("i64.load", "host", entry, tag));
}

export function hostAddress(b: Builder, entry: Expr, va: Expr): Expr {
  return va.lo32().add(b.load("i32.load", "host", entry, L.TLB_ADDEND));
}

/** A load: host address, or 0 = a fault is pending. The last parameter is ignored. */
export const readLinear: Routine = routine(
  "read_linear",
  ["i64", "i32", "i32", "i32"],
  "i32",
  (b, va, size, segment) => {
    checkSegment(b, va, size, segment, 0);
    const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
    const hit = va
      .add(size.sub(1).u64())
      .shrU(12)
      .eq(b.load("i64.load", "host", entry, L.TLB_READ));
    b.if(hit, () => b.return(hostAddress(b, entry, va)));
    b.return(b.call(readSlow, va, size, segment));
  },
);

/** A store's probe: host address, or 0 = a fault is pending. */
export const writeLinear: Routine = routine(
  "write_linear",
  ["i64", "i32", "i32", "i32"],
  "i32",
  (b, va, size, segment, readsToo) => {
    checkSegment(b, va, size, segment, 1);
    const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
    const hit = va
      .add(size.sub(1).u64())
      .shrU(12)
      .eq(b.load("i64.load", "host", entry, L.TLB_WRITE));
    b.if(hit, () => b.return(hostAddress(b, entry, va)));
    b.return(b.call(writeSlow, va, size, segment, readsToo));
  },
);

/**
 * The address of a store that was probed before others of the same instruction were made: never 0. Those may have changed
 * the page tables it goes by; if it then faults, the store is lost. (The processor has the translation in its TLB.)
 */
export const writeProbed: Routine = routine("write_probed", ["i64", "i32", "i32"], "i32", (b, va, size, segment) => {
  const host = b.call(writeLinear, va, size, segment, 0);
  b.return(select(host, host, cpuAddress(L.SCRATCH_READ)));
});

export const commitStore: Routine = routine("commit_store", ["i32"], undefined, (b, host) => {
  b.if(host.eq(cpuAddress(L.SCRATCH_WRITE)), () => b.call(commitSlow));
});
