/**
 * Segment registers and far transfers (SDM vol. 3, chapters 3.4, 5 and 6.14): descriptor loads with all checks,
 * privilege changes by far return and IRET in long mode, real-mode loads.
 * Left out: call gates, task gates and task switches (#GP with the selector), virtual-8086 mode, limits of legacy
 * segments.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { commitStore, readLinear, writeLinear } from "./access.ts";
import { watchesData } from "./debug.ts";
import {
  RF_AC,
  RF_ARITHMETIC,
  RF_DF,
  RF_ID,
  RF_IF,
  RF_IOPL,
  RF_NT,
  RF_RF,
  RF_TF,
  RF_VIF,
  RF_VIP,
  RF_VM,
  writeArithmeticFlags,
} from "./flags.ts";
import * as L from "./layout.ts";
import { forgetCodePage } from "./paging.ts";
import { EXC_GP, EXC_NP, EXC_SS, raise } from "./raise.ts";

const ATTR_ACCESSED = 1;
const ATTR_LONG = 0x2000;
const ATTR_BIG = 0x4000;
const UNUSABLE = 0x10000;

/** Recomputes what depends on CS, SS, CPL, CR0 and EFER: the decoding mode and the TLB set. */
export const updateMode: Routine = routine("update_mode", [], undefined, (b) => {
  const lma = b.get(L.EFER).shrU(10).lo32().and(1);
  const cs = b.get(L.segAttributes(L.CS));
  const is64 = lma.and(cs.shrU(13));
  const pe = b.keep(b.get(L.CR0).lo32().and(1));
  const legacy = cs
    .shrU(14)
    .and(1)
    .shl(1)
    .or(b.get(L.segAttributes(L.SS)).shrU(14).and(1).shl(2))
    .or(pe.shl(3));
  b.put(L.MODE, select(is64, i32(L.MODE_64 | L.MODE_PROTECTED), legacy));
  const user = b.keep(b.get(L.CPL).eq(3));
  const aligned = b.get(L.SYSTEM_FLAGS).and(RF_AC).nez().and(b.get(L.CR0).shrU(18).lo32().and(1));
  b.put(L.TLB_CURRENT, select(user, i32(L.TLB_USER), i32(L.TLB_SUPERVISOR)));
  b.if(user.and(aligned).or(b.call(watchesData)), () => b.put(L.TLB_CURRENT, L.TLB_NONE));
  forgetCodePage(b);
});

/** Recomputes ATTENTION after a change of IF, TF, AC, DR7, or of what is pending. */
export const updateEvents: Routine = routine("update_events", [], undefined, (b) => {
  const flags = b.get(L.SYSTEM_FLAGS);
  const intr = b.get(L.INTR_PENDING).and(flags.shrU(9));
  const nmi = b.get(L.NMI_PENDING).and(b.get(L.NMI_MASKED).eqz());
  const trap = flags.shrU(8).and(1).or(b.get(L.STEP_ARMED)).or(b.get(L.WATCH_HITS)).or(b.get(L.DR7).and(0xff).nez());
  const kept = b.get(L.ATTENTION).and(L.ATTENTION_CODE | L.ATTENTION_KICK);
  const shadow = select(b.get(L.SHADOW), i32(L.ATTENTION_CODE), i32(0));
  b.put(
    L.ATTENTION,
    kept
      .or(shadow)
      .or(select(intr.or(nmi).and(1), i32(L.ATTENTION_EVENT), i32(0)))
      .or(select(trap, i32(L.ATTENTION_TRAP), i32(0))),
  );
});

/** Reads 8 bytes of a system table with supervisor rights: host address or 0 = fault pending. */
export const readSystem: Routine = routine("read_system", ["i64", "i32"], "i32", (b, va, size) => {
  const cpl = b.get(L.CPL);
  const set = b.get(L.TLB_CURRENT);
  b.put(L.CPL, 0);
  b.put(L.TLB_CURRENT, L.TLB_SUPERVISOR);
  const host = b.call(readLinear, va, size, L.DS, 0);
  b.put(L.CPL, cpl);
  b.put(L.TLB_CURRENT, set);
  b.return(host);
});

const writeSystem: Routine = routine("write_system", ["i64", "i32"], "i32", (b, va, size) => {
  const cpl = b.get(L.CPL);
  const set = b.get(L.TLB_CURRENT);
  b.put(L.CPL, 0);
  b.put(L.TLB_CURRENT, L.TLB_SUPERVISOR);
  const host = b.call(writeLinear, va, size, L.DS, 1);
  b.put(L.CPL, cpl);
  b.put(L.TLB_CURRENT, set);
  b.return(host);
});

