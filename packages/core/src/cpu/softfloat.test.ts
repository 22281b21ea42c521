import { describe, expect, it } from "vitest";
import { compileModule } from "../ir/compile.ts";
import type { Routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import * as M from "./mxcsr.ts";
import { EXC_XM } from "./raise.ts";
import { F32, F64, type FloatFormat } from "./softfloat.ts";
import { softArithmetic, softSquareRoot } from "./softfloat-arithmetic.ts";
import { softCompare, softExtreme } from "./softfloat-compare.ts";
import { floatToInteger, integerToFloat, narrowFloat, widenFloat } from "./softfloat-convert.ts";

type Name = FloatFormat["name"];
const OPERATIONS = ["add", "sub", "mul", "div"] as const;
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const view = new DataView(memory.buffer);
const routines: Record<string, Routine> = { status: M.floatStatus, narrow: narrowFloat, widen: widenFloat };
for (const f of ["f32", "f64"] as const) {
  for (const operation of OPERATIONS) routines[`${operation}_${f}`] = softArithmetic[operation][f];
  routines[`sqrt_${f}`] = softSquareRoot[f];
  routines[`compare_${f}`] = softCompare[f];
  routines[`min_${f}`] = softExtreme.min[f];
  routines[`to_i32_${f}`] = floatToInteger[f][32];
  routines[`to_i64_${f}`] = floatToInteger[f][64];
  routines[`from_${f}`] = integerToFloat[f];
}
const module = new WebAssembly.Module(
  compileModule({ cpuBase: L.CPU_BASE, sharedMemory: false, exports: routines, table: [] }),
);
const call = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Record<
  string,
  (...args: (bigint | number)[]) => bigint
>;

const put = (field: { offset: number }, value: number): void => view.setUint32(L.CPU_BASE + field.offset, value, true);
const get = (field: { offset: number }): number => view.getUint32(L.CPU_BASE + field.offset, true);

interface Outcome {
  readonly bits: bigint;
  readonly flags: number;
}
function run(name: string, mxcsr: number, ...args: (bigint | number)[]): Outcome {
  put(L.MXCSR, mxcsr);
  put(M.FLOAT_FLAGS, 0);
  const bits = BigInt.asUintN(64, BigInt(call[name]?.(...args) ?? -1n));
  return { bits, flags: get(M.FLOAT_FLAGS) };
}

const scratch = new DataView(new ArrayBuffer(8));
const bits64 = (x: number): bigint => {
  scratch.setFloat64(0, x);
  return scratch.getBigUint64(0);
};
const bits32 = (x: number): bigint => {
  scratch.setFloat32(0, x);
  return BigInt(scratch.getUint32(0));
};
const float = (f: Name, bits: bigint): number => {
  if (f === "f64") {
    scratch.setBigUint64(0, bits);
    return scratch.getFloat64(0);
  }
  scratch.setUint32(0, Number(bits));
  return scratch.getFloat32(0);
};
const bitsFor = (f: Name, x: number): bigint => (f === "f64" ? bits64(x) : bits32(x));

/** Numbers whose exponents are near one another or near an end, from a fixed sequence. */
function* samples(f: FloatFormat, count: number): Generator<bigint> {
  let state = 0x2545f491n;
  const next = (): bigint => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return state >> 11n;
  };
  const exponents = [0, 1, 2, f.bias - 30, f.bias, f.bias + 1, f.bias + 20, f.exponentMax - 1, f.bias >> 1];
  for (let i = 0; i < count; i++) {
    const exponent = BigInt(exponents[Number(next() % BigInt(exponents.length))] ?? 0);
    const fraction = [0n, 1n, f.minNormal - 1n, next() & (f.minNormal - 1n)][Number(next() % 4n)] ?? 0n;
    yield ((next() & 1n) << BigInt(f.bits - 1)) | (exponent << BigInt(f.fractionBits)) | fraction;
  }
}

const DEFAULT = M.MXCSR_RESET;
const rounding = (mode: number): number => DEFAULT | (mode << M.MXCSR_RC_SHIFT);
const HOST: Record<(typeof OPERATIONS)[number], (x: number, y: number) => number> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
};

