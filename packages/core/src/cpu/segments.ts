/**
 * Loading segment registers (SDM vol. 3, 3.4.2 to 3.4.4, 5.4 to 5.6; vol. 2, MOV and POP): from descriptors with all
 * their checks, and from the selector alone in real and virtual-8086 mode.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import {
  ATTR_ACCESSED,
  ATTR_PRESENT,
  descriptorAttributes,
  descriptorBase,
  descriptorLimit,
  fetchDescriptorFor,
  markAccessed,
} from "./descriptors.ts";
import * as L from "./layout.ts";
import { updateMode } from "./mode.ts";
import { EXC_GP, EXC_NP, EXC_SS, raise } from "./raise.ts";
import { isV86, UNUSABLE, updateSegmentCheck, updateSegmentChecks } from "./segment-limits.ts";

/** Attributes of a data segment in real and in virtual-8086 mode: present, read and write, accessed; DPL 0 and 3. */
const REAL_DATA = 0x93;
const V86_DATA = 0xf3;

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

/** Any segment register := selector with a checked descriptor. The mode is the caller's to bring up to date. */
export const fillSegment: Routine = routine(
  "fill_segment",
  ["i32", "i32", "i64"],
  undefined,
  (b, segment, selector, descriptor) => {
    const place = b.keep(segment.shl(5));
    b.store("i32.store16", "cpu", place, selector, L.SEGMENTS);
    b.store("i32.store", "cpu", place, descriptorAttributes(descriptor).or(ATTR_ACCESSED), L.SEGMENTS + 4);
    b.store("i64.store", "cpu", place, descriptorBase(descriptor), L.SEGMENTS + 8);
    b.store("i32.store", "cpu", place, descriptorLimit(descriptor), L.SEGMENTS + 16);
  },
);

/** A null selector: the register cannot be used. `dpl` shows in SS of 64-bit mode. */
export const fillNull: Routine = routine("fill_null", ["i32", "i32", "i32"], undefined, (b, segment, selector, dpl) => {
  const place = b.keep(segment.shl(5));
  b.store("i32.store16", "cpu", place, selector, L.SEGMENTS);
  b.store("i32.store", "cpu", place, i32(UNUSABLE).or(dpl.shl(5)), L.SEGMENTS + 4);
  b.store("i64.store", "cpu", place, i64(0), L.SEGMENTS + 8);
  b.store("i32.store", "cpu", place, i32(0), L.SEGMENTS + 16);
});

/**
 * Real mode: selector and base change, limit and size stay as protected mode left them ("unreal mode"). Virtual-8086
 * mode: 64 KiB at DPL 3.
 */
export const fillReal: Routine = routine("fill_real", ["i32", "i32"], undefined, (b, segment, selector) => {
  const place = b.keep(segment.shl(5));
  b.store("i32.store16", "cpu", place, selector, L.SEGMENTS);
  b.store("i64.store", "cpu", place, selector.shl(4).u64(), L.SEGMENTS + 8);
  b.if(
    isV86(b),
    () => {
      b.store("i32.store", "cpu", place, i32(V86_DATA), L.SEGMENTS + 4);
      b.store("i32.store", "cpu", place, i32(0xffff), L.SEGMENTS + 16);
    },
    () => {
      const attributes = b.load("i32.load", "cpu", place, L.SEGMENTS + 4);
      b.store("i32.store", "cpu", place, attributes.and(0xff00).or(REAL_DATA), L.SEGMENTS + 4);
    },
  );
});

/**
 * Checks the descriptor of a data segment (RESULT[0]) for ES, DS, FS or GS at the current CPL: exception `vector` with
 * the selector, or #NP. 0 = good, 1 = a fault is pending.
 */
export const checkData: Routine = routine("check_data", ["i32", "i32"], "i32", (b, selector, vector) => {
  const error = b.keep(selector.and(0xfffc));
  const rights = b.keep(descriptorAttributes(b.get(L.result(0))));
  const type = b.keep(rights.and(0x1f));
  const dpl = b.keep(rights.shrU(5).and(3));
  const readable = type.and(0x10).nez().and(type.and(0x0a).ne(8));
  const conforming = type.and(0x0c).eq(0x0c);
  const tooInner = selector.and(3).gtU(dpl).or(b.get(L.CPL).gtU(dpl));
  b.if(readable.eqz().or(conforming.eqz().and(tooInner)), () => {
    raise(b, vector, error);
    b.return(1);
  });
  b.if(rights.and(ATTR_PRESENT).eqz(), () => {
    raise(b, EXC_NP, error);
    b.return(1);
  });
  b.return(0);
});

/**
 * Fetches and checks the descriptor of a stack segment for privilege level `cpl` into RESULT[0]: exception `vector` with
 * the selector, or #SS if it is not present; `ext` is bit 0 of the error code. Null selectors are the caller's.
 */
