/** SSE4.1 floating point (SDM vol. 2): ROUNDPS/PD/SS/SD, DPPS and DPPD. All of them go through cpu/softfloat*.ts. */
import { F32, F64 } from "../../cpu/softfloat.ts";
import { DOT_PRODUCT, dotProduct } from "../../cpu/softfloat-dot.ts";
import { roundLanes, roundToIntegral } from "../../cpu/softfloat-round.ts";
import { op } from "../../ir/builder.ts";
import { define } from "../record.ts";
import { exactly, FLOAT_FORMS, fromSoft, readSource, toSoft } from "./sse-float.ts";
import { readVector } from "./sse-form.ts";
import { chosenLanes } from "./sse4-lanes.ts";

const ROUND_OPCODES = { ps: "08", pd: "09", ss: "0A", sd: "0B" } as const;
for (const form of FLOAT_FORMS) {
  const { format: f, size } = form;
  define({
    name: `round${form.suffix}`,
    feature: "sse4.1",
    forms: [`66 0F 3A ${ROUND_OPCODES[form.suffix]} /r | V${size},W${size},Ib`],
    semantics: (s) => {
      const source = readSource(s, form);
      const how = s.immediate(8);
      exactly(s, () =>
        form.isScalar
          ? fromSoft(f, s.b.call(roundToIntegral[f.name], toSoft(source), how))
          : s.b.call(roundLanes[f.name], source, how),
      );
    },
  });
}

for (const [name, opcode, f, shape] of [
  ["dpps", "40", F32, "i32x4"],
  ["dppd", "41", F64, "i64x2"],
] as const)
  define({
    name,
    feature: "sse4.1",
    forms: [`66 0F 3A ${opcode} /r | Vx,Wx,Ib`],
    semantics: (s) => {
      const source = readVector(s, 1);
      const how = s.immediate(8);
      s.check(s.b.call(dotProduct[f.name], s.read(0), source, how));
      const sum = op(`${shape}.splat`, fromSoft(f, s.get(DOT_PRODUCT)));
      s.write(0, op("v128.and", sum, chosenLanes(s, shape, how)));
    },
  });
