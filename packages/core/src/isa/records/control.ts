/**
 * Control transfers (SDM vol. 2): JMP Jcc CALL RET LOOP JCXZ, far forms, INT INT3 INTO INT1 IRET, SYSCALL SYSRET
 * SYSENTER SYSEXIT. What far transfers and events do is in cpu/far-transfer.ts, far-return.ts, exceptions.ts.
 */

import { debugInterrupt, interruptInstruction, softwareInterrupt } from "../../cpu/exceptions.ts";
import { farReturn, interruptReturn } from "../../cpu/far-return.ts";
import { farTransfer } from "../../cpu/far-transfer.ts";
import { FLAG, RF_IF, RF_RF, RF_VM, readFlags } from "../../cpu/flags.ts";
import { writeFlags } from "../../cpu/flags-image.ts";
import * as L from "../../cpu/layout.ts";
import { updateEvents, updateMode } from "../../cpu/mode.ts";
import { EXC_BP, EXC_GP, EXC_OF, EXC_UD } from "../../cpu/raise.ts";
import { forgetCodePage } from "../../cpu/tlb.ts";
import { type Expr, i32, i64, type Operand, select } from "../../ir/builder.ts";
import { define } from "../record.ts";
import { BRANCH, type Semantics } from "../semantics.ts";
import { CONDITIONS } from "./data.ts";

for (const [cc, name] of CONDITIONS.entries()) {
  const code = cc.toString(16).toUpperCase();
  define({
    name: `j${name}`,
    feature: "base",
    uses: ["osz", "mode"],
    ends: true,
    forms: [`7${code} | Jb | f64`, `0F 8${code} | Jz | f64`],
    semantics: (s) => {
      s.b.if(s.condition(cc), () => s.jumpRelative());
      s.fallThrough();
    },
  });
}

define({
  name: "jmp",
  feature: "base",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["EB | Jb | f64", "E9 | Jz | f64", "FF /4 | Ev | f64"],
  semantics: (s) => {
    if (s.operand(0).kind === "j") {
      s.jumpRelative();
      return;
    }
    const target = s.b.keep(s.read(0).u64());
    s.checkTarget(target);
    s.jump(target);
  },
});

define({
  name: "call",
  feature: "base",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["E8 | Jz | f64", "FF /2 | Ev | f64"],
  semantics: (s) => {
    const target = s.b.keep(s.operand(0).kind === "j" ? s.target() : s.read(0).u64());
    if (!s.mode64) s.checkTarget(target);
    const next = s.nextRip();
    const rsp = s.b.keep(s.movedStack(s.get(L.RSP), -s.osz / 8));
    const probe = s.probe(s.osz, s.stackAddress(rsp), L.SS);
    // The return address is stored even when the target then turns out not to be canonical; RSP has not moved then.
    s.uncommitted(() => s.store(probe, s.osz === 64 ? next : next.lo32()));
    if (s.mode64) s.checkTarget(target);
    s.put(L.RSP, rsp);
    s.callTo(target);
  },
});

define({
  name: "ret",
  feature: "base",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["C3 | | f64", "C2 | Iw | f64"],
  semantics: (s) => {
    const target = s.b.keep(s.top(s.osz).u64());
    s.checkTarget(target);
    const extra = s.shape.operands.length ? s.immediate(16).u64() : undefined;
    const moved = s.b.keep(s.movedStack(s.get(L.RSP), s.osz / 8));
    s.put(L.RSP, extra ? s.movedStack(moved, extra) : moved);
    s.returnTo(target);
  },
});

for (const [name, opcode] of [
  ["loopne", "E0"],
  ["loope", "E1"],
  ["loop", "E2"],
] as const) {
  define({
    name,
    feature: "base",
    uses: ["asz", "osz", "mode"],
    ends: true,
    forms: [`${opcode} | Jb | f64`],
    semantics: (s) => {
      const count = s.gpr(1, s.asz);
      const left = s.b.keep(s.asz === 64 ? count.sub(1) : s.mask(s.asz, count.sub(1)));
      let taken: Expr = left.nez();
      if (name !== "loop") taken = taken.and(name === "loope" ? FLAG.zf(s.b) : FLAG.zf(s.b).xor(1));
      s.b.if(taken, () => {
        if (!s.mode64) s.checkTarget(s.b.keep(s.target()));
        s.uncommitted(() => s.putGpr(1, s.asz, left));
        s.uncommitted(() => s.jumpRelative());
      });
      s.putGpr(1, s.asz, left);
      s.fallThrough();
    },
  });
}
define({
  name: "jcxz",
  names: ["jcxz", "jecxz", "jrcxz"],
  feature: "base",
  uses: ["asz", "osz", "mode"],
  ends: true,
  forms: ["E3 | Jb | f64"],
  semantics: (s) => {
    s.b.if(s.gpr(1, s.asz).eqz(), () => s.jumpRelative());
    s.fallThrough();
  },
});