describe.each([F32, F64])("softfloat $name", (f) => {
  const values = [...samples(f, 600)];
  it("rounds to nearest as the language's own arithmetic does", () => {
    for (const [i, x] of values.entries()) {
      const y = values[(i * 7 + 3) % values.length] ?? 0n;
      for (const operation of OPERATIONS) {
        const wanted = bitsFor(f.name, HOST[operation](float(f.name, x), float(f.name, y)));
        if (Number.isNaN(float(f.name, wanted))) continue;
        expect(run(`${operation}_${f.name}`, DEFAULT, x, y).bits, `${operation} ${x} ${y}`).toBe(wanted);
      }
      const root = Math.sqrt(float(f.name, x));
      if (root >= 0) expect(run(`sqrt_${f.name}`, DEFAULT, x).bits).toBe(bitsFor(f.name, root));
    }
  });

  it("brackets inexact results by the directed modes, and sets PE for exactly those", () => {
    for (const [i, x] of values.entries()) {
      const y = values[(i * 11 + 5) % values.length] ?? 0n;
      for (const operation of OPERATIONS) {
        const name = `${operation}_${f.name}`;
        const [down, up] = [M.ROUND_DOWN, M.ROUND_UP].map((mode) => run(name, rounding(mode), x, y)) as [
          Outcome,
          Outcome,
        ];
        const { bits, flags } = run(name, DEFAULT, x, y);
        if (flags & (M.MXCSR_IE | M.MXCSR_ZE)) continue;
        const order = [down.bits, bits, up.bits].map((each) => float(f.name, each));
        expect(order[0] as number).toBeLessThanOrEqual(order[1] as number);
        expect(order[1] as number).toBeLessThanOrEqual(order[2] as number);
        // A zero difference is exact and has a sign that depends on the mode.
        if (order[0] !== 0) expect(down.bits !== up.bits, `${name} ${x} ${y}`).toBe((flags & M.MXCSR_PE) !== 0);
      }
    }
  });

  it("gives the first NaN quieted, and IE for signaling ones only", () => {
    const quiet = f.infinity | f.quiet | 5n;
    const signaling = f.infinity | 7n;
    const one = bitsFor(f.name, 1);
    expect(run(`add_${f.name}`, DEFAULT, one, quiet)).toEqual({ bits: quiet, flags: 0 });
    expect(run(`sub_${f.name}`, DEFAULT, quiet, signaling)).toEqual({ bits: quiet, flags: M.MXCSR_IE });
    expect(run(`mul_${f.name}`, DEFAULT, signaling, quiet)).toEqual({ bits: signaling | f.quiet, flags: M.MXCSR_IE });
    expect(run(`min_${f.name}`, DEFAULT, one, signaling)).toEqual({ bits: signaling, flags: M.MXCSR_IE });
  });

  it("sets the flags of special operands in the CPU's order", () => {
    const [zero, one] = [0n, bitsFor(f.name, 1)];
    expect(run(`div_${f.name}`, DEFAULT, zero, zero)).toEqual({ bits: f.defaultNan, flags: M.MXCSR_IE });
    expect(run(`div_${f.name}`, DEFAULT, one, zero)).toEqual({ bits: f.infinity, flags: M.MXCSR_ZE });
    expect(run(`div_${f.name}`, DEFAULT, 1n, zero).flags).toBe(M.MXCSR_ZE);
    expect(run(`add_${f.name}`, DEFAULT, 1n, f.infinity)).toEqual({ bits: f.infinity, flags: M.MXCSR_DE });
    expect(run(`sqrt_${f.name}`, DEFAULT, f.sign | one)).toEqual({ bits: f.defaultNan, flags: M.MXCSR_IE });
    expect(run(`compare_${f.name}`, DEFAULT, one, f.infinity | f.quiet, 0)).toEqual({ bits: 3n, flags: 0 });
    expect(run(`compare_${f.name}`, DEFAULT, one, f.infinity | f.quiet, 1)).toEqual({ bits: 3n, flags: M.MXCSR_IE });
  });

  it("detects tininess after rounding, and notes masked underflow only if inexact", () => {
    const one = bitsFor(f.name, 1);
    const below = f.minNormal - 1n;
    // (1 + ulp) * (minNormal - ulp) is below the smallest normal number, but rounds to it.
    expect(run(`mul_${f.name}`, DEFAULT, one + 1n, below)).toEqual({
      bits: f.minNormal,
      flags: M.MXCSR_DE | M.MXCSR_PE,
    });
    // (1 - ulp / 2) * minNormal has all its bits with an unbounded exponent, so it is tiny.
    expect(run(`mul_${f.name}`, DEFAULT, one - 1n, f.minNormal)).toEqual({
      bits: f.minNormal,
      flags: M.MXCSR_UE | M.MXCSR_PE,
    });
    expect(run(`mul_${f.name}`, DEFAULT, bitsFor(f.name, 0.5), f.minNormal)).toEqual({
      bits: f.minNormal >> 1n,
      flags: 0,
    });
    const unmasked = DEFAULT & ~M.MXCSR_UM;
    expect(run(`mul_${f.name}`, unmasked, bitsFor(f.name, 0.5), f.minNormal).flags).toBe(M.MXCSR_UE);
  });

  it("flushes tiny results under FTZ and denormal operands under DAZ", () => {
    const half = bitsFor(f.name, 0.5);
    const flush = DEFAULT | M.MXCSR_FTZ;
    expect(run(`mul_${f.name}`, flush, half, f.sign | f.minNormal)).toEqual({
      bits: f.sign,
      flags: M.MXCSR_UE | M.MXCSR_PE,
    });
    const squash = DEFAULT | M.MXCSR_DAZ;
    expect(run(`add_${f.name}`, squash, 1n, half)).toEqual({ bits: half, flags: 0 });
    expect(run(`div_${f.name}`, squash, half, f.sign | 1n)).toEqual({ bits: f.sign | f.infinity, flags: M.MXCSR_ZE });
  });

  it("overflows to infinity or to the largest number, as the mode says", () => {
    const largest = f.infinity - 1n;
    const results = [M.ROUND_NEAREST, M.ROUND_DOWN, M.ROUND_UP, M.ROUND_ZERO].map(
      (mode) => run(`add_${f.name}`, rounding(mode), largest, largest).bits,
    );
    expect(results).toEqual([f.infinity, largest, f.infinity, largest]);
    expect(run(`add_${f.name}`, DEFAULT, largest, largest).flags).toBe(M.MXCSR_OE | M.MXCSR_PE);
  });

  it("converts integers there and back", () => {
    for (const x of [0n, 1n, -1n, 123456n, -(2n ** 63n), 2n ** 62n]) {
      const { bits, flags } = run(`from_${f.name}`, DEFAULT, x);
      expect(flags).toBe(0);
      expect(BigInt.asIntN(64, run(`to_i64_${f.name}`, DEFAULT, bits, M.ROUND_ZERO).bits)).toBe(x);
    }
    expect(run(`from_${f.name}`, DEFAULT, 2n ** 62n + 1n).flags).toBe(M.MXCSR_PE);
    const rounded = [M.ROUND_NEAREST, M.ROUND_DOWN, M.ROUND_UP, M.ROUND_ZERO].map((mode) =>
      BigInt.asIntN(64, run(`to_i32_${f.name}`, DEFAULT, bitsFor(f.name, -2.5), mode).bits),
    );
    expect(rounded).toEqual([-2n, -3n, -2n, -2n]);
    const tooLarge = run(`to_i32_${f.name}`, DEFAULT, bitsFor(f.name, 2 ** 31), M.ROUND_ZERO);
    expect(BigInt.asIntN(64, tooLarge.bits)).toBe(-(2n ** 31n));
    expect(tooLarge.flags).toBe(M.MXCSR_IE);
  });
});

