// How far the x87's transcendental functions are from the truth: the CPU's routines, compiled, against x87-oracle.ts.
//
// Arguments are spread over the domain that the manual gives, with those where it is hard: near multiples of half a
// turn, near one, near the tables' borders, tiny ones. Trigonometric arguments count as multiples of the processors' own
// pi (docs/decisions/0005-pi-of-66-bits.md).

import * as L from "../../packages/core/src/cpu/layout.ts";
import { FSW_C1, FSW_IE, FSW_PE, FSW_ZE } from "../../packages/core/src/cpu/x87.ts";
import { arctangent } from "../../packages/core/src/cpu/x87-arctangent.ts";
import { exponential, logarithm, logarithmOfSum } from "../../packages/core/src/cpu/x87-logarithm.ts";
import { COSINE, SINE, TANGENT, trigonometric } from "../../packages/core/src/cpu/x87-trigonometry.ts";
import { compileModule } from "../../packages/core/src/ir/compile.ts";
import { Evaluator } from "../../packages/core/src/ir/evaluate.ts";
import type { Routine } from "../../packages/core/src/ir/routine.ts";
import * as oracle from "./x87-oracle.ts";

const ROUTINES: Readonly<Record<string, Routine>> = {
  trigonometric,
  arctangent,
  exponential,
  logarithm,
  logarithmOfSum,
};

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const view = new DataView(memory.buffer);
const module = new WebAssembly.Module(
  compileModule({ cpuBase: L.CPU_BASE, sharedMemory: false, exports: ROUTINES, table: [] }),
);
type Call = (...args: (bigint | number)[]) => bigint;
const compiled = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Record<string, Call>;
const evaluator = new Evaluator({ memory: view, cpuBase: L.CPU_BASE, imports: {}, table: [] });

/** Significand, and sign with exponent. */
export type Value = readonly [bigint, number];
interface Result {
  readonly value: Value;
  readonly flags: number;
}
const NEAREST = 0;
const DOWN = 1;
const UP = 2;
const ZERO = 3;
const BIAS = 16383;
const INTEGER_BIT = 1n << 63n;

type Call87 = (name: string, rounding: number, ...args: readonly (bigint | number)[]) => Result;
function prepare(rounding: number): void {
  view.setUint16(L.CPU_BASE + L.FCW.offset, 0x33f | (rounding << 10), true);
}
function outcome(significand: bigint): Result {
  const at = (i: 0 | 1): number => Number(view.getBigUint64(L.CPU_BASE + L.result(i).offset, true));
  return { value: [BigInt.asUintN(64, significand), at(0)], flags: at(1) };
}
const onWasm: Call87 = (name, rounding, ...args) => {
  prepare(rounding);
  return outcome(compiled[name]!(...args));
};
const onEvaluator: Call87 = (name, rounding, ...args) => {
  prepare(rounding);
  return outcome(BigInt(evaluator.call(ROUTINES[name]!, ...args)));
};

type Function87 = (call: Call87, rounding: number, x: Value, y: Value) => Result;
const FUNCTIONS = {
  fsin: (call, r, x) => call("trigonometric", r, ...x, SINE),
  fcos: (call, r, x) => call("trigonometric", r, ...x, COSINE),
  fptan: (call, r, x) => call("trigonometric", r, ...x, TANGENT),
  f2xm1: (call, r, x) => call("exponential", r, ...x),
  fpatan: (call, r, x, y) => call("arctangent", r, ...x, ...y),
  fyl2x: (call, r, x, y) => call("logarithm", r, ...x, ...y),
  fyl2xp1: (call, r, x, y) => call("logarithmOfSum", r, ...x, ...y),
} as const satisfies Readonly<Record<string, Function87>>;
export type Name = keyof typeof FUNCTIONS;
export const NAMES = Object.keys(FUNCTIONS) as readonly Name[];

function bigOf([significand, signExponent]: Value): oracle.Big {
  const m = signExponent & 0x8000 ? -significand : significand;
  return oracle.of(m, Math.max(1, signExponent & 0x7fff) - BIAS - 63);
}

