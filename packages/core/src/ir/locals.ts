/**
 * Which WebAssembly local holds each local of a routine. A place is free again behind the last use of what it holds, so
 * that functions of thousands of values have few: V8's first compiler gives each a place in the frame, and works for each
 * where ways meet. What nobody uses, and can be left out, gets no place.
 *
 * Uses are counted first, then taken off as code is written. What is used in a loop is kept until the loop's end. While
 * a function is compiled, `Local.index` is the local's number here.
 */
import { IrError, type Local, type Node, type Statement, type ValueType } from "./types.ts";

const NOWHERE = -1;
/** How often code for an access reads the address. */
const ACCESS_USES = 5;

/** Places of one type: free ones, and how many there are, of those that a list and the lists in it have. */
interface Pool {
  free: number[];
  count: number;
}
type Pools = Record<ValueType, Pool>;
const pool = (): Pool => ({ free: [], count: 0 });
const pools = (): Pools => ({ i32: pool(), i64: pool(), f32: pool(), f64: pool(), v128: pool() });

/**
 * What is known of each local, by its number: one array for all functions, since memory outside of the heap is dear to
 * get. Functions are compiled one after the other.
 */
class Table {
  #words = new Int32Array(1 << 12);
  get(number: number): number {
    return this.#words[number] ?? 0;
  }
  set(number: number, value: number): void {
    if (number >= this.#words.length) {
      const grown = new Int32Array(this.#words.length * 2);
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words[number] = value;
  }
}
const USES = new Table();
/** Uses that have not been written yet. */
const LEFT = new Table();
const PLACES = new Table();
/** How many lists are around the one that the local belongs to, and that list's number; loops around it. */
const DEPTHS = new Table();
const OWNERS = new Table();
const LOOPS_AROUND = new Table();

export class Locals {
  /** Types of the WebAssembly locals, parameters first. */
  readonly types: ValueType[];
  readonly #all: Local[];
  readonly #lists: number[] = [];
  #listCount = 0;
  /** Locals that are free when a loop ends: by number of loops around it. */
  readonly #atLoopEnd: number[][] = [];
  #depth = 0;
  /** The outermost list's, and all others'. */
  readonly #outer = pools();
  #inner = pools();
  readonly #innerPlaces: Record<ValueType, number[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };

  constructor(params: readonly Local[], statements: readonly Statement[]) {
    this.#all = [...params];
    this.types = params.map((p) => p.type);
    for (const [i, p] of params.entries()) {
      p.index = i;
      PLACES.set(i, i);
      // Never free.
      USES.set(i, 1 << 30);
      LEFT.set(i, 1 << 30);
      DEPTHS.set(i, NOWHERE);
    }
    try {
      this.#countList(statements, 1);
    } catch (error) {
      this.release();
      throw error;
    }
  }
  /** Locals belong to no function any more. */
  release(): void {
    for (const local of this.#all) local.index = NOWHERE;
  }

  #countList(statements: readonly Statement[], depth: number): void {
    const number = this.#listCount++;
    this.#lists[depth] = number;
    for (const s of statements) {
      switch (s.kind) {
        case "let":
          this.#count(s.value);
          if (s.local.index < 0) this.#define(s.local, depth, number);
          else this.#countLocal(s.local);
          break;
        case "load":
          this.#count(s.address);
          if (s.local.index < 0) this.#define(s.local, depth, number);
          else this.#countLocal(s.local);
          break;
        case "store":
          this.#count(s.address);
          this.#count(s.value);
          break;
        case "call":
          for (const a of s.args) this.#count(a);
          if (!s.local) break;
          if (s.local.index < 0) this.#define(s.local, depth, number);
          else this.#countLocal(s.local);
          break;
        case "callTable":
          this.#count(s.index);
          for (const a of s.args) this.#count(a);
          if (s.local.index < 0) this.#define(s.local, depth, number);
          else this.#countLocal(s.local);
          break;
        case "access":
          this.#count(s.table);
          for (let i = 0; i < ACCESS_USES; i++) this.#count(s.address);
          if (s.local.index < 0) this.#define(s.local, depth, number);
          else this.#countLocal(s.local);
          this.#countList(s.failed, depth + 1);
          break;
        case "if":
          this.#count(s.condition);
          this.#countList(s.yes, depth + 1);
          if (s.no.length) this.#countList(s.no, depth + 1);
          break;
        case "block":
          this.#countList(s.body, depth + 1);
          break;
        case "br":
          if (s.condition) this.#count(s.condition);
          break;
        case "switch":
          this.#count(s.index);
          for (const list of s.cases) this.#countList(list, depth + 1);
          this.#countList(s.otherwise, depth + 1);
          break;
        case "return":
          if (s.value) this.#count(s.value);
          break;
        case "copy":
          this.#count(s.to);
          this.#count(s.from);
          this.#count(s.bytes);
          break;
        case "fill":
          this.#count(s.to);
          this.#count(s.value);
          this.#count(s.bytes);
          break;
        case "atomic":
          for (const a of s.args) this.#count(a);
          if (s.local) this.#define(s.local, depth, number);
          break;
      }
    }
    this.#lists[depth] = NOWHERE;
  }
  #define(local: Local, depth: number, list: number): void {
    const number = this.#all.push(local) - 1;
    local.index = number;
    DEPTHS.set(number, depth);
    OWNERS.set(number, list);
    USES.set(number, 0);
    LEFT.set(number, 0);
    PLACES.set(number, NOWHERE);
  }
  #count(n: Node): void {
    if (n.kind === "local") this.#countLocal(n.local);
    else if (n.kind === "op") for (const a of n.args) this.#count(a);
    else if (n.kind === "select") {
      this.#count(n.condition);
      this.#count(n.yes);
      this.#count(n.no);
    }
  }
  #countLocal({ index }: Local): void {
    const depth = index < 0 ? 0 : DEPTHS.get(index);
    if (depth === NOWHERE) return;
    if (this.#lists[depth] !== OWNERS.get(index) || depth === 0)
      throw new IrError("use of a local that is out of scope");
    const uses = USES.get(index) + 1;
    USES.set(index, uses);
    LEFT.set(index, uses);
  }

