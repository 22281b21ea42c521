// A guest that writes to its memory without end and checks all of it after every 4096 writes: each page has a number at
// its start, the same mixed with the page's index at its end, and the sum of all is in a register. "." on the serial
// port: a check found nothing; "X": it did, and the guest stands still. Typed characters come back after a check, but
// "g": that answers with the longest gap between two writes since the last "g", in ticks of the time-stamp counter.

import { bareKernel } from "../bare-kernel.ts";

/** Where its pages begin. */
const BASE = 4 * 2 ** 20;

export interface DirtyingGuest {
  /** A power of two. */
  readonly pages: number;
  /** Turns of an empty loop before each write. */
  readonly delay: number;
}

export function memoryBytesOf({ pages }: DirtyingGuest): number {
  return Math.max(16 * 2 ** 20, BASE + pages * 4096 + 2 ** 20);
}

export function dirtyingKernel({ pages, delay }: DirtyingGuest): Uint8Array {
  const u32 = (value: number): string => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return Buffer.from(bytes).toString("hex");
  };
  const code = [
    "bf 00004000 31c0", // mov edi, BASE; xor eax, eax
    "89c2 c1e20c 01fa 488982f80f0000", // init: page at rdx; its end: the index
    `ffc0 3d ${u32(pages)} 75e9`, // inc eax; cmp eax, pages; jne init
    "4531c9 41ba91f44525 4531f6", // r9 sum = 0; r10 random; r14 longest gap = 0
    "0f31 48c1e220 4809d0 4989c5", // r13 = rdtsc
    "41bb00100000", // outer: r11 = 4096
    `bb ${u32(delay)} ffcb 75fc`, // write: delay
    "0f31 48c1e220 4809d0 4889c2 4c29ea 4989c5 4c39f2 4c0f47f2", // gap since r13; r14 = max
    "4d69d26d4ec641 4981c239300000 4c89d0 48c1e814", // r10 = r10 * 1103515245 + 12345
    `25 ${u32(pages - 1)} 89c2 c1e20c 01fa`, // eax index, rdx page
    "488b32 4929f1 4c01d6 488932 4901f1 4831c6 4889b2f80f0000", // its number grows by r10, and the sum; its end follows
    "41ffcb 759f", // dec r11; jnz write
    "31db 31c0", // verify: rbx sum, eax index
    "89c2 c1e20c 01fa 488b32 4801f3 4831c6 483bb2f80f0000 7558", // jne bad
    `ffc0 3d ${u32(pages)} 75de 4c39cb 754a`, // jne verify; cmp rbx, r9; jne bad
    "66baf803 b02e ee 66bafd03 ec a801 0f845affffff", // "."; nothing typed: outer
    "66baf803 ec 3c67 7406 ee e94bffffff", // "g": gap; else back, and outer
    "b910000000 49c1c604 4489f0 83e00f 0430 3c39 7602 0427 ee ffc9 75e9", // sixteen digits
    "b00a ee 4531f6 e924ffffff", // line feed; r14 = 0; outer
    "66baf803 b058 ee f4 ebfd", // bad: "X"; hlt for ever
  ];
  const bytes = [...Buffer.from(code.join("").replaceAll(" ", ""), "hex")];
  return bareKernel(bytes);
}