/**
 * Fetches the descriptor a selector names into RESULT[0] (second half of a 16-byte one into RESULT[1] when `wide`).
 * 0 = done; 1 = #GP(selector) or a page fault is pending.
 */
export const fetchDescriptor: Routine = routine("fetch_descriptor", ["i32", "i32"], "i32", (b, selector, wide) => {
  const local = b.keep(selector.and(4));
  const base = select(local, b.get(L.segBase(L.LDTR)), b.get(L.GDTR_BASE));
  const limit = select(local, b.get(L.segLimit(L.LDTR)), b.get(L.GDTR_LIMIT));
  const last = select(wide, i32(15), i32(7));
  const unusable = local.nez().and(b.get(L.segAttributes(L.LDTR)).shrU(16));
  b.if(limit.ltU(selector.and(0xfff8).add(last)).or(unusable.and(1)), () => {
    raise(b, EXC_GP, selector.and(0xfffc));
    b.return(1);
  });
  const at = b.keep(base.add(selector.and(0xfff8).u64()));
  const low = b.call(readSystem, at, 8);
  b.if(low.eqz(), () => b.return(1));
  b.put(L.result(0), b.load("i64.load", "host", low));
  b.if(wide, () => {
    const high = b.call(readSystem, at.add(8), 8);
    b.if(high.eqz(), () => b.return(1));
    b.put(L.result(1), b.load("i64.load", "host", high));
  });
  b.return(0);
});

/** Sets type bits in the access byte of the descriptor in memory (accessed, TSS busy). 1 = a fault is pending. */
export const markDescriptor: Routine = routine("mark_descriptor", ["i32", "i32"], "i32", (b, selector, bits) => {
  const base = select(selector.and(4), b.get(L.segBase(L.LDTR)), b.get(L.GDTR_BASE));
  const host = b.call(writeSystem, base.add(selector.and(0xfff8).u64()).add(5), 1);
  b.if(host.eqz(), () => b.return(1));
  b.store("i32.store8", "host", host, b.load("i32.load8_u", "host", host).or(bits));
  b.call(commitStore, host);
  b.return(0);
});

/** The expanded limit, base and attributes of a descriptor. */
export function descriptorLimit(descriptor: Expr): Expr {
  const raw = descriptor.and(0xffff).or(descriptor.shrU(32).and(0xf0000)).lo32();
  return select(
    descriptor.shrU(55).lo32().and(1),
    raw.shl(12).or(0xfff),
    descriptor.and(0xffff).or(descriptor.shrU(32).and(0xf0000)).lo32(),
  );
}
export function descriptorBase(descriptor: Expr): Expr {
  return descriptor.shrU(16).and(0xffffff).or(descriptor.shrU(32).and(0xff000000n));
}
export function descriptorAttributes(descriptor: Expr): Expr {
  return descriptor.shrU(40).lo32().and(0xf0ff);
}

/** CS := selector with a checked code descriptor, at a privilege level. Cannot fault (the accessed bit is not written back). */
export const loadCodeSegment: Routine = routine(
  "load_code_segment",
  ["i32", "i64", "i32"],
  undefined,
  (b, selector, descriptor, cpl) => {
    b.put(L.segSelector(L.CS), selector.and(0xfffc).or(cpl));
    b.put(L.segAttributes(L.CS), descriptorAttributes(descriptor).or(ATTR_ACCESSED));
    b.put(L.segBase(L.CS), descriptorBase(descriptor));
    b.put(L.segLimit(L.CS), descriptorLimit(descriptor));
    b.put(L.CPL, cpl);
    b.call(updateMode);
  },
);

function fillSegment(b: Builder, at: (seg: number) => Expr, descriptor: Expr, selector: Expr): void {
  const place = b.keep(at(0));
  b.store("i32.store16", "cpu", place, selector, L.SEGMENTS);
  b.store("i32.store", "cpu", place, descriptorAttributes(descriptor).or(ATTR_ACCESSED), L.SEGMENTS + 4);
  b.store("i64.store", "cpu", place, descriptorBase(descriptor), L.SEGMENTS + 8);
  b.store("i32.store", "cpu", place, descriptorLimit(descriptor), L.SEGMENTS + 16);
}