  /** A list of statements starts. */
  begin(isLoop: boolean): void {
    this.#depth++;
    if (isLoop) this.#atLoopEnd.push([]);
  }
  end(isLoop: boolean): void {
    this.#depth--;
    if (isLoop) for (const number of this.#atLoopEnd.pop() ?? []) this.#free(number);
  }
  /** A list in which all places are free but the outermost list's: what they hold is for other ways than this one. */
  isolated(write: () => void): void {
    const before = this.#inner;
    this.#inner = pools();
    write();
    this.#inner = before;
  }

  /** The place to assign to, when the value has been written; -1: nobody uses it. */
  placeToAssign(local: Local): number {
    const number = local.index;
    if (USES.get(number) === 0) return NOWHERE;
    const known = PLACES.get(number);
    if (known !== NOWHERE) {
      this.#used(number);
      return known;
    }
    const place = this.#take(local.type);
    PLACES.set(number, place);
    LOOPS_AROUND.set(number, this.#atLoopEnd.length);
    return place;
  }
  /** Whether the local's value need not be made. */
  isUnused(local: Local): boolean {
    return USES.get(local.index) === 0;
  }
  isUsedOnce(local: Local): boolean {
    return USES.get(local.index) === 1;
  }
  /** The place of a value, for one of its uses. */
  placeToUse(local: Local): number {
    const place = PLACES.get(local.index);
    this.#used(local.index);
    return place;
  }
  placeOf(local: Local): number {
    return PLACES.get(local.index);
  }
  /** What is left out uses nothing. */
  leaveOut(n: Node): void {
    if (n.kind === "local") this.#used(n.local.index);
    else if (n.kind === "op") for (const a of n.args) this.leaveOut(a);
    else if (n.kind === "select") {
      this.leaveOut(n.condition);
      this.leaveOut(n.yes);
      this.leaveOut(n.no);
    }
  }

  #used(number: number): void {
    const left = LEFT.get(number) - 1;
    LEFT.set(number, left);
    if (left !== 0) return;
    const loops = LOOPS_AROUND.get(number);
    if (loops < this.#atLoopEnd.length) this.#atLoopEnd[loops]?.push(number);
    else this.#free(number);
  }
  /** A place for a while. */
  borrow(type: ValueType): number {
    return this.#take(type);
  }
  giveBack(type: ValueType, place: number): void {
    (this.#depth <= 1 ? this.#outer : this.#inner)[type].free.push(place);
  }
  #take(type: ValueType): number {
    const isOuter = this.#depth <= 1;
    const from = (isOuter ? this.#outer : this.#inner)[type];
    const free = from.free.pop();
    if (free !== undefined) return free;
    const at = from.count++;
    const known = isOuter ? undefined : this.#innerPlaces[type][at];
    if (known !== undefined) return known;
    const place = this.types.push(type) - 1;
    if (!isOuter) this.#innerPlaces[type].push(place);
    return place;
  }
  #free(number: number): void {
    const local = this.#all[number];
    if (!local) return;
    const isOuter = DEPTHS.get(number) <= 1;
    (isOuter ? this.#outer : this.#inner)[local.type].free.push(PLACES.get(number));
  }
}
