/**
 * x87 code in regions (jit/x87-block.ts): programs from a seed, most of them with a balanced stack, on operands of all
 * kinds and with every rounding, run by the interpreter and as regions from their first execution. State and memory
 * must be equal at the end.
 */
import { describe, expect, it } from "vitest";
import { at, DOUBLES, Random, runRounds, SIGNALLING } from "./float-programs.ts";

function dataOf(random: Random, onlyCommon: boolean): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 16; i++)
    view.setFloat64(8 * i, onlyCommon ? DOUBLES[random.below(10)]! : random.pick(DOUBLES), true);
  if (!onlyCommon) view.setBigUint64(8 * random.below(16), SIGNALLING, true);
  for (let i = 32; i < 48; i++) view.setFloat32(4 * i, random.pick(DOUBLES), true);
  // Extended, denormal and unsupported ones among them.
  for (let i = 0; i < 4; i++) {
    view.setBigUint64(192 + 16 * i, (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32)), true);
    view.setUint16(200 + 16 * i, random.pick([0x3fff, 0xbffe, 0, 0x7fff, 0x7ffe, 1, 0x4000 + random.below(60)]), true);
  }
  // Control words with everything masked, and now and then one that is not.
  for (let i = 0; i < 8; i++) view.setUint16(256 + 2 * i, 0x7f | (random.below(16) << 8), true);
  view.setUint16(256, 0x37f, true);
  view.setUint16(272, 0x340, true);
  return bytes;
}

function program(random: Random, isBalanced: boolean): number[] {
  const code: number[] = [];
  let depth = 0;
  const emit = (...bytes: number[]): void => {
    code.push(...bytes);
  };
  const f64 = (): number => 8 * random.below(16);
  const f32 = (): number => 128 + 4 * random.below(16);
  const out = (): number => 320 + 8 * random.below(20);
  for (let i = 0; i < 24; i++) {
    const hasValue = depth > 0 || !isBalanced;
    const other = isBalanced ? random.below(Math.max(depth, 1)) : random.below(8);
    const operation = random.pick([0, 1, 4, 5, 6, 7]);
    const kind = random.below(26);
    if (kind < 6 && (depth < 7 || !isBalanced)) {
      const load = [
        () => emit(0xdd, ...at(0, f64())),
        () => emit(0xd9, ...at(0, f32())),
        () => emit(0xdb, ...at(5, 192 + 16 * random.below(4))),
        () => emit(0xdf, ...at(5, f64())),
        () => (hasValue ? emit(0xd9, 0xc0 | other) : emit(0xd9, 0xe8)),
        () => emit(0xd9, 0xe8 + random.below(7)),
      ];
      load[random.below(6)]?.();
      depth++;
    } else if (!hasValue) emit(0x90);
    else if (kind < 9) emit(random.pick([0xdc, 0xdc, 0xd8]), ...at(operation, random.below(2) ? f64() : f32()));
    else if (kind < 11) emit(0xd8, 0xc0 | (operation << 3) | other);
    else if (kind < 12) emit(0xdc, 0xc0 | (operation << 3) | other);
    else if (kind < 14 && depth > 1) {
      emit(0xde, 0xc0 | (operation << 3) | Math.max(other, 1));
      depth--;
    } else if (kind < 16) {
      emit(...random.pick([[0xdd], [0xd9]]), ...at(3, out()));
      depth--;
    } else if (kind < 17) emit(random.pick([0xdd, 0xd9]), ...at(2, out()));
    else if (kind < 18) {
      const [opcode, reg] = random.pick([
        [0xdf, 7],
        [0xdb, 3],
        [0xdd, 1],
      ] as const);
      emit(opcode, ...at(reg, out()));
      depth--;
    } else if (kind < 19) emit(0xd9, 0xc8 | other);
    else if (kind < 20) emit(0xd9, random.pick([0xe0, 0xe1, 0xfa, 0xfc, 0xe4, 0xe5]));
    else if (kind < 21) {
      // FCOMI, FUCOMI or FCOMIP, FUCOMIP; LAHF; AH to memory
      const pops = random.below(2) === 1;
      emit(pops ? 0xdf : 0xdb, (random.below(2) ? 0xe8 : 0xf0) | other, 0x9f, 0x88, ...at(4, out()));
      if (pops) depth--;
    } else if (kind < 22) {
      // FUCOM or FST to a register; FNSTSW AX; AX to memory
      emit(0xdd, (random.below(2) ? 0xe0 : 0xd0) | other, 0xdf, 0xe0, 0x66, 0x89, ...at(0, out()));
    } else if (kind < 23) emit(random.pick([0xda, 0xdb]), 0xc0 | (random.below(4) << 3) | other);
    else if (kind < 24) emit(0xd9, ...at(5, random.below(20) ? 256 + 2 * random.below(8) : 272));
    else if (kind < 25) emit(0xd9, ...at(7, out()), 0xd9, random.pick([0xf0, 0xfe, 0xff, 0xfd]));
    else {
      emit(0xdd, 0xd8 | other);
      depth--;
    }
    depth = Math.max(depth, 0);
  }
  if (isBalanced) for (; depth > 0; depth--) emit(0xdd, ...at(3, out()));
  return code;
}

describe("x87 code in regions", () => {
  for (const [name, isBalanced, onlyCommon, least] of [
    ["balanced, of common numbers", true, true, 60],
    ["balanced, of all numbers", true, false, 30],
    ["with stack faults", false, false, 5],
  ] as const)
    it(name, () => {
      let inRegions = 0;
      for (let seed = 1; seed <= 30; seed++) {
        const random = new Random(seed);
        const data = dataOf(random, onlyCommon);
        const code = program(random, isBalanced);
        const expected = runRounds("interp", code, data);
        const found = runRounds("jit", code, data);
        expect({ seed, ...found, inRegions: 0 }).toEqual({ seed, ...expected, inRegions: 0 });
        inRegions += found.inRegions;
      }
      expect(inRegions).toBeGreaterThan(30 * least);
    });
});
