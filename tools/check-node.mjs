// Run before each build, `npm ci` included: an old Node gets one clear sentence instead of a syntax error.

import { nodeTooOld } from "../packages/cli/bin/node-floor.mjs";

const tooOld = nodeTooOld();
if (tooOld) {
  process.stderr.write(`${tooOld}\n`);
  process.exit(1);
}
