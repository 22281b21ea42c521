// The ROMs as files: which there are, their images, and what they have to print.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const INCLUDES = dirname(fileURLToPath(import.meta.url));
const FOLDER = process.env["TWINMETAL_ROMS"] ?? INCLUDES;

/** Paths in the folder of ROMs, "AREA/NAME.asm". */
export function romNames(): string[] {
  return readdirSync(FOLDER, { recursive: true })
    .map(String)
    .filter((path) => path.endsWith(".asm"))
    .sort();
}

/** Why no ROM can be assembled here, or null. */
export function nasmMissing(): string | null {
  try {
    execFileSync("nasm", ["-v"], { stdio: "ignore" });
    return null;
  } catch {
    return "nasm is not installed: apt-get install nasm";
  }
}

/** A ROM's image. Throws with nasm's messages. */
export function assemble(rom: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-rom-"));
  const image = join(folder, "rom.bin");
  try {
    execFileSync("nasm", ["-f", "bin", "-I", `${INCLUDES}/`, "-o", image, join(FOLDER, rom)], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    return new Uint8Array(readFileSync(image));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a ROM has to print, without the remarks that mark hand-written lines. */
export function expectedLines(rom: string): string[] {
  const text = readFileSync(join(FOLDER, rom.replace(/asm$/, "expected")), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/ {2}; .*$/, ""));
}
