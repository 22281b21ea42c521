/** The bare guest of litmus.asm: assembled, run on vCPUs in parallel, and what it has counted. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createVm, type VmOptions } from "../../../packages/host/src/index.ts";
import { bareKernel } from "../bare-kernel.ts";

const SOURCE = fileURLToPath(new URL("litmus.asm", import.meta.url));
/** The three numbers behind the first jump. */
const PARAMETERS_AT = 8;

export interface LitmusOptions extends Pick<VmOptions, "tier" | "smp"> {
  readonly cpus: number;
  /** Of each litmus test, and of the counters' loop. */
  readonly rounds: number;
  readonly loops: number;
}

export interface LitmusResult {
  /** Outcomes that x86 forbids, but for the first one: store buffering without a fence. */
  readonly weak: readonly number[];
  readonly counters: readonly number[];
}

/** What the counters have to be. */
export function expectedCounters({ cpus, loops }: LitmusOptions): readonly number[] {
  const all = cpus * loops;
  const hard = cpus * Math.floor(loops / 64);
  return [all, all, all, all, hard, hard, hard, 3 * hard, all % 256];
}

/** `folder`: for its files. */
export async function runLitmus(folder: string, options: LitmusOptions): Promise<LitmusResult> {
  const { cpus, rounds, loops, tier = "auto", smp = "parallel" } = options;
  const image = join(folder, "litmus.bin");
  execFileSync("nasm", ["-f", "bin", "-o", image, SOURCE], { encoding: "utf8" });
  const code = readFileSync(image);
  for (const [i, number] of [rounds, loops, cpus].entries()) code.writeUInt32LE(number, PARAMETERS_AT + 4 * i);
  const kernel = join(folder, `litmus-${cpus}-${tier}-${smp}`);
  writeFileSync(kernel, bareKernel([...code]));
  await using vm = await createVm({ kernel, memoryBytes: 16 * 2 ** 20, engine: "jit", cpus, tier, smp });
  const text = vm.serial.waitFor(/\n.*\n/, { timeoutMs: 600_000 });
  await vm.start();
  const [weak = [], counters = []] = (await text).trim().split("\n").map(numbersOf);
  return { weak, counters };
}

const numbersOf = (line: string): number[] =>
  line
    .trim()
    .split(" ")
    .map((word) => Number.parseInt(word, 16));
