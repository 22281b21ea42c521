import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readPolicy } from "./policy-file.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tm-policy-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

it("reads JSON, and the default export of a module", async () => {
  const json = file("a.json", '{"ttlMs": 5000}');
  expect(await readPolicy(json)).toEqual({ path: json, policy: { ttlMs: 5000 } });
  const module = file("a.mjs", "export default { ttlMs: 5 * 1000 };");
  expect((await readPolicy(module))?.policy).toEqual({ ttlMs: 5000 });
});

it("reads TypeScript where Node does, and says so where it does not", async () => {
  const path = file("a.ts", "const ttlMs: number = 5000;\nexport default { ttlMs };");
  const reading = readPolicy(path);
  if ("typescript" in process.features && process.features.typescript)
    expect((await reading)?.policy).toEqual({ ttlMs: 5000 });
  else await expect(reading).rejects.toThrow("does not run TypeScript. Write it as .mjs or .json");
});

it.each([
  ["bad.json", "{", "is no|JSON|Expected"],
  ["wrong.json", '{"ttlMs": "1h"}', 'ttlMs has to be a whole number from 1000 to 315360000000, and is "1h"'],
  ["none.mjs", "export const a = 1;", "it has no default export"],
  ["throws.mjs", "throw new Error('no luck');", "no luck"],
  ["exits.mjs", "process.exit(0);", "it ended without a policy"],
  ["calls.mjs", "export default { ttlMs: () => 1 };", "could not be cloned"],
])("says what is wrong with %s", async (name, text, why) => {
  const reading = readPolicy(file(name, text));
  await expect(reading).rejects.toMatchObject({ code: "bad-policy" });
  await expect(reading).rejects.toThrow(new RegExp(why));
});

it("takes a default that is not there for none, and a named one for a mistake", async () => {
  await expect(readPolicy(join(directory, "no.json"))).rejects.toThrow("it is not there");
  await expect(readPolicy(file("large.json", " ".repeat(1024 * 1024 + 1)))).rejects.toThrow("more than 1048576 bytes");
});
