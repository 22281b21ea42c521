// package-lock.json has to install everywhere: from any registry, on any platform, by any npm.

import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";

interface LockEntry {
  version?: string;
  resolved?: string;
  link?: boolean;
  optionalDependencies?: Record<string, string>;
}

const lock = JSON.parse(await readFile(new URL("../package-lock.json", import.meta.url), "utf8"));
const entries = Object.entries(lock.packages as Record<string, LockEntry>);

it("names no registry", () => {
  const resolved = entries.filter(([, entry]) => entry.resolved !== undefined && !entry.link);
  expect(resolved).toEqual([]);
});

it("has every platform's packages (else run: node tools/complete-lockfile.mjs)", () => {
  const paths = new Set(entries.map(([path]) => path));
  const missing = entries.flatMap(([path, entry]) =>
    Object.keys(entry.optionalDependencies ?? {}).filter(
      (name) => !paths.has(`node_modules/${name}`) && !paths.has(`${path}/node_modules/${name}`),
    ),
  );
  expect(missing).toEqual([]);
});
