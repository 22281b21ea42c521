// What of a machine's memory no guest may change: everything but guest RAM and the processor's own tables, and in those
// only entries that point where they may. The gaps between tables, the far end of the arena and what lies behind ROM hold
// a pattern.

import * as L from "../../packages/core/src/cpu/layout.ts";
import type { Core } from "../../packages/core/src/interp/core.ts";

const PATTERN = 0x5a;
/** The state block's last field ends before; nothing in it is wider than 16 bytes. */
const STATE_BLOCK_END: number =
  16 +
  Object.values(L).reduce<number>((end, value) => {
    return typeof value === "object" && "offset" in value && typeof value.offset === "number"
      ? Math.max(end, value.offset)
      : end;
  }, 0);
/** Blocks of one batch stay far below. */
const ARENA_WATCHED = L.ARENA_BYTES / 2;
const NEVER = 0xffff_ffff_ffff_ffffn;

type Span = readonly [from: number, to: number];

export class Walls {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #core: Core;
  readonly #spans: readonly Span[];
  readonly #rom: Uint8Array;
  readonly #constants: readonly (readonly [{ readonly offset: number }, number])[];

  /** Precondition: the machine is fresh. */
  constructor(core: Core) {
    const { map } = core;
    this.#core = core;
    this.#view = core.view;
    this.#bytes = new Uint8Array(core.memory.buffer);
    const romEnd = map.ram + map.ramBytes + map.romBytes;
    this.#spans = [
      [0, L.CPU_BASE],
      [L.CPU_BASE + STATE_BLOCK_END, L.TLB_SUPERVISOR],
      [L.TLB_LARGE + L.TLB_LARGE_BYTES, L.TLB_HUGE],
      [L.TLB_HUGE + L.TLB_HUGE_BYTES, L.ONES_PAGE],
      [L.ONES_PAGE + 4096, L.TLB_NONE],
      [L.TLB_NONE + L.TLB_SET_BYTES, L.RELIED_PAGES],
      [L.RELIED_PAGES + L.RELIED_PAGES_BYTES, L.BLOCK_HASH],
      [L.ARENA + L.ARENA_BYTES - ARENA_WATCHED, L.ARENA + L.ARENA_BYTES],
      [map.pageUnwritten + (map.ramBytes + map.romBytes) / 4096, map.ram],
      [romEnd, core.memory.buffer.byteLength],
    ];
    for (const [from, to] of this.#spans) this.#bytes.fill(PATTERN, from, to);
    this.#rom = this.#bytes.slice(map.ram + map.ramBytes, romEnd);
    const fields = [
      ...[
        L.RAM_HOST,
        L.RAM_BYTES,
        L.LOW_RAM_BYTES,
        L.ROM_HOST,
        L.ROM_BYTES,
        L.PAGE_LISTS,
        L.PAGE_GRANULES,
        L.PAGE_UNWRITTEN,
      ],
      ...[{ offset: L.ZERO }, { offset: L.ZERO + 4 }],
    ];
    this.#constants = fields.map((field) => [field, this.#int(L.CPU_BASE + field.offset)]);
  }

  /** What is broken, or undefined. `whole`: the large spans too. */
  broken(whole: boolean): string | undefined {
    for (const [field, value] of this.#constants) {
      const now = this.#int(L.CPU_BASE + field.offset);
      if (now !== value) return `state block +0x${field.offset.toString(16)}: ${now}, was ${value}`;
    }
    // Where a store goes whose address is the 0 of a fault that nobody looked at.
    const atZero = firstOther(this.#bytes, 0, L.CPU_BASE, PATTERN);
    if (atZero >= 0) return `byte 0x${atZero.toString(16)}, which is nobody's`;
    return (
      this.#brokenTlb(L.TLB_SUPERVISOR) ??
      this.#brokenTlb(L.TLB_USER) ??
      this.#brokenTlb(L.TLB_SUPERVISOR_AC) ??
      (whole ? this.#brokenSpan() : undefined)
    );
  }

  #brokenSpan(): string | undefined {
    const { map, decoder } = this.#core;
    if (decoder.flushes > 0) return "the arena was flushed: the batch is too long for its watch";
    for (const [from, to] of this.#spans) {
      const at = firstOther(this.#bytes, from, to, PATTERN);
      if (at >= 0) return `byte 0x${at.toString(16)}, which is nobody's`;
    }
    const ones = firstOther(this.#bytes, L.ONES_PAGE, L.ONES_PAGE + 4096, 0xff);
    if (ones >= 0) return `byte 0x${ones.toString(16)} of the page of ones`;
    const rom = map.ram + map.ramBytes;
    for (const [i, byte] of this.#rom.entries()) if (this.#bytes[rom + i] !== byte) return `ROM +0x${i.toString(16)}`;
    const never = this.#brokenNever();
    if (never) return never;
    for (let at = L.BLOCK_HASH; at < L.BLOCK_HASH + L.BLOCK_HASH_BYTES; at += 16) {
      const block = this.#int(at + 8);
      const isBlock = block >= L.ARENA && block < L.ARENA + L.ARENA_BYTES - ARENA_WATCHED;
      if (this.#view.getBigUint64(at, true) !== NEVER && !isBlock) return `block look-up at 0x${at.toString(16)}`;
    }
    return undefined;
  }

  #brokenNever(): string | undefined {
    const at = firstOther(this.#bytes, L.TLB_NONE, L.TLB_NONE + L.TLB_SET_BYTES, 0xff);
    return at < 0 ? undefined : `byte 0x${at.toString(16)} of the TLB that never hits`;
  }

  /** Every entry leads to a page of RAM, or of ROM if it is not for writing. */
  #brokenTlb(set: number): string | undefined {
    const { map } = this.#core;
    for (let at = set; at < set + L.TLB_SET_BYTES; at += L.TLB_ENTRY_BYTES) {
      for (const tag of [L.TLB_READ, L.TLB_WRITE, L.TLB_EXECUTE]) {
        // All ones in the upper half is no page number.
        if (this.#int(at + tag + 4) === -1) continue;
        const vpn = this.#view.getBigUint64(at + tag, true);
        const host = (Number(BigInt.asUintN(32, vpn << 12n)) + this.#int(at + L.TLB_ADDEND)) >>> 0;
        const end = map.ram + map.ramBytes + (tag === L.TLB_WRITE ? 0 : map.romBytes);
        if (host >= map.ram && host < end && host % 4096 === 0) continue;
        return `TLB entry 0x${at.toString(16)} +${tag}: page 0x${vpn.toString(16)} at 0x${host.toString(16)}`;
      }
    }
    return undefined;
  }

  #int(at: number): number {
    return this.#view.getInt32(at, true);
  }
}

function firstOther(bytes: Uint8Array, from: number, to: number, value: number): number {
  // Comparing with the bytes before is one fast call, whatever the length.
  if (from >= to) return -1;
  if (bytes[from] !== value) return from;
  const [left, right] = [bytes.subarray(from, to - 1), bytes.subarray(from + 1, to)];
  if (Buffer.compare(left, right) === 0) return -1;
  return from + bytes.subarray(from, to).findIndex((byte) => byte !== value);
}
