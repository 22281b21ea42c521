/**
 * For tests: a jit engine without a board. Long mode, the first GiBs mapped to themselves, code where the test puts it,
 * an IDT whose gates all lead to one-instruction handlers.
 */
import type { VcpuState } from "../cpu/state.ts";
import type { Vcpu, VcpuBus } from "../engine/engine.ts";
import { JitEngine, type JitEngineOptions } from "../engine/jit-engine.ts";
import { entryState, entryTables } from "../firmware/linux-entry.ts";
import type { Ram } from "../memory/ram.ts";

export const CODE = 0x100000;
const IDT = 0x40000;
/** Handler of vector n: HLT at HANDLERS + 16 n. */
export const HANDLERS = 0x50000;
export const STACK = 0x80000;
/** What the code of tests may use beyond the portable model. */
const FEATURES = ["smap", "umip"];

export interface BareMachine {
  readonly engine: JitEngine;
  readonly memory: Ram;
  readonly vcpu: Vcpu;
  /** Ports written, in order. */
  readonly writes: { port: number; value: number; retired: number }[];
  /** Puts code at CODE (or elsewhere) and RIP there. */
  load(code: readonly number[], at?: number): void;
  state(): VcpuState;
  change(change: (state: VcpuState) => void): void;
}

export function bareMachine(
  bus: Partial<VcpuBus> = {},
  options: Pick<
    JitEngineOptions,
    "createCore" | "cpuFeatures" | "hasVga" | "tier" | "translator" | "translationBounds"
  > = {},
): BareMachine {
  const engine = new JitEngine({ memoryBytes: 16 << 20, tscFrequencyHz: 1e9, cpuFeatures: FEATURES, ...options });
  const { memory } = engine;
  const writes: BareMachine["writes"] = [];
  const vcpu = engine.createVcpu(0, {
    readPort: () => 0xff,
    writePort: (port, _size, value) => void writes.push({ port, value, retired: vcpu.retired }),
    readMmio: () => 0xffffffff,
    writeMmio: () => {},
    readMsr: () => undefined,
    writeMsr: () => false,
    readTsc: (retired) => BigInt(retired),
    randomBits: () => 0n,
    ...bus,
  });
  for (const { gpa, bytes } of entryTables()) memory.write(gpa, bytes);
  for (let vector = 0; vector < 256; vector++) {
    const handler = BigInt(HANDLERS + vector * 16);
    memory.write64(
      IDT + vector * 16,
      (handler & 0xffffn) | (0x10n << 16n) | (0x8en << 40n) | ((handler >> 16n) << 48n),
    );
    memory.write64(IDT + vector * 16 + 8, 0n);
    memory.write8(HANDLERS + vector * 16, 0xf4);
  }
  const machine: BareMachine = {
    engine,
    memory,
    vcpu,
    writes,
    load: (code, at = CODE) => {
      memory.write(at, Uint8Array.from(code));
      machine.change((s) => {
        s.rip = BigInt(at);
      });
    },
    state: () => vcpu.getState(),
    change: (change) => {
      const state = vcpu.getState();
      change(state);
      vcpu.setState(state);
    },
  };
  const state = entryState(CODE);
  state.gpr[4] = BigInt(STACK);
  state.idtr = { base: BigInt(IDT), limit: 0xfff };
  vcpu.setState(state);
  return machine;
}
