// Runs a ROM image on one tier of the CPU, without a board but for what the ROMs print to port E9H.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { JitEngine, type JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";
import { resetState } from "../../packages/core/src/engine/vcpu-state-block.ts";

export const ROMS_FOLDER = process.env["TWINMETAL_ROMS"] ?? dirname(fileURLToPath(import.meta.url));
const INCLUDES = dirname(fileURLToPath(import.meta.url));
const ROM_BYTES = 0x10000;
/** Where the image lies in RAM: the same code as at the top of 4 GiB. */
const ROM_AT = 0xf0000;
const MEMORY_BYTES = 32 << 20;
const DEBUG_PORT = 0xe9;
/** The ROMs are short: more than this is a loop. */
const MOST_INSTRUCTIONS = 300_000;
const END = "END\n";

/** Assembles a source to its image. Throws with nasm's messages. */
export function assemble(source: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-rom-"));
  const image = join(folder, "rom.bin");
  try {
    execFileSync("nasm", ["-f", "bin", "-I", `${INCLUDES}/`, "-o", image, source], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    return new Uint8Array(readFileSync(image));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface RomRun {
  /** What was printed, line by line. */
  readonly lines: readonly string[];
  /** How it ended: at its last line, "shutdown" after a triple fault, "halted" with interrupts off, or never. */
  readonly end: "END" | "shutdown" | "halted" | "endless";
  readonly instructions: number;
}

/** Runs an image from its reset vector to its last line. */
export function runRom(image: Uint8Array, createCore?: JitEngineOptions["createCore"]): RomRun {
  if (image.length !== ROM_BYTES) throw new RangeError(`an image of ${image.length} bytes`);
  const engine = new JitEngine({
    memoryBytes: MEMORY_BYTES,
    cpuFeatures: ["invpcid", "pcid", "smap", "umip"],
    tscFrequencyHz: 1e9,
    sharedMemory: false,
    ...(createCore ? { createCore } : {}),
  });
  engine.memory.write(ROM_AT, image);
  let printed = "";
  const vcpu = engine.createVcpu(0, {
    readPort: () => 0xff,
    writePort: (port, _size, value) => {
      if (port !== DEBUG_PORT) return;
      printed += String.fromCharCode(value & 0xff);
      if (printed.endsWith(END)) vcpu.kick();
    },
    readMmio: () => 0xffffffff,
    writeMmio: () => {},
    readMsr: () => undefined,
    writeMsr: () => false,
    readTsc: (retired) => BigInt(retired),
  });
  const reset = resetState(0);
  vcpu.setState({ ...reset, cs: { ...reset.cs, base: BigInt(ROM_AT) } });
  const lines = (): string[] => printed.split("\n").slice(0, -1);
  while (vcpu.retired < MOST_INSTRUCTIONS) {
    const { reason } = vcpu.run(100_000);
    if (printed.endsWith(END)) return { lines: lines(), end: "END", instructions: vcpu.retired };
    if (reason === "shutdown" || reason === "halt")
      return { lines: lines(), end: reason === "halt" ? "halted" : reason, instructions: vcpu.retired };
  }
  return { lines: lines(), end: "endless", instructions: vcpu.retired };
}
