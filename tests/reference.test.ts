// Generated pages are up to date. If one is not: npm run reference.

import { expect, test } from "vitest";
import { coveragePage } from "../tools/coverage-page.ts";
import { cpuidPage } from "../tools/cpuid-page.ts";
import { hardwarePage } from "../tools/hardware-page.ts";
import { instructionsPage } from "../tools/instructions-page.ts";

test("docs/reference/instructions.md is what the records say (else: npm run reference)", async () => {
  await expect(instructionsPage()).toMatchFileSnapshot("../docs/reference/instructions.md");
});

test("docs/reference/coverage.md is what the rig compares (else: npm run reference)", async () => {
  await expect(coveragePage()).toMatchFileSnapshot("../docs/reference/coverage.md");
});

test("docs/reference/cpuid.md is what the tables say (else: npm run reference)", async () => {
  await expect(cpuidPage()).toMatchFileSnapshot("../docs/reference/cpuid.md");
});

test("docs/hardware.md is what the devices' files say (else: npm run reference)", async () => {
  await expect(hardwarePage()).toMatchFileSnapshot("../docs/hardware.md");
});
