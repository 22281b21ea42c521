/**
 * Segment and system descriptors in memory (SDM vol. 3, 3.4.5 and 5.2): fetching them through GDTR and LDTR, their
 * fields, and the type bits that the processor writes back. Accesses are the processor's own: supervisor at any CPL.
 */
import { type Expr, i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { commitStore, cpuAddress, readLinear, writeLinear } from "./access.ts";
import * as L from "./layout.ts";
import { EXC_GP, raise } from "./raise.ts";

/** Attributes: bits 40 to 55 of a descriptor. */
export const ATTR_ACCESSED = 1;
export const ATTR_BUSY = 2;
export const ATTR_CONFORMING = 4;
export const ATTR_CODE = 8;
export const ATTR_SEGMENT = 0x10;
export const ATTR_PRESENT = 0x80;
export const ATTR_LONG = 0x2000;
export const ATTR_BIG = 0x4000;

/** System descriptor types (SDM vol. 3, table 3-2). */
export const TYPE_TSS16 = 1;
export const TYPE_LDT = 2;
export const TYPE_CALL_GATE16 = 4;
export const TYPE_TASK_GATE = 5;
export const TYPE_TSS32 = 9;
export const TYPE_CALL_GATE32 = 12;

/** Reads `size` bytes (1 to 8) of a system table with supervisor rights: host address, or 0 = a fault is pending. */
export const readSystem: Routine = routine("read_system", ["i64", "i32"], "i32", (b, va, size) => {
  const cpl = b.get(L.CPL);
  const set = b.get(L.TLB_CURRENT);
  b.put(L.CPL, 0);
  b.put(L.TLB_CURRENT, b.get(L.TLB_SHIFT).add(L.TLB_SUPERVISOR));
  const host = b.call(readLinear, va, size, L.NO_SEGMENT, 0);
  b.put(L.CPL, cpl);
  b.put(L.TLB_CURRENT, set);
  b.return(host);
});

/** Probes a read and write of `size` bytes likewise; the caller stores and commits (commitStore). */
export const writeSystem: Routine = routine("write_system", ["i64", "i32"], "i32", (b, va, size) => {
  const cpl = b.get(L.CPL);
  const set = b.get(L.TLB_CURRENT);
  b.put(L.CPL, 0);
  b.put(L.TLB_CURRENT, b.get(L.TLB_SHIFT).add(L.TLB_SUPERVISOR));
  const host = b.call(writeLinear, va, size, L.NO_SEGMENT, 1);
  b.put(L.CPL, cpl);
  b.put(L.TLB_CURRENT, set);
  b.return(host);
});

/** For a store that was probed before others of the same instruction were made: as writeProbed (access.ts), never 0. */
export const writeSystemProbed: Routine = routine("write_system_probed", ["i64", "i32"], "i32", (b, va, size) => {
  const host = b.call(writeSystem, va, size);
  b.return(select(host, host, cpuAddress(L.SCRATCH_READ)));
});

/** Linear address of the descriptor that a selector names. No check. */
export const descriptorAddress: Routine = routine("descriptor_address", ["i32"], "i64", (b, selector) => {
  const base = select(selector.and(4), b.get(L.segBase(L.LDTR)), b.get(L.GDTR_BASE));
  b.return(base.add(selector.and(0xfff8).u64()));
});

/**
 * Fetches the descriptor a selector names into RESULT[0] (second half of a 16-byte one into RESULT[1] when `wide`).
 * Outside its table: exception `vector` with the selector and `ext` (0 or 1) as error code. 0 = done; 1 = a fault is pending.
 */
export const fetchDescriptorFor: Routine = routine(
  "fetch_descriptor_for",
  ["i32", "i32", "i32", "i32"],
  "i32",
  (b, selector, wide, vector, ext) => {
    const local = b.keep(selector.and(4));
    const limit = select(local, b.get(L.segLimit(L.LDTR)), b.get(L.GDTR_LIMIT));
    const last = select(wide, i32(15), i32(7));
    const unusable = local.nez().and(b.get(L.segAttributes(L.LDTR)).shrU(16));
    b.if(limit.ltU(selector.and(0xfff8).add(last)).or(unusable.and(1)), () => {
      raise(b, vector, selector.and(0xfffc).or(ext));
      b.return(1);
    });
    const at = b.call(descriptorAddress, selector);
    const low = b.call(readSystem, at, 8);
    b.if(low.eqz(), () => b.return(1));
    b.put(L.result(0), b.load("i64.load", "host", low));
    b.if(wide, () => {
      const high = b.call(readSystem, at.add(8), 8);
      b.if(high.eqz(), () => b.return(1));
      b.put(L.result(1), b.load("i64.load", "host", high));
    });
    b.return(0);
  },
);

/** The same with #GP(selector). */
export const fetchDescriptor: Routine = routine("fetch_descriptor", ["i32", "i32"], "i32", (b, selector, wide) => {
  b.return(b.call(fetchDescriptorFor, selector, wide, EXC_GP, 0));
});

/** Sets and clears type bits in the access byte of a descriptor in memory (accessed, TSS busy). 1 = a fault is pending. */
export const markDescriptor: Routine = routine(
  "mark_descriptor",
  ["i32", "i32", "i32"],
  "i32",
  (b, selector, set, clear) => {
    const host = b.call(writeSystem, b.call(descriptorAddress, selector).add(5), 1);
    b.if(host.eqz(), () => b.return(1));
    b.store("i32.store8", "host", host, b.load("i32.load8_u", "host", host).and(clear.not()).or(set));
    b.call(commitStore, host);
    b.return(0);
  },
);

/** Marks a code or data descriptor as accessed unless it is. 1 = a fault is pending. */
export const markAccessed: Routine = routine("mark_accessed", ["i32", "i64"], "i32", (b, selector, descriptor) => {
  b.if(descriptor.shrU(40).lo32().and(ATTR_ACCESSED), () => b.return(0));
  b.return(b.call(markDescriptor, selector, ATTR_ACCESSED, 0));
});

/** The expanded limit, base and attributes of a descriptor. */
export function descriptorLimit(descriptor: Expr): Expr {
  const raw = (): Expr => descriptor.and(0xffff).or(descriptor.shrU(32).and(0xf0000)).lo32();
  return select(descriptor.shrU(55).lo32().and(1), raw().shl(12).or(0xfff), raw());
}
export function descriptorBase(descriptor: Expr): Expr {
  return descriptor.shrU(16).and(0xffffff).or(descriptor.shrU(32).and(0xff000000n));
}
export function descriptorAttributes(descriptor: Expr): Expr {
  return descriptor.shrU(40).lo32().and(0xf0ff);
}
