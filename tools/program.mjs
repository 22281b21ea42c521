// After tsc: puts the program, and what it starts in threads and processes of its own, into a few files, in packages/cli/dist/program:
//
//   FOLDER/NAME.js          an entry, in the folder whose name its module's has
//   shared/NAME-HASH.js     what several of them need
//
// Node takes a millisecond and more for each module that it loads, and there are 740 of them. All files lie equally deep, so an
// address that is relative to a module's own (packages/host/src/vm/worker-url.ts) is the same from each. Does nothing if no module has
// changed since.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const packages = fileURLToPath(new URL("../packages", import.meta.url));
const program = join(packages, "cli", "dist", "program");
const stamp = join(program, "modules.sha256");
const PACKAGES = ["core", "storage", "network", "host", "cli"];
const ENTRIES = {
  "cli/index": "cli/dist/index.js",
  ...Object.fromEntries(
    ["vm/vm", "vm/vcpu", "vm/kvm-vcpu", "vm/translation", "disk/disk", "network/network", "share/share"].map((name) => [
      `${name}-worker`,
      `host/dist/${name}-worker.js`,
    ]),
  ),
  "vm/native-keeper": "host/dist/vm/native-keeper.js",
};

const hash = createHash("sha256").update(readFileSync(fileURLToPath(import.meta.url)));
for (const name of PACKAGES) {
  const dist = join(packages, name, "dist");
  const files = readdirSync(dist, { recursive: true }).filter((file) => file.endsWith(".js"));
  for (const file of files.sort())
    if (!file.startsWith(`program${sep}`)) hash.update(`${name}/${file}\0`).update(readFileSync(join(dist, file)));
}
const modules = `${hash.digest("hex")}\n`;

if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== modules) {
  rmSync(program, { recursive: true, force: true });
  await build({
    entryPoints: Object.fromEntries(Object.entries(ENTRIES).map(([name, file]) => [name, join(packages, file)])),
    outdir: program,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    keepNames: true,
    external: ["koffi", "yaml"],
    chunkNames: "shared/[name]-[hash]",
    logLevel: "warning",
  });
  writeFileSync(stamp, modules);
}
