/** 128-bit vector operators (see ops.ts): those that SSE and MMX semantics use. Lanes count from the low end. */
import { type OpSpec, row } from "./op-row.ts";
import { arith32, arith64, f32Of, f64Of } from "./ops-float.ts";

const leb = (n: number): number[] => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, n >> 7]);
const code = (n: number): number[] => [0xfd, ...leb(n)];
const M128 = (1n << 128n) - 1n;
const mask = (bits: number): bigint => (1n << BigInt(bits)) - 1n;

const lane = (v: bigint, bits: number, i: number): bigint => (v >> BigInt(bits * i)) & mask(bits);
const signedLane = (v: bigint, bits: number, i: number): bigint => BigInt.asIntN(bits, lane(v, bits, i));
/** Builds a vector of `bits`-wide lanes. */
const make = (bits: number, f: (i: number) => bigint): bigint => {
  let r = 0n;
  for (let i = 0; i < 128 / bits; i++) r |= (f(i) & mask(bits)) << BigInt(bits * i);
  return r;
};
type Lanewise = (a: bigint, b: bigint) => bigint;
const signed =
  (bits: number, f: Lanewise) =>
  (a: bigint, b: bigint): bigint =>
    make(bits, (i) => f(signedLane(a, bits, i), signedLane(b, bits, i)));
const unsigned =
  (bits: number, f: Lanewise) =>
  (a: bigint, b: bigint): bigint =>
    make(bits, (i) => f(lane(a, bits, i), lane(b, bits, i)));
