import { expect, it } from "vitest";
import { NodeTable, ROOT } from "./node-table.ts";

it.each([4000, 60_000])(
  "a chain of %i folders goes when its last one is forgotten, without a stack as deep",
  (depth) => {
    const nodes = new NodeTable();
    const numbers: number[] = [];
    let parent = ROOT;
    for (let i = 0; i < depth; i++) {
      parent = nodes.enter(parent, "a", `identity ${i}`)!;
      numbers.push(parent);
    }
    expect(nodes.size).toBe(depth + 1);
    for (const number of numbers) nodes.forget(number, 1);
    expect(nodes.size).toBe(1);
    expect(nodes.child(ROOT, "a")).toBe(0);
  },
);