/** MOV Sreg / POP Sreg: loads ES, SS, DS, FS or GS. 0, or 1 = a fault is pending. */
export const loadSegment: Routine = routine("load_segment", ["i32", "i32"], "i32", (b, segment, selector) => {
  const place = b.keep(segment.shl(5));
  b.if(b.get(L.CR0).lo32().and(1).eqz(), () => {
    b.store("i32.store16", "cpu", place, selector, L.SEGMENTS);
    b.store("i64.store", "cpu", place, selector.shl(4).u64(), L.SEGMENTS + 8);
    b.return(0);
  });
  const isStack = b.keep(segment.eq(L.SS));
  const rpl = b.keep(selector.and(3));
  const cpl = b.get(L.CPL);
  b.if(selector.and(0xfffc).eqz(), () => {
    // A null SS only in 64-bit mode, below CPL 3, with RPL = CPL.
    const refused = isStack.and(b.get(L.MODE).and(L.MODE_64).eqz().or(cpl.eq(3)).or(rpl.ne(cpl)));
    b.if(refused, () => {
      raise(b, EXC_GP, 0);
      b.return(1);
    });
    b.store("i32.store16", "cpu", place, selector, L.SEGMENTS);
    b.store("i32.store", "cpu", place, select(isStack, i32(UNUSABLE).or(cpl.shl(5)), i32(UNUSABLE)), L.SEGMENTS + 4);
    b.store("i64.store", "cpu", place, i64(0), L.SEGMENTS + 8);
    b.store("i32.store", "cpu", place, i32(0), L.SEGMENTS + 16);
    b.return(0);
  });
  b.if(b.call(fetchDescriptor, selector, 0), () => b.return(1));
  const descriptor = b.get(L.result(0));
  const rights = b.keep(descriptorAttributes(descriptor));
  const type = b.keep(rights.and(0x1f));
  const dpl = b.keep(rights.shrU(5).and(3));
  const writableData = type.and(0x1a).eq(0x12);
  const badStack = rpl.ne(cpl).or(dpl.ne(cpl)).or(writableData.eqz());
  const readable = type.and(0x10).nez().and(type.and(0x0a).ne(8));
  const conforming = type.and(0x0c).eq(0x0c);
  const badData = readable.eqz().or(conforming.eqz().and(rpl.gtU(dpl).or(cpl.gtU(dpl))));
  b.if(select(isStack, badStack, badData), () => {
    raise(b, EXC_GP, selector.and(0xfffc));
    b.return(1);
  });
  b.if(rights.and(0x80).eqz(), () => {
    raise(b, select(isStack, i32(EXC_SS), i32(EXC_NP)), selector.and(0xfffc));
    b.return(1);
  });
  b.if(rights.and(ATTR_ACCESSED).eqz(), () => {
    b.if(b.call(markDescriptor, selector, ATTR_ACCESSED), () => b.return(1));
  });
  fillSegment(b, () => place, descriptor, selector);
  b.if(isStack, () => b.call(updateMode));
  b.return(0);
});

/**
 * Checks the descriptor of a far transfer's target code segment. `returning`: far RET and IRET, which may go outward.
 * Descriptor in RESULT[0]; 0 = good, 1 = a fault is pending.
 */
const checkCode: Routine = routine("check_code", ["i32", "i32"], "i32", (b, selector, returning) => {
  const fault = (bad: Expr, vector: number, code: Expr): void =>
    b.if(bad, () => {
      raise(b, vector, code);
      b.return(1);
    });
  fault(selector.and(0xfffc).eqz(), EXC_GP, i32(0));
  b.if(b.call(fetchDescriptor, selector, 0), () => b.return(1));
  const rights = b.keep(descriptorAttributes(b.get(L.result(0))));
  const error = b.keep(selector.and(0xfffc));
  const rpl = b.keep(selector.and(3));
  const cpl = b.get(L.CPL);
  const dpl = b.keep(rights.shrU(5).and(3));
  fault(rights.and(0x18).ne(0x18), EXC_GP, error);
  // L and D both set is reserved while long mode is active.
  const lma = b.get(L.EFER).shrU(10).lo32().and(1);
  fault(lma.and(rights.and(ATTR_LONG | ATTR_BIG).eq(ATTR_LONG | ATTR_BIG)), EXC_GP, error);
  const conforming = b.keep(rights.and(4).nez());
  const badReturn = rpl.ltU(cpl).or(select(conforming, dpl.gtU(rpl), dpl.ne(rpl)));
  const badJump = select(conforming, dpl.gtU(cpl), rpl.gtU(cpl).or(dpl.ne(cpl)));
  fault(select(returning, badReturn, badJump), EXC_GP, error);
  fault(rights.and(0x80).eqz(), EXC_NP, error);
  b.return(0);
});

