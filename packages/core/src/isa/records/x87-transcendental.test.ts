import { describe, expect, it } from "vitest";
import { type BareMachine, bareMachine } from "../../interp/bare-machine.ts";

const HLT = 0xf4;
const FSIN = [0xd9, 0xfe];
const FCOS = [0xd9, 0xff];
const FSINCOS = [0xd9, 0xfb];
const FPTAN = [0xd9, 0xf2];
const FPATAN = [0xd9, 0xf3];
const F2XM1 = [0xd9, 0xf0];
const FYL2X = [0xd9, 0xf1];
const FYL2XP1 = [0xd9, 0xf9];
const [IE, ZE, UE, PE, SF, C1, C2] = [0x01, 0x04, 0x10, 0x20, 0x40, 0x200, 0x400];

/** Sign and exponent, significand. */
type Value = readonly [number, bigint];
const ONE: Value = [0x3fff, 1n << 63n];
const MINUS_ONE: Value = [0xbfff, 1n << 63n];
const TWO: Value = [0x4000, 1n << 63n];
const ZERO: Value = [0, 0n];
const MINUS_ZERO: Value = [0x8000, 0n];
const INFINITY: Value = [0x7fff, 1n << 63n];
const MINUS_INFINITY: Value = [0xffff, 1n << 63n];
const INDEFINITE: Value = [0xffff, 3n << 62n];
const SIGNALLING: Value = [0x7fff, (1n << 63n) | 5n];
const QUIET: Value = [0x7fff, (3n << 62n) | 5n];
const PI: Value = [0x4000, 0xc90fdaa22168c235n];
const LEAST: Value = [0, 1n];

const machine: BareMachine = bareMachine();

interface Outcome {
  readonly stack: readonly Value[];
  /** Registers in use. */
  readonly depth: number;
  readonly fsw: number;
}
/** Runs an instruction with ST(0), ST(1) ... set, FCW as given. */
function run(code: readonly number[], stack: readonly Value[], fcw = 0x37f): Outcome {
  machine.load([...code, HLT]);
  machine.change((s) => {
    const v = new DataView(s.fxsave.buffer, s.fxsave.byteOffset, 512);
    s.fxsave.fill(0, 32, 160);
    const top = (8 - stack.length) & 7;
    v.setUint16(0, fcw, true);
    v.setUint16(2, top << 11, true);
    v.setUint8(
      4,
      stack.reduce((tags, _, i) => tags | (1 << ((top + i) & 7)), 0),
    );
    for (const [i, [signExponent, significand]] of stack.entries()) {
      v.setBigUint64(32 + 16 * i, significand, true);
      v.setUint16(40 + 16 * i, signExponent, true);
    }
  });
  expect(machine.vcpu.run(10).reason).toBe("halt");
  const { fxsave } = machine.state();
  machine.change((s) => {
    s.halted = false;
  });
  const v = new DataView(fxsave.buffer, fxsave.byteOffset, 512);
  const value = (i: number): Value => [v.getUint16(40 + 16 * i, true), v.getBigUint64(32 + 16 * i, true)];
  const depth = Array.from({ length: 8 }, (_, i) => (v.getUint8(4) >> i) & 1).reduce((a, b) => a + b);
  return { stack: [value(0), value(1)], depth, fsw: v.getUint16(2, true) & ~0x3800 };
}

describe("x87 transcendental instructions", () => {
  it("reduce angles by the processors' pi of 66 bits", () => {
    expect(run(FSIN, [PI]).stack[0]).toEqual([0xbfbf, 1n << 63n]);
    expect(run(FCOS, [PI]).stack[0]).toEqual(MINUS_ONE);
    expect(run(FSIN, [[0x403d, (1n << 64n) - 1n]]).stack[0]).toEqual([0x3ffe, 0xe0ab9300da6d2684n]);
  });

  it("set C2 and do nothing from 2^63 on", () => {
    const far: Value = [0xc03e, 1n << 63n];
    for (const code of [FSIN, FCOS, FSINCOS, FPTAN])
      expect(run(code, [far])).toEqual({ stack: [far, ZERO], depth: 1, fsw: C2 });
  });

  it("push a second result", () => {
    expect(run(FPTAN, [ZERO])).toEqual({ stack: [ONE, ZERO], depth: 2, fsw: 0 });
    expect(run(FSINCOS, [MINUS_ZERO])).toEqual({ stack: [ONE, MINUS_ZERO], depth: 2, fsw: 0 });
    expect(run(FSINCOS, [SIGNALLING])).toEqual({ stack: [QUIET, QUIET], depth: 2, fsw: IE });
    expect(run(FSINCOS, Array(8).fill(ONE))).toMatchObject({ stack: [INDEFINITE, INDEFINITE], fsw: IE | SF | C1 });
    expect(run(FPTAN, [])).toMatchObject({ stack: [INDEFINITE, INDEFINITE], fsw: IE | SF });
  });

  it("take zeros and infinities as the manual's tables say", () => {
    const cases: readonly (readonly [readonly number[], Value, Value, Value, number])[] = [
      [FPATAN, ONE, MINUS_ZERO, MINUS_ZERO, 0],
      [FPATAN, MINUS_ONE, ZERO, PI, PE | C1],
      [FPATAN, INFINITY, INFINITY, [0x3ffe, PI[1]], PE | C1],
      [FYL2X, ZERO, ONE, MINUS_INFINITY, ZE],
      [FYL2X, ZERO, INFINITY, MINUS_INFINITY, 0],
      [FYL2X, ZERO, ZERO, INDEFINITE, IE],
      [FYL2X, ONE, INFINITY, INDEFINITE, IE],
      [FYL2X, ONE, MINUS_ONE, MINUS_ZERO, 0],
      [FYL2X, MINUS_ONE, ONE, INDEFINITE, IE],
      [FYL2X, TWO, TWO, TWO, PE],
      [FYL2XP1, ZERO, INFINITY, INDEFINITE, IE],
      [FYL2XP1, MINUS_ZERO, ONE, MINUS_ZERO, 0],
    ];
    for (const [code, x, y, result, fsw] of cases) {
      expect(run(code, [x, y]), `${code} ${x} ${y}`).toMatchObject({
        stack: [result, expect.anything()],
        depth: 1,
        fsw,
      });
    }
    expect(run(F2XM1, [MINUS_ONE]).stack[0]).toEqual([0xbffe, 1n << 63n]);
    expect(run(FSIN, [MINUS_INFINITY])).toMatchObject({ stack: [INDEFINITE, ZERO], fsw: IE });
  });

  it("round in the direction asked for, to 64 bits whatever the precision", () => {
    const just = (fcw: number): Value => run(FCOS, [[0x3f00, 1n << 63n]], fcw).stack[0]!;
    expect(just(0x07f)).toEqual(ONE);
    expect(just(0x47f)).toEqual([0x3ffe, (1n << 64n) - 1n]);
    expect(just(0x87f)).toEqual(ONE);
    expect(just(0xc7f)).toEqual([0x3ffe, (1n << 64n) - 1n]);
  });

  it("underflow, and leave the stack alone where an exception is not masked", () => {
    expect(run(FSIN, [LEAST]).fsw).toBe(0x02 | UE | PE | C1);
    const blocked = run(FYL2X, [ZERO, ONE], 0x37b);
    expect(blocked).toMatchObject({ stack: [ZERO, ONE], depth: 2, fsw: 0x8080 | ZE });
    expect(run(FSINCOS, [LEAST], 0x37d)).toMatchObject({ stack: [LEAST, ZERO], depth: 1, fsw: 0x8082 });
  });
});