describe("between formats", () => {
  it("narrows as Math.fround does, and widens back", () => {
    for (const x of samples(F64, 500)) {
      const value = float("f64", x);
      expect(run("narrow", DEFAULT, x).bits).toBe(bits32(value));
      expect(run("widen", DEFAULT, bits32(value)).bits).toBe(bits64(Math.fround(value)));
    }
  });
});

describe("float_status", () => {
  it("adds the flags to MXCSR while they are masked", () => {
    put(L.MXCSR, DEFAULT | M.MXCSR_DE);
    put(M.FLOAT_FLAGS, M.MXCSR_PE);
    expect(call.status?.()).toBe(0);
    expect(get(L.MXCSR)).toBe(DEFAULT | M.MXCSR_DE | M.MXCSR_PE);
  });

  it("raises #XM, and leaves out flags of results when an operand's exception is unmasked", () => {
    view.setUint32(L.CPU_BASE + L.CR4.offset, 0x400, true);
    put(L.MXCSR, DEFAULT & ~M.MXCSR_IM);
    put(M.FLOAT_FLAGS, M.MXCSR_IE | M.MXCSR_OE | M.MXCSR_PE);
    expect(call.status?.()).toBe(1);
    expect(get(L.EXC_VECTOR)).toBe(EXC_XM);
    expect(get(L.MXCSR)).toBe((DEFAULT & ~M.MXCSR_IM) | M.MXCSR_IE);
    put(L.MXCSR, DEFAULT & ~M.MXCSR_OM);
    put(M.FLOAT_FLAGS, M.MXCSR_DE | M.MXCSR_OE | M.MXCSR_PE);
    expect(call.status?.()).toBe(1);
    expect(get(L.MXCSR)).toBe((DEFAULT & ~M.MXCSR_OM) | M.MXCSR_DE | M.MXCSR_OE | M.MXCSR_PE);
  });
});
