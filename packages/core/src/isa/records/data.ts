/** Data movement (SDM vol. 2): MOV MOVZX MOVSX MOVSXD LEA XCHG CMOVcc SETcc BSWAP CBW CWD PUSH POP PUSHA POPA ENTER LEAVE XLAT and the flag images. */
import { RF_IOPL, RF_RF, RF_VIF, RF_VIP, RF_VM, readFlags, writeArithmeticFlags } from "../../cpu/flags.ts";
import { writableFlags, writeFlags } from "../../cpu/flags-image.ts";
import * as L from "../../cpu/layout.ts";
import { updateMode } from "../../cpu/mode.ts";
import { EXC_GP, EXC_UD } from "../../cpu/raise.ts";
import { isV86 } from "../../cpu/segment-limits.ts";
import { loadSegment } from "../../cpu/segments.ts";
import { type Expr, i32, select } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";

export const CONDITIONS = [
  "o",
  "no",
  "b",
  "ae",
  "e",
  "ne",
  "be",
  "a",
  "s",
  "ns",
  "p",
  "np",
  "l",
  "ge",
  "le",
  "g",
] as const;

define({
  name: "mov",
  feature: "base",
  forms: [
    "88 /r | Eb,Gb",
    "89 /r | Ev,Gv",
    "8A /r | Gb,Eb",
    "8B /r | Gv,Ev",
    "B0 +r | Zb,Ib",
    "B8 +r | Zv,Iv",
    "C6 /0 | Eb,Ib",
    "C7 /0 | Ev,Iz",
  ],
  semantics: (s) => s.write(0, s.read(1)),
});

/** Address of a moffs operand: the segment's base plus the immediate. */
function moffs(s: Semantics): Expr {
  const offset = s.immediate(64);
  const base = s.b.load("i64.load", "cpu", s.b.load("i32.load16_u", "host", s.up, L.UOP_SEGMENT_BASE));
  return s.mode64 ? offset.add(base) : offset.add(base).and(0xffffffffn);
}

define({
  name: "mov_moffs",
  names: ["mov", "mov", "mov"],
  feature: "base",
  uses: ["mode"],
  forms: ["A0 | AL,Ob", "A1 | rAX,Ov", "A2 | Ob,AL", "A3 | Ov,rAX"],
  semantics: (s) => {
    const toMemory = s.operand(0).kind === "i";
    const width = s.width(toMemory ? 1 : 0);
    if (toMemory) s.store(s.probe(width, moffs(s), s.segment()), s.gpr(0, width));
    else s.putGpr(0, width, s.load(width, moffs(s), s.segment()));
  },
});

define({
  name: "mov_sreg",
  names: ["mov", "mov", "mov"],
  feature: "base",
  uses: ["mode"],
  ends: true,
  forms: ["8E /r | Sw,Ew"],
  semantics: (s) => {
    const value = s.b.keep(s.read(1));
    const place = s.register(0);
    const number = s.b.keep(place.sub(L.SEGMENTS).shrU(5));
    s.faultIf(number.eq(L.CS), EXC_UD);
    loadSegmentOperand(s, number, value);
    s.fallThrough();
  },
});

/** Loads a segment register; SS holds back interrupts and traps for one instruction. */
function loadSegmentOperand(s: Semantics, number: Expr, selector: Expr): void {
  s.check(s.b.call(loadSegment, number, selector));
  s.b.if(number.eq(L.SS), () => {
    s.put(L.SHADOW, 2);
    s.put(L.ATTENTION, s.get(L.ATTENTION).or(L.ATTENTION_CODE));
  });
}

define({
  name: "mov_from_sreg",
  names: ["mov", "mov", "mov"],
  feature: "base",
  // A memory destination gets 16 bits whatever the operand size; a register is zero-extended.
  forms: ["8C /r | Ev,Sw"],
  semantics: (s) => {
    const selector = s.read(1);
    if (s.isMemory(0)) s.store(s.probe(16, s.address(), s.segment()), selector);
    else s.write(0, s.width(0) === 64 ? selector.u64() : selector);
  },
});

