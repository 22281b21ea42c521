/** PCLMULQDQ (SDM vol. 2): the product of two polynomials over GF(2) of 64 bits each. */
import { i64, opWith, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { joined, lowHalf } from "./mmx-form.ts";
import { readVector } from "./sse-form.ts";

/** By Horner's rule, from the highest bit of `y` on. */
const carrylessProduct: Routine = routine("carryless_product", ["i64", "i64"], "v128", (b, x, y) => {
  const low = b.variable(i64(0));
  const high = b.variable(i64(0));
  const rest = b.variable(y);
  const left = b.variable(i64(64));
  b.loop((again) => {
    high.set(high.get().shl(1).or(low.get().shrU(63)));
    low.set(
      low
        .get()
        .shl(1)
        .xor(x.and(rest.get().shrS(63))),
    );
    rest.set(rest.get().shl(1));
    left.set(left.get().sub(1));
    b.br(again, left.get().nez());
  });
  b.return(joined(low.get(), high.get()));
});

define({
  name: "pclmulqdq",
  feature: "pclmulqdq",
  forms: ["66 0F 3A 44 /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    const target = s.read(0);
    const how = s.immediate(8);
    const x = select(how.and(1), opWith("i64x2.extract_lane", 1, target), lowHalf(target));
    const y = select(how.and(0x10), opWith("i64x2.extract_lane", 1, source), lowHalf(source));
    s.write(0, s.b.call(carrylessProduct, x, y));
  },
});
