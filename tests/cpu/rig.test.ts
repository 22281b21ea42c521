// Proves the rig itself, without the CPU it is for: the host agrees with itself, planted differences of every kind are
// seen, a small ALU written out by hand agrees with the host, and masks hide only what the manual leaves undefined.

import * as iced from "iced-x86";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { maskedFields } from "./compare.ts";
import { compareDecoders, type DecodeFunction, DecoderOracle, STRING_LENGTH } from "./decoder.ts";
import { disassemble } from "./disassembly.ts";
import { FIELDS } from "./fields.ts";
import { CASES_PER_FORM, type CaseAdapter, CaseGenerator, type GeneratedCase } from "./generate.ts";
import { HostCpu, hostCpuMissing } from "./host-cpu.ts";
import { runMutations } from "./mutate.ts";
import { type CpuCase, type CpuResult, type CpuSubject, changedWords, FLAG, initialWindow } from "./subject.ts";
import { formatReport, MASKED_SHARE_LIMIT, maskedShare, runSuite } from "./suite.ts";
import { type TinyAluBugs, tinyAlu, tinyAluFilter } from "./tiny-alu.ts";
import { adapted, VENDORS } from "./vendors.ts";

const BASE = "INTEL8086 INTEL186 INTEL286 INTEL386 INTEL486 X64 CMOV CX8 CMPXCHG16B SSE SSE2 FXSR PAUSE MULTIBYTENOP";
const FEATURES: ReadonlySet<string> = new Set(`${BASE} FPU FPU287 FPU387 MMX`.split(" "));
const CASES = 20_000;
const missing = hostCpuMissing();
if (missing !== null) console.warn(`CPU rig skipped: ${missing}`);

/** Gives back results that were recorded, in order, each changed by `change`. */
function replay(name: string, results: readonly CpuResult[], change = (result: CpuResult) => result): CpuSubject {
  let next = 0;
  return { name, step: () => change(results[next++]!) };
}

describe("generator", () => {
  test("the same seed makes the same cases, another seed others", () => {
    const text = (seed: string): string => {
      const hash: string[] = [];
      for (const { input } of new CaseGenerator(seed, { features: new Set(["INTEL8086"]) }).cases(1)) {
        hash.push(disassemble(input.code, input.rip), input.gpr.join(), input.rflags.toString());
      }
      return hash.join("\n");
    };
    expect(text("a")).toBe(text("a"));
    expect(text("a")).not.toBe(text("b"));
  });

  test("every form gets its ten cases", () => {
    const generator = new CaseGenerator("forms", { features: FEATURES });
    const counts = new Map(generator.forms.map((form) => [form, 0]));
    for (const { form } of generator.cases(1)) if (form !== null) counts.set(form, counts.get(form)! + 1);
    expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(CASES_PER_FORM);
    expect(counts.size).toBeGreaterThan(1000);
  });
});

