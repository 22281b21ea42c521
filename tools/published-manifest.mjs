// `npm pack` at the root makes the published package, whose manifest differs from the workspaces' one:
//   + bin        not in a clone: npx would then prefer the root's program to the one npm ci has linked, and
//                install it into a cache under the home folder, which may be read-only
//   - scripts    there is nothing to build any more, and npm warns of a `prepare` that it does not run
//   - workspaces, devDependencies, allowScripts
// `prepack` writes it, `postpack` puts the workspaces' manifest back. To publish, pass the packed file to
// `npm publish`: given a folder, it reads the manifest again after postpack.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const manifest = fileURLToPath(new URL("../package.json", import.meta.url));
const kept = fileURLToPath(new URL("../.package.json.kept", import.meta.url));
const BIN = { twinmetal: "bin/twinmetal.mjs" };

const step = process.argv[2];
if (step === "write") {
  // A copy kept by a run that was cut short is the workspaces' manifest; package.json is not, then.
  const text = readFileSync(existsSync(kept) ? kept : manifest, "utf8");
  const { scripts, workspaces, devDependencies, allowScripts, exports, ...rest } = JSON.parse(text);
  writeFileSync(kept, text);
  writeFileSync(manifest, `${JSON.stringify({ ...rest, bin: BIN, exports }, null, 2)}\n`);
} else if (step === "restore") {
  if (existsSync(kept)) renameSync(kept, manifest);
} else {
  process.stderr.write("usage: node tools/published-manifest.mjs write|restore\n");
  process.exitCode = 2;
}
