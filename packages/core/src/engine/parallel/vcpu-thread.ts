/**
 * The loop of a vCPU in a thread of its own: it runs guest code until it has to come to a boundary, takes what the machine's
 * thread tells it there, and sleeps where it has halted or waits for a start-up message. All devices, its local APIC among
 * them, are in the machine's thread, and reached by mail; the time-stamp counter is computed here.
 *
 * Its state block is its own while it is RUNNING; at a boundary the machine's thread reads and writes it.
 */
import { CpuidCache } from "../../cpu/cpuid.ts";
import { featureSet } from "../../cpu/features.ts";
import * as L from "../../cpu/layout.ts";
import type { CoreHost } from "../../interp/core.ts";
import { RegionTier } from "../../jit/tier.ts";
import type { Translator } from "../../jit/translator.ts";
import { counterAt } from "../../machine/guest-clock.ts";
import { executeCpuid, HEAT, IA32_APIC_BASE, readParts, writeParts } from "../jit-parts.ts";
import { StateBlock } from "../vcpu-state-block.ts";
import { BOUNDARY, ParallelCells } from "./cells.ts";
import { DeviceMail } from "./mail.ts";
import { createVcpuCore, kicker, parallelHandlers, type VcpuCore } from "./vcpu-core.ts";

/** What the machine's thread hands to a vCPU's; can be sent to a thread. */
export interface VcpuThreadStart {
  readonly vcpu: number;
  readonly memory: WebAssembly.Memory;
  readonly maps: readonly L.MemoryMap[];
  readonly module: WebAssembly.Module;
  readonly cells: SharedArrayBuffer;
  /** The engine's own features among them. */
  readonly cpuFeatures: readonly string[];
  readonly tscFrequencyHz: number;
  /** Counted up to wake the machine's thread where that sleeps: its first word. */
  readonly doorbell: Int32Array<SharedArrayBuffer>;
}

export interface VcpuThreadHost {
  /** The host's monotonic clock, the same in all threads. */
  readonly hostNs: () => number;
  /** Undefined: the interpreter alone. */
  readonly translator: Translator | undefined;
}

/** Some microseconds: so long others may wait for it to come to a boundary, as loops in translated code do not look. */
export const BUDGET = 10_000;
const POLL_EVERY = 16;

export class VcpuThread {
  readonly #start: VcpuThreadStart;
  readonly #host: VcpuThreadHost;
  readonly #cells: ParallelCells;
  readonly #core: VcpuCore;
  readonly #block: StateBlock;
  readonly #mail: DeviceMail;
  readonly #tier: RegionTier | undefined;
  readonly #kick: (vcpu: number) => void;
  #rounds = 0;

