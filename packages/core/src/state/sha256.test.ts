import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { Sha256, sha256, toHex } from "./sha256.ts";

const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 167 + (i >> 8)) & 0xff);

test("equals the host's SHA-256 around every block boundary", () => {
  for (const length of [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 4096, 10_000]) {
    const bytes = pattern(length);
    expect(toHex(sha256(bytes))).toBe(createHash("sha256").update(bytes).digest("hex"));
  }
});

test("pieces give the hash of the whole", () => {
  const bytes = pattern(1000);
  for (const step of [1, 7, 63, 64, 65, 500]) {
    const hash = new Sha256();
    for (let at = 0; at < bytes.length; at += step) hash.update(bytes.subarray(at, at + step));
    expect(hash.digest()).toEqual(sha256(bytes));
  }
});
