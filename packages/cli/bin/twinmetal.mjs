#!/usr/bin/env node
// The program `twinmetal`. Committed, so that npm can link it before any build exists. It checks the
// Node version, makes the build when a clone has none yet, and hands over to main() of this package.
// main() resolves with the exit status once everything it prints is written. Errors of the shim itself
// exit with 125: "Twinmetal failed", as in every other case where no guest is to blame.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeTooOld } from "./node-floor.mjs";

const EXIT_TWINMETAL_FAILED = 125;

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(EXIT_TWINMETAL_FAILED);
}

const tooOld = nodeTooOld();
if (tooOld) fail(tooOld);

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));
const entry = join(packageRoot, "dist", "program", "cli", "index.js");
if (!existsSync(entry)) build();

const { main } = await import("../dist/program/cli/index.js");
process.exit(await main(process.argv.slice(2)));

/** Compiles the clone that this file lies in. Only a clone has sources; the published package is built. */
function build() {
  const cloneRoot = dirname(dirname(packageRoot));
  if (!existsSync(join(cloneRoot, "tsconfig.json"))) {
    fail(`twinmetal: this installation is incomplete: ${entry} is missing. Install the package again.`);
  }
  let compiler;
  try {
    const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
    compiler = join(dirname(manifest), "bin", "tsc");
  } catch {
    fail(
      `twinmetal: not built yet, and its compiler is not installed. Run \`npm ci\` in ${cloneRoot}, then try again.`,
    );
  }
  process.stderr.write("twinmetal: not built yet; building once...\n");
  const steps = [[compiler, "-b"], [join("tools", "core-image.mjs")], [join("tools", "program.mjs")]];
  for (const args of steps) {
    // The program's standard output belongs to the guest, so the compiler's goes to standard error.
    const { status, error } = spawnSync(process.execPath, args, { cwd: cloneRoot, stdio: ["ignore", 2, 2] });
    if (error) fail(`twinmetal: the build could not be started: ${error.message}`);
    if (status !== 0)
      fail(`twinmetal: the build failed (see above). Run \`npm ci && npm run build\` in ${cloneRoot}, then try again.`);
  }
}
