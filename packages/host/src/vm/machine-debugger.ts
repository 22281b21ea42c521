/**
 * The machine's side of `Vm.debug`, in its own thread and between two runs: what its vCPUs stop for, single steps, and what
 * their registers and memory hold. A stop pauses the machine. Breakpoints are every vCPU's; a step is the one's that has
 * the turn, and the others stand still meanwhile.
 */
import {
  type DebugRequest,
  type DebugStop,
  debugPlan,
  type Machine,
  physicalAddress,
  type VcpuState,
} from "@twinmetal/core";
import { VmError } from "./vm-error.ts";

const PAGE_BYTES = 4096;
/** In one piece. */
const MAX_BYTES = 2 ** 20;

export interface MemoryPlace {
  readonly address: bigint;
  /** Whose page tables a linear address goes through; undefined: the address is physical. */
  readonly vcpu: number | undefined;
}

export class MachineDebugger {
  readonly #machine: Machine;
  #request: DebugRequest | undefined;
  #stepping: number | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Throws VmError for what cannot be. */
  set(request: DebugRequest | undefined): void {
    const { vcpus } = this.#machine;
    try {
      if (request) debugPlan(request);
      for (const vcpu of vcpus) vcpu.debug(request);
    } catch (error) {
      for (const vcpu of vcpus) vcpu.debug(undefined);
      this.#request = undefined;
      throw cannotBe(error);
    }
    this.#request = request;
  }

  /** The machine runs from here on, for one instruction. */
  step(): void {
    const machine = this.#machine;
    if (machine.state !== "paused") throw new VmError("bad-state", "Single steps are taken while the VM is paused.");
    const index = machine.processors.current;
    const vcpu = this.#vcpu(index);
    try {
      vcpu.debug({ ...this.#request, singleStep: true });
    } catch (error) {
      throw cannotBe(error);
    }
    if (vcpu.isWaiting) {
      vcpu.debug(this.#request);
      throw new VmError(
        "bad-state",
        "The guest waits for an interrupt (HLT), which single steps hold back. Resume it instead, with a breakpoint where it shall stop.",
      );
    }
    this.#stepping = index;
    machine.resume();
  }

  /** The step was a HLT: its vCPU waits now, which no stop tells of. */
  get hasHalted(): boolean {
    return this.#stepping !== undefined && this.#vcpu(this.#stepping).isWaiting;
  }

  /** A run has ended for what was asked. The machine is paused. */
  stopped(stop: DebugStop, vcpu: number): DebugReport {
    this.giveUp();
    this.#machine.pause();
    return { stop, vcpu };
  }

  /** As `stopped`. Precondition: `hasHalted`. */
  halted(): DebugReport {
    return this.stopped({ kind: "step" }, this.#stepping!);
  }

  /** The step that is under way is none any more: somebody pauses the machine. */
  giveUp(): void {
    if (this.#stepping === undefined) return;
    this.#vcpu(this.#stepping).debug(this.#request);
    this.#stepping = undefined;
  }

  state(index: number): VcpuState {
    return this.#vcpu(index).getState();
  }

  /** Throws VmError where the engine finds the state impossible. */
  setState(index: number, state: VcpuState): void {
    if (this.#machine.state !== "paused")
      throw new VmError("bad-state", "Registers are changed while the VM is paused.");
    const vcpu = this.#vcpu(index);
    const before = vcpu.getState();
    try {
      vcpu.setState({ ...state, retired: before.retired });
    } catch (error) {
      vcpu.setState(before);
      throw new VmError("bad-option", `The processor cannot be in that state: ${(error as Error).message}`);
    }
  }

  /** Throws VmError where there is no memory. */
  read(place: MemoryPlace, length: number): Uint8Array {
    const bytes = new Uint8Array(checkLength(length));
    this.#parts(place, length, (gpa, at, end) => this.#machine.memory.read(gpa, bytes.subarray(at, end)));
    return bytes;
  }

  /** Throws VmError where there is none that can be written; what lies before that is written then. */
  write(place: MemoryPlace, bytes: Uint8Array): void {
    checkLength(bytes.length);
    this.#parts(place, bytes.length, (gpa, at, end) => this.#machine.memory.write(gpa, bytes.subarray(at, end)));
  }

  /** Page by page, as what is next to each other for the guest need not be so in memory. */
  #parts(
    { address, vcpu }: MemoryPlace,
    length: number,
    access: (gpa: number, at: number, end: number) => boolean,
  ): void {
    const state = vcpu === undefined ? undefined : this.state(vcpu);
    for (let at = 0; at < length; ) {
      const part = BigInt.asUintN(64, address + BigInt(at));
      const end = Math.min(length, at + PAGE_BYTES - Number(part % BigInt(PAGE_BYTES)));
      const gpa = state ? physicalAddress((table, size) => this.#entry(table, size), state, part) : part;
      if (gpa === undefined || !access(Number(gpa), at, end))
        throw new VmError("no-memory", `There is no memory at ${state ? "" : "physical "}0x${part.toString(16)}.`);
      at = end;
    }
  }

  #entry(gpa: number, bytes: 4 | 8): bigint | undefined {
    const { memory } = this.#machine;
    if (bytes === 8) return memory.read64(gpa);
    const entry = memory.read32(gpa);
    return entry === undefined ? undefined : BigInt(entry);
  }

  #vcpu(index: number): Machine["vcpu"] {
    const { vcpus } = this.#machine;
    const vcpu = vcpus[index];
    if (vcpu) return vcpu;
    throw new VmError("bad-option", `There is no vCPU ${index}: the VM has ${vcpus.length}, from 0 on.`);
  }
}

/** Engines refuse with RangeErrors. */
function cannotBe(error: unknown): unknown {
  if (!(error instanceof RangeError)) return error;
  return new VmError("bad-option", `The VM cannot be stopped for that: ${error.message}.`);
}

function checkLength(length: number): number {
  if (Number.isInteger(length) && length >= 0 && length <= MAX_BYTES) return length;
  throw new VmError("bad-option", `${length} bytes of memory at once; possible are 0 to ${MAX_BYTES}.`);
}

export interface DebugReport {
  readonly stop: DebugStop;
  readonly vcpu: number;
}
