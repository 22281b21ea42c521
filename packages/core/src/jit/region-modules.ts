/**
 * The modules that a machine's translations are in, their functions' places in the core's table, and their ages. V8 keeps
 * a module whole, with its bytes and the code of all functions, as long as one of them is known: so it is modules that
 * are dropped, when they are many and nothing in them was given to a block for a while.
 */

/** Of the modules that are there at a time. */
export interface TierBounds {
  readonly modules: number;
  readonly bytes: number;
}

export interface RegionModule {
  readonly bytes: number;
  /** What earlier runs have left stays: it is one module, of code from everywhere. */
  readonly isKept: boolean;
  readonly places: number[];
  /** The age in which a block last got one of its functions. */
  used: number;
}

/** At these shares of the bounds modules begin to be dropped, and of what is new since the last time the next comes. */
const CROWDED = 1 / 8;
const STEP = 1 / 16;

export class RegionModules {
  readonly #table: WebAssembly.Table;
  readonly #bounds: TierBounds;
  readonly #first: number;
  readonly #modules = new Set<RegionModule>();
  readonly #free: number[] = [];
  #next: number;
  #bytes = 0;
  #keptBytes = 0;
  #newModules = 0;
  #newBytes = 0;
  #age = 0;

  constructor(table: WebAssembly.Table, first: number, bounds: TierBounds) {
    this.#table = table;
    this.#bounds = bounds;
    this.#first = first;
    this.#next = first;
  }

  add(bytes: number, isKept = false): RegionModule {
    const module = { bytes, isKept, places: [], used: this.#age };
    this.#modules.add(module);
    this.#bytes += bytes;
    if (isKept) this.#keptBytes += bytes;
    else {
      this.#newModules++;
      this.#newBytes += bytes;
    }
    return module;
  }

  /** Gives one of a module's functions a place in the table. */
  enter(module: RegionModule, run: () => number): number {
    const index = this.#free.pop() ?? this.#next++;
    if (index >= this.#table.length) this.#table.grow(Math.max(256, this.#table.length));
    this.#table.set(index, run);
    module.places.push(index);
    return index;
  }

  /** A block gets one of its functions. */
  use(module: RegionModule): void {
    module.used = this.#age;
  }

  get isOverBounds(): boolean {
    return this.#modules.size > this.#bounds.modules || this.#bytes > this.#bounds.bytes;
  }

  /** Whether it is time to drop what is old. */
  get isCrowded(): boolean {
    const { modules, bytes } = this.#bounds;
    const isMuch = this.#modules.size > modules * CROWDED || this.#bytes - this.#keptBytes > bytes * CROWDED;
    return isMuch && (this.#newModules > modules * STEP || this.#newBytes > bytes * STEP);
  }

  /** Drops what was not used since the last time. All blocks must be given their functions anew afterwards. */
  dropOld(): ReadonlySet<RegionModule> {
    const old = new Set([...this.#modules].filter(({ isKept, used }) => !isKept && used < this.#age));
    for (const module of old) this.#drop(module);
    this.#age++;
    this.#newModules = 0;
    this.#newBytes = 0;
    return old;
  }

  dropAll(): void {
    for (const module of this.#modules) this.#drop(module);
    this.#next = this.#first;
    this.#free.length = 0;
    this.#keptBytes = 0;
    this.#newModules = 0;
    this.#newBytes = 0;
  }

  #drop(module: RegionModule): void {
    this.#modules.delete(module);
    this.#bytes -= module.bytes;
    for (const index of module.places) {
      this.#table.set(index, null);
      this.#free.push(index);
    }
  }
}
