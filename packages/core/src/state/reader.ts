/**
 * Typed reading of a saved state that may have been written by anybody: each getter checks presence, type and range
 * and throws StateError with the field's path, so that a device's `restore` is a list of fields and nothing else.
 * `end` refuses fields that no getter asked for, which catches states of another schema.
 */
import type { StateValue } from "../devices/device.ts";
import { StateError } from "./errors.ts";

type StateRecord = { readonly [key: string]: StateValue };

/** Guest nanoseconds in a state stay in the range where a number is exact, far beyond any machine's life. */
const MAX_NS = Number.MAX_SAFE_INTEGER;

export class StateReader {
  readonly path: string;
  readonly #record: StateRecord;
  readonly #asked = new Set<string>();

  /** Throws StateError unless `value` is an object. `path` is where errors start, e.g. the device's name. */
  constructor(value: StateValue | undefined, path: string) {
    this.path = path;
    if (!isRecord(value)) throw wrongType(path, "an object", value);
    this.#record = value;
  }

  u8(key: string): number {
    return this.int(key, 0, 0xff);
  }

  u16(key: string): number {
    return this.int(key, 0, 0xffff);
  }

  u32(key: string): number {
    return this.int(key, 0, 0xffff_ffff);
  }

  u64(key: string): bigint {
    const value = this.#get(key);
    if (typeof value !== "bigint") throw wrongType(this.#at(key), "a 64-bit integer", value);
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw this.#outside(key, value, "0 to 2^64-1");
    return value;
  }

  /** An integer in [min, max]. */
  int(key: string, min: number, max: number): number {
    const value = this.#get(key);
    if (typeof value !== "number") throw wrongType(this.#at(key), "a number", value);
    if (!Number.isInteger(value) || value < min || value > max) throw this.#outside(key, value, `${min} to ${max}`);
    return value === 0 ? 0 : value;
  }

  /** A time of the guest's clock, in nanoseconds since power-on. */
  ns(key: string): number {
    return this.int(key, 0, MAX_NS);
  }

  /** As `ns`, or undefined where null was saved: a timer that is not armed. */
  optionalNs(key: string): number | undefined {
    return this.#get(key) === null ? undefined : this.ns(key);
  }

  bool(key: string): boolean {
    const value = this.#get(key);
    if (typeof value !== "boolean") throw wrongType(this.#at(key), "true or false", value);
    return value;
  }

  text(key: string, maxLength: number): string {
    const value = this.#get(key);
    if (typeof value !== "string") throw wrongType(this.#at(key), "a text", value);
    if (value.length > maxLength) throw this.#outside(key, `${value.length} characters`, `at most ${maxLength}`);
    return value;
  }

  oneOf<const T extends string>(key: string, choices: readonly T[]): T {
    const value = this.text(key, 64);
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined) throw this.#outside(key, JSON.stringify(value), choices.join(", "));
    return choice;
  }

  /** A copy of a byte field of at most `maxBytes`. */
  bytes(key: string, maxBytes: number): Uint8Array {
    const value = this.#get(key);
    if (!(value instanceof Uint8Array)) throw wrongType(this.#at(key), "bytes", value);
    if (value.length > maxBytes) throw this.#outside(key, `${value.length} bytes`, `at most ${maxBytes}`);
    return value.slice();
  }

  /** A copy of a byte field of exactly `sizeBytes`. */
  bytesExact(key: string, sizeBytes: number): Uint8Array {
    const value = this.bytes(key, sizeBytes);
    if (value.length !== sizeBytes) throw this.#outside(key, `${value.length} bytes`, `exactly ${sizeBytes}`);
    return value;
  }

  /** The elements of a list of objects, each with its own reader (call `end` on each). */
  array(key: string, maxLength: number): StateReader[] {
    return this.values(key, maxLength).map((value, index) => new StateReader(value, `${this.#at(key)}[${index}]`));
  }

  /** As `array`, of exactly `length` elements. */
  arrayExact(key: string, length: number): StateReader[] {
    const readers = this.array(key, length);
    if (readers.length !== length) throw this.#outside(key, `${readers.length} elements`, `exactly ${length}`);
    return readers;
  }

  /** A list of integers in [min, max] of exactly `length` elements. */
  ints(key: string, length: number, min: number, max: number): number[] {
    const values = this.values(key, length);
    if (values.length !== length) throw this.#outside(key, `${values.length} elements`, `exactly ${length}`);
    return values.map((value, index) => {
      const path = `${this.#at(key)}[${index}]`;
      if (typeof value !== "number") throw wrongType(path, "a number", value);
      if (!Number.isInteger(value) || value < min || value > max) {
        throw new StateError("range", path, rangeText(path, value, `${min} to ${max}`));
      }
      return value === 0 ? 0 : value;
    });
  }

  /** A list of texts. */
  texts(key: string, maxLength: number, maxTextLength: number): string[] {
    return this.values(key, maxLength).map((value, index) => {
      const path = `${this.#at(key)}[${index}]`;
      if (typeof value !== "string") throw wrongType(path, "a text", value);
      if (value.length <= maxTextLength) return value;
      throw new StateError("range", path, rangeText(path, `${value.length} characters`, `at most ${maxTextLength}`));
    });
  }

  /** The unchecked elements of a list. */
  values(key: string, maxLength: number): readonly StateValue[] {
    const value = this.#get(key);
    if (!Array.isArray(value)) throw wrongType(this.#at(key), "a list", value);
    if (value.length > maxLength) throw this.#outside(key, `${value.length} elements`, `at most ${maxLength}`);
    return value as readonly StateValue[];
  }

  object(key: string): StateReader {
    return new StateReader(this.#get(key), this.#at(key));
  }

  /** Whether there is such a field: for those that came later. */
  has(key: string): boolean {
    return Object.hasOwn(this.#record, key);
  }

  /** The unchecked value of a part that somebody else restores, e.g. the PCI function inside a device. */
  part(key: string): StateValue {
    return this.#get(key);
  }

  /** Throws StateError if the state has fields that were never asked for. Call it after the last getter. */
  end(): void {
    for (const key of Object.keys(this.#record)) {
      if (!this.#asked.has(key)) {
        const path = this.#at(key);
        throw new StateError("unknown", path, `The saved state has a field ${path} that this version does not know.`);
      }
    }
  }

  /** For checks between fields: the error to throw when `key` has a value that the device could not have saved. */
  invalid(key: string, why: string): StateError {
    const path = this.#at(key);
    return new StateError("range", path, `The saved state is damaged: ${path} ${why}.`);
  }

  #get(key: string): StateValue {
    this.#asked.add(key);
    const value = Object.hasOwn(this.#record, key) ? this.#record[key] : undefined;
    if (value === undefined) {
      const path = this.#at(key);
      throw new StateError(
        "missing",
        path,
        `The saved state has no field ${path}: it is damaged or of another version.`,
      );
    }
    return value;
  }

  #at(key: string): string {
    return `${this.path}.${key}`;
  }

  #outside(key: string, found: unknown, expected: string): StateError {
    const path = this.#at(key);
    return new StateError("range", path, rangeText(path, found, expected));
  }
}

function isRecord(value: StateValue | undefined): value is StateRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function rangeText(path: string, found: unknown, expected: string): string {
  return `The saved state is damaged: ${path} is ${String(found)}, expected ${expected}.`;
}

function wrongType(path: string, expected: string, found: unknown): StateError {
  const kind =
    found === null ? "null" : Array.isArray(found) ? "a list" : found === undefined ? "absent" : typeof found;
  return new StateError("type", path, `The saved state is damaged: ${path} is ${kind}, expected ${expected}.`);
}
