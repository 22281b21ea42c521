/**
 * The core's side of translated code: the slow path of its accesses, calls from one region to another, and flags from
 * the operands that a region kept.
 */
import { hostAddress, tlbHit } from "../cpu/access.ts";
import { findInSet, granuleMask, hashSet } from "../cpu/code-cache.ts";
import { codeHost } from "../cpu/code-mapping.ts";
import {
  auxOf,
  carryOf,
  FLAG_OPERATIONS,
  FLAG_WIDTHS,
  type FlagOperands,
  type FlagOperation,
  operandsOf,
  resultOf,
  type Width,
} from "../cpu/flag-operations.ts";
import { signExtend } from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { PF_I, PF_U, PF_W, XLATE_RAM } from "../cpu/page-fault.ts";
import { translate } from "../cpu/paging.ts";
import { fillTlb, noteStore, relyOnPage, tlbEntry } from "../cpu/tlb.ts";
import { type Builder, type Expr, i32, own, select } from "../ir/builder.ts";
import { ITSELF as ITSELF_NAME } from "../ir/compile.ts";
import { hostRoutine, isParallel, type Routine, routine } from "../ir/routine.ts";
import { FRAME_UNIT_BYTES } from "./frame.ts";

/** What a region answers. RIP and all state are exact in each case. */
/** A near return was made. */
export const LEFT_RETURN = 0;
/** Go on at RIP, translated or not. */
export const LEFT_NEXT = 1;
/** The instruction at RIP is for the interpreter. */
export const LEFT_INTERPRET = 2;
/** Go on at RIP, by way of the dispatcher: nothing is translated there, or something wants attention. */
export const LEFT_DISPATCH = 3;
/** Go on at RIP, but not inside of calls: what their regions rely on has changed (jit/world.ts). */
export const LEFT_ANEW = 4;

/**
 * How much of the host's stack nested calls may take, in units of jit/frame.ts: 768 KiB, of the 984 KiB that the smallest
 * of hosts' threads have. Deeper ones return to the dispatcher first.
 */
export const MAX_DEPTH: number = (768 << 10) / FRAME_UNIT_BYTES;

/** The region that calls it. It has to look at the depth. */
export const ITSELF: Routine = hostRoutine(ITSELF_NAME, ["i32"], "i32");

/** For an access inside one page of RAM; from a routine that answers 0 for anything else. */
function ramOnly(b: Builder, va: Expr, bytes: Expr, tag: number, access: Expr): Expr {
  b.if(va.lo32().and(0xfff).add(bytes).gtU(4096), () => b.return(0));
  const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
  b.if(tlbHit(b, entry, va, 1, tag), () => b.return(hostAddress(b, entry, va)));
  b.if(va.shl(16).shrS(16).ne(va), () => b.return(0));
  b.if(b.call(translate, va, access).ne(XLATE_RAM), () => b.return(0));
  if (tag === L.TLB_WRITE) noteStore(b, b.get(L.XLATE_HOST));
  b.call(fillTlb, va);
  return b.get(L.XLATE_HOST);
}
const user = (b: Builder): Expr => select(b.get(L.CPL).eq(3), i32(PF_U), i32(0));

export const regionRead: Routine = routine("region_read", ["i64", "i32"], "i32", (b, va, bytes) => {
  b.return(ramOnly(b, va, bytes, L.TLB_READ, user(b)));
});

/** 0 as well where code lies: the granules, not the page, so that data beside code is written here. */
export const regionWrite: Routine = routine("region_write", ["i64", "i32"], "i32", (b, va, bytes) => {
  const host = ramOnly(b, va, bytes, L.TLB_WRITE, user(b).or(PF_W));
  const page = host.sub(b.get(L.RAM_HOST)).shrU(12);
  const covered = b.load("i64.load", "host", page.shl(3).add(b.get(L.PAGE_GRANULES)));
  b.if(covered.eqz(), () => b.return(host));
  // Another vCPU may be about to decode here: the interpreter looks behind the store.
  if (isParallel()) b.return(0);
  else b.return(select(covered.and(granuleMask(b.keep(host.and(0xfff)), bytes)).eqz(), host, i32(0)));
});

