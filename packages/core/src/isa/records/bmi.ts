/**
 * BMI1 and BMI2 (SDM vol. 2): ANDN BEXTR BLSI BLSMSK BLSR TZCNT, BZHI MULX PDEP PEXT RORX SARX SHLX SHRX, and LZCNT.
 * All but TZCNT and LZCNT are encoded with VEX, yet use general registers alone: neither CR4.OSXSAVE nor AVX state is
 * asked for. Where flags are undefined, AF is 0 and the others go by the result.
 */
import { mulHigh } from "../../cpu/flag-operations.ts";
import type { Width } from "../../cpu/flags.ts";
import { type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";

const constant = (w: Width, value: number): Expr => (w === 64 ? i64(value) : i32(value));
const widened = (w: Width, value: Expr): Expr => (w === 64 ? value.u64() : value);

/** Writes operand 0 and sets SF, ZF from it, CF as given, OF 0. */
function finish(s: Semantics, result: Expr, cf: Expr): void {
  const w = s.width(0);
  const kept = s.b.keep(result);
  const carry = s.b.keep(cf);
  s.write(0, kept);
  s.resultFlags(w, kept, carry, i32(0));
}

define({
  name: "andn",
  feature: "bmi1",
  forms: ["VEX NP 0F 38 F2 /r | Gy,By,Ey"],
  semantics: (s) => finish(s, s.read(1).not().and(s.read(2)), i32(0)),
});

for (const [name, reg, result, cf] of [
  ["blsr", 1, (v, less) => v.and(less), (v) => v.eqz()],
  ["blsmsk", 2, (v, less) => v.xor(less), (v) => v.eqz()],
  ["blsi", 3, (v, less) => v.and(less.not()), (v) => v.nez()],
] as const satisfies readonly (readonly [string, number, (v: Expr, less: Expr) => Expr, (v: Expr) => Expr])[])
  define({
    name,
    feature: "bmi1",
    forms: [`VEX NP 0F 38 F3 /${reg} | By,Ey`],
    semantics: (s) => {
      const value = s.b.keep(s.read(1));
      finish(s, result(value, s.b.keep(value.sub(1))), cf(value));
    },
  });

/** The low `count` (i32, 0 to 255) bits of a value. */
function lowBits(s: Semantics, value: Expr, count: Expr): Expr {
  const w = s.width(0);
  const mask = constant(w, -1).shl(widened(w, count)).not();
  return select(count.ltU(w), value.and(mask), value);
}

define({
  name: "bextr",
  feature: "bmi1",
  forms: ["VEX NP 0F 38 F7 /r | Gy,Ey,By"],
  semantics: (s) => {
    const w = s.width(0);
    const { b } = s;
    const value = s.read(1);
    const control = b.keep(w === 64 ? s.read(2).lo32() : s.read(2));
    const start = b.keep(control.and(0xff));
    const length = b.keep(control.shrU(8).and(0xff));
    const shifted = b.keep(select(start.ltU(w), value.shrU(widened(w, start)), constant(w, 0)));
    finish(s, lowBits(s, shifted, length), i32(0));
  },
});
define({
  name: "bzhi",
  feature: "bmi2",
  forms: ["VEX NP 0F 38 F5 /r | Gy,Ey,By"],
  semantics: (s) => {
    const w = s.width(0);
    const value = s.b.keep(s.read(1));
    const index = s.b.keep((w === 64 ? s.read(2).lo32() : s.read(2)).and(0xff));
    finish(s, lowBits(s, value, index), index.geU(w));
  },
});

for (const [name, prefix, shift] of [
  ["shlx", "66", (v, n) => v.shl(n)],
  ["sarx", "F3", (v, n) => v.shrS(n)],
  ["shrx", "F2", (v, n) => v.shrU(n)],
] as const satisfies readonly (readonly [string, string, (v: Expr, n: Expr) => Expr])[])
  define({
    name,
    feature: "bmi2",
    forms: [`VEX ${prefix} 0F 38 F7 /r | Gy,Ey,By`],
    semantics: (s) => s.write(0, shift(s.read(1), s.read(2))),
  });
define({
  name: "rorx",
  feature: "bmi2",
  forms: ["VEX F2 0F 3A F0 /r | Gy,Ey,Ib"],
  semantics: (s) => s.write(0, s.read(1).rotr(widened(s.width(0), s.immediate(8)))),
});
define({
  name: "mulx",
  feature: "bmi2",
  forms: ["VEX F2 0F 38 F6 /r | Gy,By,Ey"],
  // The high half is written last: with one register for both, that is what remains.
  semantics: (s) => {
    const w = s.width(0);
    const { b } = s;
    const source = s.read(2);
    const factor = s.gpr(2, w);
    if (w === 64) {
      const high = b.keep(mulHigh(b, false, source, factor));
      s.write(1, b.keep(source.mul(factor)));
      s.write(0, high);
      return;
    }
    const product = b.keep(source.u64().mul(factor.u64()));
    s.write(1, product.lo32());
    s.write(0, product.shrU(32).lo32());
  },
});

/** (source, mask): the source's low bits at the places of the mask's ones. */
const deposit: Routine = routine("deposit_bits", ["i64", "i64"], "i64", (b, source, mask) => {
  const rest = b.variable(source);
  const places = b.variable(mask);
  const result = b.variable(i64(0));
  b.while(
    () => places.get().nez(),
    () => {
      const place = b.keep(places.get());
      const lowest = place.and(place.neg());
      result.set(result.get().or(lowest.and(rest.get().and(1).neg())));
      rest.set(rest.get().shrU(1));
      places.set(place.and(place.sub(1)));
    },
  );
  b.return(result.get());
});
/** (source, mask): the source's bits at the places of the mask's ones, moved together. */
const extract: Routine = routine("extract_bits", ["i64", "i64"], "i64", (b, source, mask) => {
  const places = b.variable(mask);
  const result = b.variable(i64(0));
  const at = b.variable(i64(0));
  b.while(
    () => places.get().nez(),
    () => {
      const place = b.keep(places.get());
      const bit = source.shrU(place.ctz()).and(1);
      result.set(result.get().or(bit.shl(at.get())));
      at.set(at.get().add(1));
      places.set(place.and(place.sub(1)));
    },
  );
  b.return(result.get());
});
for (const [name, prefix, move] of [
  ["pdep", "F2", deposit],
  ["pext", "F3", extract],
] as const)
  define({
    name,
    feature: "bmi2",
    forms: [`VEX ${prefix} 0F 38 F5 /r | Gy,By,Ey`],
    semantics: (s) => {
      const mask = s.read(2);
      const result = s.b.keep(s.b.call(move, s.read(1).u64(), mask.u64()));
      s.write(0, s.width(0) === 64 ? result : result.lo32());
    },
  });

for (const [name, feature, opcode] of [
  ["tzcnt", "bmi1", "BC"],
  ["lzcnt", "lzcnt", "BD"],
] as const)
  define({
    name,
    feature,
    forms: [`F3 0F ${opcode} /r | Gv,Ev`],
    semantics: (s) => {
      const w = s.width(0);
      const source = s.b.keep(s.read(1));
      const bounded = w === 16 && name === "tzcnt" ? source.or(0x10000) : source;
      const zeros = name === "tzcnt" ? bounded.ctz() : w === 16 ? source.clz().sub(16) : source.clz();
      finish(s, zeros, source.eqz());
    },
  });
