/**
 * MXCSR, fences, cache hints and stores that bypass the cache (SDM vol. 2): LDMXCSR STMXCSR, SFENCE LFENCE MFENCE,
 * PREFETCHh CLFLUSH, MOVNTI MOVNTPS MOVNTPD MOVNTDQ, MASKMOVDQU. Memory is coherent and in order, so fences and hints
 * do nothing; CLFLUSH has the faults of a byte load.
 */
import { checksAlignment } from "../../cpu/access.ts";
import { fence } from "../../cpu/atomics.ts";
import * as L from "../../cpu/layout.ts";
import { MXCSR_MASK } from "../../cpu/mxcsr.ts";
import { EXC_AC, EXC_GP } from "../../cpu/raise.ts";
import { op } from "../../ir/builder.ts";
import { isParallel } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { checkAligned } from "./sse-form.ts";

define({
  name: "ldmxcsr",
  feature: "sse",
  forms: ["NP 0F AE /2 | Md"],
  semantics: (s) => {
    const value = s.read(0);
    s.faultIf(value.and(~MXCSR_MASK), EXC_GP, 0);
    s.put(L.MXCSR, value);
  },
});
define({ name: "stmxcsr", feature: "sse", forms: ["NP 0F AE /3 | Md"], semantics: (s) => s.write(0, s.get(L.MXCSR)) });

for (const [name, first] of [
  ["lfence", 0xe8],
  ["mfence", 0xf0],
  ["sfence", 0xf8],
] as const) {
  const forms = Array.from({ length: 8 }, (_, i) => `NP 0F AE =${(first + i).toString(16).toUpperCase()}`);
  define({
    name,
    feature: "base",
    forms,
    semantics: (s) => void (name === "mfence" && isParallel() && s.b.call(fence)),
  });
}

for (const [i, name] of ["prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2"].entries())
  define({ name, feature: "base", forms: [`0F 18 /${i} | Mb`], semantics: () => {} });

for (const [name, prefix] of [
  ["clflush", "NP"],
  ["clflushopt", "66"],
] as const)
  define({
    name,
    feature: name,
    forms: [`${prefix} 0F AE /7 | Mb`],
    semantics: (s) => {
      s.read(0);
    },
  });

define({ name: "movnti", feature: "base", forms: ["NP 0F C3 /r | My,Gy"], semantics: (s) => s.write(0, s.read(1)) });
for (const [name, prefix, opcode] of [
  ["movntps", "NP", "2B"],
  ["movntpd", "66", "2B"],
  ["movntdq", "66", "E7"],
] as const) {
  define({
    name,
    feature: prefix === "NP" ? "sse" : "sse2",
    forms: [`${prefix} 0F ${opcode} /r | Mx,Vx`],
    semantics: (s) => {
      checkAligned(s);
      s.write(0, s.read(1));
    },
  });
}

define({
  name: "maskmovdqu",
  feature: "sse2",
  isLong: true,
  uses: ["asz", "mode"],
  forms: ["66 0F F7 /r | Vx,Ux"],
  semantics: (s) => {
    const { b } = s;
    const data = s.read(0);
    const mask = b.keep(op("i8x16.shr_s", s.read(1), 7));
    const rdi = s.get(L.RDI);
    const offset = s.asz === 64 ? rdi : rdi.and(s.asz === 32 ? 0xffffffffn : 0xffffn);
    const segment = b.load("i64.load", "cpu", b.load("i32.load16_u", "host", s.up, L.UOP_SEGMENT_BASE));
    const linear = offset.add(segment);
    const address = b.keep(s.mode64 ? linear : linear.and(0xffffffffn));
    // The general check leaves 16-byte accesses out; eight bytes are enough here.
    s.faultIf(checksAlignment(b).and(address.and(7).nez()), EXC_AC, 0);
    const probe = s.probe(128, address, s.segment(), true);
    const merged = op("v128.or", op("v128.and", data, mask), op("v128.andnot", s.probed(probe), mask));
    s.store(probe, merged);
  },
});