/** A far pointer in memory or in the instruction: offset of the operand size, then a selector. */
function farPointer(s: Semantics): { selector: Expr; offset: Expr } {
  if (!s.isMemory(0)) {
    const offset = s.immediate(32);
    return { selector: s.secondImmediate(), offset: s.osz === 16 ? offset.and(0xffff).u64() : offset.u64() };
  }
  const offset = s.load(s.osz, s.address(), s.segment()).u64();
  const selector = s.load(16, s.address(s.osz / 8), s.segment());
  return { selector, offset: s.b.keep(offset) };
}

for (const [name, isCall, direct, indirect] of [
  ["jmp", 0, "EA", 5],
  ["call", 1, "9A", 3],
] as const)
  define({
    name: `${name}_far`,
    names: [name, name, name],
    feature: "base",
    uses: ["osz", "mode"],
    ends: true,
    forms: [`${direct} | Ap | i64`, `FF /${indirect} | Ms`],
    semantics: (s) => {
      const { selector, offset } = farPointer(s);
      s.check(s.b.call(farTransfer, selector, offset, s.osz / 8, s.nextRip(), isCall));
      s.commit();
      s.leave(BRANCH);
    },
  });

define({
  name: "retf",
  feature: "base",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["CB", "CA | Iw"],
  semantics: (s) => {
    const released: Operand = s.shape.operands.length ? s.immediate(16) : 0;
    s.check(s.b.call(farReturn, s.osz / 8, released));
    s.commit();
    s.leave(BRANCH);
  },
});

define({
  name: "iret",
  names: ["iret", "iretd", "iretq"],
  feature: "base",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["CF"],
  semantics: (s) => {
    s.check(s.b.call(interruptReturn, s.osz / 8, s.nextRip()));
    s.commit();
    s.leave(BRANCH);
  },
});

/** RIP is set to the next instruction before a software interrupt is delivered: that is what it pushes. */
function softInterrupt(s: Semantics, delivered: () => Expr): void {
  s.b.put(L.RIP, s.nextRip());
  s.check(delivered());
  s.leave(BRANCH);
}
define({
  name: "int",
  feature: "base",
  uses: ["mode"],
  ends: true,
  forms: ["CD | Ib"],
  semantics: (s) => softInterrupt(s, () => s.b.call(interruptInstruction, s.immediate(8))),
});
define({
  name: "int3",
  feature: "base",
  uses: ["mode"],
  ends: true,
  forms: ["CC"],
  semantics: (s) => softInterrupt(s, () => s.b.call(softwareInterrupt, EXC_BP)),
});
define({
  name: "into",
  feature: "base",
  uses: ["mode"],
  ends: true,
  forms: ["CE | | i64"],
  semantics: (s) => {
    s.b.if(FLAG.of(s.b), () => softInterrupt(s, () => s.b.call(softwareInterrupt, EXC_OF)));
    s.fallThrough();
  },
});
define({
  name: "int1",
  feature: "base",
  uses: ["mode"],
  ends: true,
  forms: ["F1"],
  semantics: (s) => softInterrupt(s, () => s.b.call(debugInterrupt)),
});

define({
  name: "syscall",
  feature: "syscall",
  uses: ["mode"],
  ends: true,
  forms: ["0F 05"],
  partly: "Only from 64-bit code; compatibility-mode SYSCALL raises #UD, as on Intel processors.",
  semantics: (s) => {
    if (!s.mode64) {
      s.undefined();
      return;
    }
    s.faultIf(s.get(L.EFER).lo32().and(1).eqz(), EXC_UD);
    const b = s.b;
    const flags = b.keep(b.call(readFlags).and(~RF_RF));
    s.put(L.gpr(1), s.nextRip());
    s.put(L.R11, flags.u64());
    b.call(writeFlags, flags.and(s.get(L.SFMASK).lo32().not()), i32(-1));
    stepByResult(s);
    const selector = b.keep(s.get(L.STAR).shrU(32).lo32().and(0xfffc));
    flatCode(s, selector, 0xa09b, i32(0));
    flatData(s, b.keep(selector.add(8).and(0xffff)), i32(0xc093));
    s.put(L.RIP, s.get(L.LSTAR));
    b.call(updateMode);
    s.leave(BRANCH);
  },
});

/**
 * Single step goes by the TF that SYSCALL and SYSRET leave behind, not by the one before: SFMASK keeps the trap out of
 * the kernel, and SYSRET traps as if the SYSCALL had just been done.
 */
function stepByResult(s: Semantics): void {
  s.put(L.STEP_ARMED, s.get(L.SYSTEM_FLAGS).shrU(8).and(1));
}

