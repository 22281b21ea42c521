// A thousand simulated losses of power: npm run test:long -- tests/storage

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cutPower } from "./power-cut.ts";
import { type Folder, hasQemuTools, makeFolder, WHY_SKIPPED } from "./qemu-tools.ts";

const CUTS = 1000;
/** A second for each on a busy host. */
const TIMEOUT_MS = 2 * 3600_000;
const FIRST_SEED = 100_000;

let folder: Folder;
beforeAll(async () => {
  folder = await makeFolder();
});
afterAll(() => folder.remove());

describe.skipIf(!hasQemuTools)(`loss of power (${WHY_SKIPPED})`, () => {
  it(`${CUTS} times: what was flushed is there, and qemu-img check finds no error`, {
    timeout: TIMEOUT_MS,
  }, async () => {
    const wrong: unknown[] = [];
    let cuts = 0;
    let leaks = 0;
    let flushes = 0;
    for (let seed = FIRST_SEED; cuts < CUTS; seed++) {
      const result = await cutPower(seed, folder);
      if (result.failures.length > 0) wrong.push(result);
      if (result.wasCut) cuts++;
      if (result.hadLeaks) leaks++;
      flushes += result.flushes;
      await folder.empty();
      if (cuts % 100 === 0 && result.wasCut) console.log(`${cuts} of ${CUTS}`);
    }
    console.log(`${cuts} cuts, ${flushes} acknowledged flushes, ${leaks} images with leaks before they were repaired`);
    expect(wrong).toEqual([]);
  });
});
