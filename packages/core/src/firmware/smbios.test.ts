import { expect, it } from "vitest";
import { buildSmbios, placeSmbios, uuidOf } from "./smbios.ts";

const MIB = 2 ** 20;
const OPTIONS = { memoryBytes: 3072 * MIB, cpuCount: 2, seed: "00", name: "box", tscFrequencyHz: 1e9 };

interface Structure {
  readonly type: number;
  readonly handle: number;
  readonly body: DataView;
  readonly texts: readonly string[];
}

/** What a guest reads, by the rules of the specification's section 6.1. */
function structuresOf(tables: Uint8Array): Structure[] {
  const found: Structure[] = [];
  const view = new DataView(tables.buffer, tables.byteOffset, tables.length);
  for (let at = 0; at < tables.length; ) {
    const length = tables[at + 1]!;
    let end = at + length;
    while (tables[end] !== 0 || tables[end + 1] !== 0) end++;
    const texts = String.fromCharCode(...tables.subarray(at + length, end)).split("\0");
    found.push({
      type: tables[at]!,
      handle: view.getUint16(at + 2, true),
      body: new DataView(tables.buffer, tables.byteOffset + at, length),
      texts: texts[0] === "" ? [] : texts,
    });
    at = end + 2;
  }
  return found;
}

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;

it("has the structures that guests look for, each with its length and a handle of its own", () => {
  const structures = structuresOf(buildSmbios(OPTIONS).tables);
  expect(structures.map(({ type }) => type)).toEqual([0, 1, 3, 4, 4, 16, 17, 19, 19, 32, 127]);
  expect(new Set(structures.map(({ handle }) => handle)).size).toBe(structures.length);
  const lengths = new Map(structures.map(({ type, body }) => [type, body.byteLength]));
  expect([...lengths.values()]).toEqual([0x18, 0x1b, 0x16, 0x2a, 0x17, 0x28, 0x1f, 0x0b, 0x04]);
});

it("tells name, UUID and memory", () => {
  const structures = structuresOf(buildSmbios(OPTIONS).tables);
  const system = structures.find(({ type }) => type === 1)!;
  expect(system.texts).toEqual(["Twinmetal", "Virtual PC (Q35)", "1", "box"]);
  const uuid = [...new Uint8Array(system.body.buffer, system.body.byteOffset + 8, 16)];
  const text = [...uuidOf("00")];
  expect([uuid[3], uuid[2], uuid[1], uuid[0], uuid[5], uuid[4], uuid[7], uuid[6], ...uuid.slice(8)]).toEqual(text);
  expect([text[6]! >> 4, text[8]! >> 6]).toEqual([4, 2]);
  expect(uuidOf("01")).not.toEqual(uuidOf("00"));
  const array = structures.find(({ type }) => type === 16)!;
  expect(array.body.getUint32(7, true)).toBe(3072 * 1024);
  const ranges = structures.filter(({ type }) => type === 19).map(({ body }) => body);
  expect(ranges.map((body) => [body.getUint32(4, true), body.getUint32(8, true)])).toEqual([
    [0, 2816 * 1024 - 1],
    [4096 * 1024, 4352 * 1024 - 1],
  ]);
});

it("is placed with an anchor whose checksums are right", () => {
  const [anchor, tables] = placeSmbios(OPTIONS, 0xf_0000);
  expect(anchor!.gpa % 16).toBe(0);
  expect(String.fromCharCode(...anchor!.bytes.subarray(0, 4))).toBe("_SM_");
  expect([sum(anchor!.bytes), sum(anchor!.bytes.subarray(0x10))]).toEqual([0, 0]);
  const view = new DataView(anchor!.bytes.buffer);
  expect(view.getUint32(0x18, true)).toBe(tables!.gpa);
  expect(view.getUint16(0x16, true)).toBe(tables!.bytes.length);
  expect(view.getUint16(0x1c, true)).toBe(11);
  expect(tables!.gpa).toBeGreaterThanOrEqual(anchor!.gpa + anchor!.bytes.length);
});
