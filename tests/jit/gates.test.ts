// What translation costs, without a clock: figures of the engine that depend on the guest alone, because translation
// happens between two slices of fixed length. How soon V8 optimises the core is a matter of its functions' sizes
// (interp/core.test.ts). Each bound is about a quarter above what was measured.

import { expect, test } from "vitest";
import { JitEngine } from "../../packages/core/src/engine/jit-engine.ts";
import { CODE_MEMORY_BYTES, codeExecution } from "../../packages/core/src/lockstep/code-execution.ts";
import { linuxFiles } from "./linux-files.ts";
import { runToEnd, tierMachine } from "./tier-machine.ts";

/** mov ecx, 2^24; xor eax, eax; L: add rax, rcx; adc rbx, 1; mov [0x8000], rax; dec ecx; jnz L; hlt */
const LOOP = "b900000001 31c0 4801c8 4883d301 4889042500800000 ffc9 75ed f4";
const SLICE = 50_000;

const figure = (stats: Readonly<Record<string, number>>, name: string): number => stats[name] ?? Number.NaN;

test("a hot loop is translated soon, and then left to its region", () => {
  const options = { memoryBytes: CODE_MEMORY_BYTES, tscFrequencyHz: 1e9, sharedMemory: false, tier: "auto" } as const;
  const engine = new JitEngine(options);
  const code = Uint8Array.from(Buffer.from(LOOP.replaceAll(" ", ""), "hex"));
  const execution = codeExecution("loop", engine, code);
  for (let at = SLICE; at < 10_000_000; at += SLICE) execution.advance(at);
  const interpreted = execution.retired - figure(engine.stats(), "instructionsInRegions");
  expect(interpreted).toBeLessThan(150_000);
});

test("a boot of Linux", { timeout: 120_000 }, async ({ skip }) => {
  const files = await linuxFiles();
  if ("missing" in files) return skip(files.missing);
  const { machine, engine } = tierMachine(files, { tier: "auto" });
  machine.start();
  expect(runToEnd(machine)).toEqual({ kind: "stopped", state: "off" });
  const stats = engine.stats();
  const { retired } = machine.vcpu;
  const instructions = figure(stats, "regionInstructions");
  const figures = {
    bytesPerInstruction: figure(stats, "regionBytes") / instructions,
    regions: figure(stats, "regionsTranslated"),
    interpretedShare: 1 - figure(stats, "instructionsInRegions") / retired,
    instructionsPerEntry: figure(stats, "instructionsInRegions") / figure(stats, "regionEntries"),
    tlbMissesPerThousand: (1000 * figure(stats, "tlbMisses")) / retired,
    codeDrops: figure(stats, "codeDrops"),
  };
  console.log(`${retired} instructions, ${JSON.stringify(stats)}\n${JSON.stringify(figures)}`);
  expect(figures.bytesPerInstruction).toBeLessThan(80);
  expect(figures.regions).toBeLessThan(900);
  expect(figures.interpretedShare).toBeLessThan(0.09);
  expect(figures.instructionsPerEntry).toBeGreaterThan(150);
  expect(figures.tlbMissesPerThousand).toBeLessThan(1.05);
  expect(figures.codeDrops).toBeLessThan(1100);
});
