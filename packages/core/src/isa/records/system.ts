/**
 * System instructions (SDM vol. 2 and 3): control and debug registers, descriptor tables, MSRs, CPUID, RDTSC, HLT, port
 * I/O, interrupt flag, cache management, SWAPGS, no-operations. TLB management: translation.ts.
 * Left out: SMM, VMX, SVM, MONITOR.
 */

import { CR4_UMIP } from "../../cpu/control-bits.ts";
import { writeControl } from "../../cpu/control-registers.ts";
import { followDebugRegisters } from "../../cpu/debug.ts";
import {
  descriptorAttributes,
  descriptorBase,
  descriptorLimit,
  fetchDescriptor,
  markDescriptor,
  TYPE_LDT,
  TYPE_TSS32,
} from "../../cpu/descriptors.ts";
import { RF_IF, RF_IOPL } from "../../cpu/flags.ts";
import * as L from "../../cpu/layout.ts";
import { updateEvents, updateMode } from "../../cpu/mode.ts";
import { cpuid, readMsr, writeMsr } from "../../cpu/msr.ts";
import { checkPort, portRead, portWrite } from "../../cpu/ports.ts";
import { EXC_DB, EXC_GP, EXC_NP, EXC_UD } from "../../cpu/raise.ts";
import { knownTimeStamp, timeStamp } from "../../cpu/time-stamp.ts";
import { type Expr, i32, i64, op, opWith, select } from "../../ir/builder.ts";
import { define } from "../record.ts";
import { FAULT, type Semantics } from "../semantics.ts";

/** In front of NOP, which has the same form: without the feature PAUSE does nothing. */
define({
  name: "pause",
  feature: "yield",
  uses: ["mode"],
  ends: true,
  forms: ["F3 90"],
  semantics: (s) => s.exit(L.EXIT_YIELD),
});
define({
  name: "nop",
  feature: "base",
  forms: [
    "90 | | nob",
    "F3 90",
    "0F 0D /r | Ev,Gv",
    "0F 1F /0 | Ev",
    ...["18", "19", "1A", "1B", "1C", "1D", "1E", "1F"].map((op) => `0F ${op} /r | Ev,Gv`),
  ],
  semantics: () => {},
});
define({ name: "ud2", feature: "base", ends: true, forms: ["0F 0B"], semantics: (s) => s.undefined() });
define({ name: "ud1", feature: "base", ends: true, forms: ["0F B9 /r | Gv,Ev"], semantics: (s) => s.undefined() });
define({ name: "ud0", feature: "base", ends: true, forms: ["0F FF /r | Gv,Ev"], semantics: (s) => s.undefined() });

define({
  name: "hlt",
  feature: "base",
  uses: ["mode"],
  ends: true,
  forms: ["F4"],
  semantics: (s) => {
    s.privileged();
    s.put(L.HALTED, 1);
    s.exit(L.EXIT_HALT);
  },
});

const MAX_WIDTH = (s: Semantics, i: number): 8 | 16 | 32 => Math.min(s.width(i), 32) as 8 | 16 | 32;

define({
  name: "in",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["E4 | AL,Ib", "E5 | zAX,Ib", "EC | AL,DX", "ED | zAX,DX"],
  semantics: (s) => {
    const port = s.b.keep(s.operand(1).kind === "i" ? s.immediate(8) : s.gpr(2, 16));
    const width = MAX_WIDTH(s, 0);
    s.check(s.b.call(checkPort, port, width / 8));
    s.putGpr(0, width, s.b.call(portRead, port, width / 8));
    s.fallThrough();
  },
});
define({
  name: "out",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["E6 | Ib,AL", "E7 | Ib,zAX", "EE | DX,AL", "EF | DX,zAX"],
  semantics: (s) => {
    const port = s.b.keep(s.operand(0).kind === "i" ? s.immediate(8) : s.gpr(2, 16));
    const width = MAX_WIDTH(s, 1);
    s.check(s.b.call(checkPort, port, width / 8));
    // RIP is right before the device runs: it may stop the machine.
    const next = s.nextRip();
    s.b.call(portWrite, port, width / 8, s.gpr(0, width));
    s.jump(next);
  },
});

