/**
 * SSE arithmetic in regions (jit/region-floats.ts, cpu/region-float.ts): programs from a seed on operands of all kinds, with
 * PE clear or set, flushing, other roundings and unmasked exceptions, run by the interpreter and as regions from their
 * first execution. State and memory must be equal at the end.
 */
import { describe, expect, it } from "vitest";
import { at, DOUBLES, Random, runRounds, SIGNALLING } from "./float-programs.ts";

const PREFIXES: readonly (readonly number[])[] = [[0xf2], [0xf3], [0x66], []];
/** add mul sub div sqrt min max */
const OPCODES = [0x58, 0x59, 0x5c, 0x5e, 0x58, 0x59, 0x5c, 0x51, 0x5d, 0x5f];
const SMALL = [1, 2, 3, -4, 0.5, 10, 1024, -7, 0, 6];
const MXCSR_AT = 256;
/** Masked with PE clear and set; with FTZ and DAZ; rounded down and up; DE and UE unmasked, PE unmasked. */
const CONTROLS = [0x1f80, 0x1fa0, 0x9fe0, 0x3fa0, 0x5f80, 0x16a0, 0x0fa0];

function dataOf(random: Random, numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 16; i++) view.setFloat64(8 * i, random.pick(numbers), true);
  for (let i = 32; i < 64; i++) view.setFloat32(4 * i, random.pick(numbers), true);
  if (numbers === DOUBLES) view.setBigUint64(8 * random.below(16), SIGNALLING, true);
  for (const [i, control] of CONTROLS.entries()) view.setUint32(MXCSR_AT + 4 * i, control, true);
  return bytes;
}

function program(random: Random, changesControl: boolean): number[] {
  const code: number[] = [];
  for (let i = 0; i < 30; i++) {
    const reg = random.below(4);
    const other = 0xc0 | (reg << 3) | random.below(4);
    const source = (): number[] => at(reg, 16 * random.below(8) + (random.below(4) ? 0 : 128));
    const prefix = random.pick(PREFIXES);
    const kind = random.below(17);
    const operand = (): number[] => (random.below(2) ? source() : [other]);
    if (kind < 1) code.push(...prefix, 0x0f, 0xc2, ...operand(), random.below(8));
    // CVTSI2SD, CVTSI2SS
    else if (kind < 2) code.push(random.pick([0xf2, 0xf3]), 0x0f, 0x2a, ...at(reg, 128 + 4 * random.below(16)));
    else if (kind < 8) code.push(...prefix, 0x0f, random.pick(OPCODES), ...operand());
    else if (kind < 10) code.push(...random.pick(PREFIXES), 0x0f, 0x10, ...source());
    else if (kind < 11)
      code.push(
        ...random.pick([
          [0xf2, 0x0f, 0x10],
          [0xf3, 0x0f, 0x10],
          [0x0f, 0x28],
        ]),
        other,
      );
    else if (kind < 12) code.push(...random.pick(PREFIXES), 0x0f, 0x11, ...at(reg, 320 + 16 * random.below(11)));
    else if (kind < 14)
      code.push(
        ...random.pick([[0x66], []]),
        0x0f,
        random.pick([0x2e, 0x2f]),
        ...operand(),
        // SETcc to memory; Jcc over a NOP; INC AL, which keeps CF; LAHF
        ...[0x0f, 0x90 | random.below(16), ...at(0, 320 + random.below(190))],
        ...[0x70 | random.below(16), 1, 0x90],
        ...(random.below(3) ? [] : [0xfe, 0xc0]),
        0x9f,
      );
    else if (kind < 15 && changesControl) code.push(0x0f, 0xae, ...at(2, MXCSR_AT + 4 * random.below(CONTROLS.length)));
    else code.push(...random.pick([[0x66], []]), 0x0f, 0x14, other);
  }
  return code;
}

describe("SSE arithmetic in regions", () => {
  for (const [name, numbers, changesControl] of [
    ["of all numbers", DOUBLES, true],
    ["of numbers that results are exact for", SMALL, false],
  ] as const)
    it(name, () => {
      let inRegions = 0;
      for (let seed = 1; seed <= 25; seed++) {
        const random = new Random(seed);
        const data = dataOf(random, numbers);
        const code = program(random, changesControl);
        const mxcsr = random.pick(CONTROLS.slice(0, changesControl ? undefined : 2));
        const expected = runRounds("interp", code, data, mxcsr);
        const found = runRounds("jit", code, data, mxcsr);
        expect({ seed, ...found, inRegions: 0 }).toEqual({ seed, ...expected, inRegions: 0 });
        inRegions += found.inRegions;
      }
      expect(inRegions).toBeGreaterThan(25 * 20);
    });
});
