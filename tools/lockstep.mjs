// Steps one guest on two tiers of the CPU and prints the first difference of state, with disassembly.
//
//   npm run lockstep -- --hex "48 31 c0 f4"                  raw 64-bit code, at CPL 0, ended by hlt
//   npm run lockstep -- --code FILE
//   npm run lockstep -- --kernel FILE [--initrd FILE] [--append STR] [--memory 128M] [--instructions N] [--stride N]
//
// Status: 0 no difference, 1 a difference, 2 bad usage.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const USAGE = `usage: npm run lockstep -- --hex BYTES | --code FILE | --kernel FILE [--initrd FILE] [--append STR]
  --memory SIZE       of the machine (default 128M)
  --instructions N    to run at most (default 1000000)
  --stride N          between two comparisons (default 1000)
  --random SEED       comparisons at distances by chance, of --stride on average
  --tiers A,B         two of interp, evaluator, jit (translated at the first execution), auto (default interp,evaluator)`;

const core = (path) => import(new URL(`../packages/core/dist/${path}.js`, import.meta.url).href);
const TSC_HZ = 1_000_000_000;
const SIZE_UNITS = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

class UsageError extends Error {}

function sizeOf(text) {
  const [, digits, unit] = /^(\d+)([KMG]?)$/i.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`--memory "${text}": give a size, for example 128M`);
  return Number(digits) * SIZE_UNITS[unit.toUpperCase()];
}

function countOf(name, text) {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new UsageError(`--${name} "${text}": give a whole number, at least 1`);
  return count;
}

function hexBytes(text) {
  const digits = text.replace(/[\s,]|0x/g, "");
  if (!/^([0-9a-f]{2})+$/i.test(digits)) throw new UsageError(`--hex "${text}": give bytes, for example "48 31 c0 f4"`);
  return Uint8Array.from(Buffer.from(digits, "hex"));
}

function readOption(name, path) {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new UsageError(`--${name}: cannot read ${path}: ${error.message}`);
  }
}

/** What the engine of each tier is made with. */
async function tiersOf(text) {
  const { createEvaluatorCore } = await core("interp/evaluator-cpu");
  const known = {
    interp: { tier: "interp" },
    evaluator: { createCore: createEvaluatorCore },
    jit: { tier: "jit" },
    auto: { tier: "auto" },
  };
  const names = text.split(",");
  if (names.length !== 2 || names.some((name) => !Object.hasOwn(known, name)))
    throw new UsageError(`--tiers "${text}": give two of ${Object.keys(known).join(", ")}`);
  return names.map((name) => [name, known[name]]);
}

/** Distances from 1 to twice the stride, the same for the same seed. */
function randomStrides(seed, stride) {
  let state = countOf("random", seed) >>> 0;
  return () => {
    // Numerical Recipes' generator, high bits.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return 1 + Math.floor((state / 2 ** 32) * (2 * stride - 1));
  };
}

async function codePair(code, tiers) {
  const { JitEngine } = await core("engine/jit-engine");
  const { CODE_MEMORY_BYTES, codeExecution } = await core("lockstep/code-execution");
  const options = { memoryBytes: CODE_MEMORY_BYTES, tscFrequencyHz: TSC_HZ };
  return () => tiers.map(([name, tier]) => codeExecution(name, new JitEngine({ ...options, ...tier }), code));
}

async function machinePair({ kernel, initrd, append, memory }, tiers) {
  const { JitEngine } = await core("engine/jit-engine");
  const { ramOf } = await core("lockstep/code-execution");
  const { machineExecution } = await core("lockstep/machine-execution");
  const { createBoard } = await core("machine/board");
  const { Machine } = await core("machine/machine");
  const { machineSpec } = await core("machine/spec");
  const files = { kernel: readOption("kernel", kernel), ...(initrd && { initrd: readOption("initrd", initrd) }) };
  // The files' contents are given to the board; nothing here looks at their hashes.
  const reference = (bytes) => ({ sha256: "0".repeat(64), sizeBytes: bytes.length });
  const spec = machineSpec({
    memoryBytes: sizeOf(memory),
    clock: "virtual",
    boot: {
      kernel: reference(files.kernel),
      ...(files.initrd && { initrd: reference(files.initrd) }),
      commandLine: append,
    },
  });
  const make = ([name, tier]) => {
    const { memoryBytes, tscFrequencyHz } = spec;
    const engine = new JitEngine({ memoryBytes, tscFrequencyHz, ...tier });
    const { memory: ram } = engine;
    const board = (wiring) => createBoard(wiring, files);
    const machine = new Machine({ spec, memory: ram, engine, createBoard: board, output: () => {} });
    return machineExecution(name, machine, ramOf(engine));
  };
  return () => tiers.map(make);
}

async function main() {
  const { values } = parseArgs({
    options: {
      hex: { type: "string" },
      code: { type: "string" },
      kernel: { type: "string" },
      initrd: { type: "string" },
      append: { type: "string", default: "console=ttyS0 nokaslr" },
      memory: { type: "string", default: "128M" },
      instructions: { type: "string", default: "1000000" },
      stride: { type: "string", default: "1000" },
      random: { type: "string" },
      tiers: { type: "string", default: "interp,evaluator" },
    },
  });
  const { hex, code, kernel } = values;
  const guests = [hex, code, kernel].filter((guest) => guest !== undefined);
  if (guests.length !== 1) throw new UsageError("give one guest: --hex, --code or --kernel");
  const instructions = countOf("instructions", values.instructions);
  const mean = countOf("stride", values.stride);
  const stride = values.random === undefined ? mean : randomStrides(values.random, mean);
  const tiers = await tiersOf(values.tiers);
  const raw = hex !== undefined ? hexBytes(hex) : code !== undefined ? readOption("code", code) : undefined;
  const make = raw ? await codePair(raw, tiers) : await machinePair(values, tiers);
  const { findDifference, formatLockstep } = await core("lockstep/find-difference");
  const onProgress = (retired) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${retired} instructions`);
  };
  const report = findDifference({ make, instructions, stride, onProgress });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(formatLockstep(report));
  return report.differences.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage = error instanceof UsageError || error.code?.startsWith("ERR_PARSE_ARGS");
  console.error(isUsage ? `lockstep: ${error.message}\n${USAGE}` : error);
  process.exitCode = isUsage ? 2 : 1;
}
