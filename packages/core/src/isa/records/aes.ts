/** AES-NI (SDM vol. 2; vol. 1, 12.13): rounds of encryption and decryption, and the key schedule's steps. */
import { mixColumns, restoreBytes, restoreColumns, restoreRows, shiftRows, substituteBytes } from "../../cpu/aes.ts";
import { type Builder, type Expr, op } from "../../ir/builder.ts";
import { define } from "../record.ts";
import { byteLanes, readVector, shuffle } from "./sse-form.ts";

const encrypted = (b: Builder, state: Expr): Expr => b.call(substituteBytes, shiftRows(state));
const decrypted = (b: Builder, state: Expr): Expr => b.call(restoreBytes, restoreRows(state));

for (const [name, opcode, step] of [
  ["aesenc", "DC", (b: Builder, state: Expr) => b.call(mixColumns, encrypted(b, state))],
  ["aesenclast", "DD", encrypted],
  ["aesdec", "DE", (b: Builder, state: Expr) => b.call(restoreColumns, decrypted(b, state))],
  ["aesdeclast", "DF", decrypted],
] as const)
  define({
    name,
    feature: "aes",
    forms: [`66 0F 38 ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const roundKey = readVector(s, 1);
      s.write(0, op("v128.xor", step(s.b, s.read(0)), roundKey));
    },
  });

define({
  name: "aesimc",
  feature: "aes",
  forms: ["66 0F 38 DB /r | Vx,Wx"],
  semantics: (s) => s.write(0, s.b.call(restoreColumns, readVector(s, 1))),
});

/** Words 1 and 3, substituted; each followed by itself turned by a byte and with the round constant added. */
define({
  name: "aeskeygenassist",
  feature: "aes",
  forms: ["66 0F 3A DF /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const { b } = s;
    const words = b.call(substituteBytes, readVector(s, 1));
    const turned = (word: number): number[] => [1, 2, 3, 0].map((i) => 4 * word + i);
    const order = [...byteLanes(4, [1]), ...turned(1), ...byteLanes(4, [3]), ...turned(3)];
    const constants = op("i64x2.splat", s.immediate(8).u64().shl(32));
    s.write(0, op("v128.xor", shuffle(order, words, words), constants));
  },
});
