import { expect, test } from "vitest";
import { OutputBatch } from "./output-batch.ts";
import { PART_COST } from "./worker-protocol.ts";

test("neighbours of one channel are joined, order is kept, and the cost is that of the parts", () => {
  const batch = new OutputBatch();
  const bytes = Uint8Array.of(1);
  batch.add("a", bytes);
  bytes[0] = 2;
  batch.add("a", bytes);
  batch.add("b", Uint8Array.of(3));
  batch.add("a", new Uint8Array(100_000).fill(4));
  const before = batch.cost;
  const { parts, cost } = batch.take();
  expect(parts.map(({ channel, bytes }) => [channel, bytes.length, bytes[0]])).toEqual([
    ["a", 2, 1],
    ["b", 1, 3],
    ["a", 100_000, 4],
  ]);
  expect(cost).toBe(before);
  expect(cost).toBe(parts.reduce((sum, part) => sum + part.bytes.length + PART_COST, 0));
  expect(batch.take()).toEqual({ parts: [], cost: 0 });
});