/** CLI and STI: allowed when CPL <= IOPL; in virtual-8086 mode CPL is 3. */
function interruptFlag(s: Semantics): void {
  const flags = s.get(L.SYSTEM_FLAGS);
  s.faultIf(
    s
      .get(L.CR0)
      .lo32()
      .and(1)
      .and(s.get(L.CPL).gtU(flags.and(RF_IOPL).shrU(12))),
    EXC_GP,
    0,
  );
}
define({
  name: "cli",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["FA"],
  semantics: (s) => {
    interruptFlag(s);
    s.put(L.SYSTEM_FLAGS, s.get(L.SYSTEM_FLAGS).and(~RF_IF));
    // Nothing is pending where translated code runs, and with IF clear nothing comes to be.
    if (!s.isTranslated) s.b.call(updateEvents);
    s.fallThrough();
  },
});
define({
  name: "sti",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["FB"],
  semantics: (s) => {
    interruptFlag(s);
    const flags = s.get(L.SYSTEM_FLAGS);
    if (s.isTranslated)
      s.b.if(flags.and(RF_IF).eqz(), () => {
        s.b.if(s.get(L.INTR_PENDING), () => s.leave(FAULT), undefined, false);
        s.shadowNext();
      });
    else s.b.if(flags.and(RF_IF).eqz(), () => s.put(L.SHADOW, 1));
    s.put(L.SYSTEM_FLAGS, flags.or(RF_IF));
    if (!s.isTranslated) s.b.call(updateEvents);
    s.fallThrough();
  },
});

define({
  name: "cpuid",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["0F A2"],
  semantics: (s) => {
    s.b.call(cpuid);
    s.commit();
    s.fallThrough();
  },
});
/** The time-stamp counter when this instruction is done, i64. */
function readTimeStamp(s: Semantics): Expr {
  const retired = s.get(L.RETIRED_END).sub(s.get(L.REMAINING).s64());
  if (!s.isTranslated) return s.b.call(timeStamp, retired);
  // The first one asks the host.
  s.b.if(s.get(L.TSC_KNOWN).eqz(), () => s.leave(FAULT), undefined, false);
  return s.b.call(knownTimeStamp, retired);
}

define({
  name: "rdtsc",
  feature: "tsc",
  ends: true,
  uses: ["mode"],
  forms: ["0F 31"],
  semantics: (s) => {
    s.faultIf(s.get(L.CPL).nez().and(s.get(L.CR4).lo32().and(4).nez()), EXC_GP, 0);
    const tsc = s.b.keep(readTimeStamp(s));
    s.putGpr(0, 32, tsc.lo32());
    s.putGpr(2, 32, tsc.shrU(32).lo32());
    s.fallThrough();
  },
});
define({
  name: "rdtscp",
  feature: "rdtscp",
  ends: true,
  uses: ["mode"],
  forms: ["0F 01 =F9"],
  semantics: (s) => {
    s.faultIf(s.get(L.CPL).nez().and(s.get(L.CR4).lo32().and(4).nez()), EXC_GP, 0);
    const tsc = s.b.keep(readTimeStamp(s));
    s.putGpr(0, 32, tsc.lo32());
    s.putGpr(1, 32, s.get(L.TSC_AUX).lo32());
    s.putGpr(2, 32, tsc.shrU(32).lo32());
    s.fallThrough();
  },
});
define({
  name: "rdpmc",
  feature: "base",
  forms: ["0F 33"],
  // There are no counters: every index is out of range.
  semantics: (s) => s.fault(EXC_GP, 0),
});
define({
  name: "rdmsr",
  feature: "msr",
  ends: true,
  uses: ["mode"],
  forms: ["0F 32"],
  semantics: (s) => {
    s.privileged();
    s.check(s.b.call(readMsr, s.gpr(1, 32)));
    const value = s.get(L.result(0));
    s.putGpr(0, 32, value.lo32());
    s.putGpr(2, 32, value.shrU(32).lo32());
    s.fallThrough();
  },
});
define({
  name: "wrmsr",
  feature: "msr",
  ends: true,
  uses: ["mode"],
  forms: ["0F 30"],
  semantics: (s) => {
    s.privileged();
    const value = s.gpr(2, 32).u64().shl(32).or(s.gpr(0, 32).u64());
    s.check(s.b.call(writeMsr, s.gpr(1, 32), value));
    s.commit();
    s.fallThrough();
  },
});

