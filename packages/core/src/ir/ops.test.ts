import { describe, expect, it } from "vitest";
import { i32, opWith } from "./builder.ts";
import { compileModule } from "./compile.ts";
import { Evaluator } from "./evaluate.ts";
import { OPS } from "./ops.ts";
import { type Routine, routine } from "./routine.ts";
import type { ValueType } from "./types.ts";

const RESULT = 64;
const INTERESTING = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
];
const FLOATS = [0x0n, 0x80000000n, 0x3f800000n, 0xbf800000n, 0x7f800000n, 0x7fc00001n, 0x7f800001n, 0x1n, 0x4f000000n];
const DOUBLES = [
  0n,
  1n << 63n,
  0x3ff0000000000000n,
  0xbfe8000000000000n,
  0x7ff0000000000000n,
  0x7ff8000000000001n,
  0x7ff0000000000001n,
  1n,
  0x43e0000000000000n,
];

/** Deterministic 64-bit values: xorshift. */
function values(seed: bigint): () => bigint {
  let x = seed;
  return () => {
    x ^= (x << 13n) & 0xffffffffffffffffn;
    x ^= x >> 7n;
    x ^= (x << 17n) & 0xffffffffffffffffn;
    return x;
  };
}

function operand(type: ValueType, next: () => bigint): bigint {
  const pick = (list: readonly bigint[]): bigint => list[Number(next() % BigInt(list.length))] ?? 0n;
  const special = next() % 3n === 0n;
  switch (type) {
    case "i32":
      return BigInt.asUintN(32, special ? pick(INTERESTING) : next());
    case "i64":
      return special ? pick(INTERESTING) : next();
    case "f32":
      return special ? pick(FLOATS) : BigInt.asUintN(32, next());
    case "f64":
      return special ? pick(DOUBLES) : next();
    case "v128":
      return (
        (operand("f64", next) << 64n) |
        (special ? operand("f32", next) | (operand("f32", next) << 32n) : operand("i64", next))
      );
  }
}

/** Loads the operands at 0, 16, 32, applies the operator, stores the result at RESULT. */
function applied(name: string, immediate: bigint | number | undefined): Routine {
  const spec = OPS[name];
  if (!spec) throw new Error(name);
  return routine("apply", [], undefined, (b) => {
    const args = spec.params.map((type, i) => b.load(`${type}.load`, "host", i32(0), i * 16));
    b.store(`${spec.result}.store`, "host", i32(0), opWith(name, immediate, ...args), RESULT);
  });
}

const LANES: Readonly<Record<string, number>> = { i8x16: 16, i16x8: 8, i32x4: 4, i64x2: 2, f32x4: 4, f64x2: 2 };
const names = Object.entries(OPS).flatMap(([name, spec]) => (spec?.evaluate ? [name] : []));
/** A NaN that an operation makes has bits that WebAssembly leaves open where no operand is one: those of x86 are expected. */
const DIVIDES = /div_|rem_/;

describe("every operator means the same compiled and evaluated", () => {
  it.each(names)("%s", (name) => {
    const spec = OPS[name];
    if (!spec) throw new Error(name);
    const next = values(BigInt(name.length * 7919 + 1) * 0x9e3779b97f4a7c15n);
    const immediates =
      spec.immediate === "lane"
        ? Array.from({ length: LANES[name.slice(0, 5)] ?? 2 }, (_, i) => i)
        : spec.immediate === "shuffle"
          ? [0x1f0013020c1d0e0f1011120304050607n]
          : [undefined];
    for (const immediate of immediates) {
      const apply = applied(name, immediate);
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
      const bytes = compileModule({ cpuBase: 0, sharedMemory: false, exports: { apply }, table: [] });
      const compiled = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } })
        .exports as unknown as { apply(): void };
      const view = new DataView(memory.buffer);
      const evaluator = new Evaluator({ memory: view, cpuBase: 0, imports: {}, table: [] });
      const result = (): bigint => view.getBigUint64(RESULT, true) | (view.getBigUint64(RESULT + 8, true) << 64n);
      for (let round = 0; round < 60; round++) {
        const args = spec.params.map((type) => operand(type, next));
        if (DIVIDES.test(name)) {
          if (
            !args[1] ||
            (BigInt.asIntN(64, args[1]) === -1n && name === "i64.div_s") ||
            (args[1] === 0xffffffffn && name === "i32.div_s")
          )
            continue;
        }
        for (const [i, value] of args.entries()) {
          view.setBigUint64(i * 16, BigInt.asUintN(64, value), true);
          view.setBigUint64(i * 16 + 8, value >> 64n, true);
        }
        view.setBigUint64(RESULT, 0n, true);
        view.setBigUint64(RESULT + 8, 0n, true);
        compiled.apply();
        const expected = result();
        view.setBigUint64(RESULT, 0n, true);
        view.setBigUint64(RESULT + 8, 0n, true);
        evaluator.call(apply);
        expect(result().toString(16), `${name} of ${args.map((a) => a.toString(16)).join(", ")}`).toBe(
          expected.toString(16),
        );
      }
    }
  });
});
