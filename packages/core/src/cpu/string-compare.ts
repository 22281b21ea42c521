/**
 * The comparison of PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM vol. 2, 4.1): two strings of bytes or words, each
 * in a vector and with a length, to a mask with a bit for each element of the second (IntRes2).
 * The immediate: bit 0 words, bit 1 signed, bits 3:2 the aggregation, bits 5:4 the polarity; bit 6 is the records' part.
 */
import { type Expr, i32, op, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";

export const STRING_WORDS = 1;
const STRING_SIGNED = 2;
const NEGATED = 0x10;
const ONLY_VALID = 0x20;

type Compare = "eq" | "gt_s";
/** A bit for each lane of which the comparison holds. `x` and `y` are kept values. */
function lanes(compare: Compare, x: Expr, y: Expr, isWords: Expr): Expr {
  const of = (shape: string): Expr => op(`${shape}.bitmask`, op(`${shape}.${compare}`, x, y));
  return select(isWords, of("i16x8"), of("i8x16"));
}

/** The number of elements before the first that is zero: what the implicit forms take for the length. */
export const implicitLength: Routine = routine("implicit_length", ["v128", "i32"], "i32", (b, text, how) => {
  const isWords = b.keep(how.and(STRING_WORDS));
  const none = b.keep(op("v128.xor", text, text));
  const zeros = lanes("eq", text, none, isWords);
  b.return(zeros.or(i32(0x10000).shrU(isWords.shl(3))).ctz());
});

/** (first operand, second, immediate, their lengths) -> IntRes2. */
export const compareStrings: Routine = routine(
  "compare_strings",
  ["v128", "v128", "i32", "i32", "i32"],
  "i32",
  (b, first, second, how, firstLength, secondLength) => {
    const isWords = b.keep(how.and(STRING_WORDS));
    const all = b.keep(select(isWords, i32(0xff), i32(0xffff)));
    const ones = (length: Expr): Expr => b.keep(i32(1).shl(length).sub(1));
    const firstValid = ones(firstLength);
    const secondValid = ones(secondLength);
    const step = b.keep(select(isWords, i32(0x0202), i32(0x0101)));
    /** Element `i` of the first operand in every lane. */
    const element = (from: Expr, i: Expr): Expr =>
      b.keep(op("i8x16.swizzle", from, op("i16x8.splat", i.mul(step).add(isWords.shl(8)))));
    const result = b.variable(i32(0));
    const i = b.variable(i32(0));
    const forElements = (count: Expr, by: number, body: () => void): void =>
      b.while(
        () => i.get().ltU(count),
        () => {
          body();
          i.set(i.get().add(by));
        },
      );
    b.switch(
      how.shrU(2).and(3),
      [
        // Equal any: the element is one of the first operand's.
        () => {
          forElements(firstLength, 1, () =>
            result.set(result.get().or(lanes("eq", element(first, i.get()), second, isWords))),
          );
          result.set(result.get().and(secondValid));
        },
        // Ranges: the element lies between two of the first operand's. Unsigned ones compare signed with the sign flipped.
        () => {
          const signs = select(isWords, i32(0x8000), i32(0x8080));
          const flip = b.keep(op("i16x8.splat", select(how.and(STRING_SIGNED), i32(0), signs)));
          const bounds = b.keep(op("v128.xor", first, flip));
          const values = b.keep(op("v128.xor", second, flip));
          forElements(b.keep(firstLength.and(-2)), 2, () => {
            const below = lanes("gt_s", element(bounds, i.get()), values, isWords);
            const beyond = lanes("gt_s", values, element(bounds, i.get().add(1)), isWords);
            result.set(result.get().or(below.or(beyond).not()));
          });
          result.set(result.get().and(secondValid));
        },
        // Equal each: the elements at one place are equal, or both beyond their strings' ends.
        () => {
          const both = firstValid.and(secondValid).and(lanes("eq", first, second, isWords));
          result.set(both.or(firstValid.or(secondValid).xor(all)));
        },
      ],
      // Equal ordered: the first operand as a whole starts at the element, as far as the vector goes.
      () => {
        result.set(all);
        forElements(firstLength, 1, () => {
          const found = lanes("eq", element(first, i.get()), second, isWords).and(secondValid);
          result.set(result.get().and(found.or(all.not()).shrS(i.get())));
        });
      },
    );
    const inverted = select(how.and(ONLY_VALID), secondValid, all);
    b.return(result.get().xor(select(how.and(NEGATED), inverted, i32(0))));
  },
);
