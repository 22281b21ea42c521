/**
 * How translated code finds the RAM of an access: by the TLB, in line. Accesses of one block that lie at fixed distances
 * from each other (jit/address-origins.ts) are a group: the first of them asks once whether all of them lie in one page, and
 * the others only whether they did. Accesses through RSP find that page without the TLB: the one that was stored to last
 * is kept in the state block (STACK_PAGE, STACK_ADDEND) and in locals of each region, and is good up to STACK_LIMIT.
 *
 * Both hold because code changes in the interpreter only, and mappings and modes there or at the end of a region, whose
 * callers are left if they may rely on what has changed (jit/world.ts). What drops TLB entries or their write tags drops
 * STACK_PAGE (cpu/tlb.ts).
 *
 * What a group consists of is known at its block's end, so its code is put in then. Its question leaves no trace in page
 * tables that its first access, which is in the same page, would not leave.
 */
import * as L from "../cpu/layout.ts";
import type { Expr, Field, Variable } from "../ir/builder.ts";
import type { AddressTable, Local, Routine, Statement } from "../ir/types.ts";
import type { Origin } from "./address-origins.ts";
import type { RegionBuilder } from "./region-builder.ts";
import { regionRead, regionWrite, stackRange, stackRead, stackWrite, writableRange } from "./routines.ts";

/** The stack's page in a region: outermost locals, loaded on entry if `isUsed`. */
export interface StackPage {
  readonly page: Variable;
  readonly addend: Variable;
  readonly limit: Variable;
  isUsed: boolean;
}

interface Access {
  readonly va: Expr;
  readonly bytes: number;
  readonly offset: number;
  readonly isWrite: boolean;
  /** In a group: of the byte in front of its lowest, if the access is done in the region. */
  readonly host: Variable;
  /** Where it is left to the interpreter. */
  readonly failed: Statement[];
  /** In front of the access; filled at the block's end. */
  readonly before: Statement[];
  /** What loads and stores there, with the offset from `host` still to come. */
  readonly uses: (Statement & { kind: "load" | "store" })[];
}

interface Group {
  readonly isStack: boolean;
  /**
   * One less than the host address of its lowest byte, so that no offset is 0 (V8 then knows upper halves of addresses to be
   * empty). NO_BASE: its accesses do not lie in one page, or cannot be told to.
   */
  readonly base: Variable;
  /** In front of the first access; filled at the block's end. */
  readonly question: Statement[];
  readonly accesses: Access[];
  low: number;
  high: number;
}

const READS: AddressTable = {
  shift: 7,
  mask: (L.TLB_ENTRIES - 1) * L.TLB_ENTRY_BYTES,
  tag: L.TLB_READ,
  addend: L.TLB_ADDEND,
  pageBits: 12,
};
const WRITES: AddressTable = { ...READS, tag: L.TLB_WRITE };
/** The further apart, the likelier in different pages. */
const MAX_GROUP_BYTES = 256;
const NO_BASE = -1;
const ZERO: Field = { offset: L.ZERO, type: "i32", bits: 32 };
const STACK_KEY = /^4\.\d+$/;

export class PageAccess {
  readonly #b: RegionBuilder;
  readonly stack: StackPage;
  readonly #newVariable: (type: "i32" | "i64") => Variable;
  readonly #groups = new Map<string, Group[]>();
  readonly #byHost = new Map<Local, Access>();
  /** What the running block needs declared in front of it. */
  readonly declared: Variable[] = [];

  constructor(b: RegionBuilder, newVariable: (type: "i32" | "i64") => Variable) {
    this.#b = b;
    this.#newVariable = newVariable;
    this.stack = { page: newVariable("i64"), addend: newVariable("i32"), limit: newVariable("i64"), isUsed: false };
    b.onHostAccess = (statement, local) => this.#byHost.get(local)?.uses.push(statement);
  }

  startBlock(): void {
    this.#groups.clear();
    this.#byHost.clear();
    this.declared.length = 0;
  }