define({
  name: "movzx",
  feature: "base",
  forms: ["0F B6 /r | Gv,Eb", "0F B7 /r | Gv,Ew"],
  semantics: (s) => {
    const value = s.read(1);
    s.write(0, s.width(0) === 64 ? value.u64() : value);
  },
});
define({
  name: "movsx",
  feature: "base",
  forms: ["0F BE /r | Gv,Eb", "0F BF /r | Gv,Ew"],
  semantics: (s) => {
    const wide = s.width(1) === 8 ? s.read(1).extend8S() : s.read(1).extend16S();
    s.write(0, s.width(0) === 64 ? wide.s64() : wide);
  },
});
define({
  name: "movsxd",
  feature: "long",
  forms: ["W1 63 /r | Gv,Ed | o64", "W0 63 /r | Gv,Ev | o64"],
  semantics: (s) => {
    const value = s.read(1);
    s.write(0, s.width(0) === 64 ? value.s64() : value);
  },
});

define({
  name: "lea",
  feature: "base",
  forms: ["8D /r | Gv,Ms"],
  semantics: (s) => {
    const offset = s.offset();
    s.write(0, s.width(0) === 64 ? offset : s.mask(s.width(0), offset.lo32()));
  },
});

// Locks without being told: SDM vol. 3, 9.1.2.1.
define({
  name: "xchg",
  feature: "base",
  forms: ["86 /r | Eb,Gb | lock locks", "87 /r | Ev,Gv | lock locks", "90 +r | Zv,rAX"],
  semantics: (s) => {
    const a = s.readModify(0);
    const c = s.read(1);
    s.write(0, c);
    s.write(1, a);
  },
});

define({
  name: "bswap",
  feature: "base",
  forms: ["0F C8 +r | Zv"],
  semantics: (s) => {
    const w = s.width(0);
    if (w === 16) {
      // Undefined for 16 bits; processors give zero.
      s.write(0, i32(0));
      return;
    }
    const v = s.read(0);
    if (w === 32) {
      const mixed = v.rotl(8).and(0x00ff00ff).or(v.rotr(8).and(0xff00ff00));
      s.write(0, mixed);
      return;
    }
    const half = (x: Expr): Expr => {
      const k = s.b.keep(x);
      return k.rotl(8).and(0x00ff00ff).or(k.rotr(8).and(0xff00ff00)).u64();
    };
    s.write(
      0,
      half(v.lo32())
        .shl(32)
        .or(half(v.shrU(32).lo32())),
    );
  },
});

for (const [cc, name] of CONDITIONS.entries()) {
  const code = cc.toString(16).toUpperCase();
  define({
    name: `cmov${name}`,
    feature: "cmov",
    forms: [`0F 4${code} /r | Gv,Ev`],
    semantics: (s) => {
      const source = s.read(1);
      s.write(0, select(s.condition(cc), source, s.read(0)));
    },
  });
  define({
    name: `set${name}`,
    feature: "base",
    forms: [`0F 9${code} /r | Eb`],
    semantics: (s) => s.write(0, s.condition(cc)),
  });
}

define({
  name: "cbw",
  names: ["cbw", "cwde", "cdqe"],
  feature: "base",
  uses: ["osz"],
  forms: ["98"],
  semantics: (s) => {
    if (s.osz === 16) s.putGpr(0, 16, s.gpr(0, 8).extend8S());
    else if (s.osz === 32) s.putGpr(0, 32, s.gpr(0, 16).extend16S());
    else s.putGpr(0, 64, s.gpr(0, 32).s64());
  },
});
define({
  name: "cwd",
  names: ["cwd", "cdq", "cqo"],
  feature: "base",
  uses: ["osz"],
  forms: ["99"],
  semantics: (s) => {
    const a = s.gpr(0, s.osz);
    s.putGpr(2, s.osz, s.osz === 64 ? a.shrS(63) : s.osz === 32 ? a.shrS(31) : a.shl(16).shrS(31));
  },
});

