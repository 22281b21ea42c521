import { describe, expect, it } from "vitest";
import { JitEngine } from "../engine/jit-engine.ts";
import { createEvaluatorCore } from "../interp/evaluator-cpu.ts";
import { makeHandlers } from "../isa/handlers.ts";
import { RECORDS } from "../isa/record.ts";
import { CODE_AT, CODE_MEMORY_BYTES, codeExecution } from "./code-execution.ts";
import type { MakePair } from "./execution.ts";
import { findDifference, formatLockstep } from "./find-difference.ts";

/** mov ecx, 100; xor eax, eax; L: add rax, rcx; push rax; pop rbx; adc rbx, 1; mov [0x8000], rbx; dec ecx; jnz L; hlt */
const LOOP = Uint8Array.from([
  0xb9, 100, 0, 0, 0, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0x50, 0x5b, 0x48, 0x83, 0xd3, 0x01, 0x48, 0x89, 0x1c, 0x25, 0x00,
  0x80, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xeb, 0xf4,
]);
const ADC = 6;

const OPTIONS = { memoryBytes: CODE_MEMORY_BYTES, tscFrequencyHz: 1e9, sharedMemory: false };

function pair(createCore: typeof createEvaluatorCore): MakePair {
  return () => [
    codeExecution("interpreter", new JitEngine(OPTIONS), LOOP),
    codeExecution("evaluator", new JitEngine({ ...OPTIONS, createCore }), LOOP),
  ];
}

describe("lockstep", () => {
  it("finds no difference between interpreter and evaluator", () => {
    const report = findDifference({ make: pair(createEvaluatorCore), instructions: 5000, stride: 50 });
    expect(formatLockstep(report)).toBe("interpreter and evaluator agree for 703 instructions, where the guest ended");
  });

  it("reaches as far from RIP as a displacement does", () => {
    // nop; lea rax, [rip+0x7fffffff]; hlt
    const code = Uint8Array.from([0x90, 0x48, 0x8d, 0x05, 0xff, 0xff, 0xff, 0x7f, 0xf4]);
    const execution = codeExecution("interpreter", new JitEngine(OPTIONS), code);
    execution.advance(2);
    expect(execution.state().gpr[0]).toBe(BigInt(CODE_AT) + 8n + 0x7fff_ffffn);
  });

  it("names the instruction after which the states differ", () => {
    const wrong = RECORDS.map((record) =>
      record.name === "adc" ? { ...record, semantics: RECORDS.find(({ name }) => name === "sbb")!.semantics } : record,
    );
    const handlers = makeHandlers(wrong);
    const make = pair((bytes, host, shared) => createEvaluatorCore(bytes, host, shared, handlers));
    const report = findDifference({ make, instructions: 5000, stride: 300 });
    expect(report.equalUpTo).toBe(ADC - 1);
    expect(report.instruction).toBe("8:10000c  48 83 d3 01  adc rbx, 0x1");
    expect(report.differences.map(({ field }) => field)).toContain("rbx");
    expect(formatLockstep(report)).toContain("interpreter and evaluator agree for 5 instructions, then differ");
  });
});
