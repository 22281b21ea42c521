/**
 * Instructions about address translation and access rights (SDM vol. 2): INVLPG, INVPCID, STAC, CLAC. PCIDs are not kept
 * apart in the TLB, so INVPCID drops at least what it must.
 */

import { CR4_PCIDE } from "../../cpu/control-bits.ts";
import { RF_AC } from "../../cpu/flags.ts";
import * as L from "../../cpu/layout.ts";
import { updateTlbSet } from "../../cpu/mode.ts";
import { EXC_GP, EXC_UD } from "../../cpu/raise.ts";
import { flushPage, flushTlb, flushTlbAll } from "../../cpu/tlb.ts";
import { define } from "../record.ts";

define({
  name: "invlpg",
  feature: "base",
  ends: true,
  uses: ["mode"],
  forms: ["0F 01 /7 | Ms"],
  semantics: (s) => {
    s.privileged();
    s.b.call(flushPage, s.address());
    s.commit();
    s.fallThrough();
  },
});

const INDIVIDUAL_ADDRESS = 0;
const SINGLE_CONTEXT = 1;
const ALL_WITH_GLOBALS = 2;
const ALL = 3;

define({
  name: "invpcid",
  feature: "invpcid",
  ends: true,
  uses: ["mode"],
  forms: ["66 0F 38 82 /r | Gy,Mx | f64"],
  semantics: (s) => {
    const { b } = s;
    s.privileged();
    const type = b.keep(s.read(0).u64());
    const pcid = s.load(64, s.address(), s.segment());
    const linear = s.load(64, s.address(8), s.segment());
    s.faultIf(pcid.shrU(12).nez().or(type.gtU(ALL)), EXC_GP, 0);
    const noPcids = s.get(L.CR4).lo32().and(CR4_PCIDE).eqz();
    s.faultIf(type.leU(SINGLE_CONTEXT).and(noPcids).and(pcid.nez()), EXC_GP, 0);
    const isCanonical = linear.shl(16).shrS(16).eq(linear);
    s.faultIf(type.eq(INDIVIDUAL_ADDRESS).and(isCanonical.eqz()), EXC_GP, 0);
    s.commit();
    b.if(
      type.eq(INDIVIDUAL_ADDRESS),
      () => b.call(flushPage, linear),
      () =>
        b.if(
          type.eq(ALL_WITH_GLOBALS),
          () => b.call(flushTlbAll),
          () => b.call(flushTlb),
        ),
    );
    s.fallThrough();
  },
});

for (const [name, encoding, ac] of [
  ["clac", "NP 0F 01 =CA", 0],
  ["stac", "NP 0F 01 =CB", RF_AC],
] as const)
  define({
    name,
    feature: "smap",
    forms: [encoding],
    semantics: (s) => {
      // Not #GP(0), as for other privileged instructions.
      s.faultIf(s.get(L.CPL).nez(), EXC_UD);
      s.put(L.SYSTEM_FLAGS, s.get(L.SYSTEM_FLAGS).and(~RF_AC).or(ac));
      s.b.call(updateTlbSet);
    },
  });