/** The processors' pi (SDM vol. 1, 8.3.8), halved. */
const HALF_PI: oracle.Big = oracle.of(0xc90fdaa22168c234cn, -67);
function reduced(x: Value): { quadrant: number; rest: oracle.Big } {
  const { m, e } = bigOf(x);
  // As integers of 2^-16500.
  const unit = 16500;
  const whole = m << BigInt(e + unit);
  const step = HALF_PI.m << BigInt(HALF_PI.e + unit);
  let quotient = (2n * whole + step) / (2n * step);
  if (2n * whole + step < 0n) quotient -= 1n;
  return { quadrant: Number(BigInt.asUintN(2, quotient)), rest: oracle.of(whole - quotient * step, -unit) };
}
function angle(x: Value): { sine: oracle.Big; cosine: oracle.Big } {
  const { quadrant, rest } = reduced(x);
  const { sine, cosine } = oracle.sineAndCosine(rest);
  const turned = quadrant & 1 ? [cosine, oracle.negated(sine)] : [sine, cosine];
  const [s, c] = quadrant & 2 ? turned.map(oracle.negated) : turned;
  return { sine: s!, cosine: c! };
}

const TRUTH: Readonly<Record<Name, (x: Value, y: Value) => oracle.Big>> = {
  fsin: (x) => angle(x).sine,
  fcos: (x) => angle(x).cosine,
  fptan: (x) => oracle.over(angle(x).sine, angle(x).cosine),
  f2xm1: (x) => oracle.powerOfTwoLessOne(bigOf(x)),
  fpatan: (vx, vy) => {
    const [x, y] = [bigOf(vx), bigOf(vy)];
    const [ax, ay] = [x, y].map((v) => (v.m < 0n ? oracle.negated(v) : v)) as [oracle.Big, oracle.Big];
    const steep = oracle.minus(ay, ax).m > 0n;
    const flat = oracle.arctangent(steep ? oracle.over(ax, ay) : oracle.over(ay, ax));
    const quarter = steep ? oracle.minus(oracle.times(oracle.PI, oracle.of(1, -1)), flat) : flat;
    const positive = x.m < 0n ? oracle.minus(oracle.PI, quarter) : quarter;
    return y.m < 0n ? oracle.negated(positive) : positive;
  },
  fyl2x: (x, y) => oracle.times(bigOf(y), oracle.logarithm(bigOf(x))),
  fyl2xp1: (x, y) => oracle.times(bigOf(y), oracle.logarithmOfSum(bigOf(x))),
};

/** Distance of a result from the truth in units of the truth's last place; the truth rounded to 2^-40 units. */
function ulps(result: Value, computed: oracle.Big): number {
  // A power of two to all the oracle's digits is one, and not a little less.
  const truth = oracle.rounded(computed);
  const place = Math.max(oracle.magnitude(truth) - 64, -16445);
  const { m, e } = oracle.minus(bigOf(result), truth);
  const by = e - place + 40;
  return Number(by >= 0 ? m << BigInt(by) : m >> BigInt(-by)) / 2 ** 40;
}

let seed = 1n;
function random(bits: number): bigint {
  seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
  return (seed ^ (seed >> 29n)) >> BigInt(64 - bits);
}
function below(n: number): number {
  return Number((random(32) * BigInt(n)) >> 32n);
}
/** Significands where roundings and table borders are near, and others. */
function significand(): bigint {
  switch (below(6)) {
    case 0:
      return INTEGER_BIT | (random(below(5)) << 59n);
    case 1:
      return INTEGER_BIT | random(3);
    case 2:
      return (1n << 64n) - 1n - random(3);
    default:
      return INTEGER_BIT | random(63);
  }
}
const value = (least: number, most: number): Value => [
  significand(),
  (below(2) << 15) | (BIAS + least + below(most - least + 1)),
];
const nearZero = (most: number): Value => value(below(4) === 0 ? -16382 : below(2) ? -70 : -6, most);

