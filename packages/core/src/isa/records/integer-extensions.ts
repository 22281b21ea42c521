/**
 * Integer instructions that came one by one (SDM vol. 2): POPCNT, MOVBE, ADCX, ADOX, RDRAND, RDSEED, and the moves of FS
 * and GS bases. Random numbers are the machine's own stream (machine/random.ts): never exhausted, so CF is always 1, and
 * the same in every replay.
 */
import { CR4_FSGSBASE } from "../../cpu/control-bits.ts";
import { FLAG, setFlags, type Width } from "../../cpu/flags.ts";
import * as L from "../../cpu/layout.ts";
import { EXC_GP, EXC_UD } from "../../cpu/raise.ts";
import type { Expr } from "../../ir/builder.ts";
import { hostRoutine, type Routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";

define({
  name: "popcnt",
  feature: "popcnt",
  forms: ["F3 0F B8 /r | Gv,Ev"],
  semantics: (s) => {
    const source = s.b.keep(s.read(1));
    s.write(0, source.popcnt());
    s.setFlags({ zf: source.eqz(), cf: 0, of: 0, sf: 0, af: 0, pf: 0 });
  },
});

function swapped(s: Semantics, w: Width, value: Expr): Expr {
  if (w === 16) return value.shl(8).or(value.shrU(8)).and(0xffff);
  const swap32 = (x: Expr): Expr =>
    x
      .rotl(8)
      .and(0x00ff00ff)
      .or(x.rotr(8).and(0xff00ff00 | 0));
  if (w === 32) return swap32(value);
  const low = s.b.keep(value.lo32());
  const high = s.b.keep(value.shrU(32).lo32());
  return swap32(low).u64().shl(32).or(swap32(high).u64());
}
define({
  name: "movbe",
  feature: "movbe",
  // F2 makes it CRC32, F3 is #UD.
  forms: ["NFx 0F 38 F0 /r | Gv,Mv", "NFx 0F 38 F1 /r | Mv,Gv"],
  semantics: (s) => s.write(0, swapped(s, s.width(0), s.b.keep(s.read(1)))),
});

for (const [name, prefix, flag] of [
  ["adcx", "66", "cf"],
  ["adox", "F3", "of"],
] as const)
  define({
    name,
    feature: "adx",
    forms: [`${prefix} 0F 38 F6 /r | Gy,Ey`],
    semantics: (s) => {
      const { b } = s;
      const a = b.keep(s.read(0));
      const c = b.keep(s.read(1));
      const carry = b.keep(FLAG[flag](b));
      const sum = b.keep(a.add(c));
      const result = b.keep(sum.add(s.width(0) === 64 ? carry.u64() : carry));
      const out = b.keep(sum.ltU(a).or(result.ltU(sum)));
      s.write(0, result);
      setFlags(b, { [flag]: out });
    },
  });

/** 64 bits of the machine's random stream. */
const randomBits: Routine = hostRoutine("random_bits", [], "i64");

for (const [name, reg] of [
  ["rdrand", 6],
  ["rdseed", 7],
] as const)
  define({
    name,
    feature: name,
    forms: [`NFx 0F C7 /${reg} | Rv`],
    semantics: (s) => {
      const bits = s.b.keep(s.b.call(randomBits));
      s.write(0, s.width(0) === 64 ? bits : bits.lo32());
      s.setFlags({ cf: 1, of: 0, sf: 0, zf: 0, af: 0, pf: 0 });
    },
  });

for (const [name, reg, segment] of [
  ["rdfsbase", 0, L.FS],
  ["rdgsbase", 1, L.GS],
  ["wrfsbase", 2, L.FS],
  ["wrgsbase", 3, L.GS],
] as const)
  define({
    name,
    feature: "fsgsbase",
    forms: [`F3 0F AE /${reg} | Ry | o64`],
    semantics: (s) => {
      s.faultIf(s.get(L.CR4).lo32().and(CR4_FSGSBASE).eqz(), EXC_UD);
      if (name.startsWith("rd")) {
        const base = s.get(L.segBase(segment));
        s.write(0, s.width(0) === 64 ? base : base.lo32());
        return;
      }
      const value = s.b.keep(s.read(0).u64());
      if (s.width(0) === 64) s.faultIf(value.shl(16).shrS(16).ne(value), EXC_GP, 0);
      s.put(L.segBase(segment), value);
    },
  });

define({
  name: "rdpid",
  feature: "rdpid",
  forms: ["F3 0F C7 /7 | Ry | f64"],
  semantics: (s) => s.write(0, s.width(0) === 64 ? s.get(L.TSC_AUX) : s.get(L.TSC_AUX).lo32()),
});

/** Nothing that these wait for is visible here, so MWAIT is over at once (SDM vol. 3, 10.10: a processor may do so). */
function requireMonitor(s: Semantics): void {
  s.faultIf(s.get(L.CPL).nez(), EXC_UD);
}
define({
  name: "monitor",
  feature: "monitor",
  isLong: true,
  uses: ["asz", "mode"],
  forms: ["NP 0F 01 =C8"],
  semantics: (s) => {
    requireMonitor(s);
    s.faultIf(s.mode64 ? s.gpr(1, 64).nez() : s.gpr(1, 32), EXC_GP, 0);
    const rax = s.gpr(0, 64);
    const offset = s.asz === 64 ? rax : rax.and(s.asz === 32 ? 0xffffffffn : 0xffffn);
    const base = s.b.load("i64.load", "cpu", s.b.load("i32.load16_u", "host", s.up, L.UOP_SEGMENT_BASE));
    const linear = s.b.keep(offset.add(base));
    s.load(8, s.mode64 ? linear : linear.and(0xffffffffn), s.segment());
  },
});
define({
  name: "mwait",
  feature: "monitor",
  partly: "A hint: it ends at once, as the manual allows.",
  uses: ["mode"],
  forms: ["NP 0F 01 =C9"],
  semantics: (s) => {
    requireMonitor(s);
    // Bit 0: interrupts end the wait although they are masked, as leaf 5 of CPUID says.
    const hints = s.mode64 ? s.gpr(1, 64).and(-2).nez() : s.gpr(1, 32).and(-2);
    s.faultIf(hints, EXC_GP, 0);
  },
});
