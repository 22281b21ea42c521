// The jit engine as a subject: one machine for each guest, with a device page whose answers depend on the exact count,
// ports, and an interrupt line.

import * as L from "../../packages/core/src/cpu/layout.ts";
import type { VcpuState } from "../../packages/core/src/cpu/state.ts";
import type { Vcpu } from "../../packages/core/src/engine/engine.ts";
import { JitEngine, type JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";
import { createCore } from "../../packages/core/src/interp/core.ts";
import { Random } from "../cpu/random.ts";
import { ENTRY_MASK, RAM_BYTES, VECTOR } from "./guest-layout.ts";
import type { EventKind, Guest, GuestMachine, Subject } from "./subject.ts";

const PAGE = 4096;
/** Masks over page-table entries: without Present, without Writable, Accessed and Dirty. */
const MASKS: Partial<Record<EventKind, number>> = { nmi: 0xffff_ffff, unmap: 0xffff_fffe, protect: 0xffff_ff9d };
const RFLAGS_IF = 0x200n;

export interface EngineSubjectOptions {
  readonly name: string;
  readonly mostRetired?: number;
  /** What of the engine is tried: its core, its tier. */
  readonly engine?: Partial<JitEngineOptions>;
  /** Instructions to ask for when `left` are to be run; default all of them. */
  readonly slice?: (left: number, random: Random) => number;
}

export function engineSubject(options: EngineSubjectOptions): Subject {
  const { name, mostRetired } = options;
  return { name, mostRetired, load: (guest) => new EngineMachine(guest, options) };
}

export class EngineMachine implements GuestMachine {
  readonly engine: JitEngine;
  readonly ram: Uint8Array;
  readonly #guest: Guest;
  readonly #slice: NonNullable<EngineSubjectOptions["slice"]>;
  readonly #vcpu: Vcpu;
  #random: Random;
  #accesses = 0;
  #events = 0;
  #line = false;
  #ended = false;
  #core: DataView | undefined;
  trace = 0;

  constructor(guest: Guest, options: EngineSubjectOptions) {
    this.#guest = guest;
    this.#slice = options.slice ?? ((left) => left);
    this.#random = new Random(guest.name);
    this.engine = new JitEngine({
      memoryBytes: RAM_BYTES,
      tscFrequencyHz: 1e9,
      sharedMemory: false,
      ...options.engine,
      createCore: (...given) => {
        const core = (options.engine?.createCore ?? createCore)(...given);
        this.#core = core.view;
        return core;
      },
    });
    this.ram = this.engine.memory.regions[0]!.bytes;
    this.#vcpu = this.engine.createVcpu(0, {
      readPort: (port, size) => this.#read(port, size),
      writePort: (port, _size, value) => {
        this.#note(port, value);
        if (value & 1) this.#vcpu.kick();
      },
      readMmio: (gpa, size) => this.#read(gpa, size),
      writeMmio: (gpa, _size, value) => {
        this.#note(gpa, value);
        if (value & 1) this.#setLine(true);
      },
      readMsr: () => undefined,
      writeMsr: () => false,
      readTsc: (retired) => BigInt(retired) * 3n,
      randomBits: () => 0x0123_4567_89ab_cdefn,
    });
    this.reset();
  }

  reset(): void {
    const { ram, state, name } = this.#guest;
    this.#copyRam(ram);
    this.#setLine(false);
    this.#vcpu.setState(state);
    this.#random = new Random(name);
    this.#accesses = this.#events = this.trace = 0;
    this.#ended = false;
  }

  get retired(): number {
    return this.#vcpu.retired;
  }
  get translated(): number {
    return this.engine.stats()["regionInstructions"] ?? 0;
  }
  state(): VcpuState {
    return this.#vcpu.getState();
  }

  /** A single-step or breakpoint trap is about to be delivered: a state that is carried elsewhere does not have it. */
  get hasPendingTrap(): boolean {
    const core = this.#core;
    if (!core) return false;
    const armed = core.getUint8(L.CPU_BASE + L.STEP_ARMED.offset);
    return armed !== 0 || core.getUint32(L.CPU_BASE + L.WATCH_HITS.offset, true) !== 0;
  }

  advance(retired: number): boolean {
    while (this.#vcpu.retired < retired && !this.#ended) {
      const left = retired - this.#vcpu.retired;
      const { reason } = this.#vcpu.run(Math.max(1, Math.min(left, this.#slice(left, this.#random))));
      if (reason === "shutdown") this.#ended = true;
      else if (reason === "interrupt-window") this.#interrupt();
      // A guest that waits is woken; one that waits with interrupts off has ended.
      else if (reason === "halt" && (this.state().rflags & RFLAGS_IF) === 0n) this.#ended = true;
      else if (reason === "halt") this.#setLine(true);
    }
    return !this.#ended;
  }

  raise(event: EventKind): void {
    const { memory } = this.engine;
    this.#events++;
    const mask = MASKS[event];
    if (mask !== undefined) {
      memory.write32(ENTRY_MASK, mask);
      this.#vcpu.nmi();
    } else if (event === "interrupt") this.#setLine(true);
    else {
      const { patches } = this.#guest;
      const at = patches[(this.#events + this.retired) % Math.max(1, patches.length)];
      if (at !== undefined) memory.write8(at, (this.retired * 7) & 0x7f);
    }
  }

  /** Goes on where another machine of the same guest is. */
  takeOver(other: EngineMachine): void {
    this.#copyRam(other.ram);
    this.#vcpu.setState(other.state());
    this.#setLine(other.#line);
    this.#accesses = other.#accesses;
    this.#events = other.#events;
    this.#ended = other.#ended;
    this.trace = other.trace;
  }

  #copyRam(from: Uint8Array): void {
    for (let at = 0; at < RAM_BYTES; at += PAGE) {
      const right = from.subarray(at, at + PAGE);
      if (Buffer.compare(right, this.ram.subarray(at, at + PAGE)) !== 0) this.engine.memory.write(at, right);
    }
  }

  #setLine(raised: boolean): void {
    this.#line = raised;
    this.#vcpu.requestInterrupt(raised);
  }

  #interrupt(): void {
    this.#note(0xffff_0000, 0);
    this.#setLine(false);
    this.#vcpu.interrupt(VECTOR.interrupt);
  }

  #note(where: number, value: number): void {
    for (const part of [where, value, this.#vcpu.retired])
      this.trace = (Math.imul(this.trace ^ part, 0x0100_0193) + 0x9e37_79b9) | 0;
  }

  #read(where: number, size: number): number {
    this.#accesses++;
    const value = Math.imul(this.#vcpu.retired ^ (this.#accesses << 16), 0x9e37_79b1) >>> 0;
    this.#note(where, size);
    if (value % 5 === 0) this.#setLine(true);
    if (value % 7 === 0) this.#vcpu.kick();
    return size === 4 ? value : value & (size === 2 ? 0xffff : 0xff);
  }
}
