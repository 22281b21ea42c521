#!/usr/bin/env node
// The published package's program. npm links the programs of workspaces in a clone, but not the root's
// own, so the shim itself lives in packages/cli; the published package bundles it.

import { existsSync } from "node:fs";

const inClone = new URL("../packages/cli/bin/twinmetal.mjs", import.meta.url);
const inPackage = new URL("../node_modules/@twinmetal/cli/bin/twinmetal.mjs", import.meta.url);
await import(existsSync(inClone) ? inClone.href : inPackage.href);
