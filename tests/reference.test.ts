// Generated pages of docs/reference are up to date. If one is not: npm run reference.

import { expect, test } from "vitest";
import { instructionsPage } from "../tools/instructions-page.ts";

test("docs/reference/instructions.md is what the records say (else: npm run reference)", async () => {
  await expect(instructionsPage()).toMatchFileSnapshot("../docs/reference/instructions.md");
});
