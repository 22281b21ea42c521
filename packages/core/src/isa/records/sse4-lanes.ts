/**
 * SSE4.1 on single lanes (SDM vol. 2): blends by immediate and by XMM0, extracts, inserts. A memory operand of one lane
 * need not be aligned.
 */
import * as L from "../../cpu/layout.ts";
import { type Expr, op, v128 } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { readVector, writeXmm } from "./sse-form.ts";
import { writeMask } from "./sse-move.ts";

/** Ones in the lanes whose bit of `bits`, an i32 up to 255, is set. */
export function chosenLanes(s: Semantics, shape: "i16x8" | "i32x4" | "i64x2", bits: Expr): Expr {
  const width = { i16x8: 16, i32x4: 32, i64x2: 64 }[shape];
  let ofLane = 0n;
  for (let i = 0; i < 128 / width; i++) ofLane |= 1n << BigInt(i * width + i);
  const all = op(`${shape}.splat`, shape === "i64x2" ? bits.u64() : bits);
  return s.b.keep(op(`${shape}.eq`, op("v128.and", all, v128(ofLane)), v128(ofLane)));
}

for (const [name, opcode, shape] of [
  ["blendps", "0C", "i32x4"],
  ["blendpd", "0D", "i64x2"],
  ["pblendw", "0E", "i16x8"],
] as const)
  define({
    name,
    feature: "sse4.1",
    forms: [`66 0F 3A ${opcode} /r | Vx,Wx,Ib`],
    semantics: (s) => {
      const source = readVector(s, 1);
      s.write(0, op("v128.bitselect", source, s.read(0), chosenLanes(s, shape, s.immediate(8))));
    },
  });

for (const [name, opcode, shape, bits] of [
  ["pblendvb", "10", "i8x16", 8],
  ["blendvps", "14", "i32x4", 32],
  ["blendvpd", "15", "i64x2", 64],
] as const)
  define({
    name,
    feature: "sse4.1",
    forms: [`66 0F 38 ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      const chosen = op(`${shape}.shr_s`, s.b.load("v128.load", "cpu", 0, L.XMM), bits - 1);
      s.write(0, op("v128.bitselect", source, s.read(0), chosen));
    },
  });

/** Place in the state block of the lane of register operand `i` that the immediate names. */
function lanePlace(s: Semantics, i: number, bytes: number): Expr {
  const lane = s.immediate(8).and(16 / bytes - 1);
  return s.register(i).add(bytes === 1 ? lane : lane.mul(bytes));
}

/** To a general register, which is zero-extended, or to memory. */
for (const [mnemonic, opcode, bytes, memory] of [
  ["pextrb", "14", 1, "Mb"],
  ["pextrw", "15", 2, "Mw"],
  ["extractps", "17", 4, "Md"],
] as const)
  define({
    ...(bytes === 2 ? { name: "pextrw_to_memory", names: ["pextrw", "pextrw", "pextrw"] } : { name: mnemonic }),
    feature: "sse4.1",
    forms: [`66 0F 3A ${opcode} /r | ${memory},Vx,Ib`, `66 0F 3A ${opcode} /r | Ry,Vx,Ib`],
    semantics: (s) => {
      const load = { 1: "i32.load8_u", 2: "i32.load16_u", 4: "i32.load" }[bytes];
      writeMask(s, s.b.load(load, "cpu", lanePlace(s, 1, bytes)));
    },
  });
define({
  name: "pextrd",
  names: ["pextrd", "pextrd", "pextrq"],
  feature: "sse4.1",
  forms: ["66 0F 3A 16 /r | Ey,Vx,Ib"],
  semantics: (s) => {
    const isQuad = s.width(0) === 64;
    s.write(0, s.b.load(isQuad ? "i64.load" : "i32.load", "cpu", lanePlace(s, 1, isQuad ? 8 : 4)));
  },
});

define({
  name: "pinsrb",
  feature: "sse4.1",
  forms: ["66 0F 3A 20 /r | Vx,Ry,Ib", "66 0F 3A 20 /r | Vx,Mb,Ib"],
  semantics: (s) => {
    const value = s.read(1).lo32();
    s.commit();
    s.b.store("i32.store8", "cpu", lanePlace(s, 0, 1), value);
  },
});
define({
  name: "pinsrd",
  names: ["pinsrd", "pinsrd", "pinsrq"],
  feature: "sse4.1",
  forms: ["66 0F 3A 22 /r | Vx,Ey,Ib"],
  semantics: (s) => {
    const value = s.read(1);
    s.commit();
    s.b.store(`${value.type}.store`, "cpu", lanePlace(s, 0, value.type === "i64" ? 8 : 4), value);
  },
});

/** Immediate: bits 7:6 the source lane of a register, 5:4 the destination lane, 3:0 the lanes that become zero. */
define({
  name: "insertps",
  feature: "sse4.1",
  forms: ["66 0F 3A 21 /r | Vx,Ux,Ib", "66 0F 3A 21 /r | Vx,Md,Ib"],
  semantics: (s) => {
    const { b } = s;
    const how = s.immediate(8);
    const from = (): Expr => s.register(1).add(how.shrU(6).mul(4));
    const value = s.isMemory(1) ? s.read(1) : b.load("i32.load", "cpu", from());
    const place = op("i32x4.eq", op("i32x4.splat", how.shrU(4).and(3)), v128(0x00000003_00000002_00000001_00000000n));
    const inserted = b.keep(op("v128.bitselect", op("i32x4.splat", value), b.keep(s.read(0)), place));
    writeXmm(s, op("v128.andnot", inserted, chosenLanes(s, "i32x4", how.and(15))));
  },
});
