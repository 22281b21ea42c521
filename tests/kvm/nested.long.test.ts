// All programs of the nested guest, the long ones too; `npm run test:kvm -- --long` by itself.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { PROGRAMS } from "./programs.ts";

const script = fileURLToPath(new URL("run.mjs", import.meta.url));
const limitMs = 1000 * (300 + PROGRAMS.reduce((sum, { limitSeconds }) => sum + limitSeconds, 0));

it("runs everything on KVM in a guest with SVM", { timeout: limitMs }, () => {
  const { status } = spawnSync(process.execPath, [script, "--long"], { stdio: "inherit", timeout: limitMs - 10_000 });
  expect(status).toBe(0);
});
