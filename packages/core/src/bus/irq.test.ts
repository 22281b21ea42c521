import { expect, it } from "vitest";
import { FakeIrqLine } from "../devices/fake-context.ts";
import { fanOut, SharedIrqLine } from "./irq.ts";

it("a shared wire is asserted while any driver asserts it", () => {
  const target = new FakeIrqLine();
  const wire = new SharedIrqLine(target);
  const [a, b] = [wire.driver(), wire.driver()];
  a.set(true);
  a.set(true);
  b.set(true);
  a.set(false);
  expect(target.level).toBe(true);
  b.set(false);
  b.set(false);
  expect(target.level).toBe(false);
  expect(target.rises).toBe(1);
});

it("one wire drives several inputs", () => {
  const inputs = [new FakeIrqLine(), new FakeIrqLine()];
  fanOut(...inputs).set(true);
  expect(inputs.map(({ level }) => level)).toEqual([true, true]);
});
