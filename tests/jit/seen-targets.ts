// A translator that is told more of indirect jumps and calls than the interpreter ever sees: behind every one of a window
// stand whatever may be an address of code there (tables, immediates), and places by chance, in the middle of
// instructions, too. Where control really goes it must go in any case; all else costs time only.

import { type CodeWindow, PAGE_BYTES, WINDOW_BYTES } from "../../packages/core/src/jit/region.ts";
import { LocalTranslator, type TranslationBatch } from "../../packages/core/src/jit/translator.ts";
import { Random } from "../cpu/random.ts";
import * as G from "./guest-layout.ts";

const MOST_ADDRESSES = 24;
const MOST_OTHERS = 4;

export class SeenTranslator extends LocalTranslator {
  override request(batch: TranslationBatch): void {
    super.request({ ...batch, windows: batch.windows.map((window) => ({ ...window, seen: seenIn(window) })) });
  }
}

/** Pairs by the window's bytes alone: a program's run is a function of its seed. */
function seenIn({ bytes, entry }: CodeWindow): Uint16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const random = new Random(`${entry}/${view.getUint32(entry)}`);
  const jumps: number[] = [];
  const addresses: number[] = [];
  for (let at = 0; at + 4 <= WINDOW_BYTES; at++) {
    // FF /2, call; FF /4, jmp
    const operation = (bytes[at + 1] ?? 0) & 0x38;
    if (bytes[at] === 0xff && (operation === 0x10 || operation === 0x20)) jumps.push(at);
    const word = view.getUint32(at, true);
    // In which page of the window is not known here: in one of them it is the address.
    if (word >= G.CODE && word < G.CODE + G.CODE_BYTES)
      for (let page = 0; page < WINDOW_BYTES; page += PAGE_BYTES) addresses.push(page + (word % PAGE_BYTES));
  }
  const most = random.below(MOST_ADDRESSES);
  const targets = new Set(Array.from({ length: addresses.length && most }, () => random.pick(addresses)));
  for (let count = random.below(MOST_OTHERS); count > 0; count--) targets.add(entry - 200 + random.below(400));
  return Uint16Array.from(jumps.flatMap((from) => [...targets].flatMap((to) => (random.oneIn(5) ? [] : [from, to]))));
}