/** A multiple of the processors' half pi, rounded to 64 bits, and its neighbours. */
function nearQuarter(): Value {
  const multiple = HALF_PI.m * (1n + random(1 + below(62)));
  const over = multiple.toString(2).length - 64;
  const exponent = over + HALF_PI.e + 63;
  if (exponent > 62) return nearZero(62);
  return [(multiple >> BigInt(over)) + random(1), (below(2) << 15) | (BIAS + exponent)];
}
/** From 1 - sqrt(1/2) to sqrt(2) - 1, as FYL2XP1 takes it. */
function logarithmArgument(): Value {
  const x = nearZero(-2);
  const limit = x[1] & 0x8000 ? 0x95f619980c4336f7n : 0xd413cccfe7799211n;
  return (x[1] & 0x7fff) === BIAS - 2 && x[0] > limit ? [limit, x[1]] : x;
}
/** Positive: anything, near 1, powers of two. */
function positive(): Value {
  switch (below(4)) {
    case 0:
      return [significand(), below(0x7fff) || 1];
    case 1:
      return [INTEGER_BIT | random(1 + below(63)), BIAS];
    case 2:
      return [(1n << 64n) - 1n - random(1 + below(62)), BIAS - 1];
    default:
      return [significand(), BIAS - 2 + below(4)];
  }
}
const anywhere = (): Value => (below(3) ? value(-40, 40) : value(-8000, 8000));
const angleArgument = (): Value => (below(3) === 0 ? nearQuarter() : nearZero(below(2) ? 4 : 62));
const ARGUMENTS: Readonly<Record<Name, () => readonly [Value, Value]>> = {
  fsin: () => [angleArgument(), [0n, 0]],
  fcos: () => [angleArgument(), [0n, 0]],
  fptan: () => [angleArgument(), [0n, 0]],
  f2xm1: () => [nearZero(-1), [0n, 0]],
  fpatan: () => [anywhere(), anywhere()],
  fyl2x: () => [positive(), value(-60, 60)],
  fyl2xp1: () => [logarithmArgument(), value(-60, 60)],
};

export interface Accuracy {
  readonly cases: number;
  /** Largest error in units of the last place, by FCW.RC: to nearest, down, up, to zero. */
  readonly worst: readonly [number, number, number, number];
  /** Results on the wrong side of the truth for the rounding asked for, or with C1 or PE wrong. */
  readonly wrong: readonly string[];
}

export function measure(name: Name, cases: number): Accuracy {
  const worst: [number, number, number, number] = [0, 0, 0, 0];
  const wrong: string[] = [];
  for (let i = 0; i < cases; i++) {
    const [x, y] = ARGUMENTS[name]();
    const truth = TRUTH[name](x, y);
    if (truth.m === 0n) continue;
    const sign = truth.m < 0n ? -1 : 1;
    for (const rounding of [NEAREST, DOWN, UP, ZERO] as const) {
      const { value, flags } = FUNCTIONS[name](onWasm, rounding, x, y);
      const error = ulps(value, truth);
      worst[rounding] = Math.max(worst[rounding], Math.abs(error));
      const grew = (flags & FSW_C1) !== 0;
      const side =
        (rounding === DOWN && error > 0) || (rounding === UP && error < 0) || (rounding === ZERO && error * sign > 0);
      const isExpected = (flags & (FSW_PE | FSW_IE | FSW_ZE)) === FSW_PE;
      if (side || !isExpected || (error !== 0 && grew !== error * sign > 0)) {
        wrong.push(`${name} ${x} ${y} rounding ${rounding}: error ${error}, flags ${flags.toString(16)}`);
      }
    }
  }
  return { cases, worst, wrong };
}

/** Cases in which the evaluator gives something else than the compiled routine. */
export function tierDifferences(name: Name, cases: number): string[] {
  const different: string[] = [];
  for (let i = 0; i < cases; i++) {
    const [x, y] = ARGUMENTS[name]();
    const show = (call: Call87): string => {
      const { value, flags } = FUNCTIONS[name](call, i % 4, x, y);
      return `${value} ${flags}`;
    };
    if (show(onWasm) !== show(onEvaluator)) different.push(`${name} ${x} ${y}`);
  }
  return different;
}

export const formatAccuracy = (name: Name, { cases, worst }: Accuracy): string =>
  `${name}: ${cases} arguments, at most ${worst.map((ulps) => ulps.toFixed(6)).join(", ")} units in the last place to nearest, down, up, to zero`;