define({
  name: "mov_from_cr",
  names: ["mov", "mov", "mov"],
  feature: "base",
  uses: ["mode"],
  forms: ["0F 20 /r | Ry,Cy | f64"],
  semantics: (s) => {
    s.privileged();
    const number = s.register(1);
    const value = s.b.variable(s.get(L.CR0));
    for (const [n, field] of [
      [2, L.CR2],
      [3, L.CR3],
      [4, L.CR4],
      [8, L.CR8],
    ] as const)
      s.b.if(number.eq(n), () => value.set(s.get(field)));
    s.write(0, s.width(0) === 64 ? value.get() : value.get().lo32());
  },
});
define({
  name: "mov_to_cr",
  names: ["mov", "mov", "mov"],
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["0F 22 /r | Cy,Ry | f64"],
  semantics: (s) => {
    s.privileged();
    const value = s.read(1);
    s.check(s.b.call(writeControl, s.register(0), value.u64()));
    s.commit();
    s.fallThrough();
  },
});

define({
  name: "mov_from_dr",
  names: ["mov", "mov", "mov"],
  feature: "base",
  uses: ["mode"],
  forms: ["0F 21 /r | Ry,Dy | f64"],
  semantics: (s) => {
    const number = debugRegister(s, 1);
    const value = s.b.load("i64.load", "cpu", number.shl(3), L.dr(0).offset);
    s.write(0, s.width(0) === 64 ? value : value.lo32());
  },
});
define({
  name: "mov_to_dr",
  names: ["mov", "mov", "mov"],
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["0F 23 /r | Dy,Ry | f64"],
  semantics: (s) => {
    const number = debugRegister(s, 0);
    const value = s.b.keep(s.read(1).u64());
    // The high half of DR6 and DR7 is reserved: #GP(0).
    s.faultIf(number.geU(4).and(value.shrU(32).nez()), EXC_GP, 0);
    const fixed = select(
      number.eq(4),
      value.and(0xe00f).or(0xffff0ff0n),
      select(number.eq(5), value.and(0xffff2fffn).or(0x400), value),
    );
    s.commit();
    s.b.store("i64.store", "cpu", number.shl(3), fixed, L.dr(0).offset);
    s.b.call(followDebugRegisters);
    s.b.call(updateMode);
    s.b.call(updateEvents);
    s.fallThrough();
  },
});
/** Index of the debug register operand in the state: DR4 and DR5 are DR6 and DR7 unless CR4.DE. DR7.GD traps. */
function debugRegister(s: Semantics, i: number): Expr {
  const number = s.register(i);
  s.faultIf(number.and(6).eq(4).and(s.get(L.CR4).lo32().and(8).nez()), EXC_UD);
  s.privileged();
  s.b.if(s.get(L.DR7).lo32().and(0x2000), () => {
    s.b.put(L.DR6, s.get(L.DR6).or(0x2000));
    s.b.put(L.DR7, s.get(L.DR7).and(~0x2000));
    s.fault(EXC_DB);
  });
  return s.b.keep(select(number.geU(6), number.sub(2), number));
}

/** CR4.UMIP: what tells user programs about the system is #GP(0) there. */
function hidden(s: Semantics): void {
  s.faultIf(s.get(L.CR4).lo32().and(CR4_UMIP).nez().and(s.get(L.CPL).nez()), EXC_GP, 0);
}

