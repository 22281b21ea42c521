/**
 * An encoder for the part of AML, the byte code of ACPI's definition blocks, that describes hardware (ACPI 6.5,
 * chapter 20): scopes, devices, fields, names, packages, buffers, integers, strings, and small methods. Terms are byte arrays that
 * nest, e.g.
 *
 *   scope("\\_SB_", device("PCI0", name("_HID", eisaId("PNP0A08")), name("_UID", integer(0))))
 *
 * Left out: loops, most operators and most else that runs.
 */
export type Aml = Uint8Array;

const OP = {
  ZERO: 0x00,
  ONE: 0x01,
  NAME: 0x08,
  BYTE: 0x0a,
  WORD: 0x0b,
  DWORD: 0x0c,
  STRING: 0x0d,
  QWORD: 0x0e,
  SCOPE: 0x10,
  BUFFER: 0x11,
  PACKAGE: 0x12,
  METHOD: 0x14,
  DUAL_NAME_PREFIX: 0x2e,
  MULTI_NAME_PREFIX: 0x2f,
  EXTENDED: 0x5b,
  LOCAL0: 0x60,
  ARG0: 0x68,
  STORE: 0x70,
  AND: 0x7b,
  OR: 0x7d,
  DEVICE: 0x82,
  OPERATION_REGION: 0x80,
  FIELD: 0x81,
  NOTIFY: 0x86,
  CREATE_DWORD_FIELD: 0x8a,
  NOT: 0x92,
  EQUAL: 0x93,
  IF: 0xa0,
  ELSE: 0xa1,
  RETURN: 0xa4,
} as const;

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Little-endian. */
export function littleEndian(value: number | bigint, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  let rest = BigInt(value);
  for (let i = 0; i < sizeBytes; i++) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** 20.2.3, in the shortest form. */
export function integer(value: number | bigint): Aml {
  const big = BigInt(value);
  if (big < 0n || big >= 1n << 64n) throw new RangeError(`AML has no integer ${big}`);
  if (big === 0n) return Uint8Array.of(OP.ZERO);
  if (big === 1n) return Uint8Array.of(OP.ONE);
  if (big < 1n << 8n) return concat(Uint8Array.of(OP.BYTE), littleEndian(big, 1));
  if (big < 1n << 16n) return concat(Uint8Array.of(OP.WORD), littleEndian(big, 2));
  if (big < 1n << 32n) return concat(Uint8Array.of(OP.DWORD), littleEndian(big, 4));
  return concat(Uint8Array.of(OP.QWORD), littleEndian(big, 8));
}

/** Always with four bytes: for a value that is put in later. */
export function dword(value: number): Aml {
  return concat(Uint8Array.of(OP.DWORD), littleEndian(value, 4));
}

export function string(text: string): Aml {
  if (!/^[\x01-\x7f]*$/.test(text)) throw new RangeError(`AML strings are ASCII: ${JSON.stringify(text)}`);
  return concat(Uint8Array.of(OP.STRING), ascii(text), Uint8Array.of(0));
}

export function buffer(bytes: Uint8Array): Aml {
  return sized([OP.BUFFER], integer(bytes.length), bytes);
}

export function packageOf(...elements: readonly Aml[]): Aml {
  if (elements.length > 255) throw new RangeError(`an AML package of ${elements.length} elements`);
  return sized([OP.PACKAGE], Uint8Array.of(elements.length), ...elements);
}

export function name(path: string, value: Aml): Aml {
  return concat(Uint8Array.of(OP.NAME), nameString(path), value);
}

export function scope(path: string, ...terms: readonly Aml[]): Aml {
  return sized([OP.SCOPE], nameString(path), ...terms);
}

export function device(path: string, ...terms: readonly Aml[]): Aml {
  return sized([OP.EXTENDED, OP.DEVICE], nameString(path), ...terms);
}

/** Ports of the board that methods read and write through fields. */
export function operationRegion(path: string, port: number, sizeBytes: number): Aml {
  const SYSTEM_IO = 1;
  const opcode = Uint8Array.of(OP.EXTENDED, OP.OPERATION_REGION);
  return concat(opcode, nameString(path), Uint8Array.of(SYSTEM_IO), integer(port), integer(sizeBytes));
}

/** Names for a region's bytes, one after the other. */
export function byteFields(region: string, paths: readonly string[]): Aml {
  const BYTE_ACCESS = 1;
  const BITS = 8;
  const fields = paths.map((path) => concat(nameString(path), Uint8Array.of(BITS)));
  return sized([OP.EXTENDED, OP.FIELD], nameString(region), Uint8Array.of(BYTE_ACCESS), ...fields);
}

/** A method with up to seven arguments. */
export function method(path: string, argumentCount: number, ...terms: readonly Aml[]): Aml {
  return sized([OP.METHOD], nameString(path), Uint8Array.of(argumentCount), ...terms);
}

/** One that at most one thread runs, as it makes named objects. */
export function serializedMethod(path: string, argumentCount: number, ...terms: readonly Aml[]): Aml {
  const SERIALIZED = 1 << 3;
  return method(path, argumentCount | SERIALIZED, ...terms);
}

/** A method without arguments that returns a constant. */
export function methodReturning(path: string, value: Aml): Aml {
  return method(path, 0, returning(value));
}

/** Terms of methods. A value is a constant, an argument, a local, a name or what an operator makes; a target is one that can be written. */
export function returning(value: Aml): Aml {
  return concat(Uint8Array.of(OP.RETURN), value);
}

export function ifNotZero(value: Aml, ...terms: readonly Aml[]): Aml {
  return sized([OP.IF], value, ...terms);
}

/** Right behind `ifNotZero`. */
export function otherwise(...terms: readonly Aml[]): Aml {
  return sized([OP.ELSE], ...terms);
}

export function store(value: Aml, path: string): Aml {
  return storeIn(value, nameString(path));
}

export function storeIn(value: Aml, target: Aml): Aml {
  return concat(Uint8Array.of(OP.STORE), value, target);
}

export function equal(left: Aml, right: Aml): Aml {
  return concat(Uint8Array.of(OP.EQUAL), left, right);
}

export function notEqual(left: Aml, right: Aml): Aml {
  return concat(Uint8Array.of(OP.NOT), equal(left, right));
}

export function and(left: Aml, right: Aml, target: Aml): Aml {
  return concat(Uint8Array.of(OP.AND), left, right, target);
}

export function or(left: Aml, right: Aml, target: Aml): Aml {
  return concat(Uint8Array.of(OP.OR), left, right, target);
}

/** Gives the four bytes of a buffer at `byteIndex` a name. */
export function createDwordField(source: Aml, byteIndex: number, path: string): Aml {
  return concat(Uint8Array.of(OP.CREATE_DWORD_FIELD), source, integer(byteIndex), nameString(path));
}

export function notify(path: string, value: number): Aml {
  return concat(Uint8Array.of(OP.NOTIFY), nameString(path), integer(value));
}

export function local(index: number): Aml {
  return Uint8Array.of(OP.LOCAL0 + index);
}

export function argument(index: number): Aml {
  return Uint8Array.of(OP.ARG0 + index);
}

/** A compressed EISA identifier such as "PNP0A08" (ACPI 6.5, 19.3.4): three letters and four digits, big-endian. */
export function eisaId(text: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(text)) throw new RangeError(`${text} is no EISA identifier`);
  const letter = (index: number): number => text.charCodeAt(index) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(text.slice(3), 16);
  return integer(
    BigInt(vendor >> 8) |
      (BigInt(vendor & 0xff) << 8n) |
      (BigInt(product >> 8) << 16n) |
      (BigInt(product & 0xff) << 24n),
  );
}

