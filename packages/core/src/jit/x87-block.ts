/**
 * The x87 register stack in a block of a region (SDM vol. 1, 8.1). TOP is read once, at the block's first x87 instruction;
 * from there on it is known how far it has moved, which registers are in use, and the values that were read or written.
 * What the block takes for granted is compared there with the state: registers that are in use, or empty, and that no
 * exception is unmasked, so that none of its instructions ends with one. Where it is not so, the interpreter goes on.
 *
 * Registers are written to the state block at once. TOP, tags, FSW and FIP are written where the block ends, on ways that
 * leave it, and in front of instructions that are not built on this (`forget`).
 */
import * as L from "../cpu/layout.ts";
import { FSW_C0, FSW_C1, FSW_C2, FSW_C3, FSW_EXCEPTIONS } from "../cpu/x87.ts";
import type { Extended } from "../cpu/x87-quick.ts";
import { Expr, i32 } from "../ir/builder.ts";
import type { X87Stack } from "../isa/translation.ts";
import type { RegionBuilder } from "./region-builder.ts";
import { Untranslatable } from "./untranslatable.ts";

const CODES = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3;

/** A constant that is known later. */
class LateConstant {
  readonly #node: { kind: "const"; type: "i32"; value: number } = { kind: "const", type: "i32", value: 1 };
  readonly expr = new Expr(this.#node);
  set(value: number): void {
    this.#node.value = value;
  }
}

/** What holds since the block's first x87 instruction, TOP of then counting as 0. */
interface Known {
  /** TOP, times 16. */
  readonly top: Expr;
  readonly assumed: LateConstant;
  readonly looked: LateConstant;
  /** Which registers were in use, by number, where that matters, and which are now. */
  readonly before: Map<number, boolean>;
  readonly now: Map<number, boolean>;
  readonly values: Map<number, Extended>;
  moved: number;
  /** Flags raised, the last instruction's flags with C1, and whether C1 was written at all. */
  raised: Expr | undefined;
  last: Expr | undefined;
  rip: Expr | undefined;
  /** `moved` and tags as the state block has them. */
  writtenMoved: number;
  writtenTags: number;
}

const bits = (tags: ReadonlyMap<number, boolean>): number =>
  [...tags].reduce((sum, [index, isUsed]) => sum | (isUsed ? 1 << index : 0), 0);

export class X87Block implements X87Stack {
  readonly #b: RegionBuilder;
  #known: Known | undefined;
  #hasMasks = false;

