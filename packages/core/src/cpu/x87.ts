/**
 * The x87 register stack and its flags (SDM vol. 1, chapter 8).
 *
 * Registers lie by physical number (cpu/layout.ts, X87); ST(i) is R[(TOP + i) mod 8]. FSW is kept without TOP, tags
 * abridged to used or empty. FSW.ES and FSW.B always say whether a flag is set whose mask is clear; the next waiting
 * instruction then raises #MF or asserts FERR# (cpu/x87-error.ts).
 * FIP is recorded by each instruction that is not a control one; FOP and FDP only with an unmasked exception
 * (CPUID.7.EBX bits 6 and 13: FDP_EXCPTN_ONLY, FCS and FDS are zero).
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { readLinear } from "./access.ts";
import * as L from "./layout.ts";
import { errorGone } from "./x87-error.ts";

export const FSW_IE = 0x01;
export const FSW_DE = 0x02;
export const FSW_ZE = 0x04;
export const FSW_OE = 0x08;
export const FSW_UE = 0x10;
export const FSW_PE = 0x20;
export const FSW_SF = 0x40;
export const FSW_ES = 0x80;
export const FSW_C0 = 0x100;
export const FSW_C1 = 0x200;
export const FSW_C2 = 0x400;
export const FSW_C3 = 0x4000;
export const FSW_B = 0x8000;
export const FSW_EXCEPTIONS = 0x3f;
export const FCW_DEFAULT = 0x37f;
/** The real indefinite, a quiet NaN: the masked response to an invalid operation. */
export const INDEFINITE_SIGN_EXPONENT = 0xffff;
export const INDEFINITE_SIGNIFICAND: bigint = 0xc000000000000000n;

/** Offset of ST(i) from the first of the registers: what makes an address an x87 register's is in the instruction (jit/effects.ts). */
export function stAt(b: Builder, index: Expr | number): Expr {
  return b.keep(b.get(L.FTOP).add(index).and(7).shl(4));
}
export const significandAt = (b: Builder, at: Expr): Expr => b.load("i64.load", "cpu", at, L.X87);
/** Sign and exponent: the upper 16 bits. */
export const signExponentAt = (b: Builder, at: Expr): Expr => b.load("i32.load16_u", "cpu", at, L.X87 + 8);

export function putSignificand(b: Builder, at: Expr, value: Expr): void {
  b.store("i64.store", "cpu", at, value, L.X87);
}
export function putSignExponent(b: Builder, at: Expr, value: Expr): void {
  b.store("i32.store16", "cpu", at, value, L.X87 + 8);
}

/** 1 if ST(i) is in use. */
export function inUse(b: Builder, index: Expr | number): Expr {
  return b.get(L.FTAG).shrU(b.get(L.FTOP).add(index).and(7)).and(1);
}

/** Writes ST(i) and marks it in use. */
export function putSt(b: Builder, index: Expr | number, significand: Expr, signExponent: Expr): void {
  const place = b.keep(b.get(L.FTOP).add(index).and(7));
  const at = b.keep(place.shl(4));
  putSignificand(b, at, significand);
  putSignExponent(b, at, signExponent);
  b.put(L.FTAG, b.get(L.FTAG).or(i32(1).shl(place)));
}

/** Clears C1 or sets it (i32, 0 or 1). */
export function putC1(b: Builder, value: Expr | number): void {
  const bit = typeof value === "number" ? i32(value ? FSW_C1 : 0) : value.shl(9);
  b.put(L.FSW, b.get(L.FSW).and(~FSW_C1).or(bit));
}

/** Sets exception flags: those of them that are not masked, which also set ES and B. */
export const signal: Routine = routine("x87_signal", ["i32"], "i32", (b, flags) => {
  const unmasked = b.keep(flags.and(b.get(L.FCW).not()).and(FSW_EXCEPTIONS));
  const summary = select(unmasked, i32(FSW_ES | FSW_B), i32(0));
  b.put(L.FSW, b.get(L.FSW).or(flags).or(summary));
  b.return(unmasked);
});

/** ES and B from flags and masks, after either was loaded. */
export const summarize: Routine = routine("x87_summarize", [], undefined, (b) => {
  const fsw = b.get(L.FSW);
  const unmasked = fsw.and(b.get(L.FCW).not()).and(FSW_EXCEPTIONS);
  b.put(L.FSW, select(unmasked, fsw.or(FSW_ES | FSW_B), fsw.and(~(FSW_ES | FSW_B))));
  b.call(errorGone);
});

/** FCW as written: bit 6 reads as one, the other reserved bits as zero. */
export const putControl: Routine = routine("x87_put_control", ["i32"], undefined, (b, value) => {
  b.put(L.FCW, value.and(0x1f3f).or(0x40));
  b.call(summarize);
});

