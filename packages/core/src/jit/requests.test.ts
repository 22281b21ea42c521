import { expect, it } from "vitest";
import * as L from "../cpu/layout.ts";
import { RETRY, Requests } from "./requests.ts";

/** Blocks at 100, 200, ..: what they lie at is 1000 more. */
function blocks(count: number) {
  const view = new DataView(new ArrayBuffer(100 * (count + 2)));
  const requests = new Requests(view);
  for (let block = 100; block <= 100 * count; block += 100) {
    view.setUint32(block + L.BLOCK_HOST, block + 1000, true);
    view.setInt32(block + L.BLOCK_HEAT, RETRY, true);
    requests.add({ block, host: block + 1000, mode: 0, pages: [0, 4096, 0], isUser: false, runs: 3000 });
  }
  return { view, requests };
}

it("sends those first that ran most since they were asked for", () => {
  const { view, requests } = blocks(20);
  view.setInt32(700 + L.BLOCK_HEAT, RETRY - 50, true);
  view.setInt32(2000 + L.BLOCK_HEAT, RETRY - 90, true);
  const batch = requests.take(() => false);
  expect(batch.slice(0, 2).map(({ block }) => block)).toEqual([2000, 700]);
  expect(batch).toHaveLength(12);
  expect(requests.count).toBe(8);
});

it("forgets what has gone, what has a region by now, and what is needless", () => {
  const { view, requests } = blocks(4);
  view.setUint32(100 + L.BLOCK_HOST, 5, true);
  view.setInt32(200 + L.BLOCK_HEAT, ~7, true);
  expect(requests.alive().map(({ block }) => block)).toEqual([200, 300, 400]);
  expect(requests.take(({ block }) => block === 300).map(({ block }) => block)).toEqual([400]);
  expect(requests.count).toBe(0);
});

it("takes nothing for alive that was asked for before all blocks were dropped", () => {
  const { view, requests } = blocks(1);
  const request = requests.alive()[0]!;
  requests.forget();
  expect(requests.count).toBe(0);
  expect(requests.isAlive(request)).toBe(false);
  expect(view.getUint32(100 + L.BLOCK_HOST, true)).toBe(1100);
});

it("keeps the newer half where a guest changes its code faster than it is translated", () => {
  const { requests } = blocks(4097);
  expect(requests.count).toBe(2048);
  expect(requests.alive().at(-1)?.block).toBe(409_700);
});