  constructor(b: RegionBuilder) {
    this.#b = b;
    b.beforeX87 = () => {
      if (!this.#known) return;
      if (b.isConditional) throw new Untranslatable("x87 state that only the block has");
      this.forget();
    };
  }

  startBlock(): void {
    this.#known = undefined;
    this.#hasMasks = false;
  }

  requireMasks(leave: () => void): void {
    if (this.#hasMasks) return;
    this.#b.if(this.#unmasked(), leave, undefined, false);
    this.#hasMasks = true;
  }
  #unmasked(): Expr {
    return this.#b.fromState(L.FCW).not().and(FSW_EXCEPTIONS);
  }

  begin(leave: () => void): void {
    if (this.#known) return;
    const b = this.#b;
    const top = b.keep(b.fromState(L.FTOP));
    const tags = b.fromState(L.FTAG).mul(0x101).shrU(top);
    const assumed = new LateConstant();
    const looked = new LateConstant();
    const differs = tags.xor(assumed.expr).and(looked.expr);
    b.if(this.#hasMasks ? differs : differs.or(this.#unmasked()), leave, undefined, false);
    this.#hasMasks = true;
    const known = { assumed, looked, before: new Map(), now: new Map(), values: new Map(), moved: 0 };
    const pending = { raised: undefined, last: undefined, rip: undefined, writtenMoved: 0, writtenTags: 0 };
    this.#known = { top: b.keep(top.shl(4)), ...known, ...pending };
    assumed.set(0);
    looked.set(0);
  }
  #here(): Known {
    if (!this.#known) throw new Error("no x87 instruction has begun");
    return this.#known;
  }
  #place(index: number): number {
    return (this.#here().moved + index) & 7;
  }
  #assume(place: number, isUsed: boolean): boolean {
    const known = this.#here();
    const now = known.now.get(place);
    if (now !== undefined) return now === isUsed;
    known.before.set(place, isUsed);
    known.now.set(place, isUsed);
    known.looked.set([...known.before.keys()].reduce((sum, at) => sum | (1 << at), 0));
    known.assumed.set(bits(known.before));
    if (isUsed) known.writtenTags |= 1 << place;
    return true;
  }
  has(index: number): boolean {
    return this.#assume(this.#place(index), true);
  }
  hasRoom(): boolean {
    return this.#assume(this.#place(-1), false);
  }

  /** Place in the state block, X87 left out. */
  #at(place: number): Expr {
    const { top } = this.#here();
    return place ? top.add(16 * place).and(0x70) : top;
  }
  get(index: number): Extended {
    const b = this.#b;
    const known = this.#here();
    const place = this.#place(index);
    const found = known.values.get(place);
    if (found) return found;
    const at = b.keep(this.#at(place));
    const value = {
      significand: b.fromX87("i64.load", at, L.X87),
      signExponent: b.fromX87("i32.load16_u", at, L.X87 + 8),
    };
    known.values.set(place, value);
    return value;
  }
  put(index: number, value: Extended): void {
    const b = this.#b;
    const known = this.#here();
    const place = this.#place(index);
    const kept = { significand: b.keep(value.significand), signExponent: b.keep(value.signExponent) };
    const at = b.keep(this.#at(place));
    b.toX87("i64.store", at, L.X87, kept.significand);
    b.toX87("i32.store16", at, L.X87 + 8, kept.signExponent);
    known.values.set(place, kept);
    known.now.set(place, true);
  }
  push(value: Extended): void {
    this.#here().moved--;
    this.put(0, value);
  }
  pop(): void {
    const known = this.#here();
    known.now.set(this.#place(0), false);
    known.moved++;
  }

  raise(flags: Expr | number): void {
    const known = this.#here();
    if (known.last) this.raiseOnly(known.last);
    known.last = typeof flags === "number" ? i32(flags) : this.#b.keep(flags);
  }
  raiseOnly(flags: Expr): void {
    const known = this.#here();
    known.raised = this.#b.keep(known.raised ? known.raised.or(flags) : flags);
  }
  putCodes(codes: Expr): void {
    this.#writeStatus(CODES, codes);
    const known = this.#here();
    known.raised = undefined;
    known.last = undefined;
  }
  putControl(value: Expr): void {
    this.#b.toState(L.FCW, value.and(0x1f3f).or(0x40));
  }
  done(rip: Expr): void {
    this.#here().rip = this.#b.keep(rip);
  }

  #writeStatus(cleared: number, more?: Expr): void {
    const b = this.#b;
    const { raised, last } = this.#here();
    const parts = [raised?.and(~FSW_C1), more ? last?.and(~FSW_C1) : last, more];
    const word = parts.reduce<Expr>((sum, part) => (part ? sum.or(part) : sum), b.fromState(L.FSW).and(~cleared));
    b.toState(L.FSW, word);
  }
  /** The state block gets what it does not have, on a way that leaves the block for good. */
  writeHere(): void {
    const b = this.#b;
    const known = this.#known;
    if (!known) return;
    const { raised, last, rip, moved, top } = known;
    if (raised ?? last) this.#writeStatus(last ? FSW_C1 : 0);
    if (rip) b.toState(L.FIP, rip);
    const tags = bits(known.now);
    if (moved === known.writtenMoved && tags === known.writtenTags) return;
    const number = b.keep(top.shrU(4));
    if (moved !== known.writtenMoved) b.toState(L.FTOP, number.add(moved & 7).and(7));
    const changed = tags ^ known.writtenTags;
    if (!changed) return;
    const turned = b.keep(i32(changed).shl(number));
    b.toState(L.FTAG, b.fromState(L.FTAG).xor(turned).xor(turned.shrU(8)).and(0xff));
  }
  /** The same on the one way on, where it stays known. */
  write(): void {
    const known = this.#known;
    if (!known) return;
    this.writeHere();
    known.raised = undefined;
    known.last = undefined;
    known.rip = undefined;
    known.writtenMoved = known.moved;
    known.writtenTags = bits(known.now);
  }
  forget(): void {
    this.write();
    this.#known = undefined;
  }
}