export const fetchStack: Routine = routine(
  "fetch_stack",
  ["i32", "i32", "i32", "i32"],
  "i32",
  (b, selector, cpl, vector, ext) => {
    b.if(b.call(fetchDescriptorFor, selector, 0, vector, ext), () => b.return(1));
    const error = b.keep(selector.and(0xfffc).or(ext));
    const rights = b.keep(descriptorAttributes(b.get(L.result(0))));
    const writableData = rights.and(0x1a).eq(0x12);
    const rightLevel = selector.and(3).eq(cpl).and(rights.shrU(5).and(3).eq(cpl));
    b.if(writableData.and(rightLevel).eqz(), () => {
      raise(b, vector, error);
      b.return(1);
    });
    b.if(rights.and(ATTR_PRESENT).eqz(), () => {
      raise(b, EXC_SS, error);
      b.return(1);
    });
    b.return(0);
  },
);

/** MOV Sreg / POP Sreg: loads ES, SS, DS, FS or GS. 0, or 1 = a fault is pending. */
export const loadSegment: Routine = routine("load_segment", ["i32", "i32"], "i32", (b, segment, selector) => {
  b.if(b.get(L.MODE).and(L.MODE_PROTECTED).eqz(), () => {
    b.call(fillReal, segment, selector);
    b.call(updateSegmentChecks);
    b.if(segment.eq(L.SS), () => b.call(updateMode));
    b.return(0);
  });
  const isStack = b.keep(segment.eq(L.SS));
  const cpl = b.get(L.CPL);
  b.if(selector.and(0xfffc).eqz(), () => {
    // A null SS only in 64-bit mode, below CPL 3, with RPL = CPL.
    const refused = isStack.and(b.get(L.MODE).and(L.MODE_64).eqz().or(cpl.eq(3)).or(selector.and(3).ne(cpl)));
    b.if(refused, () => {
      raise(b, EXC_GP, 0);
      b.return(1);
    });
    b.call(fillNull, segment, selector, select(isStack, cpl, i32(0)));
    b.call(updateSegmentCheck, segment);
    b.return(0);
  });
  b.if(
    isStack,
    () => b.if(b.call(fetchStack, selector, cpl, EXC_GP, 0), () => b.return(1)),
    () => {
      b.if(b.call(fetchDescriptorFor, selector, 0, EXC_GP, 0), () => b.return(1));
      b.if(b.call(checkData, selector, EXC_GP), () => b.return(1));
    },
  );
  const descriptor = b.get(L.result(0));
  b.if(b.call(markAccessed, selector, descriptor), () => b.return(1));
  b.if(isStack, () => {
    b.call(fillSegment, segment, selector, descriptor);
    b.call(updateMode);
    b.return(0);
  });
  // Most loads find what is there.
  const place = b.keep(segment.shl(5));
  const isSame = b
    .load("i32.load", "cpu", place, L.SEGMENTS + 4)
    .eq(descriptorAttributes(descriptor).or(ATTR_ACCESSED))
    .and(b.load("i64.load", "cpu", place, L.SEGMENTS + 8).eq(descriptorBase(descriptor)))
    .and(b.load("i32.load", "cpu", place, L.SEGMENTS + 16).eq(descriptorLimit(descriptor)));
  b.if(
    isSame,
    () => b.store("i32.store16", "cpu", place, selector, L.SEGMENTS),
    () => {
      b.call(fillSegment, segment, selector, descriptor);
      b.call(updateSegmentCheck, segment);
    },
  );
  b.return(0);
});

/** Data segments that the new privilege level may not keep become null (SDM vol. 2, RET). */
export const dropSegments: Routine = routine("drop_segments", [], undefined, (b) => {
  for (const s of [L.ES, L.DS, L.FS, L.GS]) {
    const rights = b.get(L.segAttributes(s));
    const conforming = rights.and(0x1c).eq(0x1c);
    const tooInner = rights.shrU(5).and(3).ltU(b.get(L.CPL));
    b.if(
      rights.and(UNUSABLE),
      // A null selector of 1, 2 or 3 becomes 0; FS and GS keep their base.
      () => b.put(L.segSelector(s), 0),
      () => b.if(conforming.eqz().and(tooInner), () => b.call(fillNull, s, 0, 0)),
    );
  }
});

/** RIP to `rip` would fault: not canonical in 64-bit code, beyond the limit elsewhere (i32). */
export function badTarget(b: Builder, descriptor: Expr, rip: Expr): Expr {
  const lma = b.get(L.EFER).shrU(10).lo32().and(1);
  const is64 = b.keep(lma.and(descriptor.shrU(53).lo32()));
  const canonical = rip.shl(16).shrS(16).eq(rip);
  const inside = rip.leU(descriptorLimit(descriptor).u64());
  return select(is64, canonical, inside).eqz();
}
