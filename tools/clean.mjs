// Removes what the build made. Needed after a source file was deleted or renamed: the compiler leaves
// the old output behind, and `npm pack` would publish it.

import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const packages = new URL("../packages/", import.meta.url);
for (const name of readdirSync(packages)) {
  rmSync(fileURLToPath(new URL(`${name}/dist`, packages)), { recursive: true, force: true });
}
