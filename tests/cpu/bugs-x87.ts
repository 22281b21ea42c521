// Planted bugs in the x87's records.

import * as L from "../../packages/core/src/cpu/layout.ts";
import { i32 } from "../../packages/core/src/ir/builder.ts";
import { as, changed, type PlantedBug } from "./planted.ts";

export const X87_BUGS: readonly PlantedBug[] = [
  { what: "FSIN computes the cosine", record: "fsin", wrong: as("fcos") },
  { what: "FSINCOS pushes 1, as FPTAN does", record: "fsincos", wrong: as("fptan") },
  { what: "FYL2X adds one first", record: "fyl2x", wrong: as("fyl2xp1") },
  { what: "FPREM rounds its quotient to the nearest", record: "fprem", wrong: as("fprem1") },
  { what: "FISTP truncates", record: "fistp", wrong: as("fisttp") },
  { what: "FIST pops", record: "fist", wrong: as("fistp") },
  { what: "FCOMI leaves quiet NaNs alone", record: "fcomi", wrong: as("fucomi") },
  { what: "FCOMIP does not pop", record: "fcomip", wrong: as("fcomi") },
  { what: "FCMOVBE looks at CF alone", record: "fcmovbe", wrong: as("fcmovb") },
  { what: "FCMOVU moves on ZF", record: "fcmovu", wrong: as("fcmove") },
  { what: "FDIVRP divides the other way round", record: "fdivrp", wrong: as("fdivp") },
  { what: "FISUB subtracts the other way round", record: "fisub", wrong: as("fisubr") },
  { what: "FICOM pops", record: "ficom", wrong: as("ficomp") },
  { what: "FLDL2T loads log2(e)", record: "fldl2t", wrong: as("fldl2e") },
  { what: "FCHS clears the sign", record: "fchs", wrong: as("fabs") },
  { what: "FINCSTP moves the stack pointer down", record: "fincstp", wrong: as("fdecstp") },
  { what: "FFREE pops", record: "ffree", wrong: as("ffreep") },
  {
    what: "FNCLEX leaves the stack fault",
    record: "fnclex",
    wrong: () => (s) => s.put(L.FSW, s.get(L.FSW).and(~0x80bf)),
  },
  {
    what: "FNSTCW stores zeros",
    record: "fnstcw",
    wrong: changed((s) => {
      const right = s.write.bind(s);
      s.write = (i) => right(i, i32(0));
    }),
  },
];
