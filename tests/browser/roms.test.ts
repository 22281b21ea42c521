// The ROMs of tests/roms in Chromium's WebAssembly: they have to print what they print everywhere.

import { join } from "node:path";
import { build } from "vite";
import { describe, expect, test } from "vitest";
import { repository } from "../clone.ts";
import { assemble, expectedLines, nasmMissing, romNames } from "../roms/rom-files.ts";
import type { RomRun } from "../roms/rom-machine.ts";
import { chromiumMissing } from "./chromium.ts";
import { BrowserRig } from "./rig.ts";

const TIMEOUT_MS = 120_000;

const missing = chromiumMissing() ?? nasmMissing();

/** `runRom` and all that it needs, as one module for a page. */
async function romModule(): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: "silent",
    build: {
      write: false,
      minify: false,
      target: "esnext",
      lib: { entry: join(repository, "tests", "roms", "rom-machine.ts"), formats: ["es"] },
    },
  });
  const [output] = [result].flat();
  if (!output || !("output" in output)) throw new Error("vite has built nothing");
  return output.output[0].code;
}

describe("Chromium", () => {
  test("runs every ROM as the interpreter in Node does", { timeout: TIMEOUT_MS }, async ({ skip }) => {
    if (missing !== null) skip(missing);
    const roms = romNames();
    const images = roms.map((rom) => [`/rom/${rom}.bin`, assemble(rom)] as const);
    const rig = await BrowserRig.start(false, { ...Object.fromEntries(images), "/roms.js": await romModule() });
    try {
      const printed = await rig.run<Record<string, Pick<RomRun, "lines" | "end">>>(`
        const { runRom } = await import("/roms.js");
        const printed = {};
        for (const rom of ${JSON.stringify(roms)}) {
          const { lines, end } = runRom(await t.file("/rom/" + rom + ".bin"));
          printed[rom] = { lines, end };
        }
        return printed;
      `);
      const expected = roms.map((rom) => [rom, { lines: expectedLines(rom), end: "END" }] as const);
      expect(printed).toEqual(Object.fromEntries(expected));
      expect(roms.length).toBeGreaterThan(0);
    } finally {
      await rig.close();
    }
  });
});
