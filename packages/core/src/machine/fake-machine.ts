/**
 * A machine for tests of the machine itself: a processor with a dozen instructions and exact interrupt and halt
 * semantics, and a board with one timer, one byte channel and a few ports. The processor keeps the contract of
 * engine/engine.ts to the letter, so that slicing, events and states can be tested without a real engine.
 */
import type { VcpuState } from "../cpu/state.ts";
import type { Device, StateValue } from "../devices/device.ts";
import type { Engine, Vcpu, VcpuBus, VcpuExit } from "../engine/engine.ts";
import { PAGE_BYTES, Ram } from "../memory/ram.ts";
import { StateReader } from "../state/reader.ts";
import type { Board, BoardWiring } from "./board-interface.ts";
import type { Timer } from "./clock.ts";

/** Ports of the fake board. */
export const FAKE_PORT = {
  /** Write: period of the timer in ns, 0 stops it. */
  TIMER: 1,
  /** Read: the next input byte, or 0xff. Write: one output byte. */
  DATA: 2,
  RANDOM: 3,
  NOW_NS: 4,
  /** Write: 0 off, 1 reset, 2 crash. */
  POWER: 5,
} as const;
export const FAKE_VECTOR = { TIMER: 0x40, DATA: 0x41, BUTTON: 0x42 } as const;

/** `acc` is RAX, `x` RBX; the handler's return address is RCX. */
export type FakeInstruction =
  | { readonly op: "add"; readonly n: number }
  | { readonly op: "mix" }
  | { readonly op: "in" | "out"; readonly port: number; readonly value?: number }
  /** Adds RAX to the byte at RBX & mask, and counts RBX up. */
  | { readonly op: "store"; readonly mask: number }
  | { readonly op: "rdtsc" | "hlt" | "sti" | "cli" | "iret" | "fault" | "nop" }
  | { readonly op: "jmp"; readonly to: number };

export interface FakeProgram {
  readonly code: readonly FakeInstruction[];
  /** Where each vector's handler starts. */
  readonly handlers: Readonly<Record<number, number>>;
}

const RFLAGS_IF = 1n << 9n;
const [RAX, RCX, RBX] = [0, 1, 3];
const NMI_VECTOR = 2;
const PIECE = 61;

export class FakeVcpu implements Vcpu {
  readonly #bus: VcpuBus;
  readonly #memory: Ram;
  readonly #program: FakeProgram;
  #state: VcpuState = emptyState();
  #interruptPending = false;
  #kicked = false;
  #dead = false;

  constructor(bus: VcpuBus, memory: Ram, program: FakeProgram) {
    this.#bus = bus;
    this.#memory = memory;
    this.#program = program;
  }

  get retired(): number {
    return this.#state.retired;
  }

