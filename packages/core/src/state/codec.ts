/**
 * Canonical bytes of a StateValue: deterministically encoded CBOR (RFC 8949, section 4.2.1). Equal values have equal
 * bytes, so hashes of states can be compared; any CBOR tool can show a state.
 *
 *   number        integers of at most 53 bits: major types 0 and 1; all others (also -0): the shortest exact float
 *   bigint        tags 2 and 3 with the fewest bytes, also where 64 bits would do: the type survives the round trip
 *   Uint8Array    byte string          string   text string (no lone surrogates)
 *   list, object  definite lengths; an object's keys in the order of their encoded bytes
 *
 * Decoding takes bytes from anybody: depth, number of items and total size are bounded, nothing is allocated on the
 * word of a length field, and every other spelling of the same value is refused. Left out: other tags, indefinite
 * lengths, undefined, simple values.
 */
import type { StateValue } from "../devices/device.ts";
import { StateError } from "./errors.ts";
import { decodeHalf, shortestFloat } from "./float.ts";

export interface CodecLimits {
  /** Nesting of lists and objects. */
  readonly maxDepth: number;
  /** Values of any kind in the whole, keys included. */
  readonly maxItems: number;
  readonly maxBytes: number;
}

export const DEFAULT_LIMITS: CodecLimits = { maxDepth: 32, maxItems: 1_000_000, maxBytes: 512 * 2 ** 20 };

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, list: 4, map: 5, tag: 6, simple: 7 } as const;
const SIMPLE = { false: 0xf4, true: 0xf5, null: 0xf6, float16: 0xf9, float32: 0xfa, float64: 0xfb } as const;
const TAG = { positiveBignum: 2, negativeBignum: 3 } as const;
/** A bigint of a state is a register or a counter; larger ones are a mistake or an attack. */
const MAX_BIGNUM_BYTES = 64;
const FORBIDDEN_KEY = "__proto__";

const utf8 = new TextEncoder();

/** Throws StateError if the value is not a StateValue, or nested deeper than `limits.maxDepth` (a cycle, for instance). */
export function encodeState(value: StateValue, limits: CodecLimits = DEFAULT_LIMITS): Uint8Array {
  const writer = new ByteWriter();
  encodeValue(writer, value, limits.maxDepth, "state");
  return writer.finish();
}

/** Throws StateError unless `bytes` are exactly one canonical value. Byte strings of the result are copies. */
export function decodeState(bytes: Uint8Array, path = "state", limits: CodecLimits = DEFAULT_LIMITS): StateValue {
  if (bytes.length > limits.maxBytes) {
    throw damaged(path, `has ${bytes.length} bytes, more than the limit of ${limits.maxBytes}`);
  }
  const decoder = new Decoder(bytes, path, limits);
  const value = decoder.value(limits.maxDepth);
  decoder.end();
  return value;
}

function damaged(path: string, what: string): StateError {
  return new StateError(
    "format",
    path,
    `The saved state is damaged: ${path} ${what}. Take an intact copy of the state.`,
  );
}

class ByteWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  #reserve(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  byte(value: number): void {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
  }

  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** The initial byte and its argument in the shortest form. */
  head(major: number, argument: number): void {
    const type = major << 5;
    if (argument < 24) this.byte(type | argument);
    else if (argument < 2 ** 8) {
      this.byte(type | 24);
      this.byte(argument);
    } else if (argument < 2 ** 16) {
      const at = this.#reserve(3);
      this.#bytes[at] = type | 25;
      this.#view.setUint16(at + 1, argument);
    } else if (argument < 2 ** 32) {
      const at = this.#reserve(5);
      this.#bytes[at] = type | 26;
      this.#view.setUint32(at + 1, argument);
    } else {
      const at = this.#reserve(9);
      this.#bytes[at] = type | 27;
      this.#view.setBigUint64(at + 1, BigInt(argument));
    }
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

function encodeValue(writer: ByteWriter, value: StateValue, depth: number, path: string): void {
  if (value === null) writer.byte(SIMPLE.null);
  else if (typeof value === "boolean") writer.byte(value ? SIMPLE.true : SIMPLE.false);
  else if (typeof value === "number") encodeNumber(writer, value);
  else if (typeof value === "bigint") encodeBigint(writer, value, path);
  else if (typeof value === "string") encodeText(writer, value, path);
  else if (value instanceof Uint8Array) {
    writer.head(MAJOR.bytes, value.length);
    writer.raw(value);
  } else if (typeof value !== "object") {
    throw new StateError("type", path, `${path} is ${typeof value}, which a saved state cannot hold.`);
  } else if (depth === 0) {
    throw new StateError("range", path, `${path} is nested too deeply for a saved state, or in a circle.`);
  } else if (Array.isArray(value)) encodeList(writer, value as readonly StateValue[], depth, path);
  else encodeObject(writer, value as { readonly [key: string]: StateValue }, depth, path);
}

function encodeNumber(writer: ByteWriter, value: number): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    if (value >= 0) writer.head(MAJOR.unsigned, value);
    else writer.head(MAJOR.negative, -1 - value);
    return;
  }
  writer.raw(shortestFloat(value));
}

