/**
 * The x87 environment image of FSTENV, FLDENV, FSAVE and FRSTOR (SDM vol. 1, figures 8-9 to 8-12), and accesses to such
 * images: areas of many words, each of which lies at an offset of its own that wraps with the address size.
 *
 * `openArea` (isa/records/state-area.ts) notes where the area wraps. Then the area is probed, and what follows is given
 * linear addresses counted on from its start without wrapping.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { commitStore, readLinear, writeLinear, writeProbed } from "./access.ts";
import * as L from "./layout.ts";
import { putStatus, putTagWord, statusWord, tagWord } from "./x87.ts";

/** Base of the area's segment, and the bits that an offset has. */
export const AREA_BASE = L.wide(8);
export const AREA_MASK = L.wide(9);

const inArea: Routine = routine("area_address", ["i64"], "i64", (b, va) => {
  const base = b.get(AREA_BASE);
  const wrapped = b.keep(va.sub(base).and(b.get(AREA_MASK)).add(base));
  b.return(select(b.get(L.MODE).and(L.MODE_64), wrapped, wrapped.and(0xffffffffn)));
});

/** Stores into an area that was probed. */
export function storeCertain(b: Builder, op: string, bytes: number, va: Expr, segment: Expr, value: Expr): void {
  const kept = b.keep(value);
  const host = b.call(writeProbed, b.call(inArea, va), bytes, segment);
  b.store(op, "host", host, kept);
  b.call(commitStore, host);
}
export function loadCertain(b: Builder, op: string, bytes: number, va: Expr, segment: Expr): Expr {
  return b.load(op, "host", b.call(readLinear, b.call(inArea, va), bytes, segment, 0));
}

/** A register of an area that was probed: one access of 10 bytes, not checked for alignment, unless it wraps. */
const registerWraps: Routine = routine("area_register_wraps", ["i64"], "i32", (b, va) => {
  b.return(b.call(inArea, va.add(8)).ne(b.call(inArea, va).add(8)));
});
export function store80(b: Builder, va: Expr, segment: Expr, significand: Expr, signExponent: Expr): void {
  b.if(
    b.call(registerWraps, va),
    () => {
      for (let at = 0; at < 8; at += 2) {
        storeCertain(b, "i64.store16", 2, va.add(at), segment, significand.shrU(8 * at));
      }
      storeCertain(b, "i32.store16", 2, va.add(8), segment, signExponent);
    },
    () => {
      const host = b.call(writeProbed, b.call(inArea, va), 10, segment);
      b.store("i64.store", "host", host, significand);
      b.store("i32.store16", "host", host, signExponent, 8);
      b.call(commitStore, host);
    },
  );
}
export function load80(b: Builder, va: Expr, segment: Expr): { significand: Expr; signExponent: Expr } {
  const significand = b.variable(i64(0));
  const signExponent = b.variable(i32(0));
  b.if(
    b.call(registerWraps, va),
    () => {
      for (let at = 6; at >= 0; at -= 2) {
        const word = loadCertain(b, "i64.load16_u", 2, va.add(at), segment);
        significand.set(significand.get().shl(16).or(word));
      }
      signExponent.set(loadCertain(b, "i32.load16_u", 2, va.add(8), segment));
    },
    () => {
      const host = b.call(readLinear, b.call(inArea, va), 10, segment, 0);
      significand.set(b.load("i64.load", "host", host));
      signExponent.set(b.load("i32.load16_u", "host", host, 8));
    },
  );
  return { significand: b.keep(significand.get()), signExponent: b.keep(signExponent.get()) };
}

/**
 * Is an area of `bytes` (up to a page) at a linear address accessible? Looked at in this order: `first` bytes at its
 * start, where it wraps, its last byte. 0 = a fault is pending.
 */
