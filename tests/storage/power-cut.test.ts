// 50 simulated losses of power, and the rig against a disk that lies about its flushes. A thousand: power-cut.long.test.ts.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cutPower } from "./power-cut.ts";
import { type Folder, hasQemuTools, makeFolder, WHY_SKIPPED } from "./qemu-tools.ts";

let folder: Folder;
beforeAll(async () => {
  folder = await makeFolder();
});
afterAll(() => folder.remove());

describe.skipIf(!hasQemuTools)(`loss of power (${WHY_SKIPPED})`, () => {
  it("50 times: what was flushed is there, and qemu-img check finds no error", async () => {
    let cuts = 0;
    for (let seed = 1; cuts < 50; seed++) {
      const { failures, wasCut } = await cutPower(seed, folder);
      expect({ seed, failures }).toEqual({ seed, failures: [] });
      if (wasCut) cuts++;
    }
  });

  it("is found out when the disk lies about flushes", async () => {
    let found = 0;
    for (let seed = 1; seed <= 20; seed++) {
      if ((await cutPower(seed, folder, { lies: true })).failures.length > 0) found++;
    }
    expect(found).toBeGreaterThan(5);
  });
});
