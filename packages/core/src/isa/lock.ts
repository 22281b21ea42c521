/**
 * A locked instruction that is being built (SDM vol. 3, 9.1.2): from the read of its destination to the store nobody else
 * stores there, or it begins again. What compare-and-exchange cannot do is done in an exclusive section; in translated
 * code, what has to begin again is left to the interpreter.
 */
import { commitStore, cpuAddress } from "../cpu/access.ts";
import { beginExclusive, COMPARE_EXCHANGE, endExclusive } from "../cpu/atomics.ts";
import * as L from "../cpu/layout.ts";
import { type Builder, type Expr, i32, storeOp, type Variable } from "../ir/builder.ts";
import { IrError, type Label } from "../ir/types.ts";
import type { Probe } from "./tlb-access.ts";

/** Of an instruction that begins again by itself. */
export interface LockRetry {
  /** 1: in an exclusive section. */
  readonly exclusive: Variable;
  readonly again: Label;
}

export class Lock {
  readonly #b: Builder;
  readonly #retry: LockRetry | undefined;
  readonly #fail: () => void;
  #old: Expr | undefined;

  /** `fail` leaves the instruction, of which nothing has happened; without `retry` it is the interpreter's then. */
  constructor(b: Builder, fail: () => void, retry?: LockRetry) {
    this.#b = b;
    this.#fail = fail;
    this.#retry = retry;
  }

  /** In front of a locked access: misaligned, or not plain RAM, it is for an exclusive section, or the interpreter. */
  check(host: Expr, bytes: number): void {
    const b = this.#b;
    const isOdd = b.keep(host.and(bytes - 1));
    const retry = this.#retry;
    if (!retry) {
      // Not for translated code.
      if (bytes > 8) b.call(beginExclusive);
      b.if(isOdd, this.#fail, undefined, false);
      return;
    }
    const { exclusive, again } = retry;
    const isHard = bytes > 8 ? i32(1) : isOdd.or(host.eq(cpuAddress(L.SCRATCH_WRITE)));
    b.if(exclusive.get().eqz().and(isHard.nez()), () => {
      b.call(beginExclusive);
      exclusive.set(1);
      b.br(again);
    });
  }

  /** What was read where the store will be. */
  hasRead(old: Expr): void {
    this.#old = old;
  }

  /** Precondition: `hasRead`, and no state was changed since. */
  store({ width, host }: Probe, value: Expr): void {
    const b = this.#b;
    const old = this.#old;
    if (!old) throw new IrError("a locked store without its read");
    const kept = b.keep(value);
    const exchange = (): Expr => b.call(COMPARE_EXCHANGE[width as 8], host, old, kept).ne(old);
    const retry = this.#retry;
    if (!retry) {
      b.if(exchange(), this.#fail, undefined, false);
      return;
    }
    const { exclusive, again } = retry;
    const alone = (): void => {
      b.store(storeOp(kept.type, width), "host", host, kept);
      b.call(commitStore, host);
      b.call(endExclusive);
    };
    if (width > 64) alone();
    else b.if(exclusive.get(), alone, () => b.br(again, exchange()));
  }
}
