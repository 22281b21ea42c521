/**
 * Regions as bytes, for other processes: each with the code that it was made from, and its function, which can be linked
 * into any module. Little-endian. Whether the bytes are whole and one's own is for whoever keeps them to check
 * (jit/translation-cache.ts); here a length that does not fit, or a name that is unknown, is an error as well.
 *
 *   regions:  u32 imports, { u32 length, text "name:types>type" }, u32 regions, { origin, function }
 *   origins:  u32 regions, { origin }
 *   origin:   u32 mode, u32 entry, u32 further entries, { u32 entry }, u32 ranges, { u32 from, u32 to, bytes }
 *   function: u32 length, bytes, u32 calls, { u32 offset, u32 import }, u32 hints, { u32 offset * 2 + likely }
 */
import type { CompiledFunction, FunctionCall } from "../ir/function-emitter.ts";
import type { ValueType } from "../ir/types.ts";
import { WasmWriter } from "../ir/wasm-writer.ts";
import { isInPage, WINDOW_BYTES } from "./region.ts";

/** What a region was made from. */
export interface RegionOrigin {
  /** MODE_* of the code. */
  readonly mode: number;
  /** Offset of the entry in its window (jit/region.ts). */
  readonly entry: number;
  /** Of further entries. */
  readonly resumptions: readonly number[];
  readonly ranges: readonly (readonly [number, number])[];
  /** The code, one array for each range. */
  readonly code: readonly Uint8Array[];
}
export interface SavedRegion extends RegionOrigin {
  readonly compiled: CompiledFunction;
}

const VALUE_TYPES: readonly string[] = ["i32", "i64", "f32", "f64", "v128"];

function word(out: WasmWriter, value: number): void {
  out.bytes([value, value >> 8, value >> 16, value >>> 24]);
}

function writeOrigin(out: WasmWriter, { mode, entry, resumptions, ranges, code }: RegionOrigin): void {
  word(out, mode);
  word(out, entry);
  word(out, resumptions.length);
  for (const offset of resumptions) word(out, offset);
  word(out, ranges.length);
  for (const [i, [from, to]] of ranges.entries()) {
    word(out, from);
    word(out, to);
    out.bytes(code[i] ?? []);
  }
}

export function writeOrigins(origins: readonly RegionOrigin[]): Uint8Array<ArrayBuffer> {
  const out = new WasmWriter();
  word(out, origins.length);
  for (const origin of origins) writeOrigin(out, origin);
  return out.take();
}

/** Regions as bytes, one after the other: many small objects are dear to keep. */
export class RegionWriter {
  readonly #imports = new Map<string, number>();
  readonly #body = new WasmWriter();
  count = 0;

  get length(): number {
    return this.#body.length;
  }

  add(region: SavedRegion): void {
    const body = this.#body;
    const { code, calls, hints } = region.compiled;
    writeOrigin(body, region);
    word(body, code.length);
    body.bytes(code);
    word(body, calls.length);
    for (const { offset, routine } of calls) {
      word(body, offset);
      word(body, this.#import(`${routine.name}:${routine.params.join()}>${routine.result ?? ""}`));
    }
    word(body, hints.length);
    for (const { offset, likely } of hints) word(body, offset * 2 + (likely ? 1 : 0));
    this.count++;
  }
  #import(text: string): number {
    const index = this.#imports.get(text) ?? this.#imports.size;
    this.#imports.set(text, index);
    return index;
  }

  take(): Uint8Array<ArrayBuffer> {
    const out = new WasmWriter(this.length + 8192);
    word(out, this.#imports.size);
    for (const text of this.#imports.keys()) {
      word(out, text.length);
      out.bytes(Array.from(text, (c) => c.charCodeAt(0)));
    }
    word(out, this.count);
    out.append(this.#body);
    return out.view();
  }
}

export function writeRegions(regions: readonly SavedRegion[]): Uint8Array<ArrayBuffer> {
  const out = new RegionWriter();
  for (const region of regions) out.add(region);
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

/** Throws RangeError. */
export function readOrigins(bytes: Uint8Array): RegionOrigin[] {
  const reader = new Reader(bytes);
  const origins: RegionOrigin[] = [];
  for (let count = reader.count(24); count > 0; count--) origins.push(readOrigin(reader));
  if (!reader.isAtEnd) throw new RangeError("bytes behind the end");
  return origins;
}

function readImport(bytes: Uint8Array): FunctionCall["routine"] {
  const [, name, params, result] = /^(\w+):([\w,]*)>(\w*)$/.exec(String.fromCharCode(...bytes)) ?? [];
  const types = params ? params.split(",") : [];
  if (!name || ![...types, ...(result ? [result] : [])].every((t) => VALUE_TYPES.includes(t)))
    throw new RangeError("no import");
  return { name, params: types as ValueType[], result: (result || undefined) as ValueType | undefined };
}

function readOrigin(reader: Reader): RegionOrigin {
  const mode = reader.word();
  const entry = reader.word();
  const resumptions = Array.from({ length: reader.count(4) }, () => reader.word());
  const ranges: [number, number][] = [];
  const code: Uint8Array[] = [];
  for (let count = reader.count(8), before = 0; count > 0; count--) {
    const [from, to] = [reader.word(), reader.word()];
    if (from < before || to <= from || to > WINDOW_BYTES) throw new RangeError("no range");
    before = to;
    ranges.push([from, to]);
    code.push(reader.bytes(to - from));
  }
  const isEntry = (at: number): boolean => isInPage(at) && ranges.some(([from, to]) => at >= from && at < to);
  if (![entry, ...resumptions].every(isEntry)) throw new RangeError("no entry");
  return { mode, entry, resumptions, ranges, code };
}

function readRegion(reader: Reader, imports: readonly FunctionCall["routine"][]): SavedRegion {
  const origin = readOrigin(reader);
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
  return { ...origin, compiled: { code: body, hints, calls } };
}