  /** Behind the block's last instruction. */
  endBlock(): void {
    for (const groups of this.#groups.values())
      for (const group of groups) {
        if (group.accesses.length > 1) this.#fillGroup(group);
        else this.#fillSingle(group);
      }
  }

  /**
   * Host address of RAM for the whole access, to be loaded from or stored to and for nothing else. `leave`: it is for the
   * interpreter.
   */
  host(address: Expr, bytes: number, isWrite: boolean, leave: () => void): Expr {
    const b = this.#b;
    b.agePending();
    const va = b.keep(address);
    const origin = b.origins.of(va);
    const group = origin && (this.#groupOf(origin, bytes) ?? this.#newGroup(origin, bytes));
    if (!group) return b.access(isWrite ? WRITES : READS, b.get(L.TLB_CURRENT), va, how(bytes, isWrite, leave));
    if (group.accesses.length === 0) b.emit({ kind: "block", label: { kind: "block" }, body: group.question });
    const host = b.variable(group.base.get());
    const before: Statement[] = [];
    b.emit({ kind: "block", label: { kind: "block" }, body: before });
    const failed = b.onAnotherWay(leave);
    const access = { va, bytes, offset: origin?.offset ?? 0, isWrite, host, failed, before, uses: [] };
    group.accesses.push(access);
    this.#byHost.set(host.local, access);
    return host.get();
  }

  /** The same for a store, as an address that can be computed with. */
  hostAlone(address: Expr, bytes: number, leave: () => void): Expr {
    const b = this.#b;
    b.agePending();
    return b.access(WRITES, b.get(L.TLB_CURRENT), b.keep(address), how(bytes, true, leave));
  }

  #groupOf({ key, offset }: Origin, bytes: number): Group | undefined {
    for (const group of this.#groups.get(key) ?? []) {
      const [low, high] = [Math.min(group.low, offset), Math.max(group.high, offset + bytes)];
      if (high - low > MAX_GROUP_BYTES) continue;
      group.low = low;
      group.high = high;
      return group;
    }
    return undefined;
  }
  #newGroup({ key, offset }: Origin, bytes: number): Group | undefined {
    // What may be left out asks nothing for others.
    if (this.#b.isConditional) return undefined;
    const base = this.#newVariable("i32");
    this.declared.push(base);
    const isStack = STACK_KEY.test(key);
    if (isStack) this.stack.isUsed = true;
    const group: Group = { isStack, base, question: [], accesses: [], low: offset, high: offset + bytes };
    this.#groups.set(key, [...(this.#groups.get(key) ?? []), group]);
    return group;
  }

  #fillSingle({ isStack, base, question, accesses: [access] }: Group): void {
    if (!access) return;
    const { va, bytes, isWrite, failed } = access;
    const otherwise = isStack ? (isWrite ? stackWrite : stackRead) : isWrite ? regionWrite : regionRead;
    const build = (): void =>
      isStack
        ? this.#askStack(base, va, bytes, otherwise, failed)
        : this.#ask(base, va, bytes, isWrite, otherwise, failed);
    question.push(...this.#b.nested(build));
  }

  #fillGroup({ isStack, base, question, accesses, low, high }: Group): void {
    const b = this.#b;
    const [first] = accesses;
    if (!first) return;
    const bytes = high - low;
    const isWrite = accesses.some((access) => access.isWrite);
    const build = (): void => {
      const lowest = first.offset === low ? first.va : b.keep(b.wrapped(first.va.sub(first.offset - low)));
      if (isStack) this.#askStack(base, lowest, bytes, stackRange, []);
      else {
        const slow = first.isWrite ? regionWrite : isWrite ? writableRange : regionRead;
        this.#ask(base, lowest, bytes, isWrite, slow, []);
      }
      base.set(base.get().add(NO_BASE));
    };
    question.push(...b.nested(build));
    for (const { host, va, offset, failed, before, uses, ...access } of accesses) {
      const distance = offset - low - NO_BASE;
      for (const use of uses) (use as { offset: number }).offset += distance;
      const alone = b.nested(() => {
        const found = b.call(access.isWrite ? regionWrite : regionRead, va, access.bytes);
        b.emit({ kind: "if", condition: found.eqz().take(), likely: false, yes: failed, no: [] });
        host.set(found.sub(distance));
        // NO_BASE again, but V8 cannot know: it would keep for each access to come what this one's answer was.
        base.set(b.fromState(ZERO).add(NO_BASE));
      });
      const condition = host.get().eq(NO_BASE).take();
      before.push({ kind: "if", condition, likely: false, yes: alone, no: [] });
    }
  }

  /** Sets `base` by the TLB. */
  #ask(base: Variable, va: Expr, bytes: number, isWrite: boolean, slow: Routine, failed: Statement[]): void {
    const b = this.#b;
    const [table, address] = [b.get(L.TLB_CURRENT).take(), va.take()];
    const layout = isWrite ? WRITES : READS;
    b.emit({ kind: "access", local: base.local, layout, table, address, bytes, slow, failed });
  }
  /** Sets `base` by the stack's page, which is another one afterwards where `slow` says so. */
  #askStack(base: Variable, va: Expr, bytes: number, slow: Routine, failed: Statement[]): void {
    const b = this.#b;
    const { page, addend, limit } = this.stack;
    const inside = b.keep(va.sub(page.get()));
    const begins = inside.ltU(limit.get());
    const hit = bytes > 8 ? begins.and(inside.add(bytes - 8).ltU(limit.get())) : begins;
    const distance = b.variable(addend.get());
    const no = b.nested(() => {
      const found = b.call(slow, va, bytes);
      if (failed.length > 0) b.emit({ kind: "if", condition: found.eqz().take(), likely: false, yes: failed, no: [] });
      distance.set(found.sub(va.lo32()));
      page.set(b.fromState(L.STACK_PAGE));
      addend.set(b.fromState(L.STACK_ADDEND));
      limit.set(b.fromState(L.STACK_LIMIT));
    });
    b.emit({ kind: "if", condition: hit.eqz().take(), likely: false, yes: no, no: [] });
    base.set(va.lo32().add(distance.get()));
  }
}

const how = (bytes: number, isWrite: boolean, failed: () => void): Parameters<RegionBuilder["access"]>[3] => ({
  bytes,
  slow: isWrite ? regionWrite : regionRead,
  failed,
});
