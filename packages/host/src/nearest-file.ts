/** Files of this package, whose code may lie in its folder as modules or in a few files (tools/program.mjs), by the folders above. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The directory above `path` that has such a file. */
export function nearest(path: string, name: string): string | undefined {
  return parents(path).find((parent) => {
    try {
      return readFileSync(join(parent, name)).length > 0;
    } catch {
      return false;
    }
  });
}

/** From the one that `path` is in up to the root. */
export function parents(path: string): readonly string[] {
  const parent = dirname(path);
  return parent === path ? [] : [parent, ...parents(parent)];
}
