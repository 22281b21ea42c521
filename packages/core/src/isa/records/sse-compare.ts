/**
 * SSE and SSE2 comparisons (SDM vol. 2): CMPccPS/PD/SS/SD with their eight predicates, COMISS/SD and UCOMISS/SD.
 * Operands that are neither NaN nor denormal set no flag, whatever MXCSR says.
 */
import { putFlags } from "../../cpu/flags.ts";
import { FLOAT_FLAGS, floatStatus } from "../../cpu/mxcsr.ts";
import { F32, F64, type FloatFormat } from "../../cpu/softfloat.ts";
import { asFloat, bitsOf, orderedRelation, softCompare, UNORDERED } from "../../cpu/softfloat-compare.ts";
import { extractLane, laneCount, replaceLane } from "../../cpu/softfloat-vector.ts";
import { type Builder, type Expr, i32, i64, op, opWith, select, v128 } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import type { FloatKnowledge } from "../translation.ts";
import {
  comparedOperands,
  exactly,
  FLOAT_FORMS,
  isSpecial,
  quicklyOr,
  readSource,
  specialLanes,
  toSoft,
} from "./sse-float.ts";

/** Four bits for each predicate EQ LT LE UNORD NEQ NLT NLE ORD from the low end: for which relations it holds. */
const HOLDS_FOR = 0x7cde8321;
/** LT, LE, NLT and NLE find quiet NaNs invalid too. */
const quietIsInvalid = (predicate: Expr): Expr => predicate.add(1).shrU(1).and(1);

/** All ones (i32) if the predicate, kept and 0 to 7, holds for a relation. */
function verdict(predicate: Expr, relation: Expr): Expr {
  return i32(0).sub(i32(HOLDS_FOR).shrU(predicate.shl(2)).shrU(relation).and(1));
}

function makeCompareLanes(f: FloatFormat): Routine {
  return routine(`cmp_${f.name}x${laneCount(f)}`, ["v128", "v128", "i32"], "v128", (b, x, y, predicate) => {
    let result = v128(0n);
    const invalid = b.keep(quietIsInvalid(predicate));
    for (let i = 0; i < laneCount(f); i++) {
      const relation = b.call(softCompare[f.name], extractLane(f, x, i), extractLane(f, y, i), invalid);
      result = b.keep(replaceLane(f, result, i, verdict(predicate, relation).s64()));
    }
    b.return(result);
  });
}
const compareLanes = { f32: makeCompareLanes(F32), f64: makeCompareLanes(F64) } as const;

/** The comparison of ordered lanes, by a predicate that is known only now. */
function quickLanes(b: Builder, f: FloatFormat, x: Expr, y: Expr, predicate: Expr): Expr {
  const shape = f.bits === 64 ? "f64x2" : "f32x4";
  const result = b.variable(v128(0n));
  const compare = (operator: string) => () => result.set(op(`${shape}.${operator}`, x, y));
  b.switch(predicate.and(3), [compare("eq"), compare("lt"), compare("le")], () => {});
  return op("v128.xor", result.get(), select(predicate.and(4), v128((1n << 128n) - 1n), v128(0n)));
}

for (const form of FLOAT_FORMS) {
  const { format: f, size } = form;
  define({
    name: `cmp${form.suffix}`,
    feature: form.feature,
    forms: [`${form.prefix} 0F C2 /r | V${size},W${size},Ib`],
    semantics: (s) => {
      const { b } = s;
      if (s.floats && form.isScalar) {
        translatedPredicate(s, f, s.floats);
        return;
      }
      const source = readSource(s, form);
      const target = s.read(0);
      const predicate = b.keep(s.immediate(8).and(7));
      const scalar = (relation: Expr): Expr =>
        f.bits === 64 ? verdict(predicate, relation).s64() : verdict(predicate, relation);
      quicklyOr(
        s,
        (done) => {
          const special = form.isScalar
            ? isSpecial(f, target).or(isSpecial(f, source))
            : op("v128.any_true", specialLanes(s, f, target, source));
          b.if(special.eqz(), () => {
            s.write(
              0,
              form.isScalar ? scalar(orderedRelation(f, target, source)) : quickLanes(b, f, target, source, predicate),
            );
            done();
          });
        },
        () =>
          exactly(s, () => {
            if (!form.isScalar) return b.call(compareLanes[f.name], target, source, predicate);
            return scalar(b.call(softCompare[f.name], toSoft(target), toSoft(source), quietIsInvalid(predicate)));
          }),
      );
    },
  });
}

