import { describe, expect, it } from "vitest";
import { resetState } from "../../cpu/reset-state.ts";
import type { VcpuState } from "../../cpu/state.ts";
import { JitEngine } from "../../engine/jit-engine.ts";
import { createCore } from "../../interp/core.ts";
import { createEvaluatorCore } from "../../interp/evaluator-cpu.ts";

const CODE = 0x1000;
const DATA = 0x10000;
const HLT = 0xf4;
const RFLAGS_VM = 1n << 17n;
/** FNSTENV, FNSAVE, FRSTOR, FXSAVE, FXRSTOR, FSTP tbyte of [disp16]; the same with 32-bit operands has 66h before it. */
const at = (opcode: readonly number[], offset: number): number[] => [...opcode, offset & 0xff, offset >> 8];
const fnstenv = (offset: number): number[] => at([0xd9, 0x36], offset);
const fldenv = (offset: number): number[] => at([0xd9, 0x26], offset);
const fnsave = (offset: number): number[] => at([0xdd, 0x36], offset);
const frstor = (offset: number): number[] => at([0xdd, 0x26], offset);
const fxsave = (offset: number): number[] => at([0x0f, 0xae, 0x06], offset);
const fxrstor = (offset: number): number[] => at([0x0f, 0xae, 0x0e], offset);
const fstp80 = (offset: number): number[] => at([0xdb, 0x3e], offset);
const fld80 = (offset: number): number[] => at([0xdb, 0x2e], offset);
const wide = (code: readonly number[]): number[] => [0x66, ...code];

const TIERS = { interpreter: createCore, evaluator: createEvaluatorCore };

describe.each(Object.entries(TIERS))("the x87's images in memory, %s", (_, create) => {
  function machine() {
    const engine = new JitEngine({
      memoryBytes: 1 << 20,
      tscFrequencyHz: 1e9,
      sharedMemory: false,
      createCore: create,
    });
    const none = (): undefined => undefined;
    const vcpu = engine.createVcpu(0, {
      ...{ readPort: () => 0, writePort: none, readMmio: () => 0, writeMmio: none, readMsr: none },
      ...{ writeMsr: () => false, readTsc: () => 0n, randomBits: () => 0n },
    });
    const { memory } = engine;
    /** Runs code in real mode, or at CPL 0 with 16-bit segments, with DS at DATA. */
    const run = (code: readonly number[], change: (state: VcpuState) => void = none): VcpuState => {
      memory.write(CODE, Uint8Array.from([...code, HLT]));
      const reset = resetState(0);
      const state = {
        ...reset,
        ...{ rip: BigInt(CODE), cs: { ...reset.cs, selector: 0, base: 0n } },
        ds: { ...reset.ds, selector: DATA >> 4, base: BigInt(DATA) },
      };
      const v = new DataView(state.fxsave.buffer, state.fxsave.byteOffset, 512);
      v.setUint16(0, 0x37f, true);
      v.setUint16(2, 0x2a20, true);
      v.setUint8(4, 0b1010_0101);
      v.setUint16(6, 0x5c3, true);
      v.setBigUint64(8, 0x9_8765_4321n, true);
      v.setBigUint64(16, 0xa_bcde_f012n, true);
      for (let i = 0; i < 8; i++) {
        v.setBigUint64(32 + 16 * i, 0x8000_0000_0000_0000n | BigInt(i), true);
        v.setUint16(40 + 16 * i, 0x3ff0 + i, true);
      }
      change(state);
      vcpu.setState(state);
      vcpu.run(100);
      return vcpu.getState();
    };
    const words = (offset: number, count: number): number[] =>
      Array.from({ length: count }, (_, i) => memory.read16(DATA + offset + 2 * i) ?? -1);
    return { memory, run, words };
  }
  /** ST(0), in use, is R5. */
  const TAGS = 0b00_11_00_11_11_00_11_00;
  const virtual = (state: VcpuState): void => {
    state.cr0 |= 1n;
    state.rflags |= RFLAGS_VM | (3n << 12n);
    for (const name of ["cs", "ss", "ds", "es", "fs", "gs"] as const)
      state[name] = { ...state[name], attributes: 0xf3 };
  };
  const protectedMode = (state: VcpuState): void => {
    state.cr0 |= 1n;
  };

  it("have pointers of one number in real and virtual-8086 mode", () => {
    for (const mode of [undefined, virtual]) {
      const m = machine();
      m.run(fnstenv(0x100), mode);
      expect(m.words(0x100, 7)).toEqual([0x37f, 0x2a20, TAGS, 0x4321, 0x5c3 | 0x5000, 0xf012, 0xe000]);
      m.run(wide(fnstenv(0x100)), mode);
      expect(m.words(0x100, 14).filter((_, i) => i % 2 === 0)).toEqual([
        0x37f,
        0x2a20,
        TAGS,
        0x4321,
        0x55c3,
        0xf012,
        0xe000,
      ]);
      expect([m.words(0x112, 1)[0], m.words(0x11a, 1)[0]]).toEqual([0x0876, 0x0bcd]);
    }
  });

  it("have selectors, which are zero, in protected mode", () => {
    const m = machine();
    m.run(fnstenv(0x100), protectedMode);
    expect(m.words(0x100, 7)).toEqual([0x37f, 0x2a20, TAGS, 0x4321, 0, 0xf012, 0]);
    m.run(wide(fnstenv(0x100)), protectedMode);
    expect(m.words(0x10c, 8)).toEqual([0x4321, 0x8765, 0, 0x5c3, 0xf012, 0xbcde, 0, 0xffff]);
  });

  it("come back from all four layouts", () => {
    for (const mode of [undefined, virtual, protectedMode]) {
      for (const size of [wide, (code: readonly number[]): readonly number[] => code]) {
        const m = machine();
        m.run(size(fnsave(0x100)), mode);
        const first = m.words(0x100, 54);
        const after = m.run([...size(frstor(0x100)), ...size(fnsave(0x200))], (state) => {
          mode?.(state);
          state.fxsave.fill(0);
        });
        expect(m.words(0x200, 54)).toEqual(first);
        expect(after.fxsave[4]).toBe(0);
      }
    }
  });

  it("load an environment whose flags are not masked, with the summary to match", () => {
    const m = machine();
    for (const [i, word] of [0x37e, 0x0001, 0xffff, 0, 0, 0, 0].entries()) m.memory.write16(DATA + 2 * i, word);
    const { fxsave: image } = m.run(fldenv(0));
    expect([image[0], image[2], image[3], image[4]]).toEqual([0x7e, 0x81, 0x80, 0]);
  });

  it("wrap at 64 KiB with a 16-bit address", () => {
    for (const [save, restore, bytes, offsets] of [
      [fnsave, frstor, 94, [0xfffe, 0xfff8, 0xffee]],
      [(o: number) => wide(fnsave(o)), (o: number) => wide(frstor(o)), 108, [0xfffc, 0xfff0, 0xffdc]],
      [fxsave, fxrstor, 288, [0xff80, 0xfff0]],
      [fstp80, fld80, 10, [0xfff8]],
    ] as const) {
      const m = machine();
      m.run(save(0x4000));
      const plain = m.words(0x4000, bytes / 2);
      for (const offset of offsets) {
        m.run(save(offset));
        const before = (0x10000 - offset) / 2;
        expect([...m.words(offset, before), ...m.words(0, bytes / 2 - before)]).toEqual(plain);
        m.run([...restore(offset), ...save(0x6000)], (state) => {
          state.fxsave.fill(0, 32, 160);
        });
        expect(m.words(0x6000, bytes / 2)).toEqual(plain);
      }
    }
  });
});
