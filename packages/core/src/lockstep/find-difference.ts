/**
 * Runs two executions side by side and finds the instruction after which their states first differ: by strides, then,
 * from the last stride's beginning, one by one.
 */
import type { VcpuState } from "../cpu/state.ts";
import { Decoder } from "../isa/decoder.ts";
import { disassemble } from "../isa/disassembler.ts";
import { RECORDS } from "../isa/record.ts";
import { compareMemory, compareStates, type Difference } from "./difference.ts";
import type { Execution, MakePair } from "./execution.ts";
import { codeAt, codeSizeOf } from "./guest-code.ts";

export interface LockstepOptions {
  readonly make: MakePair;
  /** Instructions to run at most. */
  readonly instructions: number;
  /** Instructions between two comparisons while all is well; a function is asked each time. */
  readonly stride?: number | (() => number);
  readonly onProgress?: (retired: number) => void;
}

export interface LockstepReport {
  /** Instructions after which the states were equal. */
  readonly equalUpTo: number;
  /** Both guests ended, alike. */
  readonly ended: boolean;
  /** Empty: no difference was found. */
  readonly differences: readonly Difference[];
  readonly names: readonly [string, string];
  /** The instruction that made the difference, and the state before it. */
  readonly instruction?: string;
  readonly before?: VcpuState;
}

const DEFAULT_STRIDE = 1000;
/** All of memory is compared after this many strides, and before an instruction is blamed. */
const STRIDES_PER_MEMORY = 256;

interface Step {
  readonly ended: boolean;
  readonly differences: readonly Difference[];
}

function step(pair: readonly [Execution, Execution], target: number, withMemory: boolean): Step {
  const [first, second] = pair;
  const went = first.advance(target);
  const wentToo = second.advance(target);
  const differences = [
    ...(went === wentToo ? [] : [{ field: "goes on", first: String(went), second: String(wentToo) }]),
    ...compareStates(first.state(), second.state()),
    ...(withMemory ? compareMemory(first.ram, second.ram) : []),
  ];
  return { ended: !went, differences };
}

export function findDifference(options: LockstepOptions): LockstepReport {
  const { instructions, stride = DEFAULT_STRIDE } = options;
  const length = typeof stride === "number" ? () => stride : stride;
  const pair = options.make();
  const names = [pair[0].name, pair[1].name] as const;
  const start = pair[0].retired;
  let done = 0;
  // The last count at which memory was equal, too.
  let sure = 0;
  for (let strides = 1; done < instructions; strides++) {
    const target = Math.min(instructions, done + length());
    const withMemory = strides % STRIDES_PER_MEMORY === 0 || target === instructions;
    const { ended, differences } = step(pair, start + target, withMemory);
    if (differences.length > 0) return blame(options, names, sure, target);
    done = ended ? pair[0].retired - start : target;
    if (ended) {
      const inMemory = compareMemory(pair[0].ram, pair[1].ram);
      if (inMemory.length > 0) return blame(options, names, sure, done);
      return { equalUpTo: done, ended: true, differences: [], names };
    }
    if (withMemory) sure = done;
    options.onProgress?.(done);
  }
  return { equalUpTo: done, ended: false, differences: [], names };
}

/** Runs again to `from`, where all was equal, and then one instruction at a time, at most to `to`. */
function blame(options: LockstepOptions, names: readonly [string, string], from: number, to: number): LockstepReport {
  const pair = options.make();
  const start = pair[0].retired;
  if (from > 0) step(pair, start + from, false);
  let isCoarse = true;
  // Comparing all of memory after each instruction is slow: first find the stretch, then the instruction.
  let at = from;
  const stretch = Math.max(1, Math.floor((to - from) / 64));
  while (isCoarse && at + stretch < to) {
    if (step(pair, start + at + stretch, true).differences.length > 0) isCoarse = false;
    else at += stretch;
  }
  const again = options.make();
  if (at > 0) step(again, start + at, false);
  while (at <= to) {
    const before = again[0].state();
    const code = codeAt(again[0].ram, before);
    const { ended, differences } = step(again, start + at + 1, true);
    if (differences.length > 0) {
      return { equalUpTo: at, ended: false, differences, names, before, instruction: describe(code, before) };
    }
    if (ended) break;
    at++;
  }
  const field = "a difference was seen that does not come back: an execution is not deterministic";
  return { equalUpTo: at, ended: false, differences: [{ field, first: "", second: "" }], names };
}

let decoder: Decoder | undefined;

function describe(code: Uint8Array, state: VcpuState): string {
  decoder ??= new Decoder(RECORDS);
  const status = decoder.decode(code, 0, code.length, codeSizeOf(state));
  const length = status === "ok" ? decoder.length : code.length;
  const bytes = Array.from(code.subarray(0, length), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const text = status === "ok" ? disassemble(decoder, state.rip) : `(${status})`;
  return `${state.cs.selector.toString(16)}:${state.rip.toString(16)}  ${bytes}  ${text}`;
}

export function formatLockstep(report: LockstepReport): string {
  const { names, differences, before } = report;
  if (differences.length === 0) {
    const end = report.ended ? ", where the guest ended" : "";
    return `${names.join(" and ")} agree for ${report.equalUpTo} instructions${end}`;
  }
  const lines = [`${names.join(" and ")} agree for ${report.equalUpTo} instructions, then differ`];
  if (report.instruction) lines.push(`after  ${report.instruction}`);
  if (before) {
    const gpr = before.gpr.map((value, i) => `${i.toString().padStart(2)}:${value.toString(16).padStart(16, "0")}`);
    for (let i = 0; i < 16; i += 4) lines.push(`  ${gpr.slice(i, i + 4).join("  ")}`);
    lines.push(`  rflags ${before.rflags.toString(16)}  cr3 ${before.cr3.toString(16)}`);
  }
  const width = Math.max(...names.map((name) => name.length));
  for (const { field, first, second } of differences) {
    lines.push(`${field}`, `  ${names[0].padEnd(width)} ${first}`, `  ${names[1].padEnd(width)} ${second}`);
  }
  return lines.join("\n");
}