/** For a read, and stores behind it: 0 as well unless the TLB lets them through. */
export const writableRange: Routine = routine("writable_range", ["i64", "i32"], "i32", (b, va, bytes) => {
  const host = b.call(regionRead, va, bytes);
  const entry = tlbEntry(b.get(L.TLB_CURRENT), va);
  const isWritable = b.load("i64.load", "host", entry, L.TLB_WRITE).eq(va.shrU(12));
  b.return(select(isWritable, host, i32(0)));
});

/** Through RSP: the page is remembered if it can be stored to. */
function stackAccess(name: string, otherwise: Routine | undefined): Routine {
  return routine(name, ["i64", "i32"], "i32", (b, va, bytes) => {
    const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
    const last = va.add(bytes.sub(1).u64()).shrU(12);
    const missed = (): void => b.return(otherwise ? b.call(otherwise, va, bytes) : 0);
    b.if(last.ne(b.load("i64.load", "host", entry, L.TLB_WRITE)), missed);
    b.put(L.STACK_PAGE, va.and(-4096));
    relyOnPage(b, va);
    b.put(L.STACK_ADDEND, b.load("i32.load", "host", entry, L.TLB_ADDEND));
    b.put(L.STACK_LIMIT, 4089n);
    b.return(hostAddress(b, entry, va));
  });
}
export const stackRead: Routine = stackAccess("stack_read", regionRead);
export const stackWrite: Routine = stackAccess("stack_write", regionWrite);
/** For several accesses, of which nothing is done yet: looks at the TLB only. */
export const stackRange: Routine = stackAccess("stack_range", undefined);

/** Where a block says what lies beside its page, and how far from it. */
const BESIDE = [
  [L.BLOCK_PAGE_BEFORE, -4096],
  [L.BLOCK_PAGE_AFTER, 4096],
] as const;

/** Whether the pages beside a block's that its region lies in are where they were: 1, and the region is entered, or 0. */
export const pagesHold: Routine = routine("pages_hold", ["i32", "i64"], "i32", (b, block, linear) => {
  for (const [field, bytes] of BESIDE) {
    const host = b.load("i32.load", "host", block, field);
    b.if(host, () => {
      const va = b.keep(linear.and(-4096).add(bytes));
      b.if(b.call(codeHost, va).ne(host), () => b.return(0));
      relyOnPage(b, va);
    });
  }
  relyOnPage(b, linear);
  return b.return(1);
});

/** Mode, privilege, mappings and code: what regions rely on, and JUMP_CACHE goes by. */
export function jumpKey(b: Builder): Expr {
  return b.get(L.JUMP_GENERATION).add(b.get(L.TLB_CURRENT)).add(b.get(L.MODE));
}
/** The likelier key of an entry: of supervisor code in global pages. */
function likelyKey(b: Builder): Expr {
  const global = b.get(L.JUMP_GLOBAL_GENERATION).add(L.JUMP_STEP);
  const generation = select(b.get(L.CPL).eq(3), b.get(L.JUMP_GENERATION), global);
  return generation.add(b.get(L.TLB_CURRENT)).add(b.get(L.MODE));
}

/** Whether the TLB has a page of code as a global one: then a new CR3 changes nothing for it. */
function isGlobal(b: Builder, va: Expr): Expr {
  const tlb = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
  const isThere = b.load("i64.load", "host", tlb, L.TLB_EXECUTE).eq(va.shrU(12));
  return isThere.and(b.load("i32.load", "host", tlb, L.TLB_GLOBAL).nez());
}