function badTarget(b: Builder, descriptor: Expr, rip: Expr): Expr {
  const lma = b.get(L.EFER).shrU(10).lo32().and(1);
  const is64 = b.keep(lma.and(descriptor.shrU(53).lo32()));
  const canonical = rip.shl(16).shrS(16).eq(rip);
  const inside = rip.leU(descriptorLimit(descriptor).u64());
  return select(is64, canonical, inside).eqz();
}

/** Far JMP to a code segment. RIP := `offset`. 0, or 1 = a fault is pending. */
export const farJump: Routine = routine("far_jump", ["i32", "i64"], "i32", (b, selector, offset) => {
  b.if(b.get(L.CR0).lo32().and(1).eqz(), () => {
    b.put(L.segSelector(L.CS), selector);
    b.put(L.segBase(L.CS), selector.shl(4).u64());
    b.put(L.RIP, offset);
    forgetCodePage(b);
    b.return(0);
  });
  b.if(b.call(checkCode, selector, 0), () => b.return(1));
  const descriptor = b.get(L.result(0));
  b.if(badTarget(b, descriptor, offset), () => {
    raise(b, EXC_GP, 0);
    b.return(1);
  });
  b.call(loadCodeSegment, selector, descriptor, b.get(L.CPL));
  b.put(L.RIP, offset);
  b.return(0);
});

/** Data segments that the new privilege level may not keep become null (SDM vol. 2, RET). */
const dropSegments: Routine = routine("drop_segments", [], undefined, (b) => {
  for (const s of [L.ES, L.DS, L.FS, L.GS]) {
    const rights = b.get(L.segAttributes(s));
    const conforming = rights.and(0x1c).eq(0x1c);
    b.if(
      conforming
        .eqz()
        .and(rights.shrU(5).and(3).ltU(b.get(L.CPL)))
        .and(rights.and(UNUSABLE).eqz()),
      () => {
        b.put(L.segSelector(s), 0);
        b.put(L.segAttributes(s), UNUSABLE);
        b.put(L.segBase(s), 0);
      },
    );
  }
});

const ALL_FLAGS = RF_ARITHMETIC | RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_AC | RF_VIF | RF_VIP | RF_ID;

/** Writes RFLAGS from an image: the bits in `mask` (i32); VM and reserved bits never change. */
export const writeFlags: Routine = routine("write_flags", ["i32", "i32"], undefined, (b, image, mask) => {
  b.if(mask.and(RF_ARITHMETIC), () => b.call(writeArithmeticFlags, image));
  const system = b.keep(mask.and(ALL_FLAGS & ~RF_ARITHMETIC));
  b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).and(system.not()).or(image.and(system)).or(2));
  b.call(updateEvents);
});

/** The flags POPF and IRET may change at this CPL and IOPL (i32). */
export function writableFlags(b: Builder): Expr {
  const cpl = b.get(L.CPL);
  const iopl = b.get(L.SYSTEM_FLAGS).shrU(12).and(3);
  const base = RF_ARITHMETIC | RF_TF | RF_DF | RF_NT | RF_AC | RF_ID;
  const withIf = select(cpl.leU(iopl), i32(RF_IF), i32(0));
  return select(cpl.eqz(), i32(RF_IOPL), i32(0)).or(withIf).or(base);
}

/**
 * Return to `selector`:`rip` with the stack at `stack` holding RSP and SS for a change of privilege (`wordBytes` each).
 * `adjust`: bytes that RET n releases on the old and on the new stack. `always`: IRETQ pops SS:RSP in every case.
 * `rspNow`: RSP if nothing more is popped. Flags are the caller's to write, after this succeeds.
 */
