import { describe, expect, it } from "vitest";
import type { VcpuState } from "../cpu/state.ts";
import { createEvaluatorCore } from "../interp/evaluator-cpu.ts";
import type { Vcpu } from "./engine.ts";
import { JitEngine } from "./jit-engine.ts";

const FOUR_GIB = 2 ** 32;
const ROM_BYTES = 0x20000;
const ROM_START = FOUR_GIB - ROM_BYTES;
const RESET_VECTOR = 0x1fff0;

/** A ROM of HLTs with `code` at offset 0 and `reset` at the reset vector. */
function romOf(code: readonly number[], reset: readonly number[] = [0xe9, 0x0d, 0x00]): Uint8Array {
  const rom = new Uint8Array(ROM_BYTES).fill(0xf4);
  rom.set(code, 0x10000);
  rom.set(reset, RESET_VECTOR);
  return rom;
}

const cores = [
  { name: "interpreter", createCore: undefined },
  { name: "evaluator", createCore: createEvaluatorCore },
];

describe.each(cores)("ROM on the $name", ({ createCore }) => {
  function machine(rom: Uint8Array): { engine: JitEngine; vcpu: Vcpu } {
    const engine = new JitEngine({ memoryBytes: 1 << 20, tscFrequencyHz: 1e9, rom, createCore });
    const vcpu = engine.createVcpu(0, {
      readPort: () => 0xff,
      writePort: () => {},
      readMmio: () => 0xffffffff,
      writeMmio: () => {
        throw new Error("a store into ROM came to the bus");
      },
      readMsr: () => undefined,
      writeMsr: () => false,
      readTsc: (retired) => BigInt(retired),
      randomBits: () => 0n,
    });
    return { engine, vcpu };
  }
  const untilHalt = (vcpu: Vcpu): void => expect(vcpu.run(1000).reason).toBe("halt");

  /** 32-bit protected mode with flat segments. */
  function flatState(vcpu: Vcpu): VcpuState {
    const data = { selector: 16, base: 0n, limit: 0xffffffff, attributes: 0xc093 };
    const code = { ...data, selector: 8, attributes: 0xc09b };
    return { ...vcpu.getState(), cr0: 1n, cs: code, ds: data, es: data, ss: data };
  }

  it("runs from the reset vector", () => {
    // jmp to offset 0 of the segment's 64 KiB, mov ax, 1234h; hlt
    const { vcpu } = machine(romOf([0xb8, 0x34, 0x12, 0xf4]));
    untilHalt(vcpu);
    expect(vcpu.getState().gpr[0]).toBe(0x1234n);
    expect(vcpu.getState().cs.base).toBe(0xffff0000n);
  });

  it("loses stores of every kind", () => {
    const rom = romOf([]);
    const { engine, vcpu } = machine(rom);
    const flat = flatState(vcpu);
    flat.rip = 0x1000n;
    flat.gpr[3] = BigInt(ROM_START);
    flat.gpr[7] = BigInt(ROM_START + 0x2ffe);
    flat.gpr[1] = 0x1000n;
    flat.gpr[0] = 0x55aa55aan;
    vcpu.setState(flat);
    const stores = [
      ...[0x89, 0x03], // mov [ebx], eax
      ...[0x01, 0x43, 0x10], // add [ebx+10h], eax
      ...[0x87, 0x83, 0xfe, 0x0f, 0x00, 0x00], // xchg [ebx+0ffeh], eax: two pages
      ...[0xf3, 0xab], // rep stosd over several pages
      ...[0x8b, 0x13], // mov edx, [ebx]
      ...[0xf4],
    ];
    engine.memory.write(0x1000, Uint8Array.from(stores));
    untilHalt(vcpu);
    const after = new Uint8Array(ROM_BYTES);
    expect(engine.memory.read(ROM_START, after)).toBe(true);
    expect(after).toEqual(rom);
    expect(vcpu.getState().gpr[2]).toBe(0xf4f4f4f4n);
    expect(vcpu.getState().gpr[0]).toBe(0xf4f4f4f4n);
    expect(engine.memory.write(ROM_START, Uint8Array.of(0))).toBe(false);
    expect(engine.memory.read8(FOUR_GIB - 1)).toBe(0xf4);
    expect(engine.memory.read32(FOUR_GIB - 2)).toBeUndefined();
  });

  it("walks page tables in ROM, which get no accessed and dirty flags", () => {
    // One directory that maps the first 4 MiB and the last, by 4 MiB pages.
    const rom = romOf([]);
    const view = new DataView(rom.buffer);
    view.setUint32(0, 0x83, true);
    view.setUint32(0xffc, 0xffc00083, true);
    const before = rom.slice();
    const { engine, vcpu } = machine(rom);
    const state = flatState(vcpu);
    state.cr0 = 0x80000001n;
    state.cr4 = 0x10n;
    state.cr3 = BigInt(ROM_START);
    state.rip = 0x1000n;
    state.gpr[3] = 0x2000n;
    vcpu.setState(state);
    engine.memory.write(0x1000, Uint8Array.of(0xc7, 0x03, 0x78, 0x56, 0x34, 0x12, 0xf4)); // mov dword [ebx], 12345678h
    untilHalt(vcpu);
    expect(engine.memory.read32(0x2000)).toBe(0x12345678);
    const after = new Uint8Array(ROM_BYTES);
    engine.memory.read(ROM_START, after);
    expect(after).toEqual(before);
  });
});

it("a ROM is whole pages, at most 16 MiB", () => {
  const engine = (bytes: number) => (): JitEngine =>
    new JitEngine({ memoryBytes: 1 << 20, tscFrequencyHz: 1e9, rom: new Uint8Array(bytes) });
  expect(engine(100)).toThrow(RangeError);
  expect(engine(0x1001000)).toThrow(RangeError);
});
