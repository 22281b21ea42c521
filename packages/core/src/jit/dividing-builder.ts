/**
 * A builder that knows where control divides: what is emitted there may be left out when it runs, and flags, which are kept
 * in ways that depend on the instructions before, are the same behind all ways.
 */
import { Builder, type Expr } from "../ir/builder.ts";
import type { AddressTable, Label, Routine, Statement } from "../ir/types.ts";
import { type FlagState, type RegionFlags, sameKind } from "./lazy-flags.ts";
import { Untranslatable } from "./untranslatable.ts";

export class DividingBuilder extends Builder {
  flags!: RegionFlags;
  /** Depth of ways that control may not take, inside the running instruction. */
  #branches = 0;
  /** The instruction may have ended early. */
  mayHaveEnded = false;

  /** What is emitted now may be left out when the instruction runs. */
  get isConditional(): boolean {
    return this.#branches > 0 || this.mayHaveEnded;
  }

  /** An `if` neither of whose ways changes flags. */
  plainIf(condition: Expr, then: () => void): void {
    super.if(condition, then, undefined, false);
  }
  override access(
    layout: AddressTable,
    table: Expr,
    address: Expr,
    how: { readonly bytes: number; readonly slow: Routine; readonly failed: () => void },
  ): Expr {
    const failed = (): void => {
      this.#branches++;
      how.failed();
      this.#branches--;
    };
    return super.access(layout, table, address, { ...how, failed });
  }
  /** What `build` emits, to be put where control seldom comes to and does not come out of. */
  onAnotherWay(build: () => void): Statement[] {
    this.#branches++;
    const list = this.nested(build);
    this.#branches--;
    return list;
  }
  /** How flags are kept depends on the way that control took. */
  override if(condition: Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    if (condition.constant !== undefined) {
      super.if(condition, then, otherwise, likely);
      return;
    }
    const node = this.#beforeWays(condition).take();
    const [yes = [], no = []] = this.#ways([then, otherwise ?? ((): void => {})]);
    this.emit({ kind: "if", condition: node, likely, yes, no });
  }
  override switch(index: Expr, cases: readonly (() => void)[], otherwise: () => void): void {
    const node = this.#beforeWays(index).take();
    const lists = this.#ways([...cases, otherwise]);
    this.emit({ kind: "switch", index: node, cases: lists.slice(0, -1), otherwise: lists.at(-1) ?? [] });
  }
  #beforeWays(value: Expr): Expr {
    if (!this.flags.dependsOnLocals) return value;
    const kept = this.keep(value);
    this.flags.write();
    return kept;
  }
  /** Lists of which one runs; flags are the same behind all of them. */
  #ways(builds: readonly (() => void)[]): Statement[][] {
    const { flags } = this;
    const before = flags.state;
    const ends: FlagState[] = [];
    const lists = builds.map((build) => {
      flags.state = before;
      this.#branches++;
      const list = this.nested(build);
      this.#branches--;
      ends.push(flags.state);
      return list;
    });
    flags.state = before;
    const through = ends.filter((_, i) => fallsThrough(lists[i] ?? []));
    if (through.every((state) => state === before)) return lists;
    flags.write();
    for (const [i, list] of lists.entries()) {
      const end = ends[i];
      if (!end || end === before || !fallsThrough(list)) continue;
      flags.state = end;
      list.push(...this.nested(() => flags.write()));
    }
    flags.begin(through.map((state) => state.kind).reduce(sameKind));
    return lists;
  }

  /** Flags where labels' blocks begin, and on the ways out of them, or round. */
  readonly #labels = new Map<Label, { readonly before: FlagState; readonly ways: FlagState[] }>();
  override block(build: (label: Label) => void): void {
    const { flags } = this;
    if (flags.dependsOnLocals) flags.write();
    const label: Label = { kind: "block" };
    const before = flags.state;
    const ways: FlagState[] = [];
    this.#labels.set(label, { before, ways });
    const body = this.nested(() => {
      build(label);
      if (flags.state !== before) flags.write();
    });
    if (fallsThrough(body)) ways.push(flags.state);
    flags.state = before;
    if (ways.some((state) => state !== before)) {
      flags.write();
      flags.begin(ways.map((state) => state.kind).reduce(sameKind));
    }
    this.emit({ kind: "block", label, body });
  }
  override loop(build: (label: Label) => void): void {
    const { flags } = this;
    flags.settle();
    const label: Label = { kind: "loop" };
    const before = flags.state;
    const ways: FlagState[] = [];
    this.#labels.set(label, { before, ways });
    this.#branches++;
    const body = this.nested(() => {
      build(label);
      flags.settle();
    });
    this.#branches--;
    if (ways.some(({ kind }) => sameKind(kind, before.kind) !== before.kind))
      throw new Untranslatable("flags that a loop changes");
    this.emit({ kind: "block", label, body });
  }
  override br(label: Label, condition?: Expr): void {
    const { flags } = this;
    const known = this.#labels.get(label);
    let on = condition;
    if (known && known.before !== flags.state) {
      if (on && !flags.state.isWritten) on = this.keep(on);
      flags.write();
    }
    known?.ways.push(flags.state);
    super.br(label, on);
  }
}

function fallsThrough(list: readonly Statement[]): boolean {
  const last = list.at(-1);
  return !(last?.kind === "return" || (last?.kind === "br" && !last.condition));
}