for (const [name, reg, base, limit] of [
  ["sgdt", 0, L.GDTR_BASE, L.GDTR_LIMIT],
  ["sidt", 1, L.IDTR_BASE, L.IDTR_LIMIT],
] as const)
  define({
    name,
    feature: "base",
    uses: ["mode"],
    forms: [`0F 01 /${reg} | Ms`],
    semantics: (s) => {
      hidden(s);
      const width = s.mode64 ? 64 : 32;
      const baseAt = s.b.keep(s.address(2));
      // Both parts are probed before the first store.
      s.probe(16, s.address(), s.segment());
      s.probe(width, baseAt, s.segment());
      const first = s.probe(16, s.address(), s.segment());
      const baseValue = s.get(base);
      s.store(first, s.get(limit));
      s.storeCertain(width, baseAt, s.mode64 ? baseValue : baseValue.lo32(), s.segment());
    },
  });

for (const [name, reg, base, limit] of [
  ["lgdt", 2, L.GDTR_BASE, L.GDTR_LIMIT],
  ["lidt", 3, L.IDTR_BASE, L.IDTR_LIMIT],
] as const)
  define({
    name,
    feature: "base",
    uses: ["mode", "osz"],
    forms: [`0F 01 /${reg} | Ms`],
    semantics: (s) => {
      s.privileged();
      const size = s.load(16, s.address(), s.segment());
      const value = s.load(s.mode64 ? 64 : 32, s.address(2), s.segment());
      if (s.mode64) s.faultIf(value.shl(16).shrS(16).ne(value), EXC_GP, 0);
      const wide = value.u64();
      s.put(base, !s.mode64 && s.osz === 16 ? wide.and(0xffffff) : wide);
      s.put(limit, size);
    },
  });

for (const [name, reg, segment] of [
  ["sldt", 0, L.LDTR],
  ["str", 1, L.TR],
] as const)
  define({
    name,
    feature: "base",
    forms: [`0F 00 /${reg} | Ev`],
    semantics: (s) => {
      s.protectedOnly();
      hidden(s);
      const selector = s.get(L.segSelector(segment));
      if (s.isMemory(0)) s.store(s.probe(16, s.address(), s.segment()), selector);
      else s.write(0, s.width(0) === 64 ? selector.u64() : selector);
    },
  });

for (const [name, reg, segment, type] of [
  ["lldt", 2, L.LDTR, TYPE_LDT],
  ["ltr", 3, L.TR, TYPE_TSS32],
] as const)
  define({
    name,
    feature: "base",
    forms: [`0F 00 /${reg} | Ew`],
    semantics: (s) => {
      const b = s.b;
      s.protectedOnly();
      s.privileged();
      const selector = s.b.keep(s.read(0));
      if (name === "lldt")
        b.if(selector.and(0xfffc).eqz(), () =>
          s.uncommitted(() => {
            s.put(L.segSelector(segment), selector);
            s.put(L.segAttributes(segment), 0x10000);
            s.finish();
          }),
        );
      else s.faultIf(selector.and(0xfffc).eqz(), EXC_GP, 0);
      const error = b.keep(selector.and(0xfffc));
      s.faultIf(selector.and(4), EXC_GP, error);
      const wide = b.keep(s.get(L.EFER).shrU(10).lo32().and(1));
      s.check(b.call(fetchDescriptor, selector, wide));
      const low = s.get(L.result(0));
      const rights = b.keep(descriptorAttributes(low));
      // Outside long mode also a 16-bit TSS.
      const kind = type === TYPE_TSS32 ? select(wide, i32(0x1f), i32(0x17)) : i32(0x1f);
      s.faultIf(rights.and(kind).ne(type === TYPE_TSS32 ? select(wide, i32(type), i32(1)) : type), EXC_GP, error);
      s.faultIf(rights.and(0x80).eqz(), EXC_NP, error);
      const high = b.keep(select(wide, s.get(L.result(1)).shl(32), i64(0)));
      const address = b.keep(descriptorBase(low).or(high));
      s.faultIf(address.shl(16).shrS(16).ne(address), EXC_GP, error);
      if (name === "ltr") s.check(b.call(markDescriptor, selector, 2, 0));
      s.put(L.segSelector(segment), selector);
      s.put(L.segAttributes(segment), name === "ltr" ? rights.or(2) : rights);
      s.put(L.segBase(segment), address);
      s.put(L.segLimit(segment), descriptorLimit(low));
    },
  });

