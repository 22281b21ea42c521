// Runs ROMs against planted bugs until one prints something else.

import { type PlantedBug, plantedCore } from "./planted.ts";
import { assemble, expectedLines, romNames } from "./rom-files.ts";
import { runRom } from "./rom-machine.ts";

interface Rom {
  readonly name: string;
  readonly image: Uint8Array;
  readonly expected: string;
}

export interface PlantedOutcome {
  readonly bug: string;
  /** The ROM that saw it; undefined: none did. */
  readonly caughtBy: string | undefined;
}

export function loadRoms(): Rom[] {
  return romNames().map((name) => ({ name, image: assemble(name), expected: expectedLines(name).join("\n") }));
}

export function runPlanted(bugs: readonly PlantedBug[], roms: Rom[]): PlantedOutcome[] {
  return bugs.map((bug) => {
    const createCore = plantedCore(bug);
    const found = roms.findIndex(({ image, expected }) => {
      try {
        const { lines, end } = runRom(image, { createCore });
        return end !== "END" || lines.join("\n") !== expected;
      } catch {
        return true;
      }
    });
    const rom = roms[found];
    // What saw this bug sees its neighbours, too.
    if (rom) roms.unshift(...roms.splice(found, 1));
    return { bug: bug.name, caughtBy: rom?.name };
  });
}