/** ZF, PF and CF from a relation that is not "unordered"; the other flags become 0 (cpu/layout.ts has the lazy form). */
function putOrderedFlags(s: Semantics, isLess: Expr, isEqual: Expr): void {
  s.commit();
  putFlags(s.b, select(isEqual, i64(0), i64(0x100)), select(isLess, i32(0xc0000100), i32(0x100)));
}

/** In a region: the flags are made of the operands when somebody asks. */
function translatedCompare(s: Semantics, f: FloatFormat, findsQuietInvalid: boolean, floats: FloatKnowledge): void {
  const [x, y] = comparedOperands(s, f, floats, findsQuietInvalid);
  s.commit();
  s.b.lazyFlags?.set("float", f.bits, { a: s.b.keep(bitsOf(f, x)), c: s.b.keep(bitsOf(f, y)) });
}

/** CMPccSS and CMPccSD in a region, where the predicate is known. */
function translatedPredicate(s: Semantics, f: FloatFormat, floats: FloatKnowledge): void {
  const predicate = Number(s.immediate(8).constant ?? 0) & 7;
  const [x, y] = comparedOperands(s, f, floats, ((predicate + 1) & 2) !== 0);
  const shape = f.bits === 64 ? "f64x2" : "f32x4";
  const vector = (value: Expr): Expr => opWith(`${shape}.replace_lane`, 0, v128(0n), value);
  const compare = (operator: string, a: Expr, c: Expr): Expr => op(`${shape}.${operator}`, vector(a), vector(c));
  const positive = [
    (): Expr => compare("eq", x, y),
    (): Expr => compare("lt", x, y),
    (): Expr => compare("le", x, y),
    (): Expr => op("v128.or", compare("ne", x, x), compare("ne", y, y)),
  ][predicate & 3]?.();
  if (!positive) return;
  const mask = predicate & 4 ? op("v128.not", positive) : positive;
  s.writeFloat(0, opWith(`${shape}.extract_lane`, 0, mask));
}

for (const [mnemonic, opcode, findsQuietInvalid] of [
  ["ucomi", "2E", 0],
  ["comi", "2F", 1],
] as const) {
  for (const [suffix, prefix, f, size] of [
    ["ss", "NP", F32, "d"],
    ["sd", "66", F64, "q"],
  ] as const) {
    define({
      name: mnemonic + suffix,
      feature: suffix === "ss" ? "sse" : "sse2",
      forms: [`${prefix} 0F ${opcode} /r | V${size},W${size}`],
      semantics: (s) => {
        const { b } = s;
        if (s.floats) {
          translatedCompare(s, f, findsQuietInvalid === 1, s.floats);
          return;
        }
        const y = s.read(1);
        const x = s.read(0);
        const floats = (operator: string): Expr => op(`${f.name}.${operator}`, asFloat(f, x), asFloat(f, y));
        quicklyOr(
          s,
          (done) => {
            b.if(isSpecial(f, x).or(isSpecial(f, y)).eqz(), () => {
              putOrderedFlags(s, floats("lt"), floats("eq"));
              done();
            });
          },
          () => {
            s.put(FLOAT_FLAGS, 0);
            const relation = b.call(softCompare[f.name], toSoft(x), toSoft(y), findsQuietInvalid);
            s.check(b.call(floatStatus));
            b.if(
              relation.eq(UNORDERED),
              () => {
                s.commit();
                putFlags(b, i64(0), i32(0xc0000000));
              },
              () => putOrderedFlags(s, relation.eq(1), relation.eqz()),
            );
          },
        );
      },
    });
  }
}
