// Every ROM on interpreter and evaluator: it has to print what its .expected file says.

import { describe, expect, test } from "vitest";
import { createCore } from "../../packages/core/src/interp/core.ts";
import { createEvaluatorCore } from "../../packages/core/src/interp/evaluator-cpu.ts";
import { assemble, expectedLines, nasmMissing, romNames } from "./rom-files.ts";
import { runRom } from "./rom-machine.ts";

const TIERS = { interpreter: createCore, evaluator: createEvaluatorCore };
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
    test.each(Object.entries(TIERS))("%s", (_, tier) => {
      image ??= assemble(rom);
      const { lines, end } = runRom(image, tier);
      expect(lines).toEqual(expectedLines(rom));
      expect(end).toBe("END");
    });
  });
}
