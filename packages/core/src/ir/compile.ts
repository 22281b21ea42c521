/**
 * From the intermediate language to a WebAssembly module. No optimiser of its own: the host's compiler has one.
 */
import {
  type CodePlaces,
  type CompiledFunction,
  type FunctionCall,
  FunctionEmitter,
  TYPE_CODE,
} from "./function-emitter.ts";
import type { Routine } from "./routine.ts";
import { IrError, type ValueType } from "./types.ts";
import { walkCalls } from "./walk.ts";
import { WasmWriter } from "./wasm-writer.ts";

/** What two bytes of LEB128 can say. */
const MAX_LINKED_IMPORTS = 1 << 13;
/** The name of a routine that stands for the calling function itself, where functions are compiled alone. */
export const ITSELF = "itself";

export interface ModuleSpec {
  /** Where the vCPU's state block starts in memory. */
  readonly cpuBase: number;
  /** What is added to addresses of tables that each vCPU has its own of. Default: 0. */
  readonly ownShift?: number;
  readonly sharedMemory: boolean;
  readonly exports: Readonly<Record<string, Routine>>;
  /** Function table for `callTable`, in order. All have the type of the first. It is exported as `table`, and may grow. */
  readonly table: readonly Routine[];
}

/** A function's index in the two bytes that a call has for it. */
function putIndex(code: Uint8Array, offset: number, index: number): void {
  if (index >= 1 << 14) throw new IrError("too many functions");
  code[offset] = (index & 0x7f) | 0x80;
  code[offset + 1] = index >> 7;
}

class ModuleEmitter implements CodePlaces {
  readonly spec: Omit<ModuleSpec, "exports">;
  readonly exports: [string, Routine][] = [];
  readonly #imports: Routine[] = [];
  readonly #functions: Routine[] = [];
  readonly #functionAt = new Map<Routine, number>();
  readonly #importsByName = new Map<string, number>();
  readonly #types: string[] = [];
  readonly #bodies: CompiledFunction[] = [];
  /** Functions' indices are known when all imports are. */
  readonly #ownCalls: { readonly code: Uint8Array; readonly offset: number; readonly function: number }[] = [];
  readonly #isAlone: boolean;

  /** `isAlone`: for one function at a time, whose calls get their places when it is linked. */
  constructor(spec: Omit<ModuleSpec, "exports">, isAlone = false) {
    this.spec = spec;
    this.#isAlone = isAlone;
  }

  /** Takes a function that was compiled alone. What it calls is imported, by name. */
  link(name: string, compiled: CompiledFunction): void {
    const code = compiled.code.slice();
    for (const { offset, routine } of compiled.calls)
      if (routine.name === ITSELF) this.#ownCalls.push({ code, offset, function: this.#functions.length });
      else putIndex(code, offset, this.#importIndex(routine));
    this.#bodies.push({ ...compiled, code });
    // Its code is there already: what exports go by is a routine.
    const linked: Routine = { name: `region_${name}`, params: ["i32"], result: "i32", body: undefined };
    this.#functions.push(linked);
    this.exports.push([name, linked]);
  }
  #importIndex({ name, params, result }: FunctionCall["routine"]): number {
    const found = this.#importsByName.get(name);
    if (found !== undefined) return found;
    const index = this.#imports.push({ name, params, result, body: undefined }) - 1;
    if (index >= MAX_LINKED_IMPORTS) throw new IrError("too many imports");
    this.#importsByName.set(name, index);
    return index;
  }

