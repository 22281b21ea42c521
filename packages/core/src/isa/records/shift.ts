/** Shifts, rotates and bit instructions (SDM vol. 2): ROL ROR RCL RCR SHL SHR SAR SHLD SHRD BT BTS BTR BTC BSF BSR and CLC STC CMC CLD STD. */
import { bit, shiftedBy } from "../../cpu/flag-operations.ts";
import { FLAG, RF_DF, setCarry, setCarryOverflow, type Width } from "../../cpu/flags.ts";
import * as L from "../../cpu/layout.ts";
import { type Expr, i32, i64 } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";

const GROUP = ["rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"] as const;

const widened = (w: Width, value: Expr): Expr => (w === 64 ? value.u64() : value);

function shift(s: Semantics, name: string): void {
  const w = s.width(0);
  const b = s.b;
  const value = s.readModify(0);
  const count = b.keep(s.read(1).and(w === 64 ? 63 : 31));
  b.if(
    count.eqz(),
    () => {
      // Flags stay; a 32-bit register is zero-extended all the same, and memory is written.
      s.uncommitted(() => s.write(0, value));
    },
    () => {
      const operation = name === "sal" ? "shl" : (name as "shl" | "shr" | "sar");
      const result = b.keep(shiftedBy(w, operation, value, count));
      s.uncommitted(() => s.write(0, result));
      s.shiftFlags(operation, w, value, count, result);
    },
  );
}

function rotate(s: Semantics, name: string): void {
  const w = s.width(0);
  const b = s.b;
  const value = s.readModify(0);
  const count = b.keep(s.read(1).and(w === 64 ? 63 : 31));
  const left = name === "rol";
  const result = b.keep(
    w >= 32
      ? left
        ? value.rotl(widened(w, count))
        : value.rotr(widened(w, count))
      : s.mask(
          w,
          left
            ? value.shl(count.and(w - 1)).or(
                value.shrU(
                  i32(w)
                    .sub(count.and(w - 1))
                    .and(w * 2 - 1),
                ),
              )
            : value.shrU(count.and(w - 1)).or(
                value.shl(
                  i32(w)
                    .sub(count.and(w - 1))
                    .and(w * 2 - 1),
                ),
              ),
        ),
  );
  s.write(0, result);
  b.if(count.nez(), () => {
    const cf = (): Expr => (left ? bit(result, 0) : bit(result, w - 1));
    const of = (): Expr => bit(result, w - 1).xor(bit(result, left ? 0 : w - 2));
    setCarryOverflow(b, cf, of);
  });
}

function rotateCarry(s: Semantics, name: string): void {
  const w = s.width(0);
  const b = s.b;
  const initial = s.readModify(0);
  const masked = b.keep(s.read(1).and(w === 64 ? 63 : 31));
  const count = b.keep(w < 32 ? masked.remU(w + 1) : masked);
  const value = b.variable(initial);
  const cf = b.variable(FLAG.cf(b));
  const left = b.variable(count);
  b.while(
    () => left.get().nez(),
    () => {
      const v = b.keep(value.get());
      const carryIn = widened(w, b.keep(cf.get()));
      if (name === "rcl") {
        cf.set(bit(v, w - 1));
        value.set(s.mask(w, v.shl(1).or(carryIn)));
      } else {
        cf.set(bit(v, 0));
        value.set(v.shrU(1).or(carryIn.shl(w - 1)));
      }
      left.set(left.get().sub(1));
    },
  );
  const result = b.keep(value.get());
  s.write(0, result);
  b.if(masked.nez(), () => {
    const carry = b.keep(cf.get());
    const of = (): Expr => bit(result, w - 1).xor(name === "rcl" ? carry : bit(result, w - 2));
    setCarryOverflow(b, () => carry, of);
  });
}

for (const [i, name] of GROUP.entries()) {
  define({
    name,
    feature: "base",
    forms: [
      `C0 /${i} | Eb,Ib`,
      `C1 /${i} | Ev,Ib`,
      `D0 /${i} | Eb,1`,
      `D1 /${i} | Ev,1`,
      `D2 /${i} | Eb,CL`,
      `D3 /${i} | Ev,CL`,
    ],
    semantics: (s) => (i < 2 ? rotate(s, name) : i < 4 ? rotateCarry(s, name) : shift(s, name)),
  });
}

