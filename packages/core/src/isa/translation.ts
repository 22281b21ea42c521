/** What a region offers to the semantics of an instruction that is translated into it (jit/). */
import type { FloatFormat } from "../cpu/softfloat.ts";
import type { Extended } from "../cpu/x87-quick.ts";
import type { Expr } from "../ir/builder.ts";

/** ST(i) as a translated block knows them, while no exception is unmasked (jit/x87-block.ts). */
export interface X87Stack {
  /** `leave`: an exception is unmasked, and the interpreter runs the instruction. */
  requireMasks(leave: () => void): void;
  /** Comes before what follows, at the instruction's start. `leave`: the block's assumptions do not hold. */
  begin(leave: () => void): void;
  /** ST(i) is in use. Becomes the block's assumption unless it is known not to be so: false. */
  has(index: number): boolean;
  /** There is a place for a push, in the same sense. */
  hasRoom(): boolean;
  get(index: number): Extended;
  put(index: number, value: Extended): void;
  push(value: Extended): void;
  pop(): void;
  /** Flags that an instruction raised, C1 as it leaves it among them. */
  raise(flags: Expr | number): void;
  /** The same for an instruction that leaves C1 alone. */
  raiseOnly(flags: Expr): void;
  /** C0 to C3 are replaced. */
  putCodes(codes: Expr): void;
  putControl(value: Expr): void;
  /** FIP of an instruction that is done. */
  done(rip: Expr): void;
  /** The state block gets everything, and is where the state is from here on. */
  forget(): void;
}

export type Lanes = "low" | "all";

/** What a translated region knows of MXCSR and of XMM registers (jit/region-floats.ts). */
export interface FloatKnowledge {
  /** See `resultLimit` in cpu/mxcsr.ts. */
  limit(f: FloatFormat): Expr;
  /** See `vectorLimit` there. */
  vectorLimit(f: FloatFormat): Expr;
  /** A constant that is made where the region is entered. */
  constant(bits: bigint): Expr;
  /** MXCSR may have changed. */
  reload(): void;
  /** The low lane of the register at a place in the state block, or each lane, is known not to be a denormal number. */
  isPlain(place: number, f: FloatFormat, lanes: Lanes): boolean;
  notePlain(place: number, f: FloatFormat, lanes: Lanes): void;
}

/** How a translated instruction ends where that depends on the region around it. */
export interface Translation {
  /** Goes on at a branch's target, behind the instruction, or at the instruction again. */
  goTo(where: "target" | "next" | "again"): void;
  /** RIP is set: an indirect jump, or a return whose address was popped. */
  jump(isReturn: boolean): void;
  /** Interrupts are held back until the next instruction is done. None is pending. */
  shadow(): void;
  /** A call whose return address was pushed: `target`, or the branch's own. */
  call(target: Expr | undefined): void;
  readonly x87: X87Stack;
  readonly floats: FloatKnowledge;
  /**
   * Host address of RAM for all `bytes` of an access at a linear address. `leave` stands for an access that is left to
   * the interpreter. Nothing of the instruction has happened then.
   */
  host(address: Expr, bytes: number, isWrite: boolean, leave: () => void): Expr;
  /** The same for a store, as an address that can be computed with. */
  hostAlone(address: Expr, bytes: number, leave: () => void): Expr;
}