/** Whether that holds for all pages of the region of the block at a linear address: 1 or 0. */
const liesInGlobalPages: Routine = routine("lies_in_global_pages", ["i32", "i64"], "i32", (b, block, linear) => {
  b.if(isGlobal(b, linear).eqz(), () => b.return(0));
  for (const [field, bytes] of BESIDE)
    b.if(b.load("i32.load", "host", block, field), () =>
      b.if(isGlobal(b, b.keep(linear.add(bytes))).eqz(), () => b.return(0)),
    );
  return b.return(1);
});

/** What it costs to leave all calls for a block that has no region, in times that such a block runs in the interpreter. */
const UNWINDING = 16;
/** More is left to none but those that wait for their translation, or never get one. */
const MOST_HEAT = 1 << 19;

/**
 * The region at a linear address: index in the table, or 0 when the dispatcher has to look. Enters it in JUMP_CACHE at
 * `entry`, under `key` (likelyKey, which was not there) if it can be. `depth`: as of runRegions.
 */
const findJump: Routine = routine("find_jump", ["i64", "i32", "i32", "i32"], "i32", (b, linear, entry, key, depth) => {
  const privateKey = b.keep(jumpKey(b));
  const isThere = b
    .load("i64.load", "host", entry)
    .eq(linear)
    .and(b.load("i32.load", "host", entry, 8).eq(privateKey));
  b.if(isThere, () => b.return(b.load("i32.load", "host", entry, 12)));
  b.if(linear.and(-4096).ne(b.get(L.CODE_PAGE)), () => {
    const tlb = b.keep(tlbEntry(b.get(L.TLB_CURRENT), linear));
    const tag = b.load("i64.load", "host", tlb, L.TLB_EXECUTE);
    b.if(b.get(L.CODE_LIMITED), () => b.return(0));
    // A page that the TLB has lost. Where it must be looked for with a fault or a mark, the dispatcher does it.
    b.if(tag.ne(linear.shrU(12)), () => {
      b.if(b.call(codeHost, linear).eqz(), () => b.return(0));
      const access = select(b.get(L.CPL).eq(3), i32(PF_U | PF_I), i32(PF_I));
      b.if(b.call(translate, linear, access).ne(XLATE_RAM), () => b.return(0));
      b.call(fillTlb, linear);
    });
    const host = linear.lo32().add(b.load("i32.load", "host", tlb, L.TLB_ADDEND));
    b.put(L.CODE_HOST, host.and(-4096));
    b.put(L.CODE_PAGE, linear.and(-4096));
  });
  const host = b.keep(b.get(L.CODE_HOST).or(linear.lo32().and(0xfff)));
  const mode = b.get(L.MODE);
  const slot = b.keep(hashSet(host, mode));
  const found = b.variable(b.load("i32.load", "host", slot, 8));
  b.if(b.load("i64.load", "host", slot).ne(host.u64().or(mode.u64().shl(32))), () => {
    found.set(b.call(findInSet, host, mode));
    b.if(found.get().eqz(), () => b.return(0));
  });
  const block = b.keep(found.get());
  const heat = b.load("i32.load", "host", block, L.BLOCK_HEAT);
  b.if(heat.geS(0), () => {
    const isDear = select(depth, heat.sub(UNWINDING + 1).ltU(MOST_HEAT), i32(0));
    b.if(isDear, () => b.store("i32.store", "host", block, heat.sub(UNWINDING), L.BLOCK_HEAT));
    b.return(0);
  });
  b.if(b.call(pagesHold, block, linear).eqz(), () => b.return(0));
  const index = b.keep(heat.not());
  b.store("i64.store", "host", entry, linear);
  const isKept = b.call(liesInGlobalPages, block, linear);
  b.store("i32.store", "host", entry, select(isKept, key, privateKey), 8);
  b.store("i32.store", "host", entry, index, 12);
  b.return(index);
});

/**
 * Runs regions from RIP on until one makes a near return, or something is not for translated code: LEFT_*. `depth`
 * counts what the calls around it take of the host's stack; where there are none, returns are jumps.
 */
