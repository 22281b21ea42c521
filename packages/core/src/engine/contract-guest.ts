/**
 * The guest that the engine contract runs: 64-bit code at ring 0 in 2 MiB of RAM, all of the first 4 GiB mapped to
 * itself, an IDT whose gates lead to one HLT each, and a bus that notes what it is asked. No board, no devices; hence any
 * engine can run it that keeps engine.ts.
 */
import type { AccessSize } from "../bus/io.ts";
import type { VcpuState } from "../cpu/state.ts";
import { entryState, entryTables } from "../firmware/linux-entry.ts";
import type { Engine, Vcpu, VcpuBus, VcpuExit } from "./engine.ts";

export interface EngineOptions {
  readonly memoryBytes: number;
  readonly rom?: Uint8Array;
  /** Default: one. */
  readonly cpus?: number;
}

export interface EngineUnderTest {
  readonly engine: Engine;
  /** Gives back what the engine holds. */
  readonly close?: () => void;
}

export type EngineFactory = (options: EngineOptions) => EngineUnderTest;

/** One access to the bus, in order. Values of reads are what the bus answered. */
export interface BusAccess {
  readonly kind: "in" | "out" | "read" | "write";
  readonly at: number;
  readonly size: AccessSize;
  readonly value: number;
}

export const MEMORY_BYTES = 2 << 20;
export const CODE = 0x10_0000;
export const DATA = 0x12_0000;
export const STACK = 0x8_0000;
/** Handler of vector n, a HLT: HANDLERS + 16 n. */
export const HANDLERS = 0x5_0000;
/** Neither RAM nor ROM. */
export const MMIO = 0xd000_0000;
const IDT = 0x4_0000;
const GATES = 256;
const HLT = 0xf4;
/** Instructions, or nanoseconds: enough for what runs on through it, on any host. */
export const BUDGET = 20_000_000;
const MAX_ROUNDS = 200;

export const GPR = { rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7 } as const;
export const RFLAGS_IF = 1n << 9n;

export class ContractGuest {
  readonly engine: Engine;
  readonly vcpu: Vcpu;
  readonly accesses: BusAccess[] = [];
  /** What reads of ports and MMIO answer. */
  answer: (at: number, size: AccessSize) => number = (at, size) => (0x8765_4321 + at) % 2 ** (8 * size);
  /** For whoever answers by count. */
  answered = 0;
  readonly #close: () => void;

  constructor(create: EngineFactory, bus: Partial<VcpuBus> = {}, options: Partial<EngineOptions> = {}) {
    const { engine, close } = create({ memoryBytes: MEMORY_BYTES, ...options });
    this.engine = engine;
    this.#close = close ?? (() => {});
    const read = (kind: "in" | "read", at: number, size: AccessSize): number => {
      const value = this.answer(at, size);
      this.accesses.push({ kind, at, size, value });
      return value;
    };
    this.vcpu = engine.createVcpu(0, {
      readPort: (port, size) => read("in", port, size),
      writePort: (at, size, value) => void this.accesses.push({ kind: "out", at, size, value }),
      readMmio: (gpa, size) => read("read", gpa, size),
      writeMmio: (at, size, value) => void this.accesses.push({ kind: "write", at, size, value }),
      readMsr: () => undefined,
      writeMsr: () => false,
      readTsc: (retired) => BigInt(retired),
      randomBits: () => 0n,
      ...bus,
    });
    for (const { gpa, bytes } of entryTables()) this.write(gpa, bytes);
    for (let vector = 0; vector < GATES; vector++) {
      this.gate(vector, HANDLERS + vector * 16);
      this.write(HANDLERS + vector * 16, [HLT]);
    }
    const state = entryState(CODE);
    state.gpr[GPR.rsp] = BigInt(STACK);
    state.idtr = { base: BigInt(IDT), limit: GATES * 16 - 1 };
    this.vcpu.setState(state);
  }

  close(): void {
    this.#close();
  }

  /** An interrupt gate to ring 0 (SDM vol. 3, 7.14.1). */
  gate(vector: number, handler: number): void {
    const to = BigInt(handler);
    const low = (to & 0xffffn) | (0x10n << 16n) | (0x8en << 40n) | ((to >> 16n) << 48n);
    this.engine.memory.write64(IDT + vector * 16, low);
    this.engine.memory.write64(IDT + vector * 16 + 8, 0n);
  }

  write(gpa: number, bytes: ArrayLike<number>): void {
    if (!this.engine.memory.write(gpa, Uint8Array.from(bytes))) throw new Error(`no RAM at 0x${gpa.toString(16)}`);
  }

  read(gpa: number, sizeBytes: number): number[] {
    const bytes = new Uint8Array(sizeBytes);
    if (!this.engine.memory.read(gpa, bytes)) throw new Error(`no memory at 0x${gpa.toString(16)}`);
    return [...bytes];
  }

  /** Puts code at CODE, or elsewhere, and RIP there. */
  load(code: readonly number[], registers: Partial<Record<keyof typeof GPR, number | bigint>> = {}, at = CODE): void {
    this.write(at, code);
    this.change((state) => {
      state.rip = BigInt(at);
      state.halted = false;
      for (const [name, value] of Object.entries(registers)) state.gpr[GPR[name as keyof typeof GPR]] = BigInt(value);
    });
  }

  state(): VcpuState {
    return this.vcpu.getState();
  }

  gpr(name: keyof typeof GPR): bigint {
    return this.state().gpr[GPR[name]]!;
  }

  change(change: (state: VcpuState) => void): void {
    const state = this.vcpu.getState();
    change(state);
    this.vcpu.setState(state);
  }

  /** Runs on over spent budgets. Throws where the guest comes to no other exit. */
  run(): VcpuExit {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const exit = this.vcpu.run(BUDGET);
      if (exit.reason !== "budget") return exit;
    }
    throw new Error(`the guest runs on, at 0x${this.state().rip.toString(16)}`);
  }

  /** Runs to HLT and returns where RIP is behind it. */
  runToHalt(): number {
    const { reason } = this.run();
    if (reason !== "halt")
      throw new Error(`the guest left by ${reason} at 0x${this.state().rip.toString(16)}, not by HLT`);
    return Number(this.state().rip);
  }
}

export interface EngineCheck {
  readonly name: string;
  readonly run: () => void;
}

/** A check with a guest of its own, which is closed behind it. */
export function checkWith(
  create: EngineFactory,
  name: string,
  run: (guest: ContractGuest) => void,
  ...options: [] | [bus: ConstructorParameters<typeof ContractGuest>[1]]
): EngineCheck {
  return {
    name,
    run: () => {
      const guest = new ContractGuest(create, ...options);
      try {
        run(guest);
      } finally {
        guest.close();
      }
    },
  };
}

/** As JSON, so that objects, arrays and big integers compare by value and print. */
export function requireEqual(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [textOf(actual), textOf(expected)];
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

const textOf = (value: unknown): string =>
  JSON.stringify(value, (_key, part) => (typeof part === "bigint" ? `0x${part.toString(16)}` : part));