describe.skipIf(missing !== null)("host", () => {
  let host: HostCpu;
  let adapt: CaseAdapter;
  let cases: GeneratedCase[];
  let recorded: CpuResult[];
  beforeAll(async () => {
    host = new HostCpu();
    adapt = (made) => adapted(made, host.vendor);
    cases = [...new CaseGenerator("rig", { features: FEATURES }, adapt).cases(CASES)];
    recorded = await host.run(cases.map(({ input }) => input));
  });
  afterAll(() => host?.close());

  const suite = (subject: CpuSubject) =>
    runSuite({ host, subject, seed: "rig", cases: CASES, filter: { features: FEATURES } });

  test("two runs agree in every field of every case, and the masks stay small", async () => {
    expect(recorded.filter(({ unobserved }) => unobserved !== undefined)).toEqual([]);
    const report = await suite(replay("host again", recorded));
    console.log(formatReport(report));
    expect(report.details).toEqual([]);
    expect(report.cases).toBeGreaterThanOrEqual(CASES);
    expect(maskedShare(report)).toBeLessThanOrEqual(MASKED_SHARE_LIMIT);
  });

  test("cases complete, fault in every way that user mode can, and write memory", () => {
    const vectors = new Map<number, number>();
    for (const { exception } of recorded) {
      const vector = exception?.vector ?? -1;
      vectors.set(vector, (vectors.get(vector) ?? 0) + 1);
    }
    expect([...vectors.keys()].sort((a, b) => a - b)).toEqual([-1, 0, 3, 4, 6, 12, 13, 14, 16, 17, 19]);
    expect(vectors.get(-1)! / recorded.length).toBeGreaterThan(0.75);
    expect(recorded.filter(({ writes }) => writes.size > 0).length).toBeGreaterThan(recorded.length / 20);
  });

  test("a difference in any field is seen", async () => {
    const options = {
      host,
      seed: "few",
      cases: 1,
      filter: { features: FEATURES, mnemonics: new Set(["adc", "pxor"]) },
    };
    const few = await host.run([...new CaseGenerator("few", options.filter, adapt).cases(1)].map(({ input }) => input));
    const kinds: [string, (result: CpuResult) => CpuResult][] = [
      ["vector", (r) => ({ ...r, exception: r.exception === null ? { vector: 13, errorCode: 0, cr2: 0n } : null })],
      ["RIP", (r) => ({ ...r, rip: r.rip + 1n })],
      ["R13", (r) => ({ ...r, gpr: r.gpr.with(13, r.gpr[13]! ^ (1n << 63n)) })],
      ["DF", (r) => ({ ...r, rflags: r.rflags ^ FLAG.DF })],
      ["XMM15", (r) => ({ ...r, fxsave: r.fxsave.with(160 + 255, r.fxsave[160 + 255]! ^ 1) })],
      ["MXCSR", (r) => ({ ...r, fxsave: r.fxsave.with(24, r.fxsave[24]! ^ 32) })],
      ["memory", (r) => ({ ...r, writes: new Map([...r.writes, [8, 0x1234n]]) })],
    ];
    for (const [field, change] of kinds) {
      const report = await runSuite({ ...options, subject: replay(field, few, change) });
      expect(report.mismatches, field).toBe(report.cases);
      expect(report.details[0]).toContain(field);
    }
  });

  test("masked flags are flags that iced calls undefined too", () => {
    const names = new Set(["CF", "PF", "AF", "ZF", "SF", "OF"]);
    let checked = 0;
    const withoutVendor = VENDORS.get("GenuineIntel")!;
    for (const [i, made] of cases.entries()) {
      const masked = [...maskedFields(made, recorded[i]!, withoutVendor).keys()].filter((name) => names.has(name));
      if (masked.length === 0) continue;
      const decoder = new iced.Decoder(
        64,
        made.input.code,
        iced.DecoderOptions.NoMPFX_0FBC | iced.DecoderOptions.NoMPFX_0FBD,
      );
      const instruction = decoder.decode();
      const undefinedFlags = instruction.rflagsUndefined;
      const mnemonic = made.form!.mnemonic;
      // iced takes counts modulo the width where the manual does not.
      const isShift = /^(shl|sal|shr|shld|shrd|rcl|rcr)$/.test(mnemonic);
      for (const name of masked) {
        const bit = iced.RflagsBits[name as keyof typeof iced.RflagsBits];
        if (!isShift) expect(undefinedFlags & bit, `${mnemonic} ${name}`).not.toBe(0);
        checked++;
      }
      instruction.free();
      decoder.free();
    }
    expect(checked).toBeGreaterThan(1000);
  });

  test("a small ALU agrees with the host, and bugs planted in it are caught", async () => {
    const filter = tinyAluFilter(FEATURES);
    const report = await runSuite({ host, subject: tinyAlu({}), seed: "alu", cases: 4000, filter });
    expect(report.details.join("\n")).toBe("");
    const bugs = ["noCarryIn", "wrongOverflow", "keepsUpperHalf", "noParity"] as const;
    let planted: TinyAluBugs = {};
    const outcomes = await runMutations({
      host,
      build: () => tinyAlu(planted),
      filter,
      seed: "alu",
      cases: 2000,
      mutations: bugs.map((name) => ({
        name,
        apply: () => {
          planted = { [name]: true };
          return () => {
            planted = {};
          };
        },
      })),
    });
    expect(outcomes.filter(({ isCaught }) => !isCaught)).toEqual([]);
  });

  test("a case that kills the process is reported, and the others still run", async () => {
    const [made] = [...new CaseGenerator("kill", { features: FEATURES, codes: new Set(["Nopd"]) }).cases(1)];
    const nop = made!.input;
    const syscall: CpuCase = { ...nop, code: Uint8Array.of(0x0f, 0x05), rip: nop.rip - 1n };
    const results = await host.run([nop, syscall, nop]);
    expect(results.map(({ unobserved }) => unobserved !== undefined)).toEqual([false, true, false]);
    expect(results[0]).toEqual(results[2]);
  });
});

