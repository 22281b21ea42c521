/**
 * How translated code finds the RAM of an access: by the TLB, in line. Two short cuts need less than half of that:
 *
 * - through RSP: the page that was stored to last is kept in the state block (STACK_PAGE, STACK_ADDEND) and in locals of
 *   each region; an access that lies in it (STACK_LIMIT) needs no TLB.
 * - through the same other registers as an access before it in the same block: that one's page.
 *
 * Both hold because code changes in the interpreter only, and mappings and modes there or at the end of a region, whose
 * callers are left if they may rely on what has changed (jit/world.ts). What drops TLB entries or their write tags drops
 * STACK_PAGE (cpu/tlb.ts).
 */
import { hostAddress, tlbHit } from "../cpu/access.ts";
import * as L from "../cpu/layout.ts";
import { tlbEntry } from "../cpu/tlb.ts";
import { type Expr, i32, type Variable } from "../ir/builder.ts";
import type { AddressTable } from "../ir/types.ts";
import type { Instruction } from "./instruction.ts";
import type { RegionBuilder } from "./region-builder.ts";
import { regionRead, regionWrite, stackRead, stackWrite } from "./routines.ts";

/** The stack's page in a region: outermost locals, loaded on entry if `isUsed`. */
export interface StackPage {
  readonly page: Variable;
  readonly addend: Variable;
  readonly limit: Variable;
  isUsed: boolean;
}

/** What an access through some registers showed: their page, and what to add to an address in it. */
interface KnownPage {
  readonly page: Variable;
  readonly addend: Variable;
  readonly canWrite: boolean;
}

const READS: AddressTable = {
  shift: 7,
  mask: (L.TLB_ENTRIES - 1) * L.TLB_ENTRY_BYTES,
  tag: L.TLB_READ,
  addend: L.TLB_ADDEND,
  pageBits: 12,
};
const WRITES: AddressTable = { ...READS, tag: L.TLB_WRITE };
/** No access through the same registers comes there from a page that was accessed: half of linear space away. */
const ELSEWHERE = 1n << 62n;

const RSP = 4;

export class PageAccess {
  readonly #b: RegionBuilder;
  readonly stack: StackPage;
  readonly #newVariable: (type: "i32" | "i64") => Variable;
  /** How often the running block's instructions use each combination of registers. */
  readonly #uses = new Map<string, number>();
  readonly #known = new Map<string, KnownPage>();
  /** What the running block needs declared in front of it. */
  readonly declared: Variable[] = [];

  constructor(b: RegionBuilder, newVariable: (type: "i32" | "i64") => Variable) {
    this.#b = b;
    this.#newVariable = newVariable;
    this.stack = { page: newVariable("i64"), addend: newVariable("i32"), limit: newVariable("i64"), isUsed: false };
  }

  startBlock(instructions: readonly Instruction[]): void {
    this.#known.clear();
    this.#uses.clear();
    this.declared.length = 0;
    for (const { microOp } of instructions) {
      const registers = registersOf(microOp);
      this.#uses.set(registers, (this.#uses.get(registers) ?? 0) + 1);
    }
  }

  /** Host address of RAM for the whole access. `leave`: it is for the interpreter. */
  host(address: Expr, bytes: number, isWrite: boolean, leave: () => void): Expr {
    const b = this.#b;
    b.agePending();
    const va = b.keep(address);
    const origin = b.origins.of(va);
    if (origin?.startsWith(`${RSP}.`) && !origin.includes("+")) return this.#onStack(va, bytes, isWrite, leave);
    const known = origin === undefined ? undefined : this.#known.get(origin);
    if (known && (known.canWrite || !isWrite)) {
      const isInside = va.sub(known.page.get()).leU(4096 - bytes);
      return this.#either(isInside, () => va.lo32().add(known.addend.get()), slow(isWrite), va, bytes, leave);
    }
    const recurs = (this.#uses.get(registersOf(b.microOp)) ?? 0) > 1;
    if (origin === undefined || !recurs || b.isConditional) {
      const how = { bytes, slow: slow(isWrite), failed: leave };
      return b.access(isWrite ? WRITES : READS, b.get(L.TLB_CURRENT), va, how);
    }
    const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
    const hit = b.keep(tlbHit(b, entry, va, bytes, isWrite ? L.TLB_WRITE : L.TLB_READ));
    const page = known?.page ?? this.#declare("i64");
    const addend = known?.addend ?? this.#declare("i32");
    const learn = (isHit: boolean): void => {
      // A page that has code takes stores beside it one by one.
      const here = va.and(-4096);
      page.set(isHit || !isWrite ? here : here.xor(ELSEWHERE));
    };
    const host = this.#either(hit, () => hostAddress(b, entry, va), slow(isWrite), va, bytes, leave, learn);
    addend.set(host.sub(va.lo32()));
    this.#known.set(origin, { page, addend, canWrite: isWrite });
    return host;
  }

  #declare(type: "i32" | "i64"): Variable {
    const variable = this.#newVariable(type);
    this.declared.push(variable);
    return variable;
  }

  #onStack(va: Expr, bytes: number, isWrite: boolean, leave: () => void): Expr {
    const b = this.#b;
    const { stack } = this;
    stack.isUsed = true;
    const inside = va.sub(stack.page.get());
    const limit = stack.limit.get();
    // Of 16 bytes only those at multiples of 16, which cannot cross the page's end.
    const hit = bytes > 8 ? inside.rotr(4).ltU(limit.shrU(4)) : inside.ltU(limit);
    const learn = (isHit: boolean): void => {
      if (isHit) return;
      stack.page.set(b.fromState(L.STACK_PAGE));
      stack.addend.set(b.fromState(L.STACK_ADDEND));
      stack.limit.set(b.fromState(L.STACK_LIMIT));
    };
    const routine = isWrite ? stackWrite : stackRead;
    return this.#either(hit, () => va.lo32().add(stack.addend.get()), routine, va, bytes, leave, learn);
  }

  #either(
    hit: Expr,
    address: () => Expr,
    otherwise: typeof regionRead,
    va: Expr,
    bytes: number,
    leave: () => void,
    learn: (isHit: boolean) => void = () => {},
  ): Expr {
    const b = this.#b;
    const host = b.variable(i32(0));
    b.if(
      hit,
      () => {
        host.set(address());
        learn(true);
      },
      () => {
        host.set(b.call(otherwise, va, bytes));
        b.if(host.get().eqz(), leave);
        learn(false);
      },
      true,
    );
    return b.keep(host.get());
  }
}

const slow = (isWrite: boolean): typeof regionRead => (isWrite ? regionWrite : regionRead);

/** The registers of a memory operand, as a key. */
function registersOf(microOp: DataView): string {
  const [base, index] = [microOp.getUint16(L.UOP_BASE, true), microOp.getUint16(L.UOP_INDEX, true)];
  return `${base}+${index}*${microOp.getUint8(L.UOP_ADDRESS)}+${microOp.getUint16(L.UOP_SEGMENT_BASE, true)}`;
}