/** CS with the fixed attributes that SYSCALL and SYSRET give it. */
function flatCode(s: Semantics, selector: Expr, attributes: number | Expr, cpl: Expr): void {
  s.put(L.segSelector(L.CS), selector);
  s.put(L.segAttributes(L.CS), attributes);
  s.put(L.segBase(L.CS), 0);
  s.put(L.segLimit(L.CS), -1);
  s.put(L.CPL, cpl);
}
function flatData(s: Semantics, selector: Expr, attributes: Expr): void {
  s.put(L.segSelector(L.SS), selector);
  s.put(L.segAttributes(L.SS), attributes);
  s.put(L.segBase(L.SS), 0);
  s.put(L.segLimit(L.SS), -1);
}

define({
  name: "sysret",
  names: ["sysret", "sysret", "sysretq"],
  feature: "syscall",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["0F 07"],
  semantics: (s) => {
    if (!s.mode64) {
      s.undefined();
      return;
    }
    const b = s.b;
    s.faultIf(s.get(L.EFER).lo32().and(1).eqz(), EXC_UD);
    s.privileged();
    const to64 = s.osz === 64;
    const rcx = s.get(L.gpr(1));
    if (to64) s.faultIf(rcx.shl(16).shrS(16).ne(rcx), EXC_GP, 0);
    s.put(L.RIP, to64 ? rcx : rcx.and(0xffffffffn));
    b.call(writeFlags, s.get(L.R11).lo32().and(0x3c7fd7), i32(-1));
    stepByResult(s);
    const base = b.keep(s.get(L.STAR).shrU(48).lo32());
    flatCode(s, base.add(to64 ? 16 : 0).or(3), to64 ? 0xa0fb : 0xc0fb, i32(3));
    flatData(s, b.keep(base.add(8).or(3)), i32(0xc0f3));
    b.call(updateMode);
    b.call(updateEvents);
    forgetCodePage(b);
    s.leave(BRANCH);
  },
});

define({
  name: "sysenter",
  feature: "sep",
  uses: ["mode"],
  ends: true,
  forms: ["0F 34"],
  semantics: (s) => {
    const b = s.b;
    s.faultIf(s.get(L.CR0).lo32().and(1).eqz(), EXC_GP, 0);
    const target = b.keep(s.get(L.SYSENTER_CS).lo32());
    s.faultIf(target.and(0xfffc).eqz(), EXC_GP, 0);
    const flags = s.get(L.SYSTEM_FLAGS);
    s.put(L.SYSTEM_FLAGS, flags.and(~(RF_IF | RF_VM)));
    const selector = b.keep(target.and(0xfffc));
    const long = b.keep(s.get(L.EFER).lo32().and(0x400));
    flatCode(s, selector, b.keep(select(long, i32(0xa09b), i32(0xc09b))), i32(0));
    flatData(s, b.keep(selector.add(8).and(0xffff)), i32(0xc093));
    const narrow = b.keep(select(long, i64(-1), i64(0xffffffffn)));
    s.put(L.RSP, s.get(L.SYSENTER_ESP).and(narrow));
    s.put(L.RIP, s.get(L.SYSENTER_EIP).and(narrow));
    b.call(updateMode);
    b.call(updateEvents);
    s.leave(BRANCH);
  },
});

define({
  name: "sysexit",
  names: ["sysexit", "sysexit", "sysexitq"],
  feature: "sep",
  uses: ["osz", "mode"],
  ends: true,
  forms: ["0F 35"],
  semantics: (s) => {
    const b = s.b;
    s.faultIf(s.get(L.CR0).lo32().and(1).eqz(), EXC_GP, 0);
    s.privileged();
    const target = b.keep(s.get(L.SYSENTER_CS).lo32());
    s.faultIf(target.and(0xfffc).eqz(), EXC_GP, 0);
    const to64 = s.osz === 64;
    const rip = s.get(L.gpr(2));
    const rsp = s.get(L.gpr(1));
    if (to64) {
      s.faultIf(rip.shl(16).shrS(16).ne(rip), EXC_GP, 0);
      s.faultIf(rsp.shl(16).shrS(16).ne(rsp), EXC_GP, 0);
    }
    const selector = b.keep(
      target
        .add(to64 ? 32 : 16)
        .and(0xffff)
        .or(3),
    );
    flatCode(s, selector, to64 ? 0xa0fb : 0xc0fb, i32(3));
    flatData(s, b.keep(selector.add(8).and(0xffff)), i32(0xc0f3));
    s.put(L.RSP, to64 ? rsp : rsp.and(0xffffffffn));
    s.put(L.RIP, to64 ? rip : rip.and(0xffffffffn));
    b.call(updateMode);
    b.call(updateEvents);
    s.leave(BRANCH);
  },
});