  get isWaiting(): boolean {
    const { halted, nmiPending, nmiMasked } = this.#state;
    return halted && !(this.#interruptPending && this.#canInterrupt()) && !(nmiPending && !nmiMasked);
  }

  run(budget: number): VcpuExit {
    if (!(budget >= 1 && budget <= 2 ** 30)) throw new RangeError(`budget ${budget}`);
    const cpu = this.#state;
    const start = cpu.retired;
    for (const end = start + budget; ; ) {
      if (this.#dead) return { reason: "shutdown" };
      if (this.#kicked) {
        this.#kicked = false;
        return { reason: "kick" };
      }
      if (cpu.nmiPending && !cpu.nmiMasked) {
        cpu.nmiPending = false;
        this.#enter(NMI_VECTOR);
      }
      if (this.#interruptPending && this.#canInterrupt()) return { reason: "interrupt-window" };
      if (cpu.halted) return { reason: "halt" };
      // As an engine that runs several instructions in one piece: not every count is reached at once.
      const isShort = cpu.retired > start && cpu.retired % PIECE === 0;
      if (cpu.retired >= end || isShort) return { reason: "budget" };
      this.#step();
    }
  }

  requestInterrupt(pending: boolean): void {
    this.#interruptPending = pending;
  }

  setTaskPriority(cr8: number): void {
    this.#state.cr8 = BigInt(cr8);
  }

  interrupt(vector: number): void {
    if (!this.#canInterrupt()) throw new Error("interrupt outside a window");
    this.#enter(vector);
  }

  nmi(): void {
    this.#state.nmiPending = true;
  }

  kick(): void {
    this.#kicked = true;
  }

  debug(): void {
    throw new RangeError("this engine is for tests and cannot be debugged");
  }

  getState(): VcpuState {
    return copyOf(this.#state);
  }

  setState(state: VcpuState): void {
    this.#state = copyOf(state);
    this.#dead = false;
  }

  reset(): void {
    this.#state = emptyState();
    this.#dead = false;
  }

  #canInterrupt(): boolean {
    return (this.#state.rflags & RFLAGS_IF) !== 0n && this.#state.interruptShadow === "none";
  }

  #enter(vector: number): void {
    const cpu = this.#state;
    cpu.halted = false;
    cpu.gpr[RCX] = cpu.rip;
    cpu.rflags &= ~RFLAGS_IF;
    cpu.rip = BigInt(this.#program.handlers[vector] ?? 0);
  }

  #step(): void {
    const cpu = this.#state;
    const instruction = this.#program.code[Number(cpu.rip) % this.#program.code.length]!;
    cpu.rip++;
    cpu.interruptShadow = "none";
    this.#execute(instruction);
    if (!this.#dead) cpu.retired++;
  }

  #execute(instruction: FakeInstruction): void {
    const cpu = this.#state;
    switch (instruction.op) {
      case "add":
        cpu.gpr[RAX] = BigInt.asUintN(64, cpu.gpr[RAX]! + BigInt(instruction.n));
        break;
      case "mix":
        cpu.gpr[RAX] = BigInt.asUintN(64, cpu.gpr[RAX]! * 6_364_136_223_846_793_005n + 1n);
        break;
      case "in":
        cpu.gpr[RAX] = BigInt.asUintN(64, cpu.gpr[RAX]! * 257n + BigInt(this.#bus.readPort(instruction.port, 4)));
        break;
      case "out":
        this.#bus.writePort(instruction.port, 4, instruction.value ?? Number(cpu.gpr[RAX]! & 0xffn));
        break;
      case "store": {
        const gpa = Number(cpu.gpr[RBX]!) & instruction.mask;
        this.#memory.write8(gpa, this.#memory.read8(gpa)! + Number(cpu.gpr[RAX]! & 0xffn));
        cpu.gpr[RBX] = BigInt.asUintN(64, cpu.gpr[RBX]! + 1n);
        break;
      }
      case "rdtsc":
        cpu.gpr[RAX] = BigInt.asUintN(64, cpu.gpr[RAX]! ^ this.#bus.readTsc(cpu.retired));
        break;
      case "hlt":
        cpu.halted = true;
        break;
      case "sti":
        cpu.rflags |= RFLAGS_IF;
        cpu.interruptShadow = "sti";
        break;
      case "cli":
        cpu.rflags &= ~RFLAGS_IF;
        break;
      case "iret":
        cpu.rip = cpu.gpr[RCX]!;
        cpu.rflags |= RFLAGS_IF;
        break;
      case "fault":
        this.#dead = true;
        break;
      case "jmp":
        cpu.rip = BigInt(instruction.to);
        break;
      case "nop":
        break;
    }
  }
}

/** A periodic timer, a byte queue and an interrupt register, in one device. */
class FakeDevice implements Device {
  readonly name = "fake0";
  readonly schema = { id: "fake", version: 1 } as const;
  readonly #wiring: BoardWiring;
  readonly #timer: Timer;
  #periodNs = 0;
  #queue: number[] = [];
  #pending = 0;
  /** A hash of when callbacks and input came: what a real device might do with the time. */
  #trace = 0;

  constructor(wiring: BoardWiring) {
    this.#wiring = wiring;
    this.#timer = wiring.context.clock.timer((atNs) => {
      this.#note(atNs);
      this.#timer.arm(atNs + this.#periodNs);
      this.raise(FAKE_VECTOR.TIMER);
    });
    wiring.context.onInput("data", (bytes) => {
      this.#note(bytes.length);
      this.#queue.push(...bytes);
      this.raise(FAKE_VECTOR.DATA);
    });
  }

  raise(vector: number): void {
    this.#pending |= 1 << (vector - FAKE_VECTOR.TIMER);
    this.#wiring.setInterrupt(true);
  }

  #note(value: number): void {
    this.#trace = (this.#trace * 31 + value * 7 + this.#wiring.context.clock.nowNs()) % 2 ** 32;
  }

  acknowledge(): number | undefined {
    if (this.#pending === 0) return undefined;
    const lowest = 31 - Math.clz32(this.#pending & -this.#pending);
    this.#pending &= this.#pending - 1;
    this.#wiring.setInterrupt(this.#pending !== 0);
    return FAKE_VECTOR.TIMER + lowest;
  }

  read(port: number): number {
    const { context } = this.#wiring;
    switch (port) {
      case FAKE_PORT.DATA:
        return this.#queue.shift() ?? 0xff;
      case FAKE_PORT.RANDOM: {
        const bytes = new Uint8Array(1);
        context.random(bytes);
        return bytes[0]!;
      }
      case FAKE_PORT.NOW_NS:
        return context.clock.nowNs() % 2 ** 32;
      default:
        return 0xff;
    }
  }

  write(port: number, value: number): void {
    const { context } = this.#wiring;
    if (port === FAKE_PORT.TIMER) {
      this.#periodNs = value;
      if (value === 0) this.#timer.disarm();
      else this.#timer.arm(context.clock.nowNs() + value);
    } else if (port === FAKE_PORT.DATA) context.output("data", Uint8Array.of(value));
    else if (port === FAKE_PORT.POWER)
      context.power((["off", "reset", "crashed"] as const)[value] ?? "off", "by the guest");
  }

  reset(): void {
    this.#periodNs = 0;
    this.#queue = [];
    this.#pending = 0;
    this.#trace = 0;
    this.#timer.disarm();
    this.#wiring.setInterrupt(false);
  }

  save(): StateValue {
    return {
      periodNs: this.#periodNs,
      queue: Uint8Array.from(this.#queue),
      pending: this.#pending,
      trace: this.#trace,
      timerNs: this.#timer.deadlineNs ?? null,
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    this.#periodNs = reader.u32("periodNs");
    this.#queue = [...reader.bytes("queue", 65_536)];
    this.#pending = reader.u8("pending");
    this.#trace = reader.u32("trace");
    const timerNs = reader.optionalNs("timerNs");
    reader.end();
    if (timerNs !== undefined) this.#timer.arm(timerNs);
    this.#wiring.setInterrupt(this.#pending !== 0);
  }
}

export function createFakeBoard(wiring: BoardWiring): Board {
  const device = new FakeDevice(wiring);
  return {
    devices: [device],
    bus: {
      readPort: (port) => device.read(port),
      writePort: (port, _size, value) => device.write(port, value),
      readMmio: () => 0xffff_ffff,
      writeMmio: () => {},
      readMsr: () => undefined,
      writeMsr: () => false,
      readTsc: (retired) => wiring.clock.tsc(retired),
      randomBits: () => 0n,
    },
    acknowledgeInterrupt: () => device.acknowledge(),
    pressPowerButton: () => device.raise(FAKE_VECTOR.BUTTON),
    pressSleepButton: () => device.raise(FAKE_VECTOR.BUTTON),
    boot: () => undefined,
  };
}

export function createFakeEngine(memory: Ram, program: FakeProgram): Engine {
  return {
    kind: "jit",
    unit: "instruction",
    memory,
    createVcpu: (_index, bus) => new FakeVcpu(bus, memory, program),
    supportsReplay: () => true,
    protectShadow: () => {},
    stats: () => ({}),
  };
}

/** RAM of `pages` pages from address 0. */
export function createFakeRam(pages: number): Ram {
  const sizeBytes = pages * PAGE_BYTES;
  return new Ram({
    buffer: new ArrayBuffer(sizeBytes),
    byteOffset: 0,
    segments: [{ start: 0, sizeBytes, kind: "ram" }],
  });
}

/** Segments are never changed in place. */
function copyOf(state: VcpuState): VcpuState {
  return {
    ...state,
    gpr: state.gpr.slice(),
    dr: state.dr.slice(),
    fxsave: state.fxsave.slice(),
    msrs: { ...state.msrs },
  };
}

function emptyState(): VcpuState {
  const segment = () => ({ selector: 0, base: 0n, limit: 0xffff, attributes: 0x93 });
  return {
    gpr: new Array<bigint>(16).fill(0n),
    rip: 0n,
    rflags: 2n,
    es: segment(),
    cs: segment(),
    ss: segment(),
    ds: segment(),
    fs: segment(),
    gs: segment(),
    ldtr: segment(),
    tr: segment(),
    gdtr: { base: 0n, limit: 0xffff },
    idtr: { base: 0n, limit: 0xffff },
    cr0: 0x10n,
    cr2: 0n,
    cr3: 0n,
    cr4: 0n,
    cr8: 0n,
    pdptes: [0n, 0n, 0n, 0n],
    xcr0: 1n,
    dr: [0n, 0n, 0n, 0n, 0xffff_0ff0n, 0x400n],
    fxsave: new Uint8Array(512),
    msrs: {},
    halted: false,
    interruptShadow: "none",
    nmiPending: false,
    nmiMasked: false,
    retired: 0,
  };
}
