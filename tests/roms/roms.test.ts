// Every ROM on interpreter, evaluator, and translated from the first execution on: it has to print what its .expected file says.

import { describe, expect, test } from "vitest";
import { ENGINES } from "../jit/tiers.ts";
import { assemble, expectedLines, nasmMissing, romNames } from "./rom-files.ts";
import { runRom } from "./rom-machine.ts";

const TIERS = ["interpreter", "evaluator", "jit"] as const;
/** What the issue of a whole CPU asks for at least. */
const AT_LEAST = 120;

const roms = romNames();
const missing = nasmMissing();
if (missing) {
  console.warn(`ROMs skipped: ${missing}`);
  test.skip(`skipped: ${missing}`);
} else {
  if (!process.env["TWINMETAL_ROMS"])
    test("there are enough of them", () => expect(roms.length).toBeGreaterThanOrEqual(AT_LEAST));
  describe.each(roms)("%s", (rom) => {
    let image: Uint8Array | undefined;
    test.each(TIERS)("%s", (tier) => {
      image ??= assemble(rom);
      const { lines, end } = runRom(image, ENGINES[tier]);
      expect(lines).toEqual(expectedLines(rom));
      expect(end).toBe("END");
    });
  });
}
