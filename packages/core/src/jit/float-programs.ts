/**
 * For tests of floating point in regions: numbers of all kinds, chance from a seed, and a loop of guest code that runs on
 * a tier to its end, with data at RBX.
 */
import type { Tier } from "../engine/jit-engine.ts";
import { bareMachine } from "../interp/bare-machine.ts";

const DATA = 0x200000;
const DATA_BYTES = 512;
const HLT = 0xf4;
const [RCX, RBX] = [1, 3];
const ROUNDS = 3;

export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed * 2 + 1;
  }
  below(n: number): number {
    this.#state = Math.imul(this.#state, 0x2c9277b5) + 0x5851f42d;
    const mixed = Math.imul(this.#state ^ (this.#state >>> 15), 0x2c1b3c6d);
    return ((mixed ^ (mixed >>> 13)) >>> 0) % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

/** Doubles: common ones, and each kind that is not. */
export const DOUBLES = [
  ...[1, -1, 0.1, 3, 1e10, -2.5e-7, Math.PI, 1 / 3, 4503599627370497, -0.75, 0, -0, 65536, 1e300, -1e300, 1e-300],
  ...[5e-324, -1e-310, Infinity, -Infinity, NaN, Number.MAX_VALUE, 2 ** -1022, 1 + 2 ** -52, 1 - 2 ** -53, 2 ** 63],
];
export const SIGNALLING = 0x7ff0000000000001n;

export const le32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];
/** ModRM with a displacement of 32 bits from RBX, and the reg field. */
export const at = (reg: number, offset: number): number[] => [0x83 | (reg << 3), ...le32(offset)];

/** What the code, three times over, leaves of the state and of the data. Everything of FPU and SSE may be used. */
export function runRounds(
  tier: Tier,
  code: readonly number[],
  data: Uint8Array,
  mxcsr = 0x1f80,
): { state: unknown; data: number[]; inRegions: number } {
  const m = bareMachine({}, { tier });
  // dec rcx; jnz
  m.load([...code, 0x48, 0xff, 0xc9, 0x0f, 0x85, ...le32(-(code.length + 9)), HLT]);
  m.memory.write(DATA, data);
  m.change((s) => {
    s.gpr[RCX] = BigInt(ROUNDS);
    s.gpr[RBX] = BigInt(DATA);
    s.cr0 = (s.cr0 | 0x20n) & ~0xcn;
    // OSFXSR, OSXMMEXCPT: regions with any of them want all of FPU, MMX and SSE to be there.
    s.cr4 |= 0x600n;
    // FCW after FNINIT
    s.fxsave.set([0x7f, 3]);
    s.fxsave.set(le32(mxcsr), 24);
  });
  for (let i = 0; i < 100; i++) if (m.vcpu.run(1000).reason !== "budget") break;
  const inRegions = m.engine.stats()["instructionsInRegions"] ?? 0;
  const after = new Uint8Array(DATA_BYTES);
  m.memory.read(DATA, after);
  return { state: m.state(), data: [...after], inRegions };
}