for (const [name, opcode] of [
  ["shld", "A4"],
  ["shrd", "AC"],
] as const) {
  const byCl = (Number.parseInt(opcode, 16) + 1).toString(16).toUpperCase();
  define({
    name,
    feature: "base",
    forms: [`0F ${opcode} /r | Ev,Gv,Ib`, `0F ${byCl} /r | Ev,Gv,CL`],
    semantics: (s) => {
      const w = s.width(0);
      const b = s.b;
      const dest = s.readModify(0);
      const source = s.read(1);
      const count = b.keep(s.read(2).and(w === 64 ? 63 : 31));
      b.if(
        count.eqz(),
        () => s.uncommitted(() => s.write(0, dest)),
        () => {
          const left = name === "shld";
          let result: Expr;
          let cf: Expr;
          if (w === 16) {
            // Counts over 16 take bits from the destination again, as processors do.
            const pair = b.keep(
              left
                ? dest.u64().shl(32).or(source.u64().shl(16)).or(dest.u64())
                : dest.u64().shl(32).or(source.u64().shl(16)).or(dest.u64()),
            );
            const moved = left ? pair.shl(count.u64()).shrU(32) : pair.shrU(count.u64());
            result = b.keep(moved.lo32().and(0xffff));
            cf = b.keep(left ? bit(pair, b.keep(i32(48).sub(count))) : bit(pair, b.keep(count.sub(1))));
          } else {
            const n = widened(w, count);
            const back = b.keep(i32(w).sub(count));
            result = b.keep(
              left ? dest.shl(n).or(source.shrU(widened(w, back))) : dest.shrU(n).or(source.shl(widened(w, back))),
            );
            cf = b.keep(left ? bit(dest, back) : bit(dest, b.keep(count.sub(1))));
          }
          s.uncommitted(() => s.write(0, result));
          s.resultFlags(w, result, cf, bit(result, w - 1).xor(bit(dest, w - 1)));
        },
      );
    },
  });
}

for (const [name, reg, opcode] of [
  ["bt", 4, "A3"],
  ["bts", 5, "AB"],
  ["btr", 6, "B3"],
  ["btc", 7, "BB"],
] as const) {
  const lock = name === "bt" ? "" : "lock";
  define({
    name,
    feature: "base",
    uses: ["asz", "mode"],
    forms: [`0F ${opcode} /r | Ev,Gv | ${lock}`, `0F BA /${reg} | Ev,Ib | ${lock}`],
    semantics: (s) => {
      const w = s.width(0);
      const b = s.b;
      const index = s.read(1);
      const far = s.isMemory(0) && s.operand(1).kind === "r";
      const n = b.keep(index.lo32().and(w - 1));
      // A register index reaches any bit around the address, in units of the operand; the sum has the address size.
      const stringAddress = (): Expr => {
        const signed = w === 64 ? index : w === 32 ? index.s64() : index.extend16S().s64();
        const sum = s.offset().add(signed.shrS(w === 64 ? 6 : w === 32 ? 5 : 4).shl(w === 64 ? 3 : w === 32 ? 2 : 1));
        const offset = s.asz === 64 ? sum : sum.and(s.asz === 32 ? 0xffffffffn : 0xffffn);
        const base = b.load("i64.load", "cpu", b.load("i32.load16_u", "host", s.up, L.UOP_SEGMENT_BASE));
        return s.mode64 ? offset.add(base) : offset.add(base).and(0xffffffffn);
      };
      const change = (v: Expr): Expr => {
        const m = w === 64 ? i64(1).shl(n.u64()) : i32(1).shl(n);
        return name === "bts" ? v.or(m) : name === "btr" ? v.and(m.not()) : v.xor(m);
      };
      if (name === "bt") {
        const value = far ? s.load(w, stringAddress(), s.segment()) : s.read(0);
        s.commit();
        setCarry(b, bit(value, n));
        return;
      }
      if (far) {
        const probe = s.probe(w, stringAddress(), s.segment(), true);
        const value = s.probed(probe);
        s.store(probe, change(value));
        setCarry(b, bit(value, n));
        return;
      }
      const value = s.readModify(0);
      s.write(0, change(value));
      setCarry(b, bit(value, n));
    },
  });
}

for (const name of ["bsf", "bsr"] as const) {
  define({
    name,
    feature: "base",
    forms: [`0F ${name === "bsf" ? "BC" : "BD"} /r | Gv,Ev`],
    semantics: (s) => {
      const w = s.width(0);
      const b = s.b;
      const source = s.read(1);
      const top = w === 64 ? 63 : 31;
      b.if(
        source.eqz(),
        // The destination is undefined by the manual; processors keep it.
        () => s.setFlags({ zf: 1, cf: 0, of: 0, sf: 0, af: 0, pf: 1 }),
        () => {
          const index = b.keep(name === "bsf" ? source.ctz() : (w === 64 ? i64(top) : i32(top)).sub(source.clz()));
          s.uncommitted(() => s.write(0, index));
          s.setFlags({ zf: 0, cf: 0, of: 0, sf: 0, af: 0, pf: index.lo32().popcnt().and(1).xor(1) });
        },
      );
    },
  });
}

define({ name: "clc", feature: "base", forms: ["F8"], semantics: (s) => setCarry(s.b, i32(0)) });
define({ name: "stc", feature: "base", forms: ["F9"], semantics: (s) => setCarry(s.b, i32(1)) });
define({ name: "cmc", feature: "base", forms: ["F5"], semantics: (s) => setCarry(s.b, FLAG.cf(s.b).xor(1)) });
define({
  name: "cld",
  feature: "base",
  forms: ["FC"],
  semantics: (s) => s.put(L.SYSTEM_FLAGS, s.get(L.SYSTEM_FLAGS).and(~RF_DF)),
});
define({
  name: "std",
  feature: "base",
  forms: ["FD"],
  semantics: (s) => s.put(L.SYSTEM_FLAGS, s.get(L.SYSTEM_FLAGS).or(RF_DF)),
});
