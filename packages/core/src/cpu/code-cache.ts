/**
 * Blocks of decoded micro-ops, found by the host address of their first byte and the decoding mode, and what happens
 * when the code under them changes. Each RAM page has a list of its blocks and a bitmap of the 64-byte granules that
 * they cover; a store into a covered granule drops the page's blocks.
 */
import { type Expr, i32, i64 } from "../ir/builder.ts";
import { type Routine, hostRoutine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";

/** Decodes the block at a host address: its address, or 0 when its first instruction reaches into the next page. */
export const decodeBlock: Routine = hostRoutine("decode_block", ["i32", "i32"], "i32");
/** Decodes one instruction that crosses into a second page at the given host address (0 = not RAM). */
export const decodeCrossing: Routine = hostRoutine("decode_crossing", ["i32", "i32", "i32"], "i32");

/** Address of the look-up entry of a block. */
export function hashSlot(host: Expr, mode: Expr): Expr {
  return host
    .xor(host.shrU(13))
    .xor(mode.shl(11))
    .and((1 << L.BLOCK_HASH_BITS) - 1)
    .shl(4)
    .add(L.BLOCK_HASH);
}

/** Bits of the granules that `bytes` (1 to 4096) from offset `offset` in the page cover. */
function granuleMask(offset: Expr, bytes: Expr): Expr {
  const first = offset.shrU(6);
  const last = offset.add(bytes).sub(1).shrU(6);
  return i64(-1).shl(first.u64()).and(i64(-1).shrU(i32(63).sub(last).u64()));
}

/** Bytes at a host address in RAM, within one page, were or will be stored: drops decoded code there. */
export const codeWritten: Routine = routine("code_written", ["i32", "i32"], undefined, (b, host, bytes) => {
  const page = b.keep(host.sub(b.get(L.RAM_HOST)).shrU(12));
  const granuleAt = b.keep(page.shl(3).add(b.get(L.PAGE_GRANULES)));
  const covered = b.load("i64.load", "host", granuleAt);
  b.if(covered.eqz(), () => b.return());
  b.if(covered.and(granuleMask(b.keep(host.and(0xfff)), bytes)).eqz(), () => b.return());
  const listAt = b.keep(page.shl(2).add(b.get(L.PAGE_LISTS)));
  const block = b.variable(b.load("i32.load", "host", listAt));
  b.while(
    () => block.get().nez(),
    () => {
      const at = b.keep(block.get());
      const slot = b.load("i32.load", "host", at, L.BLOCK_SLOT);
      const stale = b.load("i32.load", "host", at, L.BLOCK_ALIAS);
      // The slot may hold another block by now; the other page of a crossing block still lists it.
      b.if(b.load("i32.load", "host", slot, 8).eq(stale), () => b.store("i64.store", "host", slot, i64(-1)));
      b.store("i32.store", "host", stale, i32(-1), L.BLOCK_HOST);
      block.set(b.load("i32.load", "host", at, L.BLOCK_NEXT));
    },
  );
  b.store("i32.store", "host", listAt, i32(0));
  b.store("i64.store", "host", granuleAt, i64(0));
  b.put(L.ATTENTION, b.get(L.ATTENTION).or(L.ATTENTION_CODE));
});
