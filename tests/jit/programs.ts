// A program from a seed: a guest of one kind in ring 0 or 3, a few functions, and a main part that is made of one or two
// kinds of pieces more than of others. It ends by itself, unless a handler ends it before.

import { Random } from "../cpu/random.ts";
import { Assembler, type Label } from "./assembler.ts";
import {
  codeMode,
  GUEST_KINDS,
  type GuestEnvironment,
  type GuestKind,
  initialState,
  writeKernel,
} from "./guest-kernel.ts";
import * as G from "./guest-layout.ts";
import { type Context, PIECE_NAMES, piece, straight } from "./pieces.ts";
import type { Family } from "./record-instruction.ts";
import type { Guest } from "./subject.ts";

const FAMILIES: readonly Family[] = ["integer", "integer", "integer", "vector", "any", "any", "x87"];
/** 64-bit code is the rule. */
const KINDS: readonly GuestKind[] = ["long", "long", "long", ...GUEST_KINDS];
const MOST_CODE_BYTES = 6000;

export function programFrom(seed: string): Guest {
  const random = new Random(seed);
  const kind = random.pick(KINDS);
  const environment: GuestEnvironment = { kind, ring: kind === "compatibility" || random.oneIn(2) ? 3 : 0 };
  // One in two begins near a page's end, so that instructions and loops lie over it.
  const base = G.CODE + (random.oneIn(2) ? 4096 - random.below(400) : random.below(64));
  const code = new Assembler(codeMode(environment), base);
  const patches: number[] = [];
  const functions: Label[] = [];
  const family = random.pick(FAMILIES);
  const context = (): Context => ({
    ...{ code, random, functions: [...functions], family, patches, environment },
    depth: 0,
    spare: [],
  });
  for (let count = random.below(4); count > 0; count--) {
    const label = code.mark();
    const inner = { ...context(), depth: 1 };
    straight(inner, 3);
    const inside = ["stack", "farFlags", "branch", "call", "subWord", "countedLoop", "system", "device"] as const;
    if (random.oneIn(2)) piece(inner, random.pick(inside));
    straight(inner, 2);
    if (random.oneIn(4)) code.emit(0xf3);
    code.emit(0xc3);
    functions.push(label);
  }
  const entry = code.here;
  const favourites = [random.pick(PIECE_NAMES), random.pick(PIECE_NAMES)];
  for (let count = 5 + random.below(10); count > 0 && code.here - base < MOST_CODE_BYTES; count--) {
    piece(context(), random.oneIn(2) ? random.pick(favourites) : random.pick(PIECE_NAMES));
    straight(context(), 3);
  }
  code.emit(0xcd, G.VECTOR.end);

  const ram = new Uint8Array(G.RAM_BYTES);
  ram.set(random.bytes(G.DATA_BYTES), G.DATA);
  writeKernel(ram, environment, random);
  ram.set(code.finish(), base);
  return { name: seed, ram, state: initialState(environment, entry, random), patches };
}