export const probeArea: Routine = routine(
  "probe_area",
  ["i64", "i32", "i32", "i32", "i32"],
  "i32",
  (b, va, bytes, first, segment, write) => {
    const access = (at: Expr, size: Expr | number): void =>
      b.if(
        write,
        () => b.if(b.call(writeLinear, at, size, segment, 0).eqz(), () => b.return(0)),
        () => b.if(b.call(readLinear, at, size, segment, 0).eqz(), () => b.return(0)),
      );
    access(b.call(inArea, va), first);
    const mask = b.get(AREA_MASK);
    const left = mask.sub(va.sub(b.get(AREA_BASE)).and(mask));
    b.if(left.ltU(bytes.sub(1).u64()), () => {
      access(b.call(inArea, b.get(AREA_BASE).add(mask)), 1);
      access(b.call(inArea, b.get(AREA_BASE)), 1);
    });
    access(b.call(inArea, va.add(bytes.sub(1).u64())), 1);
    b.return(1);
  },
);

/**
 * FSTENV's image in an area already probed: 28 bytes if `wide`, else 14. In real and virtual-8086 mode pointers are one
 * number, whose upper part shares a word with the opcode.
 */
export const storeEnvironment: Routine = routine(
  "x87_store_environment",
  ["i64", "i32", "i32"],
  undefined,
  (b, va, segment, wide) => {
    const real = b.keep(b.get(L.MODE).and(L.MODE_PROTECTED).eqz());
    const ip = b.keep(b.get(L.FIP).lo32());
    const dp = b.keep(b.get(L.FDP).lo32());
    const op = b.get(L.FOP);
    const tags = b.call(tagWord);
    b.if(
      wide,
      () => {
        const put = (at: number, value: Expr): void => storeCertain(b, "i32.store", 4, va.add(at), segment, value);
        put(0, b.get(L.FCW).or(0xffff0000));
        put(4, statusWord(b).or(0xffff0000));
        put(8, tags.or(0xffff0000));
        put(12, select(real, ip.or(0xffff0000), ip));
        put(16, select(real, ip.shrU(16).shl(12).or(op), op.shl(16)));
        put(20, select(real, dp.or(0xffff0000), dp));
        put(24, select(real, dp.shrU(16).shl(12), i32(0xffff0000)));
      },
      () => {
        const put = (at: number, value: Expr): void => storeCertain(b, "i32.store16", 2, va.add(at), segment, value);
        put(0, b.get(L.FCW));
        put(2, statusWord(b));
        put(4, tags);
        put(6, ip);
        put(8, select(real, ip.shrU(4).and(0xf000).or(op), i32(0)));
        put(10, dp);
        put(12, select(real, dp.shrU(4).and(0xf000), i32(0)));
      },
    );
  },
);

/** FLDENV, from an area already probed. */
export const loadEnvironment: Routine = routine(
  "x87_load_environment",
  ["i64", "i32", "i32"],
  undefined,
  (b, va, segment, wide) => {
    const real = b.keep(b.get(L.MODE).and(L.MODE_PROTECTED).eqz());
    const step = b.keep(select(wide, i64(4), i64(2)));
    const word = (index: number): Expr => loadCertain(b, "i32.load16_u", 2, va.add(step.mul(index)), segment);
    const control = word(0);
    const status = word(1);
    b.call(putTagWord, word(2));
    b.if(
      wide,
      () => {
        const dword = (at: number): Expr => loadCertain(b, "i32.load", 4, va.add(at), segment);
        const [ip, selector, dp, high] = [dword(12), dword(16), dword(20), dword(24)];
        b.put(L.FIP, select(real, ip.and(0xffff).or(selector.shl(4).and(0xffff0000)), ip).u64());
        b.put(L.FOP, select(real, selector, selector.shrU(16)).and(0x7ff));
        b.put(L.FDP, select(real, dp.and(0xffff).or(high.shl(4).and(0xffff0000)), dp).u64());
      },
      () => {
        const [ip, selector, dp, high] = [word(3), word(4), word(5), word(6)];
        b.put(L.FIP, select(real, ip.or(selector.and(0xf000).shl(4)), ip).u64());
        b.put(L.FOP, select(real, selector.and(0x7ff), i32(0)));
        b.put(L.FDP, select(real, dp.or(high.and(0xf000).shl(4)), dp).u64());
      },
    );
    b.put(L.FCW, control.and(0x1f3f).or(0x40));
    b.call(putStatus, status);
  },
);
