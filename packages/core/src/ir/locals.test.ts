import { describe, expect, it } from "vitest";
import { type Builder, type Expr, i32, i64 } from "./builder.ts";
import { compileModule } from "./compile.ts";
import { Locals } from "./locals.ts";
import { routine } from "./routine.ts";
import type { ValueType } from "./types.ts";

/** Compiles a routine of two i32 parameters and calls it. */
function run(build: (b: Builder, x: Expr, y: Expr) => void, x: number, y: number): number {
  const tried = routine("tried", ["i32", "i32"], "i32", build);
  const bytes = compileModule({ cpuBase: 0, sharedMemory: false, exports: { tried }, table: [] });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return (exports["tried"] as (x: number, y: number) => number)(x, y);
}
function typesOf(build: (b: Builder, x: Expr, y: Expr) => void): readonly ValueType[] {
  const { body } = routine("tried", ["i32", "i32"], "i32", build);
  const made = body?.();
  return made ? new Locals(made.locals, made.statements).types : [];
}

describe("Locals", () => {
  it("uses a place again behind the last use of what it held", () => {
    const chain = (b: Builder, x: Expr, y: Expr): void => {
      let value = x;
      for (let i = 0; i < 100; i++) {
        const next = b.keep(value.mul(3).add(y));
        value = b.keep(next.xor(next.shrU(7)));
      }
      b.return(value);
    };
    expect(typesOf(chain).length).toBeLessThanOrEqual(4);
    let expected = 5;
    for (let i = 0; i < 100; i++) {
      const next = (Math.imul(expected, 3) + 9) | 0;
      expected = next ^ (next >>> 7);
    }
    expect(run(chain, 5, 9)).toBe(expected | 0);
  });

  it("keeps a value that is used in a loop for all its rounds", () => {
    const sum = (b: Builder, x: Expr, y: Expr): void => {
      const step = b.keep(x.add(1));
      const left = b.variable(y);
      const total = b.variable(i32(0));
      b.while(
        () => left.get().nez(),
        () => {
          const twice = b.keep(step.shl(1));
          total.set(total.get().add(twice).add(twice));
          left.set(left.get().sub(1));
        },
      );
      b.return(total.get());
    };
    expect(run(sum, 4, 10)).toBe(200);
  });

  it("keeps a value over an inner list that has locals of its own", () => {
    const pick = (b: Builder, x: Expr, y: Expr): void => {
      const before = b.keep(x.add(y));
      const result = b.variable(i32(0));
      b.if(
        y.gtS(0),
        () => {
          const inner = b.keep(x.mul(y));
          result.set(inner.mul(inner));
        },
        () => {
          const inner = b.keep(x.sub(y));
          result.set(inner.mul(inner));
        },
      );
      b.return(result.get().add(before));
    };
    expect([run(pick, 3, 2), run(pick, 3, -2)]).toEqual([41, 26]);
  });

  it("uses a value at hand more than once in one statement", () => {
    expect(run((b, x, y) => b.return(((v) => v.mul(v).sub(v))(b.keep(x.add(y)))), 3, 4)).toBe(42);
  });

  it("leaves out what nobody uses, and what only that used", () => {
    const unused = (b: Builder, x: Expr, y: Expr): void => {
      const first = b.keep(x.s64().mul(i64(3)));
      b.keep(first.add(first));
      b.return(y);
    };
    expect(typesOf(unused)).toEqual(["i32", "i32"]);
    expect(run(unused, 1, 2)).toBe(2);
  });

  it("refuses a local outside of its list", () => {
    const outside = (b: Builder, x: Expr, y: Expr): void => {
      let inner = x;
      b.if(y, () => {
        inner = b.keep(x.add(1));
      });
      b.return(inner);
    };
    expect(() => run(outside, 1, 2)).toThrow("out of scope");
  });
});
