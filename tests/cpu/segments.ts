// The descriptors of the segment suite: an LDT that a Linux process can have (modify_ldt), for the host as arguments of
// its harness and for the model as descriptors (Intel SDM volume 3, 3.4.5).
//
// Linux sets the accessed bit of all and DPL 3. Offsets reach the code page or the window: each segment ends, or begins,
// in the midst of one.

import { CODE_BASE, DATA_BASE } from "./subject.ts";
import { USER_DESCRIPTORS } from "./user-machine.ts";

type Kind = "data" | "down" | "code" | "conforming";

export interface LdtSegment {
  readonly kind: Kind;
  readonly base: bigint;
  /** In bytes, or in pages. */
  readonly limit: number;
  /** The D or B bit. */
  readonly is32: boolean;
  /** Data that cannot be written; code that cannot be read. */
  readonly isRestricted: boolean;
  readonly isInPages: boolean;
  readonly isPresent: boolean;
}

const CONTENTS: Readonly<Record<Kind, number>> = { data: 0, down: 1, code: 2, conforming: 3 };

function segment(kind: Kind, base: bigint, limit: number, rest: Partial<LdtSegment> = {}): LdtSegment {
  return { kind, base, limit, is32: true, isRestricted: false, isInPages: false, isPresent: true, ...rest };
}

export const LDT: readonly LdtSegment[] = [
  segment("data", DATA_BASE, 0x1fff),
  segment("data", DATA_BASE, 0x0fff, { isRestricted: true }),
  segment("down", DATA_BASE + 0x2000n, 0xf_fffe, { isInPages: true }),
  segment("down", DATA_BASE - 0xd000n, 0xdfff, { is32: false }),
  segment("data", DATA_BASE, 0x2fff, { is32: false }),
  segment("code", CODE_BASE, 0x0fff),
  segment("code", CODE_BASE, 0x0fff, { isRestricted: true }),
  segment("code", CODE_BASE, 0x0fff, { is32: false }),
  segment("code", 0n, 0xf_ffff, { isInPages: true }),
  segment("data", DATA_BASE, 0xffff, { isPresent: false }),
  segment("data", 0n, 0xf_ffff, { isInPages: true }),
  segment("code", CODE_BASE - 0xf000n, 0xffff, { is32: false }),
  segment("down", DATA_BASE - 0xd000n, 0xe7ff, { isRestricted: true }),
  segment("conforming", CODE_BASE, 0x0fff, { isPresent: false }),
  segment("data", DATA_BASE, 0x2ffb),
];

/** Arguments of the harness: base, limit and flags of struct user_desc. */
export const LDT_ARGUMENTS: readonly string[] = LDT.map((each) => {
  const flags =
    Number(each.is32) |
    (CONTENTS[each.kind] << 1) |
    (Number(each.isRestricted) << 3) |
    (Number(each.isInPages) << 4) |
    (Number(!each.isPresent) << 5) |
    (1 << 6);
  return [BigInt.asUintN(32, each.base), each.limit, flags].map((value) => value.toString(16)).join(" ");
});

export const LDT_DESCRIPTORS: readonly bigint[] = LDT.map((each) => {
  const base = BigInt.asUintN(32, each.base);
  const limit = BigInt(each.limit);
  const type = 0x11 | (CONTENTS[each.kind] << 2) | (each.isRestricted ? 0 : 2);
  const access = BigInt(type | 0x60 | (each.isPresent ? 0x80 : 0));
  const flags = BigInt(1 | (each.is32 ? 4 : 0) | (each.isInPages ? 8 : 0));
  return (
    (limit & 0xffffn) |
    ((base & 0xff_ffffn) << 16n) |
    (access << 40n) |
    ((limit >> 16n) << 48n) |
    (flags << 52n) |
    ((base >> 24n) << 56n)
  );
});

export const selectorOf = (index: number): number => 8 * index + 7;

/** What a selector of a valid segment names; 0 for null. */
export function descriptorOf(selector: number): bigint {
  if (selector < 4) return 0n;
  const descriptor = selector & 4 ? LDT_DESCRIPTORS[selector >> 3] : USER_DESCRIPTORS.get(selector);
  if (descriptor === undefined) throw new RangeError(`no segment is named ${selector}`);
  return descriptor;
}

export interface Extent {
  readonly base: bigint;
  /** Last offset that the limit counts. */
  readonly limit: bigint;
  readonly is32: boolean;
}

export function extentOf(selector: number): Extent {
  const descriptor = descriptorOf(selector);
  const base = ((descriptor >> 16n) & 0xff_ffffn) | ((descriptor >> 32n) & 0xff00_0000n);
  const limit = (descriptor & 0xffffn) | ((descriptor >> 32n) & 0xf_0000n);
  const isInPages = (descriptor & (1n << 55n)) !== 0n;
  return {
    base,
    limit: isInPages ? limit * 4096n + 4095n : limit,
    is32: (descriptor & (1n << 54n)) !== 0n,
  };
}
