import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { nativeSha256 } from "./native-sha256.ts";

it("is SHA-256, whatever the pieces and wherever they lie", () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(700_000)).map((_, i) => i * 7);
  for (const pieceBytes of [4096 + 8, 262_144, 700_000]) {
    const hash = nativeSha256();
    for (let at = 0; at < bytes.length; at += pieceBytes) hash.update(bytes.subarray(at, at + pieceBytes));
    const expected = createHash("sha256").update(bytes.slice()).digest("hex");
    expect(Buffer.from(hash.digest()).toString("hex")).toBe(expected);
  }
  expect(Buffer.from(nativeSha256().digest()).toString("hex")).toMatch(/^e3b0c44298fc1c14/);
});
