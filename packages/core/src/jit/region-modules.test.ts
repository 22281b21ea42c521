import { expect, it } from "vitest";
import { RegionModules } from "./region-modules.ts";

const FIRST = 3;
const run = (): number => 0;

/** A table that keeps what it was given. */
function fakeTable() {
  const places: unknown[] = new Array(8).fill(null);
  return {
    places,
    get length() {
      return places.length;
    },
    grow: (more: number) => places.push(...new Array(more).fill(null)),
    set: (at: number, value: unknown) => {
      places[at] = value;
    },
  };
}

function made(bounds = { modules: 160, bytes: 1600 }) {
  const table = fakeTable();
  return { table, modules: new RegionModules(table as unknown as WebAssembly.Table, FIRST, bounds) };
}

it("modules that were not used since the last time are dropped, and their places given away again", () => {
  const { table, modules } = made();
  const [used, unused] = [modules.add(10), modules.add(10)];
  expect([modules.enter(used, run), modules.enter(unused, run)]).toEqual([FIRST, FIRST + 1]);
  expect(modules.dropOld().size).toBe(0);
  modules.use(used);
  expect([...modules.dropOld()]).toEqual([unused]);
  expect(table.places[FIRST + 1]).toBe(null);
  expect(table.places[FIRST]).toBe(run);
  expect(modules.enter(modules.add(10), run)).toBe(FIRST + 1);
});

it("it is time when there are many, and some are new", () => {
  const { modules } = made();
  for (let i = 0; i < 20; i++) modules.add(1);
  expect(modules.isCrowded).toBe(false);
  modules.add(1);
  expect(modules.isCrowded).toBe(true);
  modules.dropOld();
  expect(modules.isCrowded).toBe(false);
  for (let i = 0; i < 11; i++) modules.add(1);
  expect(modules.isCrowded).toBe(true);
  modules.dropOld();
  modules.add(201);
  expect(modules.isCrowded).toBe(true);
});

it("what earlier runs have left is not old, and makes nothing else old", () => {
  const { modules } = made();
  modules.add(1500, true);
  for (let i = 0; i < 19; i++) modules.add(1);
  expect(modules.isCrowded).toBe(false);
  modules.dropOld();
  expect(modules.dropOld().size).toBe(19);
  expect(modules.isOverBounds).toBe(false);
  modules.add(101);
  expect(modules.isOverBounds).toBe(true);
});

it("all are dropped at once", () => {
  const { table, modules } = made({ modules: 1, bytes: 100 });
  for (let i = 0; i < 20; i++) modules.enter(modules.add(1), run);
  expect([modules.isOverBounds, table.places.length > 20]).toEqual([true, true]);
  modules.dropAll();
  expect(modules.isOverBounds).toBe(false);
  expect(table.places.every((place) => place === null)).toBe(true);
  expect(modules.enter(modules.add(1), run)).toBe(FIRST);
});
