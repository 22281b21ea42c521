// Every ROM on interpreter and evaluator: it has to print what its .expected file says.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createCore } from "../../packages/core/src/interp/core.ts";
import { createEvaluatorCore } from "../../packages/core/src/interp/evaluator-cpu.ts";
import { assemble, ROMS_FOLDER, runRom } from "./rom-machine.ts";

const TIERS = { interpreter: createCore, evaluator: createEvaluatorCore };
/** What the issue of a whole CPU asks for at least. */
const AT_LEAST = 120;

const roms = readdirSync(ROMS_FOLDER, { recursive: true })
  .map(String)
  .filter((path) => path.endsWith(".asm"))
  .sort();

function nasmMissing(): string | null {
  try {
    execFileSync("nasm", ["-v"], { stdio: "ignore" });
    return null;
  } catch {
    return "nasm is not installed: apt-get install nasm";
  }
}

/** Lines without the remarks that mark hand-written ones. */
function expectedLines(rom: string): string[] {
  const text = readFileSync(join(ROMS_FOLDER, rom.replace(/asm$/, "expected")), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/ {2}; .*$/, ""));
}

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
      image ??= assemble(join(ROMS_FOLDER, rom));
      const { lines, end } = runRom(image, tier);
      expect(lines).toEqual(expectedLines(rom));
      expect(end).toBe("END");
    });
  });
}
