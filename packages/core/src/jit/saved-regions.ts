/**
 * Regions as bytes, for other processes: each with the code that it was made from, and its function, which can be linked
 * into any module. Little-endian. Whether the bytes are whole and one's own is for whoever keeps them to check
 * (jit/translation-cache.ts); here a length that does not fit, or a name that is unknown, is an error as well.
 *
 *   u32 imports, { string name, string signature }
 *   u32 regions, { u32 mode, u32 entry, u32 ranges { u32 from, u32 to, bytes },
 *                  u32 length, bytes, u32 calls { u32 offset, u32 import }, u32 hints { u32 offset * 2 + likely } }
 */
import type { CompiledFunction, FunctionCall } from "../ir/compile.ts";
import type { ValueType } from "../ir/types.ts";
import { WasmWriter } from "../ir/wasm-writer.ts";
import { PAGE_BYTES, WINDOW_BYTES } from "./region.ts";

export interface SavedRegion {
  readonly mode: number;
  /** Offset of the entry in its window (jit/region.ts). */
  readonly entry: number;
  readonly ranges: readonly (readonly [number, number])[];
  /** The code, one array for each range. */
  readonly code: readonly Uint8Array[];
  readonly compiled: CompiledFunction;
}

const VALUE_TYPES: readonly string[] = ["i32", "i64", "f32", "f64", "v128"];

export function writeRegions(regions: readonly SavedRegion[]): Uint8Array<ArrayBuffer> {
  const body = new WasmWriter();
  const word = (value: number, to = body): void => to.bytes([value, value >> 8, value >> 16, value >>> 24]);
  const imports = new Map<string, number>();
  word(regions.length);
  for (const { mode, entry, ranges, code, compiled } of regions) {
    word(mode);
    word(entry);
    word(ranges.length);
    for (const [i, [from, to]] of ranges.entries()) {
      word(from);
      word(to);
      body.bytes(code[i] ?? []);
    }
    word(compiled.code.length);
    body.bytes(compiled.code);
    word(compiled.calls.length);
    for (const { offset, routine } of compiled.calls) {
      const text = `${routine.name}:${routine.params.join()}>${routine.result ?? ""}`;
      if (!imports.has(text)) imports.set(text, imports.size);
      word(offset);
      word(imports.get(text) ?? 0);
    }
    word(compiled.hints.length);
    for (const { offset, likely } of compiled.hints) word(offset * 2 + (likely ? 1 : 0));
  }
  const out = new WasmWriter();
  word(imports.size, out);
  for (const text of imports.keys()) {
    word(text.length, out);
    out.bytes(Array.from(text, (c) => c.charCodeAt(0)));
  }
  out.append(body);
  return out.take();
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  word(): number {
    const value = this.#view.getUint32(this.#at, true);
    this.#at += 4;
    return value;
  }
  /** A number of things that take at least so many bytes each. */
  count(bytesEach: number): number {
    const count = this.word();
    if (count * bytesEach > this.#bytes.length - this.#at) throw new RangeError("a count beyond the end");
    return count;
  }
  bytes(length: number): Uint8Array {
    if (length < 0 || length > this.#bytes.length - this.#at) throw new RangeError("a length beyond the end");
    this.#at += length;
    return this.#bytes.slice(this.#at - length, this.#at);
  }
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }
}

/** Throws RangeError. */
export function readRegions(bytes: Uint8Array): SavedRegion[] {
  const reader = new Reader(bytes);
  const imports: FunctionCall["routine"][] = [];
  for (let count = reader.count(4); count > 0; count--) imports.push(readImport(reader.bytes(reader.word())));
  const regions: SavedRegion[] = [];
  for (let count = reader.count(24); count > 0; count--) regions.push(readRegion(reader, imports));
  if (!reader.isAtEnd) throw new RangeError("bytes behind the end");
  return regions;
}

function readImport(bytes: Uint8Array): FunctionCall["routine"] {
  const [, name, params, result] = /^(\w+):([\w,]*)>(\w*)$/.exec(String.fromCharCode(...bytes)) ?? [];
  const types = params ? params.split(",") : [];
  if (!name || ![...types, ...(result ? [result] : [])].every((t) => VALUE_TYPES.includes(t)))
    throw new RangeError("no import");
  return { name, params: types as ValueType[], result: (result || undefined) as ValueType | undefined };
}

function readRegion(reader: Reader, imports: readonly FunctionCall["routine"][]): SavedRegion {
  const mode = reader.word();
  const entry = reader.word();
  const ranges: [number, number][] = [];
  const code: Uint8Array[] = [];
  for (let count = reader.count(8), before = 0; count > 0; count--) {
    const [from, to] = [reader.word(), reader.word()];
    if (from < before || to <= from || to > WINDOW_BYTES) throw new RangeError("no range");
    before = to;
    ranges.push([from, to]);
    code.push(reader.bytes(to - from));
  }
  const isInPage = entry >= PAGE_BYTES && entry < 2 * PAGE_BYTES;
  if (!isInPage || !ranges.some(([from, to]) => entry >= from && entry < to)) throw new RangeError("no entry");
  const body = reader.bytes(reader.word());
  const calls = Array.from({ length: reader.count(8) }, (): FunctionCall => {
    const offset = reader.word();
    const routine = imports[reader.word()];
    if (!routine || offset + 2 > body.length) throw new RangeError("no call");
    return { offset, routine };
  });
  const hints = Array.from({ length: reader.count(4) }, () => {
    const hint = reader.word();
    return { offset: hint >>> 1, likely: (hint & 1) === 1 };
  });
  return { mode, entry, ranges, code, compiled: { code: body, hints, calls } };
}
