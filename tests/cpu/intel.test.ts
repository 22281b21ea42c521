// What vendors.ts changes or masks on other vendors' CPUs, tried on both tiers without a host: the model does as
// Intel's manual says, or as Intel's CPUs were seen to do where it is silent.

import { describe, expect, test } from "vitest";
import { BINDING } from "./binding.ts";
import { CODE_END, type CpuCase, type CpuResult, DATA_BASE, DATA_SIZE, FLAG, FXSAVE, windowByte } from "./subject.ts";

const [RAX, RCX, RDX, RSP, RSI, RDI, R8] = [0, 1, 2, 4, 6, 7, 8];
const NOWHERE = 0x5000_0000n;
const NOT_CANONICAL = 0x0000_8000_0000_0000n;
const DATA_END = DATA_BASE + BigInt(DATA_SIZE);
const FCW_ALL_MASKED = 0x037f;

interface Situation {
  readonly gpr?: Readonly<Record<number, bigint>>;
  readonly flags?: bigint;
  readonly codeSize?: 32;
  readonly fcw?: number;
  readonly ftw?: number;
  readonly patch?: readonly [offset: number, bytes: readonly number[]];
  readonly isRunToItsEnd?: boolean;
}

interface Expectation {
  readonly what: string;
  readonly code: readonly number[];
  readonly given?: Situation;
  readonly check: (result: CpuResult, input: CpuCase) => void;
}

function caseOf({ what, code, given = {} }: Expectation): CpuCase {
  const gpr = new BigUint64Array(16).fill(DATA_BASE + 0x800n);
  for (const [register, value] of Object.entries(given.gpr ?? {})) gpr[Number(register)] = value;
  const fxsave = new Uint8Array(512);
  const view = new DataView(fxsave.buffer);
  view.setUint16(FXSAVE.FCW, given.fcw ?? FCW_ALL_MASKED, true);
  view.setUint32(FXSAVE.MXCSR, 0x1f80, true);
  view.setUint8(FXSAVE.FTW, given.ftw ?? 0xff);
  for (let i = 0; i < 8; i++) {
    view.setBigUint64(FXSAVE.ST + 16 * i, 0xc000_0000_0000_0001n, true);
    view.setUint16(FXSAVE.ST + 16 * i + 8, 0x3fff + i, true);
  }
  return {
    origin: what,
    code: Uint8Array.from(code),
    rip: CODE_END - BigInt(code.length),
    untilDone: given.isRunToItsEnd ?? false,
    codeSize: given.codeSize,
    rflags: (given.flags ?? 0n) | FLAG.TF | FLAG.IF | 2n,
    gpr,
    fxsave,
    patches: given.patch ? [{ offset: given.patch[0], bytes: Uint8Array.from(given.patch[1]) }] : [],
  };
}

const image = ({ fxsave }: CpuResult): DataView => new DataView(fxsave.buffer, fxsave.byteOffset, 512);
const vectorOf = ({ exception }: CpuResult): number | null => exception?.vector ?? null;
const word = (offset: number, of: (offset: number) => number): bigint =>
  Array.from({ length: 8 }, (_, i) => BigInt(of(offset + i)) << BigInt(8 * i)).reduce((all, byte) => all | byte);

