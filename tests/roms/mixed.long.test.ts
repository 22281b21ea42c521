// Every ROM with its blocks translated at any time, as chance says.

import { expect, test } from "vitest";
import { ENGINES } from "../jit/tiers.ts";
import { loadRoms } from "./planted-suite.ts";
import { nasmMissing } from "./rom-files.ts";
import { runRom } from "./rom-machine.ts";

const missing = nasmMissing();
if (missing) test.skip(`skipped: ${missing}`);
else
  test.each(loadRoms())("$name", ({ image, expected }) => {
    const { lines, end } = runRom(image, ENGINES["mixed"]);
    expect(lines.join("\n")).toBe(expected);
    expect(end).toBe("END");
  });