export const runRegions: Routine = routine("run_regions", ["i32"], "i32", (b, depth) => {
  b.if(depth.gtU(MAX_DEPTH), () => b.return(LEFT_NEXT), undefined, false);
  b.loop((again) => {
    const linear = b.keep(b.get(L.RIP).add(b.get(L.CODE_BASE)));
    const low = b.keep(linear.lo32());
    const entry = b.keep(
      low
        .xor(low.shrU(12))
        .and(L.JUMP_ENTRIES - 1)
        .mul(L.JUMP_ENTRY_BYTES)
        .add(own(L.JUMP_CACHE)),
    );
    const key = b.keep(likelyKey(b));
    const differs = b.load("i64.load", "host", entry).xor(linear);
    const isOlder = b.load("i32.load", "host", entry, 8).xor(key);
    const index = b.variable(b.load("i32.load", "host", entry, 12));
    b.if(
      differs.or(isOlder.u64()).nez(),
      () => {
        index.set(b.call(findJump, linear, entry, key, depth));
        b.if(index.get().eqz(), () => b.return(LEFT_DISPATCH));
      },
      undefined,
      false,
    );
    const left = b.callTable(b.keep(index.get()), depth);
    // Most often, and from calls.
    b.if(
      left.eqz(),
      () => b.br(again, depth.eqz()),
      () => {
        b.br(again, left.eq(LEFT_NEXT));
        b.br(again, depth.eqz().and(left.eq(LEFT_ANEW)));
      },
    );
    b.return(left);
  });
  b.return(LEFT_NEXT);
});

/** Calls `make` with what a region kept: `kind` is 1 + operation * 4 + index of the width (jit/lazy-flags.ts). */
function byKind(
  b: Builder,
  [kind, x, y]: readonly [Expr, Expr, Expr],
  make: (operation: FlagOperation, width: Width, operands: FlagOperands) => void,
  otherwise: () => void,
): void {
  const cases = FLAG_OPERATIONS.flatMap((operation) =>
    FLAG_WIDTHS.map((width) => (): void => make(operation, width, operandsOf(b, operation, width, x, y))),
  );
  b.switch(kind.sub(1), cases, otherwise);
}

/** FLAG_RESULT and FLAG_AUX from what a region kept. */
export const regionFlags: Routine = routine("region_flags", ["i32", "i64", "i64"], undefined, (b, kind, x, y) => {
  byKind(
    b,
    [kind, x, y],
    (operation, width, operands) => {
      const result = resultOf(b, operation, width, operands);
      b.put(L.FLAG_RESULT, signExtend(width, result));
      b.put(L.FLAG_AUX, auxOf(b, operation, width, { ...operands, result }));
    },
    () => {
      b.put(L.FLAG_RESULT, x);
      b.put(L.FLAG_AUX, y.lo32());
    },
  );
});

/** From what the interpreter has of the flags to what regions have. */
export function parkFlags(b: Builder): void {
  b.put(L.FLAG_KIND, 0);
  b.put(L.FLAG_X, b.get(L.FLAG_RESULT));
  b.put(L.FLAG_Y, b.get(L.FLAG_AUX).u64());
}
/** And back. Does no harm twice. */
export const unparkFlags: Routine = routine("unpark_flags", [], undefined, (b) => {
  b.call(regionFlags, b.get(L.FLAG_KIND), b.get(L.FLAG_X), b.get(L.FLAG_Y));
});

/** CF from what a region kept. */
export const regionCarry: Routine = routine("region_carry", ["i32", "i64", "i64"], "i32", (b, kind, x, y) => {
  byKind(
    b,
    [kind, x, y],
    (operation, width, operands) => b.return(carryOf(b, operation, width, operands)),
    () => b.return(y.lo32().shrU(31)),
  );
  b.return(0);
});