/** A UUID as ToUUID makes it (19.6.142): the first three groups little-endian. */
export function uuid(text: string): Aml {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) throw new RangeError(`${text} is no UUID`);
  const bytes = Uint8Array.from(text.replaceAll("-", "").match(/../g)!, (digits) => Number.parseInt(digits, 16));
  for (const [start, end] of [
    [0, 4],
    [4, 6],
    [6, 8],
  ] as const)
    bytes.subarray(start, end).reverse();
  return buffer(bytes);
}

/** A path like "\\_SB_.PCI0" or "COM1"; segments shorter than four characters are filled with underscores (20.2.2). */
export function nameString(path: string): Uint8Array {
  const isRooted = path.startsWith("\\");
  const body = isRooted ? path.slice(1) : path;
  const segments = body === "" ? [] : body.split(".");
  for (const segment of segments) {
    if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new RangeError(`${path} is no AML name`);
  }
  const prefix =
    segments.length === 0
      ? [0]
      : segments.length === 1
        ? []
        : segments.length === 2
          ? [OP.DUAL_NAME_PREFIX]
          : [OP.MULTI_NAME_PREFIX, segments.length];
  return concat(
    isRooted ? ascii("\\") : new Uint8Array(0),
    Uint8Array.from(prefix),
    ...segments.map((segment) => ascii(segment.padEnd(4, "_"))),
  );
}

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** An opcode, the package length (20.2.4, which counts itself) and the contents. */
function sized(opcode: readonly number[], ...contents: readonly Uint8Array[]): Aml {
  const body = concat(...contents);
  return concat(Uint8Array.from(opcode), packageLength(body.length), body);
}

function packageLength(contentBytes: number): Uint8Array {
  if (contentBytes + 1 < 0x40) return Uint8Array.of(contentBytes + 1);
  for (let extra = 1; extra <= 3; extra++) {
    const total = contentBytes + 1 + extra;
    if (total < 1 << (4 + 8 * extra)) {
      return concat(Uint8Array.of((extra << 6) | (total & 0xf)), littleEndian(total >> 4, extra));
    }
  }
  throw new RangeError(`an AML object of ${contentBytes} bytes`);
}
