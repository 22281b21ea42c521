/**
 * Blocks of decoded micro-ops, found by the host address of their first byte and the decoding mode, and what happens
 * when the code under them changes. Each RAM page has a list of its blocks and a bitmap of the 64-byte granules that
 * they cover; a store into a covered granule drops the page's blocks.
 */
import { type Builder, type Expr, i32, i64, own, select } from "../ir/builder.ts";
import { hostRoutine, isParallel, type Routine, routine } from "../ir/routine.ts";
import { fence } from "./atomics.ts";
import * as L from "./layout.ts";
import { isShadowProtected } from "./physical.ts";
import { countOne, forgetJumps, noteStore } from "./tlb.ts";

/** Decodes the block at a host address: its address, or 0 when its first instruction reaches into the next page. */
export const decodeBlock: Routine = hostRoutine("decode_block", ["i32", "i32"], "i32");
/** Decodes one instruction that crosses into a second page at the given host address (0 = not RAM). */
export const decodeCrossing: Routine = hostRoutine("decode_crossing", ["i32", "i32", "i32"], "i32");

/** A block's BLOCK_HEAT has come down to 0: the host sets it anew, and may translate what starts there. */
export const blockHot: Routine = hostRoutine("block_hot", ["i32"], undefined);

/** Of vCPUs in parallel: code in the page at a host address was overwritten; all drop what they made of it. */
const codeChanged: Routine = hostRoutine("code_changed", ["i32"], undefined);

/** Fibonacci hashing: neighbours and equal places of different pages both spread. */
const HASH_FACTOR = 0x9e3779b1 | 0;

/** Address of the look-up set of a block, which is that of its first entry. */
export function hashSet(host: Expr, mode: Expr): Expr {
  return host
    .add(mode)
    .mul(HASH_FACTOR)
    .shrU(32 - L.BLOCK_SET_BITS)
    .shl(6)
    .add(own(L.BLOCK_HASH));
}
/** The same, for the host's side. */
export function hashSetOf(host: number, mode: number): number {
  return L.BLOCK_HASH + (Math.imul(host + mode, HASH_FACTOR) >>> (32 - L.BLOCK_SET_BITS)) * 16 * L.BLOCK_WAYS;
}

/** Enters a block as the first of its set; the last of the set goes. */
export const enterBlock: Routine = routine("enter_block", ["i32", "i32", "i32"], undefined, (b, host, mode, block) => {
  const set = b.keep(hashSet(host, mode));
  b.copy(set.add(16), set, i32(16 * (L.BLOCK_WAYS - 1)));
  b.store("i32.store", "host", set, host);
  b.store("i32.store", "host", set, mode, 4);
  b.store("i32.store", "host", set, block, 8);
});

/** Looks at the other entries of a block's set; a hit changes places with the first. Block or 0. */
export const findInSet: Routine = routine("find_in_set", ["i32", "i32"], "i32", (b, host, mode) => {
  const set = b.keep(hashSet(host, mode));
  const tag = b.keep(host.u64().or(mode.u64().shl(32)));
  for (let way = 1; way < L.BLOCK_WAYS; way++)
    b.if(b.load("i64.load", "host", set, way * 16).eq(tag), () => {
      const block = b.load("i32.load", "host", set, way * 16 + 8);
      b.store("i64.store", "host", set, b.load("i64.load", "host", set), way * 16);
      b.store("i32.store", "host", set, b.load("i32.load", "host", set, 8), way * 16 + 8);
      b.store("i64.store", "host", set, tag);
      b.store("i32.store", "host", set, block, 8);
      b.return(block);
    });
  b.return(0);
});

/** Bits of the granules that `bytes` (1 to 4096) from offset `offset` in the page cover. */
export function granuleMask(offset: Expr, bytes: Expr): Expr {
  const first = offset.shrU(6);
  const last = offset.add(bytes).sub(1).shrU(6);
  return i64(-1)
    .shl(first.u64())
    .and(i64(-1).shrU(i32(63).sub(last).u64()));
}

/** Bytes at a host address in RAM, within one page, were or will be stored: noted, and decoded code there dropped. */
export const codeWritten: Routine = routine("code_written", ["i32", "i32"], undefined, (b, host, bytes) => {
  if (isParallel()) b.call(fence);
  noteStore(b, host);
  const page = b.keep(host.sub(b.get(L.RAM_HOST)).shrU(12));
  const granuleAt = b.keep(page.shl(3).add(b.get(L.PAGE_GRANULES)));
  const covered = b.load("i64.load", "host", granuleAt);
  b.if(covered.eqz(), () => b.return());
  b.if(covered.and(granuleMask(b.keep(host.and(0xfff)), bytes)).eqz(), () => b.return());
  if (isParallel()) {
    b.call(codeChanged, host.and(-4096));
    b.return();
    return;
  }
  dropList(b, page);
  b.store("i64.store", "host", granuleAt, select(isShadowProtected(b, host), i64(-1), i64(0)));
  b.put(L.ATTENTION, b.get(L.ATTENTION).or(L.ATTENTION_CODE));
});

/** Of vCPUs in parallel: this one's blocks in the page at a host address go. */
export const dropPage: Routine = routine("drop_page", ["i32"], undefined, (b, page) => {
  dropList(b, b.keep(page.sub(b.get(L.RAM_HOST)).shrU(12)));
  b.put(L.ATTENTION, b.get(L.ATTENTION).or(L.ATTENTION_CODE));
});

/** All blocks of a page, given by its number in RAM. */
function dropList(b: Builder, page: Expr): void {
  const listAt = b.keep(page.shl(2).add(b.get(L.PAGE_LISTS)));
  const block = b.variable(b.load("i32.load", "host", listAt));
  b.while(
    () => block.get().nez(),
    () => {
      const at = b.keep(block.get());
      const stale = b.load("i32.load", "host", at, L.BLOCK_ALIAS);
      const set = b.keep(
        hashSet(b.load("i32.load", "host", stale, L.BLOCK_HOST), b.load("i32.load", "host", stale, L.BLOCK_MODE)),
      );
      for (let way = 0; way < L.BLOCK_WAYS; way++)
        b.if(b.load("i32.load", "host", set, way * 16 + 8).eq(stale), () =>
          b.store("i64.store", "host", set, i64(-1), way * 16),
        );
      // The other page of a crossing block still lists it.
      b.store("i32.store", "host", stale, i32(-1), L.BLOCK_HOST);
      block.set(b.load("i32.load", "host", at, L.BLOCK_NEXT));
    },
  );
  countOne(b, L.CODE_DROPS);
  b.call(forgetJumps);
  b.store("i32.store", "host", listAt, i32(0));
}