define({
  name: "smsw",
  feature: "base",
  forms: ["0F 01 /4 | Ev"],
  semantics: (s) => {
    hidden(s);
    const cr0 = s.get(L.CR0);
    if (s.isMemory(0)) s.store(s.probe(16, s.address(), s.segment()), cr0.lo32().and(0xffff));
    else s.write(0, s.width(0) === 64 ? cr0 : s.mask(s.width(0), cr0.lo32()));
  },
});
define({
  name: "lmsw",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["0F 01 /6 | Ew"],
  semantics: (s) => {
    s.privileged();
    const value = s.read(0).and(15).u64();
    const cr0 = s.get(L.CR0);
    // PE can be set, not cleared.
    s.check(s.b.call(writeControl, i32(0), cr0.and(-15).or(value)));
    s.commit();
    s.fallThrough();
  },
});
define({
  name: "clts",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["0F 06"],
  semantics: (s) => {
    s.privileged();
    s.check(s.b.call(writeControl, i32(0), s.get(L.CR0).and(-9)));
    s.commit();
    s.fallThrough();
  },
});
for (const [name, encoding] of [
  ["invd", "0F 08"],
  ["wbinvd", "0F 09"],
] as const)
  define({ name, feature: "base", forms: [encoding], semantics: (s) => s.privileged() });

define({
  name: "swapgs",
  feature: "long",
  forms: ["0F 01 =F8 | | o64"],
  semantics: (s) => {
    s.privileged();
    const base = s.get(L.segBase(L.GS));
    const other = s.get(L.KERNEL_GS_BASE);
    s.put(L.segBase(L.GS), other);
    s.put(L.KERNEL_GS_BASE, base);
  },
});

define({
  name: "cmpxchg8b",
  feature: "cx8",
  forms: ["W0 0F C7 /1 | Mq | lock"],
  semantics: (s) => {
    const dest = s.readModify(0);
    const expected = s.b.keep(s.gpr(2, 32).u64().shl(32).or(s.gpr(0, 32).u64()));
    const replacement = s.gpr(1, 32).u64().shl(32).or(s.gpr(3, 32).u64());
    const equal = s.b.keep(dest.eq(expected));
    s.write(0, select(equal, replacement, dest));
    s.b.if(equal.eqz(), () => {
      s.putGpr(0, 32, dest.lo32());
      s.putGpr(2, 32, dest.shrU(32).lo32());
    });
    s.setFlags({ zf: equal });
  },
});
define({
  name: "cmpxchg16b",
  feature: "cx16",
  forms: ["W1 0F C7 /1 | Mx | lock"],
  semantics: (s) => {
    s.faultIf(s.address().and(15).nez(), EXC_GP, 0);
    const dest = s.readModify(0);
    const half = (lane: number): Expr => s.b.keep(opWith("i64x2.extract_lane", lane, dest));
    const low = half(0);
    const high = half(1);
    const equal = s.b.keep(low.eq(s.gpr(0, 64)).and(high.eq(s.gpr(2, 64))));
    const replacement = opWith("i64x2.replace_lane", 1, op("i64x2.splat", s.gpr(3, 64)), s.gpr(1, 64));
    s.write(0, select(equal, replacement, dest));
    s.b.if(equal.eqz(), () => {
      s.putGpr(0, 64, low);
      s.putGpr(2, 64, high);
    });
    s.setFlags({ zf: equal });
  },
});
