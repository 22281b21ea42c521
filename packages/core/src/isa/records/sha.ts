/** The SHA extensions (SDM vol. 2; FIPS 180-4): rounds and message schedules of SHA-1 and SHA-256. */
import * as L from "../../cpu/layout.ts";
import { type Builder, type Expr, i32, op, opWith, v128 } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { byteLanes, readVector, shuffle } from "./sse-form.ts";

const lane = (v: Expr, i: number): Expr => opWith("i32x4.extract_lane", i, v);
/** The vector of four words, the highest first, as the manual writes it. */
function words(...[w3, w2, w1, w0]: readonly Expr[]): Expr {
  let v: Expr = v128(0n);
  for (const [i, word] of [w0, w1, w2, w3].entries()) if (word) v = opWith("i32x4.replace_lane", i, v, word);
  return v;
}
/** The words of `v`, the highest first, kept. */
const wordsOf = (b: Builder, v: Expr): [Expr, Expr, Expr, Expr] => [
  b.keep(lane(v, 3)),
  b.keep(lane(v, 2)),
  b.keep(lane(v, 1)),
  b.keep(lane(v, 0)),
];

const choose = (x: Expr, y: Expr, z: Expr): Expr => x.and(y.xor(z)).xor(z);
const majority = (x: Expr, y: Expr, z: Expr): Expr => x.and(y).xor(x.and(z)).xor(y.and(z));
const parity = (x: Expr, y: Expr, z: Expr): Expr => x.xor(y).xor(z);

const SHA1_FUNCTIONS = [
  [choose, 0x5a827999],
  [parity, 0x6ed9eba1],
  [majority, 0x8f1bbcdc],
  [parity, 0xca62c1d6],
] as const;

/** (A B C D, W0+E W1 W2 W3, immediate) -> A B C D after four rounds. */
const sha1Rounds: Routine = routine("sha1_rounds", ["v128", "v128", "i32"], "v128", (b, state, message, how) => {
  let [a, x, y, z] = wordsOf(b, state);
  let e: Expr = i32(0);
  for (const w of wordsOf(b, message)) {
    const f = b.variable(i32(0));
    const cases = SHA1_FUNCTIONS.map(
      ([of, k]) =>
        () =>
          f.set(of(x, y, z).add(k | 0)),
    );
    b.switch(how.and(3), cases.slice(0, 3), cases[3] ?? (() => {}));
    const next = b.keep(f.get().add(a.rotl(5)).add(w).add(e));
    [a, x, y, z, e] = [next, a, b.keep(x.rotl(30)), y, z];
  }
  b.return(words(a, x, y, z));
});
define({
  name: "sha1rnds4",
  feature: "sha",
  forms: ["NP 0F 3A CC /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    s.write(0, s.b.call(sha1Rounds, s.read(0), source, s.immediate(8)));
  },
});

const sum0 = (x: Expr): Expr => x.rotr(2).xor(x.rotr(13)).xor(x.rotr(22));
const sum1 = (x: Expr): Expr => x.rotr(6).xor(x.rotr(11)).xor(x.rotr(25));

/** (C D G H, A B E F, two words with constants added) -> A B E F after two rounds. */
const sha256Rounds: Routine = routine("sha256_rounds", ["v128", "v128", "v128"], "v128", (b, cdgh, abef, message) => {
  let [a, x, e, f] = wordsOf(b, abef);
  let [y, z, g, h] = wordsOf(b, cdgh);
  for (const i of [0, 1]) {
    const first = b.keep(choose(e, f, g).add(sum1(e)).add(lane(message, i)).add(h));
    const next = b.keep(first.add(majority(a, x, y)).add(sum0(a)));
    [a, x, y, z, e, f, g, h] = [next, a, x, y, b.keep(first.add(z)), e, f, g];
  }
  b.return(words(a, x, e, f));
});

type Step = (b: Builder, target: Expr, source: Expr) => Expr;
const rotated = (v: Expr, left: number): Expr =>
  op("v128.or", op("i32x4.shl", v, left), op("i32x4.shr_u", v, 32 - left));

const nextE: Step = (b, target, source) => {
  const sum = lane(source, 3).add(b.keep(lane(target, 3)).rotl(30));
  return opWith("i32x4.replace_lane", 3, source, sum);
};
const sha1First: Step = (_, target, source) =>
  op("v128.xor", target, shuffle(byteLanes(4, [6, 7, 0, 1]), target, source));
/** The last word depends on the first that this instruction makes. */
const sha1Second: Step = (b, target, source) => {
  const known = op("v128.xor", target, op("v128.and", shuffle(byteLanes(4, [0, 0, 1, 2]), source, source), HIGH_WORDS));
  const turned = b.keep(rotated(b.keep(known), 1));
  return opWith("i32x4.replace_lane", 0, turned, lane(turned, 0).xor(lane(turned, 3).rotl(1)));
};
const HIGH_WORDS = v128(0xffffffff_ffffffff_ffffffff_00000000n);

const sigma0 = (b: Builder, v: Expr): Expr => {
  const x = b.keep(v);
  return parityLanes(rotated(x, 25), rotated(x, 14), op("i32x4.shr_u", x, 3));
};
const sigma1 = (x: Expr): Expr => x.rotr(17).xor(x.rotr(19)).xor(x.shrU(10));
const parityLanes = (x: Expr, y: Expr, z: Expr): Expr => op("v128.xor", op("v128.xor", x, y), z);

const sha256First: Step = (b, target, source) =>
  op("i32x4.add", target, sigma0(b, shuffle(byteLanes(4, [1, 2, 3, 4]), target, source)));
const sha256Second: Step = (b, target, source) => {
  const w14 = b.keep(lane(source, 2));
  const w15 = b.keep(lane(source, 3));
  const w16 = b.keep(lane(target, 0).add(sigma1(w14)));
  const w17 = b.keep(lane(target, 1).add(sigma1(w15)));
  return words(lane(target, 3).add(sigma1(w17)), lane(target, 2).add(sigma1(w16)), w17, w16);
};

for (const [name, opcode, step] of [
  ["sha1nexte", "C8", nextE],
  ["sha1msg1", "C9", sha1First],
  ["sha1msg2", "CA", sha1Second],
  ["sha256msg1", "CC", sha256First],
  ["sha256msg2", "CD", sha256Second],
] as const)
  define({
    name,
    feature: "sha",
    forms: [`NP 0F 38 ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      s.write(0, step(s.b, s.read(0), source));
    },
  });
define({
  name: "sha256rnds2",
  feature: "sha",
  forms: ["NP 0F 38 CB /r | Vx,Wx"],
  semantics: (s) => {
    const source = readVector(s, 1);
    const message = s.b.load("v128.load", "cpu", 0, L.XMM);
    s.write(0, s.b.call(sha256Rounds, s.read(0), source, message));
  },
});