define({
  name: "push",
  feature: "base",
  uses: ["osz", "mode"],
  forms: ["50 +r | Zv | d64", "FF /6 | Ev | d64", "68 | Iz | d64", "6A | Ibs | d64"],
  semantics: (s) => s.push(s.osz, s.read(0)),
});
define({
  name: "push_sreg",
  names: ["push", "push", "push"],
  feature: "base",
  uses: ["osz", "mode"],
  forms: ["06 | ES | i64", "0E | CS | i64", "16 | SS | i64", "1E | DS | i64", "0F A0 | FS | d64", "0F A8 | GS | d64"],
  semantics: (s) => {
    const selector = s.read(0);
    if (s.osz !== 32) {
      s.push(s.osz, s.osz === 64 ? selector.u64() : selector);
      return;
    }
    // Processors store 16 bits in a 32-bit slot (SDM vol. 2, PUSH).
    const rsp = s.b.keep(s.movedStack(s.get(L.RSP), -4));
    s.store(s.probe(16, s.stackAddress(rsp), L.SS), selector);
    s.put(L.RSP, rsp);
  },
});
define({
  name: "pop",
  feature: "base",
  uses: ["osz", "mode"],
  forms: ["58 +r | Zv | d64", "8F /0 | Ev | d64"],
  semantics: (s) => {
    const value = s.top(s.osz);
    if (!s.isMemory(0)) {
      s.drop(s.osz / 8);
      s.write(0, value);
      return;
    }
    // The destination's address is computed with RSP already moved (SDM vol. 2, POP).
    const old = s.get(L.RSP);
    s.b.put(L.RSP, s.movedStack(old, s.osz / 8));
    const address = s.address();
    s.b.put(L.RSP, old);
    const probe = s.probe(s.osz, address, s.segment());
    s.store(probe, value);
    s.drop(s.osz / 8);
  },
});
define({
  name: "pop_sreg",
  names: ["pop", "pop", "pop"],
  feature: "base",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["07 | ES | i64", "17 | SS | i64", "1F | DS | i64", "0F A1 | FS | d64", "0F A9 | GS | d64"],
  semantics: (s) => {
    const value = s.top(s.osz);
    const selector = s.b.keep(value.lo32().and(0xffff));
    const number = s.b.keep(s.register(0).sub(L.SEGMENTS).shrU(5));
    loadSegmentOperand(s, number, selector);
    s.drop(s.osz / 8);
    s.fallThrough();
  },
});

define({
  name: "pusha",
  names: ["pusha", "pushad", "pushad"],
  feature: "base",
  uses: ["osz", "mode"],
  forms: ["60 | | i64"],
  semantics: (s) => {
    const bytes = s.osz / 8;
    const rsp = s.get(L.RSP);
    // One by one, as processors do: a fault leaves what was stored before it, and RSP as it was.
    for (let i = 0; i < 8; i++) {
      const at = s.b.keep(s.movedStack(rsp, -(i + 1) * bytes));
      s.uncommitted(() => s.store(s.probe(s.osz, s.stackAddress(at), L.SS), s.gpr(i, s.osz)));
    }
    s.drop(-8 * bytes);
  },
});
define({
  name: "popa",
  names: ["popa", "popad", "popad"],
  feature: "base",
  uses: ["osz", "mode"],
  forms: ["61 | | i64"],
  semantics: (s) => {
    const bytes = s.osz / 8;
    // One by one, as processors do: a fault leaves what was loaded before it, and RSP as it was.
    for (const [i, register] of [7, 6, 5, 4, 3, 2, 1, 0].entries()) {
      s.uncommitted(() => {
        const value = s.top(s.osz, i * bytes);
        if (register !== 4) s.putGpr(register, s.osz, value);
      });
    }
    s.drop(8 * bytes);
  },
});

define({
  name: "enter",
  feature: "base",
  isLong: true,
  uses: ["osz", "mode"],
  forms: ["C8 | Iw,Ib | d64"],
  semantics: (s) => {
    const bytes = s.osz / 8;
    const size = s.b.keep(s.immediate(16));
    const level = s.b.keep(s.secondImmediate().and(31));
    const rsp = s.get(L.RSP);
    const rbp = s.get(L.gpr(5));
    const top = s.b.keep(s.movedStack(rsp, -bytes));
    const last = s.b.keep(s.movedStack(rsp, level.add(1).mul(-bytes).s64()));
    const end = s.b.keep(s.movedStack(last, size.u64().neg()));
    // The manual's order: frame pointers are read and pushed one by one, and only then the new stack's end is tried.
    // Memory keeps what was pushed when that faults; run again, the instruction pushes the same.
    const push = (at: Expr, value: Expr): void => {
      const probe = s.probe(s.osz, s.stackAddress(at), L.SS);
      s.uncommitted(() => s.store(probe, value));
    };
    const frame = s.osz === 64 ? top : s.b.keep(top.lo32());
    push(top, s.gpr(5, s.osz));
    const i = s.b.variable(i32(1));
    s.b.while(
      () => i.get().ltU(level),
      () => {
        const from = s.b.keep(s.movedStack(rbp, i.get().mul(-bytes).s64()));
        const value = s.load(s.osz, s.stackAddress(from), L.SS);
        push(s.b.keep(s.movedStack(rsp, i.get().add(1).mul(-bytes).s64())), value);
        i.set(i.get().add(1));
      },
    );
    s.b.if(level.nez(), () => push(last, frame));
    s.probe(s.osz, s.stackAddress(end), L.SS);
    s.putGpr(5, s.osz, frame);
    s.put(L.RSP, end);
  },
});
define({
  name: "leave",
  feature: "base",
  uses: ["osz", "mode"],
  forms: ["C9 | | d64"],
  semantics: (s) => {
    const rbp = s.get(L.gpr(5));
    const value = s.load(s.osz, s.stackAddress(rbp), L.SS);
    if (s.mode64 || s.isFlat) s.put(L.RSP, s.movedStack(rbp, s.osz / 8));
    else {
      const big = s.get(L.MODE).and(L.MODE_STACK32);
      const merged = select(big, rbp, s.get(L.RSP).and(-0x10000).or(rbp.and(0xffff)));
      s.put(L.RSP, s.b.keep(s.movedStack(s.b.keep(merged), s.osz / 8)));
    }
    s.putGpr(5, s.osz, value);
  },
});

