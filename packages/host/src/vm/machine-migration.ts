/**
 * The machine's part of a live migration, in its own thread: which pages are written, the guest slowed down, stopped for
 * the hand-over, and going on here or ending. At the other end: taking a state over, and going on with it.
 *
 *   track --takeDirty, throttle--> handOver --> give    it goes on elsewhere
 *                                     |
 *                                     +--> goOn      it goes on here
 *
 * Between handOver and goOn nothing else starts the machine. A change of engines within the process stands still without
 * tracking pages.
 */
import {
  type Machine,
  type MachineEvent,
  machineForms,
  rehearseSections,
  restoreSections,
  type StoppedVm,
  saveSections,
} from "@twinmetal/core";
import { VmError } from "./vm-error.ts";
import { type MachineDescription, monotonicUs } from "./worker-protocol.ts";

export class MachineMigration {
  readonly #machine: Machine;
  #stoppedUs: number | undefined;
  #isPaused = false;
  #isTracking = false;
  /** The guest's share of its time, above 0 to 1. */
  share = 1;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** The machine stands still for the hand-over. */
  get isStopped(): boolean {
    return this.#stoppedUs !== undefined;
  }

  /** In microseconds of the host's monotonic clock. Precondition: `isStopped`. */
  get stoppedUs(): number {
    return this.#stoppedUs!;
  }

  describe(isRecording: boolean): MachineDescription {
    const machine = this.#machine;
    rehearseSections(machine);
    return {
      engine: machine.engine.kind,
      forms: machineForms(machine),
      ram: sharedRam(machine.memory),
      holder: machine.engine.holder,
      isTracking: machine.engine.dirtyTracking !== undefined,
      isRecording,
    };
  }

  track(isOn: boolean): void {
    const tracking = this.#tracking();
    if (isOn) tracking.start();
    else tracking.stop();
    this.#isTracking = isOn;
    if (!isOn) this.share = 1;
  }

  takeDirty(into: SharedArrayBuffer): number {
    return this.#tracking().take(new Uint8Array(into));
  }

  /** Precondition: what waits to enter the machine has entered. `into`: the pages that are left, for a migration. */
  stop(into: SharedArrayBuffer | undefined): StoppedVm {
    const machine = this.#machine;
    if (this.isStopped || this.#isTracking !== (into !== undefined))
      throw new VmError("bad-state", "This VM is not on its way anywhere.");
    const isPaused = machine.state !== "running";
    if (!isPaused) machine.pause();
    this.#isPaused = isPaused;
    this.#stoppedUs = monotonicUs();
    const sections = saveSections(machine);
    // What saving settles may write, too.
    if (into) this.takeDirty(into);
    return { sections, isPaused };
  }

  /** True: the machine runs again. Its clock catches up. */
  goOn(): boolean {
    const stoppedUs = this.#stoppedUs;
    if (stoppedUs === undefined) return this.#machine.state === "running";
    this.#stoppedUs = undefined;
    if (this.#isPaused) return false;
    this.#machine.resume((monotonicUs() - stoppedUs) * 1000);
    return true;
  }

  adopt(sections: Uint8Array, waiting: readonly MachineEvent[] = []): void {
    restoreSections(this.#machine, sections);
    this.#machine.offerEvents(waiting);
  }

  goOnHere({ stoodUs, isPaused }: { readonly stoodUs: number; readonly isPaused: boolean }): void {
    if (this.#machine.state !== "paused") throw new VmError("bad-state", "No VM has been taken over here.");
    if (!isPaused) this.#machine.resume(stoodUs * 1000);
  }

  #tracking(): NonNullable<Machine["engine"]["dirtyTracking"]> {
    const { dirtyTracking, kind } = this.#machine.engine;
    if (dirtyTracking) return dirtyTracking;
    throw new VmError("bad-state", `The ${kind} engine cannot tell which pages its guest writes.`);
  }
}

/** RAM's segments lie one after the other. */
export function sharedRam({ regions, sizeBytes }: Machine["memory"]): Uint8Array<SharedArrayBuffer> | undefined {
  const { buffer, byteOffset } = regions[0]!.bytes;
  if (!(buffer instanceof SharedArrayBuffer)) return undefined;
  return new Uint8Array(buffer, byteOffset, sizeBytes);
}
