/**
 * SSE4.2 (SDM vol. 2): PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM, whose memory operand need not be aligned, and CRC32.
 * PCMPGTQ is with SSE4.1's integer instructions.
 */

import { crc32c } from "../../cpu/crc32c.ts";
import * as L from "../../cpu/layout.ts";
import { compareStrings, implicitLength, STRING_WORDS } from "../../cpu/string-compare.ts";
import { type Expr, i32, op, select, v128 } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { zeroExtended } from "./sse-form.ts";

/** Bit 6 of the immediate: the highest index instead of the lowest, or a mask of elements instead of bits. */
const OTHER_OUTPUT = 0x40;

/** A length in a register, whose sign does not matter and which ends at the vector's size. */
const explicitLength: Routine = routine("explicit_length", ["i64", "i32"], "i32", (b, length, how) => {
  const sign = b.keep(length.shrS(63));
  const magnitude = b.keep(length.xor(sign).sub(sign));
  const most = b.keep(i32(16).shrU(how.and(STRING_WORDS)));
  b.return(select(magnitude.ltU(most.u64()), magnitude.lo32(), most));
});

/** (IntRes2, immediate) -> a mask as wide as the elements, or the bits themselves. */
const wideMask: Routine = routine("string_mask", ["i32", "i32"], "v128", (b, bits, how) => {
  b.if(how.and(OTHER_OUTPUT).eqz(), () => b.return(zeroExtended(bits)));
  const ofWord = v128(0x0080_0040_0020_0010_0008_0004_0002_0001n);
  b.if(how.and(STRING_WORDS), () => b.return(op("i16x8.eq", op("v128.and", op("i16x8.splat", bits), ofWord), ofWord)));
  const ofByte = v128(0x8040_2010_0804_0201_8040_2010_0804_0201n);
  const chosen = v128(0x0101_0101_0101_0101_0000_0000_0000_0000n);
  const spread = op("i8x16.swizzle", op("i16x8.splat", bits), chosen);
  b.return(op("i8x16.eq", op("v128.and", spread, ofByte), ofByte));
});

for (const [mnemonic, opcode, isExplicit, givesIndex] of [
  ["pcmpestrm", "60", true, false],
  ["pcmpestri", "61", true, true],
  ["pcmpistrm", "62", false, false],
  ["pcmpistri", "63", false, true],
] as const)
  define({
    name: mnemonic,
    feature: "sse4.2",
    forms: [`66 0F 3A ${opcode} /r | Vx,Wx,Ib`],
    ...(isExplicit ? { uses: ["osz"] as const } : {}),
    semantics: (s) => {
      const { b } = s;
      const second = s.read(1);
      const first = s.read(0);
      const how = s.immediate(8);
      const length = (register: number, text: Expr): Expr => {
        if (!isExplicit) return b.call(implicitLength, text, how);
        return b.call(explicitLength, s.osz === 64 ? s.gpr(register, 64) : s.gpr(register, 32).s64(), how);
      };
      const firstLength = length(0, first);
      const secondLength = length(2, second);
      const found = b.call(compareStrings, first, second, how, firstLength, secondLength);
      const most = b.keep(i32(16).shrU(how.and(STRING_WORDS)));
      s.setFlags({
        cf: found.nez(),
        pf: 0,
        af: 0,
        zf: secondLength.ltU(most),
        sf: firstLength.ltU(most),
        of: found.and(1),
      });
      if (givesIndex) {
        const index = select(how.and(OTHER_OUTPUT), i32(31).sub(found.clz()), found.ctz());
        s.put(L.RCX, select(found.eqz(), most, index).u64());
      } else s.b.store("v128.store", "cpu", 0, b.call(wideMask, found, how), L.XMM);
    },
  });

/** The destination's upper half is neither read nor kept. */
function checksum(s: Semantics): void {
  const { b } = s;
  const width = s.width(1);
  const source = s.read(1);
  const before = s.read(0).lo32();
  const after =
    width === 64
      ? b.call(crc32c, b.call(crc32c, before, source.lo32(), 32), source.shrU(32).lo32(), 32)
      : b.call(crc32c, before, source, width);
  s.write(0, s.width(0) === 64 ? after.u64() : after);
}
define({
  name: "crc32",
  feature: "sse4.2",
  forms: ["F2 0F 38 F0 /r | Gy,Eb", "F2 0F 38 F1 /r | Gy,Ev"],
  semantics: checksum,
});
