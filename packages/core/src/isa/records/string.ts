/**
 * String instructions (SDM vol. 2): MOVS CMPS STOS LODS SCAS INS OUTS, with REP.
 *
 * A repeated instruction runs in pieces: a piece ends when the count is used up, when the condition ends it, or before
 * an element that begins in another page than the piece's first one, for either pointer. Each piece retires as one
 * instruction and leaves RIP at the instruction until the last, so interrupts come between pieces. With TF set, or
 * a breakpoint enabled, a piece is one element. Pieces depend on the guest's state alone, so every tier counts alike.
 */

import { hostAddress, tlbHit } from "../../cpu/access.ts";
import { DR7_ENABLED } from "../../cpu/debug.ts";
import { RF_DF, RF_RF, RF_TF } from "../../cpu/flags.ts";
import * as L from "../../cpu/layout.ts";
import { checkPort, portRead, portWrite } from "../../cpu/ports.ts";
import { segmentAllows } from "../../cpu/segment-limits.ts";
import { tlbEntry } from "../../cpu/tlb.ts";
import { type Builder, type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { FAULT, type Semantics } from "../semantics.ts";

const BITS = { b: 8, v: 0 } as const;

/** Linear address of rSI (in the operand's segment) or rDI (in ES), with the address size applied. */
function pointer(s: Semantics, register: 6 | 7): Expr {
  const offset = s.asz === 64 ? s.gpr(register, 64) : s.gpr(register, s.asz).u64();
  if (register === 7)
    return s.mode64 ? s.b.keep(offset) : s.b.keep(offset.add(s.get(L.segBase(L.ES))).and(0xffffffffn));
  const base = s.b.load("i64.load", "cpu", s.b.load("i32.load16_u", "host", s.up, L.UOP_SEGMENT_BASE));
  return s.b.keep(s.mode64 ? offset.add(base) : offset.add(base).and(0xffffffffn));
}

/** Moves rSI or rDI by `bytes` (i64). */
function advance(s: Semantics, register: 6 | 7, bytes: Expr): void {
  const old = s.gpr(register, s.asz);
  if (s.asz === 64) s.putGpr(register, 64, old.add(bytes));
  else s.putGpr(register, s.asz, old.add(bytes.lo32()));
}

/** +bytes or -bytes (i64) by DF. */
function stride(s: Semantics, bytes: number): Expr {
  return s.b.keep(select(s.get(L.SYSTEM_FLAGS).and(RF_DF), i64(-bytes), i64(bytes)));
}

/** Whether a trap may have to come after each element: single step or an enabled breakpoint. */
function watched(b: Builder, isTranslated = false): Expr {
  if (isTranslated) return i32(0);
  return b.get(L.SYSTEM_FLAGS).and(RF_TF).or(b.get(L.BREAKPOINT_CONTROL).lo32().and(DR7_ENABLED));
}

/**
 * How many elements this piece may have (i64, at least 1): up to `count`, in the first element's page of each pointer.
 * An element that crosses a page ends its piece.
 */
const pieceLength: Routine = routine("piece_length", ["i64", "i64", "i64"], "i64", (b, count, address, step) => {
  b.if(watched(b), () => b.return(i64(1)));
  const inPage = b.keep(address.and(0xfff));
  const size = b.keep(select(step.ltS(0), step.neg(), step));
  // Elements that begin in this page, going up or down.
  const room = b.keep(select(step.ltS(0), inPage.divU(size).add(1), i64(4095).sub(inPage).divU(size).add(1)));
  b.return(select(room.ltU(count), room, count));
});

function least(s: Semantics, a: Expr, c: Expr): Expr {
  return s.b.keep(select(a.ltU(c), a, c));
}

/** Ends a piece: `done` elements (i64) of `count`; repeats the instruction unless it is over. */
function endPiece(s: Semantics, count: Expr, done: Expr, over?: Expr): void {
  const left = s.b.keep(count.sub(done));
  s.putGpr(1, s.asz, s.asz === 64 ? left : left.lo32());
  const again = over ? left.nez().and(over.eqz()) : left.nez();
  s.b.if(again, () => {
    // What comes between two elements finds RF set (SDM vol. 3, 17.3.1.1).
    s.put(L.SYSTEM_FLAGS, s.get(L.SYSTEM_FLAGS).or(RF_RF));
    s.b.if(watched(s.b, s.isTranslated), () => s.put(L.ATTENTION, s.get(L.ATTENTION).or(L.ATTENTION_TRAP)));
    s.repeat();
  });
  s.put(L.SYSTEM_FLAGS, s.get(L.SYSTEM_FLAGS).and(~RF_RF));
  s.fallThrough();
}

function counted(s: Semantics, used: readonly (6 | 7)[] = []): Expr {
  const count = s.b.keep(s.asz === 64 ? s.gpr(1, 64) : s.gpr(1, s.asz).u64());
  // The upper halves go before the first access, even when that faults or the count is zero.
  if (s.mode64 && s.asz === 32)
    for (const register of [1, ...used]) s.uncommitted(() => s.putGpr(register, 32, s.gpr(register, 32)));
  s.b.if(count.eqz(), () => s.uncommitted(() => s.fallThrough()));
  return count;
}

const TYPES = [
  ["b", "A4", "A6", "AA", "AC", "AE"],
  ["v", "A5", "A7", "AB", "AD", "AF"],
] as const;

/** Copies `bytes` forwards as REP MOVSB does: overlap with the destination ahead of the source repeats the pattern. */
const copyForward: Routine = routine(
  "copy_forward",
  ["i32", "i32", "i32", "i32"],
  undefined,
  (b, to, from, bytes, element) => {
    const distance = b.keep(to.sub(from));
    b.if(distance.geU(bytes), () => {
      b.copy(to, from, bytes);
      b.return();
    });
    const i = b.variable(i32(0));
    b.while(
      () => i.get().ltU(bytes),
      () => {
        const at = b.keep(i.get());
        b.if(
          element.eq(8),
          () => b.store("i64.store", "host", to.add(at), b.load("i64.load", "host", from.add(at))),
          () =>
            b.if(
              element.eq(4),
              () => b.store("i32.store", "host", to.add(at), b.load("i32.load", "host", from.add(at))),
              () =>
                b.if(
                  element.eq(2),
                  () => b.store("i32.store16", "host", to.add(at), b.load("i32.load16_u", "host", from.add(at))),
                  () => b.store("i32.store8", "host", to.add(at), b.load("i32.load8_u", "host", from.add(at))),
                ),
            ),
        );
        i.set(at.add(element));
      },
    );
  },
);

/** True when both ends of `bytes` at `address` are in one page and the TLB has it: RAM that can be used directly. */
function direct(s: Semantics, address: Expr, tag: number): Expr {
  const entry = s.b.keep(tlbEntry(s.get(L.TLB_CURRENT), address));
  return tlbHit(s.b, entry, address, 1, tag);
}

/**
 * A repeated MOVS or STOS: elements one at a time until the rest of the piece can be done at once (forwards, RAM, the
 * TLB hits on each side). How it is done does not show: RCX and the pointers are right after every element.
 */
function piece(s: Semantics, bytes: number, from: Expr | undefined, one: () => void, bulk: (size: Expr) => void): void {
  const b = s.b;
  const count = counted(s, from ? [6, 7] : [7]);
  const step = stride(s, bytes);
  const to = pointer(s, 7);
  const room = b.call(pieceLength, count, to, step);
  const n = from ? least(s, b.call(pieceLength, count, from, step), room) : b.keep(room);
  const left = b.variable(n);
  b.block((done) => {
    b.loop((again) => {
      const now = b.keep(left.get());
      const size = b.keep(now.mul(bytes));
      const target = pointer(s, 7);
      let fits = step
        .gtS(0)
        .and(target.and(0xfff).add(size).leU(4096))
        .and(direct(s, target, L.TLB_WRITE));
      if (!s.mode64) fits = fits.and(b.call(segmentAllows, target, size.lo32(), L.ES, 1));
      if (from) {
        const source = pointer(s, 6);
        fits = fits.and(source.and(0xfff).add(size).leU(4096)).and(direct(s, source, L.TLB_READ));
        if (!s.mode64) fits = fits.and(b.call(segmentAllows, source, size.lo32(), s.segment(), 0));
      }
      if (s.isTranslated) {
        // In one go or not at all: a piece counts once, whoever runs it.
        b.if(fits.eqz(), () => s.leave(FAULT), undefined, false);
        bulk(b.keep(size.lo32()));
        b.br(done);
        return;
      }
      b.if(fits, () => {
        s.uncommitted(() => bulk(b.keep(size.lo32())));
        b.br(done);
      });
      s.uncommitted(one);
      const rest = b.keep(now.sub(1));
      const rcx = s.gpr(1, s.asz);
      s.putGpr(1, s.asz, rcx.sub(1));
      left.set(rest);
      b.br(again, rest.nez());
    });
    endPiece(s, s.b.keep(s.asz === 64 ? s.gpr(1, 64) : s.gpr(1, s.asz).u64()), i64(0));
  });
  const rest = b.keep(left.get());
  endPiece(s, s.b.keep(s.asz === 64 ? s.gpr(1, 64) : s.gpr(1, s.asz).u64()), rest);
}

/** Host address of RAM that the TLB has. */
function ramAddress(s: Semantics, address: Expr): Expr {
  const entry = s.b.keep(tlbEntry(s.get(L.TLB_CURRENT), address));
  return s.b.keep(hostAddress(s.b, entry, address));
}

function movs(s: Semantics, bits: 8 | 16 | 32 | 64): void {
  const bytes = bits / 8;
  const one = (): void => {
    const value = s.load(bits, pointer(s, 6), s.segment());
    const probe = s.probe(bits, pointer(s, 7), L.ES);
    s.store(probe, value);
    const step = stride(s, bytes);
    advance(s, 6, step);
    advance(s, 7, step);
  };
  if (!s.shape.rep) {
    one();
    s.fallThrough();
    return;
  }
  piece(s, bytes, pointer(s, 6), one, (size) => {
    s.b.call(copyForward, ramAddress(s, pointer(s, 7)), ramAddress(s, pointer(s, 6)), size, bytes);
    advance(s, 6, size.u64());
    advance(s, 7, size.u64());
  });
}

function stos(s: Semantics, bits: 8 | 16 | 32 | 64): void {
  const bytes = bits / 8;
  const one = (): void => {
    const probe = s.probe(bits, pointer(s, 7), L.ES);
    s.store(probe, s.gpr(0, bits));
    advance(s, 7, stride(s, bytes));
  };
  if (!s.shape.rep) {
    one();
    s.fallThrough();
    return;
  }
  piece(s, bytes, undefined, one, (size) => {
    s.b.call(fillPattern, ramAddress(s, pointer(s, 7)), s.gpr(0, 64), size, bytes);
    advance(s, 7, size.u64());
  });
}

/** Fills with elements of 1, 2, 4 or 8 bytes. */
const fillPattern: Routine = routine(
  "fill_pattern",
  ["i32", "i64", "i32", "i32"],
  undefined,
  (b, to, value, bytes, element) => {
    const low = b.keep(value.and(0xff));
    const word = select(
      element.eq(1),
      low.mul(0x0101010101010101n),
      select(
        element.eq(2),
        value.and(0xffff).mul(0x0001000100010001n),
        select(element.eq(4), value.and(0xffffffffn).mul(0x0000000100000001n), value),
      ),
    );
    const pattern = b.keep(word);
    b.if(pattern.eq(low.mul(0x0101010101010101n)), () => {
      b.fill(to, pattern.lo32().and(0xff), bytes);
      b.return();
    });
    const i = b.variable(i32(0));
    b.while(
      () => i.get().add(8).leU(bytes),
      () => {
        const at = b.keep(i.get());
        b.store("i64.store", "host", to.add(at), pattern);
        i.set(at.add(8));
      },
    );
    const rest = b.variable(pattern);
    b.while(
      () => i.get().ltU(bytes),
      () => {
        const at = b.keep(i.get());
        b.store("i64.store8", "host", to.add(at), b.keep(rest.get()));
        rest.set(rest.get().rotr(8));
        i.set(at.add(1));
      },
    );
  },
);

/** What an element of CMPS or SCAS found: nothing of it is kept but at the end. */
interface Compared {
  readonly equal: Expr;
  readonly flags: () => void;
}

/** LODS, SCAS, CMPS, INS, OUTS: elements one by one, a piece for each. */
function single(s: Semantics, element: () => Compared | undefined, before: () => void = () => {}): void {
  before();
  if (!s.shape.rep) {
    element()?.flags();
    s.fallThrough();
    return;
  }
  const count = counted(s);
  const found = element();
  if (!found) {
    endPiece(s, count, i64(1));
    return;
  }
  // REPE ends on ZF = 0, REPNE on ZF = 1. A fault or trap before the end finds the flags from before (SDM vol. 2, REP).
  const over = s.b.keep(s.shape.rep === "repne" ? found.equal : found.equal.xor(1));
  s.b.if(over.or(count.eq(1)), () => found.flags());
  endPiece(s, count, i64(1), over);
}

function compared(s: Semantics, width: 8 | 16 | 32 | 64, a: Expr, c: Expr): Compared {
  return { equal: s.b.keep(a.eq(c)), flags: () => s.compareFlags(width, a, c) };
}

for (const [size, movsCode, cmpsCode, stosCode, lodsCode, scasCode] of TYPES) {
  const suffix = size === "b" ? "b" : "";
  const names = (stem: string): [string, string, string] | undefined =>
    size === "b" ? undefined : [`${stem}w`, `${stem}d`, `${stem}q`];
  const bits = (s: Semantics): 8 | 16 | 32 | 64 => (BITS[size] || s.osz) as 8 | 16 | 32 | 64;
  const common = { feature: "base", uses: ["osz", "asz", "mode", "rep"], ends: true, isLong: true } as const;
  const named = (stem: string): { name: string; names?: [string, string, string] } => {
    const list = names(stem);
    return list ? { name: `${stem}${suffix || "v"}`, names: list } : { name: `${stem}b` };
  };
  define({ ...common, ...named("movs"), forms: [movsCode], semantics: (s) => movs(s, bits(s)) });
  define({ ...common, ...named("stos"), forms: [stosCode], semantics: (s) => stos(s, bits(s)) });
  define({
    ...common,
    ...named("lods"),
    forms: [lodsCode],
    semantics: (s) =>
      single(s, () => {
        const width = bits(s);
        const value = s.load(width, pointer(s, 6), s.segment());
        s.putGpr(0, width, value);
        advance(s, 6, stride(s, width / 8));
        return undefined;
      }),
  });
  define({
    ...common,
    ...named("scas"),
    forms: [scasCode],
    semantics: (s) =>
      single(s, () => {
        const width = bits(s);
        const value = s.load(width, pointer(s, 7), L.ES);
        const acc = s.gpr(0, width);
        advance(s, 7, stride(s, width / 8));
        return compared(s, width, acc, value);
      }),
  });
  define({
    ...common,
    ...named("cmps"),
    forms: [cmpsCode],
    semantics: (s) =>
      single(s, () => {
        const width = bits(s);
        // Processors read rDI's operand first, which shows when both fault.
        const c = s.load(width, pointer(s, 7), L.ES);
        const a = s.load(width, pointer(s, 6), s.segment());
        const step = stride(s, width / 8);
        advance(s, 6, step);
        advance(s, 7, step);
        return compared(s, width, a, c);
      }),
  });
  // Also with a count of zero.
  const mayUsePort = (s: Semantics) => (): void => s.check(s.b.call(checkPort, s.gpr(2, 16), portBits(s) / 8));
  const portBits = (s: Semantics): 8 | 16 | 32 => (size === "b" ? 8 : s.osz === 16 ? 16 : 32);
  define({
    ...common,
    ...(size === "b"
      ? { name: "insb" }
      : { name: "insv", names: ["insw", "insd", "insd"] as [string, string, string] }),
    forms: [size === "b" ? "6C" : "6D"],
    semantics: (s) =>
      single(
        s,
        () => {
          const width = portBits(s);
          const probe = s.probe(width, pointer(s, 7), L.ES);
          s.store(probe, s.b.call(portRead, s.gpr(2, 16), width / 8));
          advance(s, 7, stride(s, width / 8));
          return undefined;
        },
        mayUsePort(s),
      ),
  });
  define({
    ...common,
    ...(size === "b"
      ? { name: "outsb" }
      : { name: "outsv", names: ["outsw", "outsd", "outsd"] as [string, string, string] }),
    forms: [size === "b" ? "6E" : "6F"],
    semantics: (s) =>
      single(
        s,
        () => {
          const width = portBits(s);
          const value = s.load(width, pointer(s, 6), s.segment());
          s.b.call(portWrite, s.gpr(2, 16), width / 8, value);
          advance(s, 6, stride(s, width / 8));
          return undefined;
        },
        mayUsePort(s),
      ),
  });
}