export const farReturn: Routine = routine(
  "far_return",
  ["i32", "i64", "i64", "i32", "i64", "i32", "i64"],
  "i32",
  (b, selector, rip, stack, wordBytes, adjust, always, rspNow) => {
    b.if(b.call(checkCode, selector, 1), () => b.return(1));
    const descriptor = b.get(L.result(0));
    const rpl = b.keep(selector.and(3));
    const outward = b.keep(rpl.gtU(b.get(L.CPL)));
    const newRsp = b.variable(rspNow);
    const ssSelector = b.variable(i32(-1));
    b.if(outward.or(always), () => {
      const at = b.keep(stack.add(adjust));
      const rspHost = b.call(readLinear, at, wordBytes, L.SS, 0);
      b.if(rspHost.eqz(), () => b.return(1));
      b.if(
        wordBytes.eq(8),
        () => newRsp.set(b.load("i64.load", "host", rspHost)),
        () =>
          newRsp.set(
            select(wordBytes.eq(4), b.load("i64.load32_u", "host", rspHost), b.load("i64.load16_u", "host", rspHost)),
          ),
      );
      const ssHost = b.call(readLinear, at.add(wordBytes.u64()), wordBytes, L.SS, 0);
      b.if(ssHost.eqz(), () => b.return(1));
      ssSelector.set(b.load("i32.load16_u", "host", ssHost));
    });
    b.if(badTarget(b, descriptor, rip), () => {
      raise(b, EXC_GP, 0);
      b.return(1);
    });
    const toLong = b.keep(descriptor.shrU(53).lo32().and(1));
    const ssDescriptor = b.variable(i64(0));
    const ss = b.keep(ssSelector.get());
    b.if(ss.ne(-1), () => {
      b.if(
        ss.and(0xfffc).eqz(),
        () => {
          // Null SS: only to 64-bit code below ring 3.
          const good = toLong.and(rpl.ne(3)).and(ss.and(3).eq(rpl));
          b.if(good.eqz(), () => {
            raise(b, EXC_GP, 0);
            b.return(1);
          });
        },
        () => {
          b.if(b.call(fetchDescriptor, ss, 0), () => b.return(1));
          const d = b.get(L.result(0));
          const rights = b.keep(descriptorAttributes(d));
          const bad = ss.and(3).ne(rpl).or(rights.and(0x1a).ne(0x12)).or(rights.shrU(5).and(3).ne(rpl));
          b.if(bad, () => {
            raise(b, EXC_GP, ss.and(0xfffc));
            b.return(1);
          });
          b.if(rights.and(0x80).eqz(), () => {
            raise(b, EXC_SS, ss.and(0xfffc));
            b.return(1);
          });
          ssDescriptor.set(d);
        },
      );
    });
    b.call(loadCodeSegment, selector, descriptor, rpl);
    b.put(L.RIP, rip);
    b.if(ss.ne(-1), () => {
      b.if(
        ss.and(0xfffc).eqz(),
        () => {
          b.put(L.segSelector(L.SS), ss);
          b.put(L.segAttributes(L.SS), i32(UNUSABLE).or(rpl.shl(5)));
          b.put(L.segBase(L.SS), 0);
        },
        () => fillSegment(b, () => i32(L.SS << 5), b.keep(ssDescriptor.get()), ss),
      );
    });
    b.if(outward, () => {
      b.call(dropSegments);
      newRsp.set(newRsp.get().add(adjust));
    });
    b.put(L.RSP, newRsp.get());
    b.call(updateMode);
    b.call(updateEvents);
    b.return(0);
  },
);

/** IRET in protected mode without nested tasks: pops `wordBytes` words. 0, or 1 = a fault is pending. */
export const interruptReturn: Routine = routine("interrupt_return", ["i32"], "i32", (b, wordBytes) => {
  b.if(b.get(L.SYSTEM_FLAGS).and(RF_NT).nez(), () => {
    raise(b, EXC_GP, 0);
    b.return(1);
  });
  const rsp = b.get(L.RSP);
  const step = b.keep(wordBytes.u64());
  const word = (index: number): Expr => {
    const host = b.call(readLinear, rsp.add(step.mul(index)), wordBytes, L.SS, 0);
    b.if(host.eqz(), () => b.return(1));
    const value = b.variable(b.load("i64.load16_u", "host", host));
    b.if(wordBytes.eq(4), () => value.set(b.load("i64.load32_u", "host", host)));
    b.if(wordBytes.eq(8), () => value.set(b.load("i64.load", "host", host)));
    return b.keep(value.get());
  };
  const rip = word(0);
  const cs = word(1).lo32().and(0xffff);
  const image = b.keep(word(2).lo32());
  const mask = b.keep(
    writableFlags(b)
      .or(RF_RF)
      .and(select(wordBytes.eq(2), i32(0xffff), i32(-1))),
  );
  const is64 = b.keep(b.get(L.MODE).and(L.MODE_64));
  b.put(L.NMI_MASKED, 0);
  b.if(b.call(farReturn, cs, rip, rsp.add(step.mul(3)), wordBytes, 0, is64, rsp.add(step.mul(3))), () => b.return(1));
  b.if(image.and(RF_VM).nez().and(is64.eqz()), () => b.return(0));
  b.call(writeFlags, image, mask);
  b.call(updateMode);
  b.return(0);
});