export const putStatus: Routine = routine("x87_put_status", ["i32"], undefined, (b, value) => {
  b.put(L.FTOP, value.shrU(11).and(7));
  b.put(L.FSW, value.and(0xc7ff));
  b.call(summarize);
});

/** FSW with TOP. */
export function statusWord(b: Builder): Expr {
  return b.get(L.FSW).or(b.get(L.FTOP).shl(11));
}

/** FNINIT; the registers keep their content. */
export const initialize: Routine = routine("x87_initialize", [], undefined, (b) => {
  b.put(L.FCW, FCW_DEFAULT);
  b.put(L.FSW, 0);
  b.put(L.FTOP, 0);
  b.put(L.FTAG, 0);
  b.put(L.FOP, 0);
  b.put(L.FIP, 0);
  b.put(L.FDP, 0);
  b.call(errorGone);
});

/** Frees ST(0) and moves TOP. */
export const pop: Routine = routine("x87_pop", [], undefined, (b) => {
  const top = b.get(L.FTOP);
  b.put(L.FTAG, b.get(L.FTAG).and(i32(1).shl(top).not()));
  b.put(L.FTOP, top.add(1).and(7));
});

/**
 * Pushes a value whose making raised `flags`. A full stack comes first: C1 is 1 and the value the indefinite.
 * Nothing is pushed when an invalid operation is not masked.
 */
export const push: Routine = routine(
  "x87_push",
  ["i64", "i32", "i32"],
  undefined,
  (b, significand, signExponent, flags) => {
    const place = b.keep(b.get(L.FTOP).sub(1).and(7));
    // Where a stack fault is already known (FLD of an empty register), that one counts.
    const full = b.keep(b.get(L.FTAG).shrU(place).and(flags.and(FSW_SF).eqz()));
    putC1(b, full);
    const unmasked = b.call(signal, select(full, i32(FSW_IE | FSW_SF), flags));
    b.if(unmasked.and(FSW_IE), () => b.return());
    b.put(L.FTOP, place);
    const value = select(full, i64(INDEFINITE_SIGNIFICAND), significand);
    putSt(b, 0, value, b.keep(select(full, i32(INDEFINITE_SIGN_EXPONENT), signExponent)));
  },
);

/** The tag word of FSTENV: 0 valid, 1 zero, 2 special, 3 empty, two bits for each physical register. */
export const tagWord: Routine = routine("x87_tag_word", [], "i32", (b) => {
  const tags = b.variable(i32(0));
  for (let i = 7; i >= 0; i--) {
    const significand = b.load("i64.load", "cpu", L.X87 + i * 16);
    const exponent = b.keep(b.load("i32.load16_u", "cpu", L.X87 + i * 16 + 8).and(0x7fff));
    const zero = exponent.eqz().and(significand.eqz());
    const special = exponent.eqz().or(exponent.eq(0x7fff)).or(significand.geS(0));
    const used = b.get(L.FTAG).shrU(i).and(1);
    const kind = select(used, select(zero, i32(1), select(special, i32(2), i32(0))), i32(3));
    tags.set(tags.get().shl(2).or(kind));
  }
  b.return(tags.get());
});

/** Sets the tags from a full tag word. */
export const putTagWord: Routine = routine("x87_put_tag_word", ["i32"], undefined, (b, word) => {
  const used = b.keep(word.and(word.shrU(1)).not().and(0x5555));
  const pairs = b.keep(used.or(used.shrU(1)).and(0x3333));
  const fours = b.keep(pairs.or(pairs.shrU(2)).and(0x0f0f));
  b.put(L.FTAG, fours.or(fours.shrU(4)).and(0xff));
});

/** Records FOP: the low three bits of the opcode byte at or after `rip` (prefixes come before it), and ModRM. */
export const recordOpcode: Routine = routine("x87_record_opcode", ["i64"], undefined, (b, rip) => {
  const at = b.variable(rip.add(b.get(L.segBase(L.CS))));
  const read = (offset: number): Expr => {
    const host = b.call(readLinear, at.get().add(offset), 1, L.CS, 0);
    b.if(host.eqz(), () => b.return());
    return b.load("i32.load8_u", "host", host);
  };
  const left = b.variable(i32(15));
  b.loop((again) => {
    const byte = read(0);
    b.if(byte.and(0xf8).eq(0xd8), () => {
      b.put(L.FOP, byte.and(7).shl(8).or(read(1)));
      b.return();
    });
    at.set(at.get().add(1));
    left.set(left.get().sub(1));
    b.br(again, left.get());
  });
});