function encodeBigint(writer: ByteWriter, value: bigint, path: string): void {
  writer.head(MAJOR.tag, value >= 0n ? TAG.positiveBignum : TAG.negativeBignum);
  const magnitude = value >= 0n ? value : -1n - value;
  const hex = magnitude === 0n ? "" : magnitude.toString(16);
  const digits = hex.length % 2 === 0 ? hex : `0${hex}`;
  const length = digits.length / 2;
  if (length > MAX_BIGNUM_BYTES)
    throw new StateError("range", path, `${path} has more than ${MAX_BIGNUM_BYTES * 8} bits.`);
  writer.head(MAJOR.bytes, length);
  for (let i = 0; i < length; i++) writer.byte(Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

function encodeText(writer: ByteWriter, text: string, path: string): void {
  if (!isWellFormed(text))
    throw new StateError("range", path, `${path} holds a lone surrogate, which UTF-8 cannot hold.`);
  const bytes = utf8.encode(text);
  writer.head(MAJOR.text, bytes.length);
  writer.raw(bytes);
}

function encodeList(writer: ByteWriter, list: readonly StateValue[], depth: number, path: string): void {
  writer.head(MAJOR.list, list.length);
  for (let i = 0; i < list.length; i++) encodeValue(writer, list[i] as StateValue, depth - 1, `${path}[${i}]`);
}

function encodeObject(
  writer: ByteWriter,
  object: { readonly [key: string]: StateValue },
  depth: number,
  path: string,
): void {
  const keys = Object.keys(object).sort(compareKeys);
  writer.head(MAJOR.map, keys.length);
  for (const key of keys) {
    const at = `${path}.${key}`;
    if (key === FORBIDDEN_KEY) throw new StateError("range", at, `${at} is not a name that a saved state can hold.`);
    encodeText(writer, key, at);
    encodeValue(writer, object[key] as StateValue, depth - 1, at);
  }
}

/** Bytewise order of the encoded keys: the head makes a shorter text come first. */
function compareKeys(a: string, b: string): number {
  const left = utf8.encode(a);
  const right = utf8.encode(b);
  if (left.length !== right.length) return left.length - right.length;
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return left[i]! - right[i]!;
  return 0;
}

function isWellFormed(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0xd800 || unit > 0xdfff) continue;
    const next = text.charCodeAt(i + 1);
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return false;
    i++;
  }
  return true;
}

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #path: string;
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #at = 0;
  #itemsLeft: number;

  constructor(bytes: Uint8Array, path: string, limits: CodecLimits) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#path = path;
    this.#itemsLeft = limits.maxItems;
  }

  value(depth: number): StateValue {
    if (--this.#itemsLeft < 0) throw this.#error("holds more values than the limit allows");
    const initial = this.#take(1)[0]!;
    const major = initial >> 5;
    if (major === MAJOR.simple) return this.#simple(initial);
    const argument = this.#argument(initial & 31);
    switch (major) {
      case MAJOR.unsigned:
        return this.#safe(argument);
      case MAJOR.negative:
        return this.#safe(-1 - argument);
      case MAJOR.bytes:
        return this.#take(argument).slice();
      case MAJOR.text:
        return this.#string(argument);
      case MAJOR.tag:
        return this.#bignum(argument);
      default:
        if (depth === 0) throw this.#error("is nested too deeply");
        return major === MAJOR.list ? this.#list(argument, depth) : this.#object(argument, depth);
    }
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw this.#error("has bytes after its end");
  }

  #list(length: number, depth: number): StateValue[] {
    this.#checkLength(length);
    const list: StateValue[] = [];
    for (let i = 0; i < length; i++) list.push(this.value(depth - 1));
    return list;
  }

  #object(length: number, depth: number): StateValue {
    this.#checkLength(length);
    const object: Record<string, StateValue> = {};
    let previous: string | undefined;
    for (let i = 0; i < length; i++) {
      if (--this.#itemsLeft < 0) throw this.#error("holds more values than the limit allows");
      const initial = this.#take(1)[0]!;
      if (initial >> 5 !== MAJOR.text) throw this.#error("has a key that is not a text");
      const key = this.#string(this.#argument(initial & 31));
      if (previous !== undefined && compareKeys(previous, key) >= 0) throw this.#error("has keys out of order");
      if (key === FORBIDDEN_KEY) throw this.#error("has a key that is not allowed");
      previous = key;
      object[key] = this.value(depth - 1);
    }
    return object;
  }

  #simple(initial: number): StateValue {
    switch (initial) {
      case SIMPLE.false:
        return false;
      case SIMPLE.true:
        return true;
      case SIMPLE.null:
        return null;
      case SIMPLE.float16:
        return this.#float(decodeHalf(this.#uint(2)), 3);
      case SIMPLE.float32:
        this.#take(4);
        return this.#float(this.#view.getFloat32(this.#at - 4), 5);
      case SIMPLE.float64:
        this.#take(8);
        return this.#float(this.#view.getFloat64(this.#at - 8), 9);
      default:
        throw this.#error(`has a value of a kind that states do not use (0x${initial.toString(16)})`);
    }
  }

  /** `encodedBytes` just read spell `value`: accepted only if the encoder would spell it so. */
  #float(value: number, encodedBytes: number): number {
    const isInteger = Number.isSafeInteger(value) && !Object.is(value, -0);
    const canonical = shortestFloat(value);
    const found = this.#bytes.subarray(this.#at - encodedBytes, this.#at);
    if (isInteger || canonical.length !== encodedBytes || canonical.some((byte, i) => byte !== found[i])) {
      throw this.#error("has a number that is not in its canonical form");
    }
    return value;
  }

  #bignum(tag: number): bigint {
    if (tag !== TAG.positiveBignum && tag !== TAG.negativeBignum) throw this.#error(`has an unknown tag ${tag}`);
    const initial = this.#take(1)[0]!;
    const length = initial >> 5 === MAJOR.bytes ? this.#argument(initial & 31) : Number.POSITIVE_INFINITY;
    if (length > MAX_BIGNUM_BYTES) throw this.#error("has a large integer of a wrong form");
    const bytes = this.#take(length);
    if (bytes[0] === 0) throw this.#error("has a large integer that is not in its canonical form");
    let magnitude = 0n;
    for (const byte of bytes) magnitude = (magnitude << 8n) | BigInt(byte);
    return tag === TAG.positiveBignum ? magnitude : -1n - magnitude;
  }

  #string(length: number): string {
    const bytes = this.#take(length);
    try {
      return this.#text.decode(bytes.slice());
    } catch (cause) {
      throw new StateError(
        "format",
        this.#path,
        `The saved state is damaged: ${this.#path} has a text that is not UTF-8.`,
        {
          cause,
        },
      );
    }
  }

  #argument(info: number): number {
    if (info < 24) return info;
    const size = info <= 27 ? 1 << (info - 24) : 0;
    if (size === 0) throw this.#error("has a length of a form that states do not use");
    const value = this.#uint(size);
    if (value < (size === 1 ? 24 : 2 ** (size * 4)))
      throw this.#error("has a number that is not in its canonical form");
    return value;
  }

  #uint(size: number): number {
    this.#take(size);
    const at = this.#at - size;
    if (size === 1) return this.#view.getUint8(at);
    if (size === 2) return this.#view.getUint16(at);
    return size === 4 ? this.#view.getUint32(at) : this.#view.getUint32(at) * 2 ** 32 + this.#view.getUint32(at + 4);
  }

  #safe(value: number): number {
    if (!Number.isSafeInteger(value)) throw this.#error("has an integer of more than 53 bits");
    return value;
  }

  /** Each element takes at least a byte, so a longer length is a lie. */
  #checkLength(length: number): void {
    if (length > this.#bytes.length - this.#at) throw this.#error("ends early");
  }

  #take(length: number): Uint8Array {
    this.#checkLength(length);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #error(what: string): StateError {
    return damaged(this.#path, `${what} (byte ${this.#at})`);
  }
}