const clamp = (v: bigint, low: bigint, high: bigint): bigint => (v < low ? low : v > high ? high : v);
const clampS = (bits: number, v: bigint): bigint => clamp(v, -(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n);
const clampU = (bits: number, v: bigint): bigint => clamp(v, 0n, mask(bits));
const all = (c: boolean): bigint => (c ? -1n : 0n);

const SHAPES = { i8x16: 8, i16x8: 16, i32x4: 32, i64x2: 64 } as const;

function table(): Record<string, OpSpec> {
  const t: Record<string, OpSpec> = {};
  const vv = (name: string, n: number, f: Lanewise): void => {
    t[name] = row(code(n), "vv>v", f as never);
  };
  t["v128.not"] = row(code(77), "v>v", (a: bigint) => ~a & M128);
  vv("v128.and", 78, (a, b) => a & b);
  vv("v128.andnot", 79, (a, b) => a & ~b & M128);
  vv("v128.or", 80, (a, b) => a | b);
  vv("v128.xor", 81, (a, b) => a ^ b);
  t["v128.bitselect"] = row(code(82), "vvv>v", (a: bigint, b: bigint, m: bigint) => (a & m) | (b & ~m & M128));
  t["v128.any_true"] = row(code(83), "v>i", (a: bigint) => (a ? 1 : 0));
  t["i8x16.shuffle"] = row(
    code(13),
    "vv>v",
    (a: bigint, b: bigint, sel: bigint) => make(8, (i) => lane(a | (b << 128n), 8, Number(lane(sel, 8, i)))),
    "shuffle",
  );
  t["i8x16.swizzle"] = row(code(14), "vv>v", (a: bigint, s: bigint) =>
    make(8, (i) => (lane(s, 8, i) < 16n ? lane(a, 8, Number(lane(s, 8, i))) : 0n)),
  );

  const access: [keyof typeof SHAPES, string, number, number, number | undefined, number | undefined][] = [
    ["i8x16", "i", 15, 23, 21, 22],
    ["i16x8", "i", 16, 26, 24, 25],
    ["i32x4", "i", 17, 28, undefined, 27],
    ["i64x2", "l", 18, 30, undefined, 29],
  ];
  for (const [shape, letter, splat, replace, extractS, extract] of access) {
    const bits = SHAPES[shape];
    const narrow = bits < 32;
    const out = (v: bigint): number | bigint => (letter === "l" ? v : Number(v) | 0);
    t[`${shape}.splat`] = row(code(splat), `${letter}>v`, (a: number | bigint) => make(bits, () => BigInt(a)));
    t[`${shape}.replace_lane`] = row(
      code(replace),
      `v${letter}>v`,
      (v: bigint, x: number | bigint, l: number) => make(bits, (i) => (i === l ? BigInt(x) : lane(v, bits, i))),
      "lane",
    );
    if (extractS !== undefined)
      t[`${shape}.extract_lane_s`] = row(
        code(extractS),
        "v>i",
        (v: bigint, l: number) => Number(signedLane(v, bits, l)),
        "lane",
      );
    t[`${shape}.extract_lane${narrow ? "_u" : ""}`] = row(
      code(extract ?? 0),
      `v>${letter}`,
      (v: bigint, l: number) => out(lane(v, bits, l)),
      "lane",
    );
  }
  t["f32x4.extract_lane"] = row(code(31), "v>f", (v: bigint, l: number) => Number(lane(v, 32, l)), "lane");
  t["f32x4.replace_lane"] = row(
    code(32),
    "vf>v",
    (v: bigint, x: number, l: number) => make(32, (i) => (i === l ? BigInt(x >>> 0) : lane(v, 32, i))),
    "lane",
  );
  t["f64x2.extract_lane"] = row(code(33), "v>d", (v: bigint, l: number) => lane(v, 64, l), "lane");
  t["f64x2.replace_lane"] = row(
    code(34),
    "vd>v",
    (v: bigint, x: bigint, l: number) => make(64, (i) => (i === l ? x : lane(v, 64, i))),
    "lane",
  );

  const shifts: [keyof typeof SHAPES, number][] = [
    ["i8x16", 107],
    ["i16x8", 139],
    ["i32x4", 171],
    ["i64x2", 203],
  ];
  for (const [shape, n] of shifts) {
    const bits = SHAPES[shape];
    const amount = (s: number): bigint => BigInt(s & (bits - 1));
    t[`${shape}.shl`] = row(code(n), "vi>v", (v: bigint, s: number) =>
      make(bits, (i) => lane(v, bits, i) << amount(s)),
    );
    t[`${shape}.shr_s`] = row(code(n + 1), "vi>v", (v: bigint, s: number) =>
      make(bits, (i) => signedLane(v, bits, i) >> amount(s)),
    );
    t[`${shape}.shr_u`] = row(code(n + 2), "vi>v", (v: bigint, s: number) =>
      make(bits, (i) => lane(v, bits, i) >> amount(s)),
    );
  }
  const add: Lanewise = (a, b) => a + b;
  const sub: Lanewise = (a, b) => a - b;
  const bigMin: Lanewise = (a, b) => clamp(a, a, b);
  const bigMax: Lanewise = (a, b) => clamp(a, b, a);
  const averageUp: Lanewise = (a, b) => (a + b + 1n) >> 1n;

  const compares: [keyof typeof SHAPES, number][] = [
    ["i8x16", 35],
    ["i16x8", 45],
    ["i32x4", 55],
  ];
  for (const [shape, n] of compares) {
    const bits = SHAPES[shape];
    vv(
      `${shape}.eq`,
      n,
      unsigned(bits, (a, b) => all(a === b)),
    );
    vv(
      `${shape}.gt_s`,
      n + 4,
      signed(bits, (a, b) => all(a > b)),
    );
    vv(
      `${shape}.gt_u`,
      n + 5,
      unsigned(bits, (a, b) => all(a > b)),
    );
  }
  vv(
    "i64x2.eq",
    214,
    unsigned(64, (a, b) => all(a === b)),
  );
  vv(
    "i64x2.gt_s",
    217,
    signed(64, (a, b) => all(a > b)),
  );

  for (const [shape, n] of [
    ["i8x16", 96],
    ["i16x8", 128],
    ["i32x4", 160],
  ] as const) {
    const bits = SHAPES[shape];
    t[`${shape}.abs`] = row(code(n), "v>v", (v: bigint) =>
      make(bits, (i) => (signedLane(v, bits, i) < 0n ? -signedLane(v, bits, i) : lane(v, bits, i))),
    );
  }
  for (const [shape, n] of [
    ["i8x16", 100],
    ["i16x8", 132],
    ["i32x4", 164],
  ] as const) {
    const bits = SHAPES[shape];
    t[`${shape}.bitmask`] = row(code(n), "v>i", (v: bigint) => {
      let r = 0;
      for (let i = 0; i < 128 / bits; i++) if (signedLane(v, bits, i) < 0n) r |= 1 << i;
      return r;
    });
  }
  t["i64x2.bitmask"] = row(code(196), "v>i", (v: bigint) => Number(v >> 127n) * 2 + Number((v >> 63n) & 1n));

  vv("i8x16.narrow_i16x8_s", 101, (a, b) => make(8, (i) => clampS(8, signedLane(i < 8 ? a : b, 16, i & 7))));
  vv("i8x16.narrow_i16x8_u", 102, (a, b) => make(8, (i) => clampU(8, signedLane(i < 8 ? a : b, 16, i & 7))));
  vv("i16x8.narrow_i32x4_s", 133, (a, b) => make(16, (i) => clampS(16, signedLane(i < 4 ? a : b, 32, i & 3))));
  vv("i16x8.narrow_i32x4_u", 134, (a, b) => make(16, (i) => clampU(16, signedLane(i < 4 ? a : b, 32, i & 3))));
  vv("i8x16.add", 110, unsigned(8, add));
  vv(
    "i8x16.add_sat_s",
    111,
    signed(8, (a, b) => clampS(8, a + b)),
  );
  vv(
    "i8x16.add_sat_u",
    112,
    unsigned(8, (a, b) => clampU(8, a + b)),
  );
  vv("i8x16.sub", 113, unsigned(8, sub));
  vv(
    "i8x16.sub_sat_s",
    114,
    signed(8, (a, b) => clampS(8, a - b)),
  );
  vv(
    "i8x16.sub_sat_u",
    115,
    unsigned(8, (a, b) => clampU(8, a - b)),
  );
  vv("i8x16.min_s", 118, signed(8, bigMin));
  vv("i8x16.min_u", 119, unsigned(8, bigMin));
  vv("i8x16.max_s", 120, signed(8, bigMax));
  vv("i8x16.max_u", 121, unsigned(8, bigMax));
  vv("i8x16.avgr_u", 123, unsigned(8, averageUp));
  vv("i16x8.add", 142, unsigned(16, add));
  vv(
    "i16x8.add_sat_s",
    143,
    signed(16, (a, b) => clampS(16, a + b)),
  );
  vv(
    "i16x8.add_sat_u",
    144,
    unsigned(16, (a, b) => clampU(16, a + b)),
  );
  vv("i16x8.sub", 145, unsigned(16, sub));
  vv(
    "i16x8.sub_sat_s",
    146,
    signed(16, (a, b) => clampS(16, a - b)),
  );
  vv(
    "i16x8.sub_sat_u",
    147,
    unsigned(16, (a, b) => clampU(16, a - b)),
  );
  vv(
    "i16x8.mul",
    149,
    unsigned(16, (a, b) => a * b),
  );
  vv("i16x8.min_s", 150, signed(16, bigMin));
  vv("i16x8.min_u", 151, unsigned(16, bigMin));
  vv("i16x8.max_s", 152, signed(16, bigMax));
  vv("i16x8.max_u", 153, unsigned(16, bigMax));
  vv("i16x8.avgr_u", 155, unsigned(16, averageUp));
  vv(
    "i16x8.q15mulr_sat_s",
    130,
    signed(16, (a, b) => clampS(16, (a * b + 0x4000n) >> 15n)),
  );
  vv("i32x4.add", 174, unsigned(32, add));
  vv("i32x4.sub", 177, unsigned(32, sub));
  vv(
    "i32x4.mul",
    181,
    unsigned(32, (a, b) => a * b),
  );
  vv("i32x4.min_s", 182, signed(32, bigMin));
  vv("i32x4.min_u", 183, unsigned(32, bigMin));
  vv("i32x4.max_s", 184, signed(32, bigMax));
  vv("i32x4.max_u", 185, unsigned(32, bigMax));
  vv("i32x4.dot_i16x8_s", 186, (a, b) =>
    make(
      32,
      (i) =>
        signedLane(a, 16, 2 * i) * signedLane(b, 16, 2 * i) +
        signedLane(a, 16, 2 * i + 1) * signedLane(b, 16, 2 * i + 1),
    ),
  );
  vv("i64x2.add", 206, unsigned(64, add));
  vv("i64x2.sub", 209, unsigned(64, sub));
  vv(
    "i64x2.mul",
    213,
    unsigned(64, (a, b) => a * b),
  );

  // extmul and extend: low half at n, high half at n + 1
  const widen = (
    shape: keyof typeof SHAPES,
    from: number,
    nS: number,
    nU: number,
    nMulS: number,
    nMulU: number,
  ): void => {
    const bits = SHAPES[shape];
    const count = 128 / bits;
    for (const [half, base] of [
      ["low", 0],
      ["high", count],
    ] as const) {
      const step = half === "low" ? 0 : 1;
      const fromShape = { 8: "i8x16", 16: "i16x8", 32: "i32x4" }[from];
      t[`${shape}.extend_${half}_${fromShape}_s`] = row(code(nS + step), "v>v", (v: bigint) =>
        make(bits, (i) => signedLane(v, from, i + base)),
      );
      t[`${shape}.extend_${half}_${fromShape}_u`] = row(code(nU + step), "v>v", (v: bigint) =>
        make(bits, (i) => lane(v, from, i + base)),
      );
      vv(`${shape}.extmul_${half}_${fromShape}_s`, nMulS + step, (a, b) =>
        make(bits, (i) => signedLane(a, from, i + base) * signedLane(b, from, i + base)),
      );
      vv(`${shape}.extmul_${half}_${fromShape}_u`, nMulU + step, (a, b) =>
        make(bits, (i) => lane(a, from, i + base) * lane(b, from, i + base)),
      );
    }
  };
  widen("i16x8", 8, 135, 137, 156, 158);
  widen("i32x4", 16, 167, 169, 188, 190);
  widen("i64x2", 32, 199, 201, 220, 222);

  const f32x4 =
    (f: (...lanes: number[]) => number) =>
    (...vs: bigint[]) =>
      make(32, (i) => BigInt(f(...vs.map((v) => Number(lane(v, 32, i)))) >>> 0));
  const f64x2 =
    (f: (...lanes: bigint[]) => bigint) =>
    (...vs: bigint[]) =>
      make(64, (i) => f(...vs.map((v) => lane(v, 64, i))));
  const math: [string, number, number, (...v: number[]) => number, string][] = [
    ["sqrt", 227, 239, (a = 0) => Math.sqrt(a), "v>v"],
    ["add", 228, 240, (a = 0, b = 0) => a + b, "vv>v"],
    ["sub", 229, 241, (a = 0, b = 0) => a - b, "vv>v"],
    ["mul", 230, 242, (a = 0, b = 0) => a * b, "vv>v"],
    ["div", 231, 243, (a = 0, b = 0) => a / b, "vv>v"],
  ];
  for (const [name, n32, n64, f, signature] of math) {
    t[`f32x4.${name}`] = row(code(n32), signature, f32x4(arith32(f)) as never);
    t[`f64x2.${name}`] = row(code(n64), signature, f64x2(arith64(f)) as never);
  }
  const compareFloat: [string, number, number, (a: number, b: number) => boolean][] = [
    ["eq", 65, 71, (a, b) => a === b],
    ["ne", 66, 72, (a, b) => a !== b],
    ["lt", 67, 73, (a, b) => a < b],
    ["gt", 68, 74, (a, b) => a > b],
    ["le", 69, 75, (a, b) => a <= b],
    ["ge", 70, 76, (a, b) => a >= b],
  ];
  for (const [name, n32, n64, f] of compareFloat) {
    vv(`f32x4.${name}`, n32, (a, b) =>
      make(32, (i) => all(f(f32Of(Number(lane(a, 32, i))), f32Of(Number(lane(b, 32, i)))))),
    );
    vv(`f64x2.${name}`, n64, (a, b) => make(64, (i) => all(f(f64Of(lane(a, 64, i)), f64Of(lane(b, 64, i))))));
  }
  // pmin(a, b) = b < a ? b : a, so MINPS x, y is pmin(y, x); pmax(a, b) = a < b ? b : a
  const pick = (less: (a: number, b: number) => boolean) => ({
    f32: (a: bigint, b: bigint) =>
      make(32, (i) =>
        less(f32Of(Number(lane(a, 32, i))), f32Of(Number(lane(b, 32, i)))) ? lane(b, 32, i) : lane(a, 32, i),
      ),
    f64: (a: bigint, b: bigint) =>
      make(64, (i) => (less(f64Of(lane(a, 64, i)), f64Of(lane(b, 64, i))) ? lane(b, 64, i) : lane(a, 64, i))),
  });
  const pmin = pick((a, b) => b < a);
  const pmax = pick((a, b) => a < b);
  vv("f32x4.pmin", 234, pmin.f32);
  vv("f32x4.pmax", 235, pmax.f32);
  vv("f64x2.pmin", 246, pmin.f64);
  vv("f64x2.pmax", 247, pmax.f64);
  return t;
}

export const VECTOR_OPS: Readonly<Record<string, OpSpec>> = table();