test("every field has a name of its own", () => {
  expect(new Set(FIELDS.map(({ name }) => name)).size).toBe(FIELDS.length);
});

test("changed words are found and keyed by their offset", () => {
  const [made] = [...new CaseGenerator("w", { features: FEATURES, codes: new Set(["Nopd"]) }).cases(1)];
  const before = initialWindow(made!.input);
  const after = before.slice();
  after[4096]! ^= 1;
  expect([...changedWords(before, after).keys()]).toEqual([4096]);
});

describe("decoder oracle", () => {
  const decode: DecodeFunction = (bytes, mode) => {
    const string = new Uint8Array(STRING_LENGTH);
    string.set(bytes);
    return [...new DecoderOracle(FEATURES).expectations(string, mode)][0]!;
  };
  const text = (bytes: number[], mode: 16 | 32 | 64 = 64): string | undefined =>
    decode(Uint8Array.from(bytes), mode, 0n)?.text;

  test("agrees with itself, and sees what differs", () => {
    const options = { features: FEATURES, mode: 64, seed: "self", count: 2000 } as const;
    const same = compareDecoders({ ...options, decode });
    expect(same.mismatches).toBe(0);
    expect(same.valid).toBeGreaterThan(same.strings / 2);
    expect(compareDecoders({ ...options, decode: () => null }).mismatches).toBe(same.valid);
    const tooLong: DecodeFunction = (bytes, mode, ip) => {
      const decoded = decode(bytes, mode, ip);
      return decoded && { ...decoded, length: decoded.length + 1 };
    };
    expect(compareDecoders({ ...options, decode: tooLong }).mismatches).toBe(same.valid);
  });

  test("features that the model lacks are invalid, or what older CPUs made of them", () => {
    expect(text([0xf3, 0x0f, 0xbc, 0xc1])).toBe("bsf eax, ecx");
    expect(text([0xf3, 0x0f, 0x1e, 0xfa])).toBe("nop edx, edi");
    expect(text([0xc5, 0xf8, 0x57, 0xc0])).toBeUndefined();
    expect(text([0x0f, 0x38, 0x00, 0xc1])).toBeUndefined();
  });

  test("writes the text that README.md promises", () => {
    expect(text([0xf0, 0x64, 0x48, 0x01, 0x4c, 0x8b, 0xf0])).toBe("lock add qword ptr fs:[rbx+rcx*4-0x10], rcx");
    expect(text([0x48, 0x83, 0xc0, 0xff])).toBe("add rax, 0xffffffffffffffff");
    expect(text([0xf3, 0xa4])).toBe("rep movsb byte ptr [rdi], byte ptr [rsi]");
    expect(text([0x8b, 0x05, 0x10, 0x00, 0x00, 0x00])).toBe("mov eax, dword ptr [rip+0x10]");
    expect(text([0x48, 0x8d, 0x04, 0x25, 0xf0, 0xff, 0xff, 0xff])).toBe("lea rax, [0xfffffffffffffff0]");
    expect(text([0x66, 0x41, 0x0f, 0xc6, 0xc1, 0x1b])).toBe("shufpd xmm0, xmm9, 0x1b");
    expect(text([0xd8, 0xc1])).toBe("fadd st0, st1");
    expect(text([0x74, 0xfe])).toBe("je 0x12345678");
    expect(text([0x26, 0x8a, 0x07], 32)).toBe("mov al, byte ptr es:[edi]");
    expect(text([0xea, 0x34, 0x12, 0x00, 0xf0], 16)).toBe("jmp 0xf000:0x1234");
  });
});
