import { describe, expect, it } from "vitest";
import { Builder, Expr, i32, i64 } from "./builder.ts";
import { compileModule } from "./compile.ts";
import { routine } from "./routine.ts";
import type { ValueType } from "./types.ts";

type Build = (b: Builder, x: Expr, y: Expr) => void;

/** Compiles a routine of two i32 parameters and calls it. */
function run(build: Build, x: number, y: number): number {
  const tried = routine("tried", ["i32", "i32"], "i32", build);
  const bytes = compileModule({ cpuBase: 0, sharedMemory: false, exports: { tried }, table: [] });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return (exports["tried"] as (x: number, y: number) => number)(x, y);
}
/** Types of the WebAssembly locals that a routine of two i32 parameters gets. */
function typesOf(build: Build): readonly ValueType[] {
  const b = new Builder();
  const [x, y] = [b.parameter("i32"), b.parameter("i32")];
  build(b, x, y);
  const node = new Expr({ kind: "const", type: "i32", value: 1 });
  b.store("i32.store", "host", 0, node);
  let found: readonly ValueType[] = [];
  const value = (types: readonly ValueType[]): number => {
    found = types;
    return 1;
  };
  const body = { locals: b.parameters, statements: b.finish(), late: { node: node.node, value } };
  const tried = { name: "tried", params: ["i32", "i32"], result: "i32", body: () => body } as const;
  compileModule({ cpuBase: 0, sharedMemory: false, exports: { tried }, table: [] });
  return found;
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

  it("leaves out what nobody uses", () => {
    const unused = (b: Builder, x: Expr, y: Expr): void => {
      b.keep(x.s64().mul(i64(3)));
      b.return(y);
    };
    expect(typesOf(unused)).toEqual(["i32", "i32"]);
    expect(run(unused, 1, 2)).toBe(2);
  });

  it("gives places to others that were held by what is left out", () => {
    const unused = (b: Builder, x: Expr, y: Expr): void => {
      for (let i = 0; i < 50; i++) {
        const first = b.keep(x.mul(i));
        b.keep(first.add(first));
      }
      b.return(y);
    };
    expect(typesOf(unused).length).toBeLessThanOrEqual(3);
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
