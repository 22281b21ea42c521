/**
 * The PC/AT's way of x87 errors (ICH9 data sheet 316972, 13.7: COPROC_ERR; SDM volume 1, appendix D): FERR# sets a latch
 * that is IRQ 13. The handler's write to port F0h clears the latch and, while FERR# is asserted, asserts IGNNE#, so that
 * the handler's own x87 instructions run. IGNNE# ends when FERR# falls.
 *
 * Left out: the coprocessor's reset by port F1h, which chipsets since the 386 do not have either.
 */
import type { IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, IrqLine, StateValue } from "./device.ts";

export class CoprocessorError implements Device {
  readonly name = "coprocessor-error";
  readonly schema = { id: "coprocessor-error", version: 1 } as const;
  readonly #irq: IrqLine;
  #isAsserted = false;
  #isLatched = false;
  #isIgnored = false;

  constructor(options: { readonly irq: IrqLine }) {
    this.#irq = options.irq;
  }

  /** The processor's FERR# pin, also when it is still asserted and an instruction waits. Answers whether IGNNE# is asserted. */
  ferr(asserted: boolean): boolean {
    this.#isAsserted = asserted;
    if (!asserted) this.#isIgnored = false;
    else if (!this.#isIgnored) this.#latch(true);
    return this.#isIgnored;
  }

  /** Port 0xF0. */
  readonly busyLatch: IoHandler = {
    read: () => 0xff,
    write: () => {
      this.#latch(false);
      this.#isIgnored = this.#isAsserted;
    },
  };

  reset(): void {
    this.#isAsserted = false;
    this.#isIgnored = false;
    this.#latch(false);
  }

  save(): StateValue {
    return { isAsserted: this.#isAsserted, isLatched: this.#isLatched, isIgnored: this.#isIgnored };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const isAsserted = reader.bool("isAsserted");
    const isLatched = reader.bool("isLatched");
    const isIgnored = reader.bool("isIgnored");
    reader.end();
    this.#isAsserted = isAsserted;
    this.#isIgnored = isIgnored;
    this.#latch(isLatched);
  }

  #latch(level: boolean): void {
    this.#isLatched = level;
    this.#irq.set(level);
  }
}

export function createCoprocessorError(options: { readonly irq: IrqLine }): CoprocessorError {
  return new CoprocessorError(options);
}

export function attachCoprocessorError(
  device: CoprocessorError,
  ports: IoBus,
  base: { readonly coprocessorError: number },
): void {
  ports.claim(base.coprocessorError, 1, device.busyLatch, { name: "coprocessor error" });
}
