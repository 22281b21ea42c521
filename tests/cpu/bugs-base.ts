// Planted bugs in the base instructions, SSE, SSE2 and MMX: mistakes that somebody could make in a record, kept small.

import { RF_DF, RF_IF, RF_TF } from "../../packages/core/src/cpu/flags.ts";
import * as L from "../../packages/core/src/cpu/layout.ts";
import { type Expr, i32, op, select } from "../../packages/core/src/ir/builder.ts";
import { as, changed, type PlantedBug, swappedSubFlags, withCondition, withResultFlags } from "./planted.ts";

export const BASE_BUGS: readonly PlantedBug[] = [
  { what: "ADC forgets the carry in", record: "adc", wrong: as("add") },
  { what: "SBB forgets the borrow in", record: "sbb", wrong: as("sub") },
  { what: "SAR shifts in zeros", record: "sar", wrong: as("shr") },
  { what: "SHR clears OF", record: "shr", wrong: withResultFlags((_s, _w, cf) => [cf, i32(0)]) },
  { what: "RCR rotates left", record: "rcr", wrong: as("rcl") },
  {
    what: "64-bit IMUL never overflows",
    record: "imul",
    wrong: withResultFlags((_s, w, cf, of) => (w === 64 ? [i32(0), i32(0)] : [cf, of])),
  },
  { what: "MUL sets CF and OF by the sign of the low half", record: "mul", wrong: as("imul") },
  {
    what: "IDIV's remainder is never negative",
    record: "idiv",
    wrong: changed((s) => {
      const right = s.putGpr.bind(s);
      s.putGpr = (index, width, value) => {
        if (index !== 2 || width < 32) return right(index, width, value);
        const remainder = s.b.keep(value);
        right(index, width, select(remainder.ltS(0), remainder.neg(), remainder));
      };
    }),
  },
  {
    what: "BT of memory takes a register index modulo the width",
    record: "bt",
    wrong: changed((s) => {
      s.isMemory = () => false;
    }),
  },
  { what: "BTS complements the bit", record: "bts", wrong: as("btc") },
  {
    what: "CMPXCHG leaves the accumulator",
    record: "cmpxchg",
    wrong: changed((s) => {
      s.putGpr = () => {};
    }),
  },
  {
    what: "XADD does not write its source",
    record: "xadd",
    wrong: changed((s) => {
      const right = s.write.bind(s);
      s.write = (i, value) => (i === 1 ? undefined : right(i, value));
    }),
  },
  {
    what: "16-bit SHLD takes its count modulo 16",
    record: "shld",
    wrong: changed((s) => {
      const right = s.read.bind(s);
      s.read = (i) => (i === 2 && s.width(0) === 16 ? s.b.keep(right(i).and(15)) : right(i));
    }),
  },
  {
    what: "PUSHF hides TF",
    record: "pushf",
    wrong: changed((s) => {
      const right = s.push.bind(s);
      s.push = (width, image) => right(width, image.and(~RF_TF));
    }),
  },
  {
    what: "POPF lets user mode change IF",
    record: "popf",
    wrong: changed((s) => {
      const right = s.b.call.bind(s.b);
      const call: typeof right = (routine, ...args) => {
        if (routine.name !== "write_flags") return right(routine, ...args);
        const [image, mask] = args as [Expr, Expr];
        return right(routine, image, mask.or(RF_IF));
      };
      s.b.call = call;
    }),
  },
  { what: "MOVSX zero-extends", record: "movsx", wrong: as("movzx") },
  {
    what: "CMOVE with a false condition leaves the upper half",
    record: "cmove",
    wrong: () => (s) => {
      const source = s.read(1);
      s.b.if(s.condition(4), () => s.write(0, source));
    },
  },
  { what: "SETA looks at CF alone", record: "seta", wrong: withCondition(3) },
  { what: "JLE forgets that the signs may differ", record: "jle", wrong: withCondition(4) },
  {
    what: "INC changes CF",
    record: "inc",
    wrong: changed((s) => {
      s.put = () => {};
    }),
  },
  { what: "NEG has the flags of x - 0", record: "neg", wrong: swappedSubFlags },
  {
    what: "byte CMP sets flags by 16 bits",
    record: "cmp",
    wrong: changed((s) => {
      const right = s.subFlags.bind(s);
      s.subFlags = (w, a, c, result) => right(w === 8 ? 16 : w, a, c, result);
    }),
  },
  {
    what: "LEA adds the segment's base",
    record: "lea",
    wrong: changed((s) => {
      s.offset = () => s.address();
    }),
  },
  {
    what: "RET n takes n as a byte",
    record: "ret",
    wrong: changed((s) => {
      s.immediate = () => s.b.load("i32.load8_u", "host", s.up, L.UOP_IMMEDIATE);
    }),
  },
  {
    what: "JRCXZ looks at ECX",
    record: "jcxz",
    wrong: changed((s) => {
      const right = s.gpr.bind(s);
      s.gpr = (index, width) => (width === 64 ? right(index, 32).u64() : right(index, width));
    }),
  },
  {
    what: "STOSB ignores DF",
    record: "stosb",
    wrong: changed((s) => {
      const right = s.get.bind(s);
      s.get = (field) => (field === L.SYSTEM_FLAGS ? right(field).and(~RF_DF) : right(field));
    }),
  },
  { what: "SCASB subtracts the accumulator from memory", record: "scasb", wrong: swappedSubFlags },
  {
    what: "MINPS returns the first of two NaNs, and no flag",
    record: "minps",
    wrong: () => (s) => s.write(0, op("f32x4.pmin", s.read(0), s.read(1))),
  },
  { what: "CVTTSD2SI rounds as MXCSR says", record: "cvttsd2si", wrong: as("cvtsd2si") },
  { what: "PACKUSWB saturates to signed bytes", record: "packuswb_xmm", wrong: as("packsswb_xmm") },
  { what: "PMULHUW multiplies signed words", record: "pmulhuw_xmm", wrong: as("pmulhw_xmm") },
  { what: "UCOMISD finds quiet NaNs invalid", record: "ucomisd", wrong: as("comisd") },
  { what: "MOVAPS does not ask for alignment", record: "movaps", wrong: as("movups") },
  {
    what: "PSRLQ takes its count modulo 64",
    record: "psrlq_xmm",
    wrong: () => (s) => {
      const low = (): Expr => s.b.keep(s.b.load("i32.load", "cpu", s.register(1)));
      const count = s.operand(1).kind === "i" ? s.immediate(8) : s.isMemory(1) ? s.load(32, s.address()) : low();
      s.write(0, op("i64x2.shr_u", s.read(0), count));
    },
  },
  { what: "EMMS leaves the tags", record: "emms", wrong: () => () => {} },
  { what: "FSUBR subtracts the other way round", record: "fsubr", wrong: as("fsub") },
  { what: "FUCOM finds quiet NaNs invalid", record: "fucom", wrong: as("fcom") },
];
