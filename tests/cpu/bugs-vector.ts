// Planted bugs in SSE3, SSSE3, SSE4.1, SSE4.2, AES, PCLMULQDQ and SHA.

import { op, v128 } from "../../packages/core/src/ir/builder.ts";
import { readVector, splat8 } from "../../packages/core/src/isa/records/sse-form.ts";
import { as, changed, flags, immediateBits, type PlantedBug, result } from "./planted.ts";

export const VECTOR_BUGS: readonly PlantedBug[] = [
  { what: "ADDSUBPS adds in all lanes", record: "addsubps", wrong: as("addps") },
  { what: "HSUBPD adds", record: "hsubpd", wrong: as("haddpd") },
  { what: "MOVSHDUP takes the even lanes", record: "movshdup", wrong: as("movsldup") },
  { what: "PABSB takes words", record: "pabsb_xmm", wrong: as("pabsw_xmm") },
  { what: "PSIGND looks at the sign of words", record: "psignd_xmm", wrong: as("psignw_xmm") },
  {
    what: "PSHUFB does not clear where bit 7 is set",
    record: "pshufb_xmm",
    wrong: () => (s) => {
      const numbers = s.b.keep(op("v128.and", readVector(s, 1), splat8(15)));
      s.write(0, op("i8x16.swizzle", s.read(0), numbers));
    },
  },
  { what: "PHADDSW does not saturate", record: "phaddsw_xmm", wrong: as("phaddw_xmm") },
  { what: "PMULHRSW does not round", record: "pmulhrsw_xmm", wrong: as("pmulhw_xmm") },
  { what: "PALIGNR takes its count modulo 16", record: "palignr_xmm", wrong: immediateBits(15) },
  { what: "PMINSB compares without signs", record: "pminsb", wrong: as("pminub_xmm") },
  { what: "PMAXUD compares with signs", record: "pmaxud", wrong: as("pmaxsd") },
  { what: "PACKUSDW saturates to signed words", record: "packusdw", wrong: as("packssdw_xmm") },
  { what: "PMULDQ multiplies without signs", record: "pmuldq", wrong: as("pmuludq_xmm") },
  {
    what: "PCMPGTQ finds equal numbers greater",
    record: "pcmpgtq",
    wrong: () => (s) => {
      const source = readVector(s, 1);
      s.write(0, op("v128.not", op("i64x2.gt_s", source, s.read(0))));
    },
  },
  { what: "PMOVSXBW extends with zeros", record: "pmovsxbw", wrong: as("pmovzxbw") },
  { what: "PMOVZXDQ extends signs", record: "pmovzxdq", wrong: as("pmovsxdq") },
  { what: "MPSADBW ignores bit 2 of its immediate", record: "mpsadbw", wrong: immediateBits(3) },
  { what: "PTEST clears CF", record: "ptest", wrong: flags((right) => ({ ...right, cf: 0 })) },
  {
    what: "PHMINPOSUW gives no index",
    record: "phminposuw",
    wrong: result((value) => op("v128.and", value, v128(0xffffn))),
  },
  { what: "BLENDVPS chooses by bytes", record: "blendvps", wrong: as("pblendvb") },
  { what: "DPPS multiplies all lanes", record: "dpps", wrong: immediateBits(0xff, 0xf0) },
  { what: "ROUNDPS reports inexact results in spite of bit 3", record: "roundps", wrong: immediateBits(7) },
  { what: "ROUNDSD rounds as its immediate says in spite of bit 2", record: "roundsd", wrong: immediateBits(11) },
  { what: "INSERTPS clears no lane", record: "insertps", wrong: immediateBits(0xf0) },
  { what: "PEXTRB knows eight bytes", record: "pextrb", wrong: immediateBits(7) },
  { what: "PINSRD knows two places", record: "pinsrd", wrong: immediateBits(1) },
  { what: "PBLENDW chooses by doublewords", record: "pblendw", wrong: as("blendps") },
  {
    what: "CRC32 of a word is that of its low byte",
    record: "crc32",
    wrong: changed((s) => {
      const right = s.width.bind(s);
      s.width = (i) => (i === 1 && right(i) === 16 ? 8 : right(i));
    }),
  },
  { what: "PCMPISTRI gives the lowest index only", record: "pcmpistri", wrong: immediateBits(0xbf) },
  {
    what: "PCMPESTRM exchanges ZF and SF",
    record: "pcmpestrm",
    wrong: flags((right) => ({ ...right, zf: right.sf, sf: right.zf })),
  },
  { what: "PCMPISTRM clears OF", record: "pcmpistrm", wrong: flags((right) => ({ ...right, of: 0 })) },
  { what: "AESENC leaves out its last step's MixColumns", record: "aesenc", wrong: as("aesenclast") },
  { what: "AESKEYGENASSIST ignores the round constant", record: "aeskeygenassist", wrong: immediateBits(0) },
  { what: "PCLMULQDQ takes the source's low half", record: "pclmulqdq", wrong: immediateBits(1) },
  { what: "SHA1RNDS4 knows two functions", record: "sha1rnds4", wrong: immediateBits(1) },
  { what: "SHA256MSG1 is SHA256MSG2", record: "sha256msg1", wrong: as("sha256msg2") },
];