  /** Compiles all functions that `roots` reach, imports first, so that their indices are known before. */
  addAll(roots: readonly Routine[]): void {
    const seen = new Set<Routine>();
    const visit = (r: Routine): void => {
      if (seen.has(r)) return;
      seen.add(r);
      if (!r.body) this.#imports.push(r);
      else {
        this.#functions.push(r);
        walkCalls(r.body().statements, visit);
      }
    };
    for (const r of roots) visit(r);
    for (const [i, r] of [...this.#imports, ...this.#functions].entries()) this.#functionAt.set(r, i);
    for (const r of this.#functions) this.#bodies.push(this.function(r));
  }
  get cpuBase(): number {
    return this.spec.cpuBase;
  }
  get ownShift(): number {
    return this.spec.ownShift ?? 0;
  }
  writeIndex(out: WasmWriter, r: Routine): void {
    if (this.#isAlone) out.bytes([0x80, 0]);
    else out.u32(this.functionIndex(r));
  }
  functionIndex(r: Routine): number {
    const index = this.#functionAt.get(r);
    if (index === undefined) throw new IrError(`routine ${r.name} was not collected`);
    return index;
  }
  tableType(): number {
    const first = this.spec.table[0];
    if (!first) throw new IrError("no function table");
    return this.typeIndex(first);
  }
  typeIndex(r: Routine): number {
    const key = `${r.params.join()}>${r.result ?? ""}`;
    const found = this.#types.indexOf(key);
    return found >= 0 ? found : this.#types.push(key) - 1;
  }

  emit(): Uint8Array<ArrayBuffer> {
    const { spec } = this;
    for (const call of this.#ownCalls) putIndex(call.code, call.offset, this.#imports.length + call.function);
    const all = [...this.#imports, ...this.#functions];
    for (const r of all) this.typeIndex(r);
    const out = new WasmWriter();
    out.bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, fill: (w: WasmWriter) => void): void => {
      const body = new WasmWriter();
      fill(body);
      out.byte(id);
      out.sized(body);
    };
    section(1, (w) => {
      w.u32(this.#types.length);
      for (const key of this.#types) {
        const [params, result] = key.split(">");
        const list = params ? params.split(",") : [];
        w.byte(0x60);
        w.u32(list.length);
        for (const p of list) w.byte(TYPE_CODE[p as ValueType]);
        w.u32(result ? 1 : 0);
        if (result) w.byte(TYPE_CODE[result as ValueType]);
      }
    });
    section(2, (w) => {
      w.u32(this.#imports.length + 1);
      w.name("env");
      w.name("memory");
      w.bytes([0x02, spec.sharedMemory ? 3 : 1]);
      // Any size: the memory given may be as small as a page and as large as 4 GiB.
      w.u32(1);
      w.u32(65536);
      for (const r of this.#imports) {
        w.name("env");
        w.name(r.name);
        w.byte(0);
        w.u32(this.typeIndex(r));
      }
    });
    section(3, (w) => {
      w.u32(this.#functions.length);
      for (const r of this.#functions) w.u32(this.typeIndex(r));
    });
    if (spec.table.length)
      section(4, (w) => {
        w.bytes([1, 0x70, 0]);
        w.u32(spec.table.length);
      });
    section(7, (w) => {
      const names = this.exports;
      const places = new Map(this.#functions.map((r, i) => [r, i]));
      w.u32(names.length + (spec.table.length ? 1 : 0));
      if (spec.table.length) {
        w.name("table");
        w.bytes([1, 0]);
      }
      for (const [name, r] of names) {
        w.name(name);
        w.byte(0);
        w.u32(this.#imports.length + (places.get(r) ?? 0));
      }
    });
    if (spec.table.length)
      section(9, (w) => {
        w.bytes([1, 0, 0x41, 0, 0x0b]);
        w.u32(spec.table.length);
        for (const r of spec.table) w.u32(this.functionIndex(r));
      });
    const bodies = this.#bodies;
    const hinted = bodies
      .map((b, i) => ({ index: i + this.#imports.length, hints: b.hints }))
      .filter((b) => b.hints.length);
    if (hinted.length)
      section(0, (w) => {
        w.name("metadata.code.branch_hint");
        w.u32(hinted.length);
        for (const { index, hints } of hinted) {
          w.u32(index);
          w.u32(hints.length);
          for (const h of hints) {
            w.u32(h.offset);
            w.bytes([1, h.likely ? 1 : 0]);
          }
        }
      });
    section(10, (w) => {
      w.u32(bodies.length);
      for (const { code } of bodies) {
        w.u32(code.length);
        w.bytes(code);
      }
    });
    section(0, (w) => {
      w.name("name");
      const names = new WasmWriter();
      names.u32(all.length);
      for (const [i, r] of all.entries()) {
        names.u32(i);
        names.name(r.name);
      }
      w.byte(1);
      w.sized(names);
    });
    return out.take();
  }

  function(r: Routine): CompiledFunction {
    const body = r.body?.();
    if (!body) throw new IrError(`routine ${r.name} has no body`);
    let f: FunctionEmitter | undefined;
    try {
      f = new FunctionEmitter(this, body);
      f.list(body.statements);
      if (r.result && body.statements.at(-1)?.kind !== "return") f.out.byte(0x00);
      return { code: f.finish().take(), hints: f.hints, calls: f.calls };
    } catch (error) {
      throw new IrError(`in ${r.name}: ${(error as Error).message}`, { cause: error });
    } finally {
      f?.release();
    }
  }
}

/** Compiles the exported routines, the table, and everything they call. Imports are `env.memory` and the host routines by name. */
export function compileModule(spec: ModuleSpec): Uint8Array<ArrayBuffer> {
  const emitter = new ModuleEmitter(spec);
  emitter.exports.push(...Object.entries(spec.exports));
  emitter.addAll([...Object.values(spec.exports), ...spec.table]);
  return emitter.emit();
}

/** Compiles one routine (i32) -> i32 that uses no table, alone. Its statements are built here and dropped behind. */
export function compileFunction(routine: Routine, cpuBase: number, ownShift = 0): CompiledFunction {
  return new ModuleEmitter({ cpuBase, ownShift, sharedMemory: false, table: [] }, true).function(routine);
}

/** A module of functions that were compiled alone, exported by their numbers: "0", "1", ... */
export function linkFunctions(functions: readonly CompiledFunction[], sharedMemory: boolean): Uint8Array<ArrayBuffer> {
  const emitter = new ModuleEmitter({ cpuBase: 0, sharedMemory, table: [] });
  for (const [i, compiled] of functions.entries()) emitter.link(String(i), compiled);
  return emitter.emit();
}
