/**
 * Which interrupt comes next (Intel SDM vol. 3, 11.8): request, in-service and trigger-mode registers, task and
 * processor priority. A vector's class is its upper four bits; only a higher class interrupts.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { REGISTER } from "./registers.ts";
import { VectorSet } from "./vector-set.ts";

const WORD_MAX = 0xffff_ffff;

export class InterruptPriority {
  readonly #irr = new VectorSet();
  readonly #isr = new VectorSet();
  readonly #tmr = new VectorSet();
  /** The task-priority register, 8 bits. */
  taskPriority = 0;

  get processorPriority(): number {
    const inService = Math.max(0, this.#isr.highest());
    return this.taskPriority >>> 4 >= inService >>> 4 ? this.taskPriority : inService & 0xf0;
  }

  request(vector: number, isLevelTriggered: boolean): void {
    this.#irr.add(vector);
    if (isLevelTriggered) this.#tmr.add(vector);
    else this.#tmr.delete(vector);
  }

  /** The vector that may interrupt the processor now, or -1. */
  deliverable(): number {
    const vector = this.#irr.highest();
    return vector >>> 4 > this.processorPriority >>> 4 ? vector : -1;
  }

  /** Takes `deliverable` into service. Returns it, -1 if there is none. */
  take(): number {
    const vector = this.deliverable();
    if (vector >= 0) {
      this.#irr.delete(vector);
      this.#isr.add(vector);
    }
    return vector;
  }

  /** Ends the highest vector in service. Returns it if it was level-triggered: its sources are to be told. */
  end(): number | undefined {
    const vector = this.#isr.highest();
    if (vector < 0) return undefined;
    this.#isr.delete(vector);
    return this.#tmr.has(vector) ? vector : undefined;
  }

  /** One of the 24 read-only registers; precondition: ISR <= offset < ESR. */
  read(offset: number): number {
    const set = offset >= REGISTER.IRR ? this.#irr : offset >= REGISTER.TMR ? this.#tmr : this.#isr;
    return set.words[(offset >>> 4) & 7]!;
  }

  reset(): void {
    for (const set of [this.#irr, this.#isr, this.#tmr]) set.clear();
    this.taskPriority = 0;
  }

  save(): StateValue {
    return {
      irr: [...this.#irr.words],
      isr: [...this.#isr.words],
      tmr: [...this.#tmr.words],
      tpr: this.taskPriority,
    };
  }

  restore(reader: StateReader): void {
    this.#irr.words.set(reader.ints("irr", 8, 0, WORD_MAX));
    this.#isr.words.set(reader.ints("isr", 8, 0, WORD_MAX));
    this.#tmr.words.set(reader.ints("tmr", 8, 0, WORD_MAX));
    this.taskPriority = reader.u8("tpr");
    reader.end();
  }
}