const EXPECTATIONS: readonly Expectation[] = [
  {
    what: "FADD keeps its address in FIP without an exception, too (SDM volume 1, 8.1.8)",
    code: [0xd8, 0xc1],
    check: (result, input) => expect(image(result).getBigUint64(FXSAVE.FIP, true)).toBe(input.rip),
  },
  {
    what: "FXSAVE's MXCSR_MASK is FFFFh (SDM volume 1, 11.6.6)",
    code: [0x0f, 0xae, 0x00],
    check: ({ writes }) => expect(writes.get(0x818)).toBe(0x0000_ffff_0000_1f80n),
  },
  {
    what: "FXRSTOR64 loads FDP as it is",
    code: [0x48, 0x0f, 0xae, 0x08],
    given: {
      patch: [
        0x800,
        [0x7f, 3, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 0xf1, 0x80, 0x1f, 0, 0],
      ],
    },
    check: (result) => expect(image(result).getBigUint64(FXSAVE.FDP, true)).toBe(0xf107_0605_0403_0201n),
  },
  {
    what: "the single step between two iterations pushes RF set (SDM volume 3, 17.3.1.1)",
    code: [0xf3, 0xa4],
    given: { gpr: { [RCX]: 2n } },
    check: (result, input) => {
      expect([result.rip, result.gpr[RCX]]).toEqual([input.rip, 1n]);
      expect(result.rflags & FLAG.RF).toBe(FLAG.RF);
    },
  },
  {
    what: "REP SCAS that faults leaves the flags as they were (SDM volume 2, REP)",
    code: [0xf2, 0xae],
    given: {
      gpr: { [RCX]: 3n, [RDI]: DATA_END - 1n, [RAX]: BigInt(windowByte(DATA_SIZE - 1)) + 1n },
      flags: FLAG.CF | FLAG.OF | FLAG.ZF,
      isRunToItsEnd: true,
    },
    check: (result, input) => {
      expect([vectorOf(result), result.gpr[RCX]]).toEqual([14, 2n]);
      expect(result.rflags & ~FLAG.RF).toBe(input.rflags);
    },
  },
  {
    what: "REP STOS with 32-bit addresses and a count of zero clears the upper halves",
    code: [0x67, 0xf3, 0xaa],
    given: { gpr: { [RCX]: 0xffff_ffff_0000_0000n, [RDI]: 0x1234_5678_3000_0000n } },
    check: ({ gpr }) => expect([gpr[RCX], gpr[RDI]]).toEqual([0n, 0x3000_0000n]),
  },
  {
    what: "of CMPS's operands that are both missing, ES:DI is reported",
    code: [0xa6],
    given: { gpr: { [RSI]: NOWHERE, [RDI]: NOWHERE + 0x1000n } },
    check: (result) => expect(result.exception?.cr2).toBe(NOWHERE + 0x1000n),
  },
  {
    what: "CALL to an address that is not canonical has pushed the return address",
    code: [0xff, 0xd0],
    given: { gpr: { [RAX]: NOT_CANONICAL } },
    check: (result, input) => {
      expect([vectorOf(result), result.rip, result.gpr[RSP]]).toEqual([13, input.rip, input.gpr[RSP]]);
      expect(result.writes.get(0x7f8)).toBe(CODE_END);
    },
  },
  {
    what: "a store of an MMX register that faults has set TOP and tags",
    code: [0x0f, 0x7f, 0x08],
    given: { gpr: { [RAX]: NOWHERE } },
    check: (result) => {
      expect(vectorOf(result)).toBe(14);
      expect(image(result).getUint16(FXSAVE.FSW, true) & 0x3800).toBe(0);
    },
  },
  {
    what: "FSTP m80 into a missing page has stored eight bytes",
    code: [0xdb, 0x38],
    given: { gpr: { [RAX]: DATA_END - 8n } },
    check: (result) => {
      expect(vectorOf(result)).toBe(14);
      expect(result.writes.get(DATA_SIZE - 8)).toBe(0xc000_0000_0000_0001n);
    },
  },
  {
    what: "an x87 store that has an unmasked exception does not look at its address (SDM volume 1, 8.7)",
    code: [0xdf, 0x10],
    given: { gpr: { [RAX]: NOT_CANONICAL }, fcw: FCW_ALL_MASKED & ~1, ftw: 0 },
    check: (result) => {
      expect(vectorOf(result)).toBeNull();
      expect(image(result).getUint16(FXSAVE.FSW, true) & 0x80c1).toBe(0x80c1);
    },
  },
  {
    what: "66h does nothing to a near jump in 64-bit mode (SDM volume 2, JMP)",
    code: [0x66, 0xeb, 0x10],
    check: ({ rip }) => expect(rip).toBe(CODE_END + 0x10n),
  },
  {
    what: "66h does nothing to a near call in 64-bit mode (SDM volume 2, CALL)",
    code: [0x66, 0xe8, 0x10, 0, 0, 0],
    check: ({ rip, gpr, writes }) => {
      expect([rip, gpr[RSP]]).toEqual([CODE_END + 0x10n, DATA_BASE + 0x7f8n]);
      expect(writes.get(0x7f8)).toBe(CODE_END);
    },
  },
  {
    what: "UD1 has a ModRM byte, which has to be fetched (SDM volume 2, UD)",
    code: [0x0f, 0xb9],
    check: (result) => expect(vectorOf(result)).toBe(14),
  },
  {
    what: "F3 90 is PAUSE with REX.B, too (SDM volume 2, PAUSE)",
    code: [0xf3, 0x49, 0x90],
    given: { gpr: { [RAX]: 1n, [R8]: 2n } },
    check: ({ gpr }) => expect([gpr[RAX], gpr[R8]]).toEqual([1n, 2n]),
  },
  {
    what: "F3 does nothing to LOOPNE",
    code: [0xf3, 0xe0, 0x10],
    given: { gpr: { [RCX]: 5n }, flags: FLAG.ZF },
    check: ({ rip }) => expect(rip).toBe(CODE_END),
  },
  {
    what: "SYSRET is #UD in compatibility mode (SDM volume 2, SYSRET)",
    code: [0x0f, 0x07],
    given: { codeSize: 32 },
    check: (result) => expect(vectorOf(result)).toBe(6),
  },
  {
    what: "LOCK MOV to CR0 is #UD (SDM volume 2, MOV to control registers)",
    code: [0xf0, 0x0f, 0x22, 0xc0],
    check: (result) => expect(vectorOf(result)).toBe(6),
  },
  {
    what: "MOVSXD of 16 bits reads 16 bits (SDM volume 2, MOVSXD)",
    code: [0x66, 0x63, 0x10],
    given: { gpr: { [RAX]: DATA_END - 2n, [RDX]: 0n } },
    check: (result) => {
      expect(vectorOf(result)).toBeNull();
      expect(result.gpr[RDX]).toBe(BigInt(windowByte(DATA_SIZE - 2)) | (BigInt(windowByte(DATA_SIZE - 1)) << 8n));
    },
  },
  {
    what: "PUSH FS of 32 bits writes 16 (SDM volume 2, PUSH)",
    code: [0x0f, 0xa0],
    given: { codeSize: 32 },
    check: ({ gpr, writes }) => {
      expect(gpr[RSP]).toBe(DATA_BASE + 0x7fcn);
      expect(writes.get(0x7f8)).toBe(word(0x7f8, (at) => (at === 0x7fc || at === 0x7fd ? 0 : windowByte(at))));
    },
  },
  {
    what: "a 16-byte access that may be unaligned is not checked for alignment by two bytes",
    code: [0x0f, 0x10, 0x00],
    given: { gpr: { [RAX]: DATA_BASE + 0x802n }, flags: FLAG.AC },
    check: (result) => expect(vectorOf(result)).toBeNull(),
  },
];

for (const [name, build] of Object.entries(BINDING.subjects))
  describe(name, async () => {
    const subject = await build();
    test.each(EXPECTATIONS)("$what", (expectation) => {
      const input = caseOf(expectation);
      expectation.check(subject.step(input), input);
    });
  });