  constructor(start: VcpuThreadStart, host: VcpuThreadHost) {
    const { vcpu, memory, maps, module, cpuFeatures } = start;
    this.#start = start;
    this.#host = host;
    this.#cells = new ParallelCells(start.cells);
    this.#kick = kicker(memory, maps);
    this.#mail = new DeviceMail(this.#cells, vcpu, () => this.#send());
    const handlers = parallelHandlers(featureSet(cpuFeatures));
    this.#core = createVcpuCore({
      ...{ memory, maps, vcpu, module, handlers },
      cells: this.#cells,
      host: this.#coreHost(),
    });
    this.#block = new StateBlock(this.#core.view, L.cpuBase(maps[vcpu]!));
    const { translator } = host;
    if (translator) this.#tier = new RegionTier(this.#core, { cpuFeatures, heat: HEAT, translator });
  }

  /** Does not return: the thread is ended from outside. Throws what is this program's mistake. */
  run(): never {
    const { vcpu } = this.#start;
    const cells = this.#cells;
    const { gate } = this.#core;
    gate.leave(BOUNDARY);
    for (;;) {
      const seen = cells.wakes(vcpu);
      if (this.#mustRest) {
        cells.waitForWake(vcpu, seen);
        continue;
      }
      gate.enter(BOUNDARY);
      // Looked at again: whoever holds the vCPUs looks whether they are RUNNING afterwards.
      const isResting = this.#mustRest || this.#round();
      gate.leave(BOUNDARY);
      if (isResting) cells.waitForWake(vcpu, seen);
    }
  }
  get #mustRest(): boolean {
    return this.#cells.isHeld || this.#cells.isParked(this.#start.vcpu);
  }

  /** RUNNING. True: there is nothing to run until it is woken. */
  #round(): boolean {
    const block = this.#block;
    this.#takePins();
    if (block.get(L.HALTED)) {
      if (block.canInterrupt) this.#deliver();
      else if (block.get(L.NMI_PENDING) && !block.get(L.NMI_MASKED)) block.put(L.HALTED, 0);
      else return true;
    }
    if (this.#rounds++ % POLL_EVERY === 0) this.#tier?.poll();
    const exit = this.#core.exports.run(BUDGET);
    if (exit === L.EXIT_INTERRUPT) this.#deliver();
    else if (exit === L.EXIT_SHUTDOWN) {
      this.#cells.setParked(this.#start.vcpu, true);
      this.#mail.shutdown();
      return true;
    }
    return false;
  }

  #deliver(): void {
    const vector = this.#mail.acknowledge();
    if (vector === undefined || !this.#core.exports.deliver_interrupt(vector)) return;
    this.#cells.setParked(this.#start.vcpu, true);
    this.#mail.shutdown();
  }

  #takePins(): void {
    const { vcpu } = this.#start;
    const cells = this.#cells;
    const block = this.#block;
    const priority = cells.takeTaskPriority(vcpu);
    if (priority !== undefined) block.put64(L.CR8, BigInt(priority));
    const isPending = cells.interrupt(vcpu) ? 1 : 0;
    const isNmi = cells.takeNmi(vcpu);
    if (isNmi) block.put(L.NMI_PENDING, 1);
    if (!isNmi && block.get(L.INTR_PENDING) === isPending) return;
    block.put(L.INTR_PENDING, isPending);
    this.#core.exports.update_events();
  }

  #send(): void {
    const { vcpu, doorbell } = this.#start;
    const cells = this.#cells;
    this.#core.gate.inside(() => {
      cells.postMail(vcpu);
      this.#kick(0);
      // Its run is over: it sleeps, or will look at its doorbell before it does.
      if (cells.state(0) === BOUNDARY) {
        Atomics.add(doorbell, 0, 1);
        Atomics.notify(doorbell, 0);
      }
      cells.waitForAnswer(vcpu);
    });
    this.#takePins();
  }

  #coreHost(): CoreHost {
    const { vcpu, maps, cpuFeatures, tscFrequencyHz } = this.#start;
    const features = featureSet(cpuFeatures);
    const cpuid = new CpuidCache({ apicId: vcpu, cpus: maps.length, tscFrequencyHz, features });
    const mail = this.#mail;
    return {
      mmioRead: (gpa, bytes, at) =>
        readParts(this.#core.view, gpa, bytes, at, (part, size) => mail.readMmio(part, size)),
      mmioWrite: (gpa, bytes, at) =>
        writeParts(this.#core.view, gpa, bytes, at, (part, size, value) => mail.writeMmio(part, size, value)),
      portRead: (port, bytes) => mail.readPort(port, bytes),
      portWrite: (port, bytes, value) => mail.writePort(port, bytes, value),
      readMsr: (index) => {
        const value = mail.readMsr(index);
        if (value === undefined) return 1;
        this.#block.put64(L.result(0), value);
        return 0;
      },
      writeMsr: (index) => (mail.writeMsr(index, this.#block.get64(L.result(0))) ? 0 : 1),
      randomBits: () => mail.randomBits(),
      readTsc: () => {
        const cells = this.#cells;
        const ns = cells.countAt(this.#host.hostNs()) + cells.guestOffsetNs;
        return BigInt.asIntN(64, counterAt(ns, tscFrequencyHz) + cells.tscAdjust(vcpu));
      },
      floatError: (asserted) => (mail.floatError(asserted !== 0) ? 1 : 0),
      cpuid: () => executeCpuid(this.#block, cpuid, mail.readMsr(IA32_APIC_BASE)),
    };
  }

  /** Tells the machine's thread that this one is over. */
  failed(): void {
    this.#mail.failed();
    this.#cells.setParked(this.#start.vcpu, true);
    this.#core.gate.leave(BOUNDARY);
  }
}
