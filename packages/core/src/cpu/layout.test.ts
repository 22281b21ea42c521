import { expect, test } from "vitest";
import type { Field } from "../ir/builder.ts";
import * as L from "./layout.ts";

const isField = (value: unknown): value is Field =>
  typeof value === "object" && value !== null && "offset" in value && "bits" in value;

test("no two fields of the state block share bytes", () => {
  const owner = new Map<number, string>();
  const areas: [string, number, number][] = [
    ["GPR", L.GPR, 128],
    ["XMM", L.XMM, 256],
    ["X87", L.X87, 128],
    ["SCRATCH_READ", L.SCRATCH_READ, 64],
    ["SCRATCH_WRITE", L.SCRATCH_WRITE, 64],
    ["BRANCH_RING", L.BRANCH_RING, L.BRANCH_RING_ENTRIES * 8],
    ["SCRATCH_FRAME", L.SCRATCH_FRAME, L.FRAME_SLOTS * 8],
  ];
  // General registers have names of their own besides.
  const isRegister = (offset: number): boolean => offset < L.GPR + 128;
  for (const [name, value] of Object.entries(L))
    for (const [i, field] of (Array.isArray(value) ? value : [value]).entries())
      if (isField(field) && !isRegister(field.offset)) areas.push([`${name}[${i}]`, field.offset, field.bits / 8]);
  const shared = areas.flatMap(([name, from, bytes]) =>
    Array.from({ length: bytes }, (_, i) => {
      const other = owner.get(from + i);
      owner.set(from + i, name);
      return other === undefined ? [] : [`${name} and ${other} at ${(from + i).toString(16)}`];
    }).flat(),
  );
  expect(shared).toEqual([]);
});
