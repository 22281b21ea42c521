import { createCipheriv, createHash } from "node:crypto";
import { expect, test } from "vitest";
import { MachineRandom } from "./random.ts";

const SEED = Uint8Array.of(1, 2, 3);

function take(random: MachineRandom, length: number): Uint8Array {
  const into = new Uint8Array(length);
  random.fill(into);
  return into;
}

test("is the ChaCha20 key stream of the hashed seed", () => {
  const key = createHash("sha256").update("twinmetal machine random 1").update(SEED).digest();
  const cipher = createCipheriv("chacha20", key, Buffer.alloc(16));
  expect(take(new MachineRandom(SEED), 1000)).toEqual(new Uint8Array(cipher.update(Buffer.alloc(1000))));
});

test("the sizes of requests do not matter", () => {
  const whole = take(new MachineRandom(SEED), 300);
  const random = new MachineRandom(SEED);
  const parts = [1, 63, 64, 65, 7, 100].map((length) => take(random, length));
  expect(Uint8Array.from(parts.flatMap((part) => [...part]))).toEqual(whole);
});

test("a restored stream goes on where the saved one stopped", () => {
  for (const used of [0, 1, 63, 64, 65, 200]) {
    const random = new MachineRandom(SEED);
    take(random, used);
    const copy = new MachineRandom(SEED);
    copy.restore(random.save());
    expect(take(copy, 100)).toEqual(take(random, 100));
  }
});

test("other seeds give other bytes", () => {
  expect(take(new MachineRandom(SEED), 8)).not.toEqual(take(new MachineRandom(Uint8Array.of(1, 2, 4)), 8));
});
