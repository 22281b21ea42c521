/**
 * What indirect jumps and calls of a region may lead to, of what was seen before (jit/seen-targets.ts). All jumps go to one
 * block, the _dispatch_, which control leaves by where RIP is: so the flow graph stays reducible, however many there are.
 */
import { type Expr, i32 } from "../ir/builder.ts";
import type { Instruction } from "./instruction.ts";
import type { RegionBuilder } from "./region-builder.ts";

/** Offset, and id, of the dispatch: no code lies there. */
export const DISPATCH = 0x3fff;
const MAX_TARGETS = 64;
/** Fewer are compared one after the other. */
const FEW = 4;
const MAX_HASH_BITS = 8;

export const isIndirect = ({ flow, target }: Instruction): boolean =>
  flow === "indirect" || (flow === "call" && target === undefined);

/** Offsets that were seen behind indirect jumps and calls, by the offset of the instruction. */
export function targetsOf(
  found: ReadonlyMap<number, Instruction>,
  pairs: Uint16Array,
): ReadonlyMap<Instruction, ReadonlySet<number>> {
  const all = new Map<Instruction, Set<number>>();
  // A block's pairs follow each other: its end is looked for once.
  let start = -1;
  let last: Instruction | undefined;
  for (let i = 0; i < pairs.length; i += 2) {
    const [from = 0, to = 0] = [pairs[i], pairs[i + 1]];
    if (from !== start) {
      last = found.get(from);
      while (last?.flow === "next") last = found.get(last.offset + last.length);
      start = from;
    }
    if (!last || !isIndirect(last) || (to > from && to <= last.offset)) continue;
    const targets = all.get(last) ?? new Set<number>();
    all.set(last, targets);
    if (targets.size < MAX_TARGETS) targets.add(to);
  }
  return all;
}

/** By which bits of an offset the targets differ: `shift`, and how many. */
function hashOf(targets: readonly number[]): { readonly shift: number; readonly bits: number } | undefined {
  for (let bits = Math.ceil(Math.log2(targets.length)); bits <= MAX_HASH_BITS; bits++)
    for (let shift = 0; shift < 12; shift++) {
      const places = targets.map((offset) => (offset >> shift) & ((1 << bits) - 1));
      if (new Set(places).size === targets.length) return { shift, bits };
    }
  return undefined;
}

/** Goes to the one of `targets` that `offset`, i64, is, or does `otherwise`. */
export function dispatch(
  b: RegionBuilder,
  offset: Expr,
  targets: readonly number[],
  goTo: (target: number) => void,
  otherwise: () => void,
): void {
  const hash = targets.length < FEW ? undefined : hashOf(targets);
  if (!hash) {
    for (const target of targets) b.if(offset.eq(target), () => goTo(target));
    otherwise();
    return;
  }
  const { shift, bits } = hash;
  const mask = (1 << bits) - 1;
  const cases = Array.from({ length: 1 << bits }, (_, place) => {
    const target = targets.find((t) => ((t >> shift) & mask) === place);
    return (): void => {
      if (target === undefined) return;
      b.if(offset.eq(target), () => goTo(target), undefined, true);
    };
  });
  b.switch(offset.lo32().shrU(i32(shift)).and(mask), cases, () => {});
  otherwise();
}