define({
  name: "xlatb",
  feature: "base",
  isLong: true,
  uses: ["asz", "mode"],
  forms: ["D7"],
  semantics: (s) => {
    const base = s.b.load("i64.load", "cpu", s.b.load("i32.load16_u", "host", s.up, L.UOP_SEGMENT_BASE));
    const sum = s.gpr(3, 64).add(s.gpr(0, 8).u64());
    const offset = s.asz === 64 ? sum : s.asz === 32 ? sum.and(0xffffffffn) : sum.and(0xffff);
    const linear = s.b.keep(offset.add(base));
    s.putGpr(0, 8, s.load(8, s.mode64 ? linear : linear.and(0xffffffffn), s.segment()));
  },
});

/** PUSHF and POPF in virtual-8086 mode below IOPL 3: #GP(0). */
function checkV86Flags(s: Semantics): void {
  if (s.mode64) return;
  const refused = isV86(s.b).nez().and(s.get(L.SYSTEM_FLAGS).and(RF_IOPL).ne(RF_IOPL));
  s.faultIf(refused, EXC_GP, 0);
}
define({
  name: "pushf",
  names: ["pushf", "pushfd", "pushfq"],
  feature: "base",
  uses: ["osz", "mode"],
  forms: ["9C | | d64"],
  semantics: (s) => {
    checkV86Flags(s);
    const image = s.b.keep(s.b.call(readFlags).and(~(RF_RF | RF_VM)));
    s.push(s.osz, s.osz === 64 ? image.u64() : image);
  },
});
define({
  name: "popf",
  names: ["popf", "popfd", "popfq"],
  feature: "base",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["9D | | d64"],
  semantics: (s) => {
    checkV86Flags(s);
    const image = s.b.keep(s.top(s.osz).lo32());
    s.drop(s.osz / 8);
    const mask = writableFlags(s.b);
    const limited = s.osz === 16 ? mask.and(0xffff) : mask;
    // A 32-bit or 64-bit image takes VIF and VIP away (SDM vol. 2, POPF), but not from virtual-8086 mode.
    const virtual = s.osz === 16 ? i32(0) : select(isV86(s.b), i32(0), i32(RF_VIF | RF_VIP));
    s.put(L.SYSTEM_FLAGS, s.get(L.SYSTEM_FLAGS).and(virtual.or(RF_RF).not()));
    s.b.call(writeFlags, image, limited);
    s.b.call(updateMode);
    s.fallThrough();
  },
});
define({
  name: "lahf",
  feature: "lahf64",
  forms: ["9F"],
  semantics: (s) => {
    const image = s.b.call(readFlags).and(0xd5).or(2);
    s.commit();
    s.b.store("i32.store8", "cpu", 0, image, L.GPR + 1);
  },
});
define({
  name: "sahf",
  feature: "lahf64",
  forms: ["9E"],
  semantics: (s) => {
    const ah = s.b.load("i32.load8_u", "cpu", 0, L.GPR + 1);
    s.commit();
    s.b.call(writeArithmeticFlags, ah.and(0xd5).or(s.b.call(readFlags).and(0x800)));
  },
});
