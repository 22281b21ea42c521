/**
 * Every combination of access rights against a model of its own: what SDM vol. 3, 4.6.1 (rights), 4.7 (error codes), 4.8
 * (accessed and dirty) and the tables of 4.3 to 4.5 (reserved bits) say, in their words.
 */
import { describe, expect, it } from "vitest";
import * as L from "./layout.ts";
import { PAGE_1G, PAGE_2M, PAGE_4M } from "./tlb.ts";
import { TranslationBench } from "./translation-bench.ts";

const P = 1n;
const RW = 2n;
const US = 4n;
const A = 0x20n;
const D = 0x40n;
const PS = 0x80n;
const XD = 1n << 63n;

const CR0_WP = 0x10000n;
const CR4_PSE = 0x10n;
const CR4_PAE = 0x20n;
const CR4_SMEP = 0x100000n;
const CR4_SMAP = 0x200000n;
const EFER_NXE = 0x800n;
const EFER_LONG = 0x500n;
const RF_AC = 0x40000;

interface Level {
  /** Where the entry lies, and where it points to. */
  readonly at: number;
  readonly target: bigint;
  /** Bits that must be 0, besides XD without NXE. */
  readonly reserved: bigint;
}
interface Mode {
  readonly name: string;
  readonly kind: "32-bit" | "PAE" | "4-level";
  readonly va: bigint;
  /** From the root to the page. */
  readonly levels: readonly Level[];
  readonly large: boolean;
  readonly pageFlag: number;
}

const bits = (high: number, low: number): bigint => (1n << BigInt(high + 1)) - (1n << BigInt(low));
const LOW = 0x203123n;
const VA32 = 0xc0000000n + LOW;
const VA64 = 0xffff_9000_c000_0000n + LOW;
const ROOT = 0x10000;
const table = (n: number): bigint => BigInt(0x10000 + n * 0x1000);
const index = (va: bigint, shift: number): number => Number((va >> BigInt(shift)) & 0x1ffn) * 8;
/** 32-bit paging's index. */
const index32 = (va: bigint, shift: number): number => Number((va >> BigInt(shift)) & 0x3ffn) * 4;

function modes(): Mode[] {
  const high4 = bits(51, 40);
  const highPae = bits(62, 40);
  const l4 = (n: number, shift: number, target: bigint, reserved: bigint): Level => ({
    at: Number(table(n)) + index(VA64, shift),
    target,
    reserved: high4 | reserved,
  });
  const pae = (n: number, shift: number, target: bigint, reserved: bigint): Level => ({
    at: Number(table(n)) + index(VA32, shift),
    target,
    reserved: highPae | reserved,
  });
  const page4k = 0x203000n;
  const page2m = 0x200000n;
  const pml4e = l4(0, 39, table(1), PS);
  const pdpte = l4(1, 30, table(2), 0n);
  return [
    {
      name: "4-level, 4 KiB",
      kind: "4-level",
      va: VA64,
      levels: [pml4e, pdpte, l4(2, 21, table(3), 0n), l4(3, 12, page4k, 0n)],
      large: false,
      pageFlag: 0,
    },
    {
      name: "4-level, 2 MiB",
      kind: "4-level",
      va: VA64,
      levels: [pml4e, pdpte, l4(2, 21, page2m, bits(20, 13))],
      large: true,
      pageFlag: PAGE_2M,
    },
    {
      name: "4-level, 1 GiB",
      kind: "4-level",
      va: VA64,
      levels: [pml4e, l4(1, 30, 0n, bits(29, 13))],
      large: true,
      pageFlag: PAGE_1G,
    },
    {
      name: "PAE, 4 KiB",
      kind: "PAE",
      va: VA32,
      levels: [pae(2, 21, table(3), 0n), pae(3, 12, page4k, 0n)],
      large: false,
      pageFlag: 0,
    },
    {
      name: "PAE, 2 MiB",
      kind: "PAE",
      va: VA32,
      levels: [pae(2, 21, page2m, bits(20, 13))],
      large: true,
      pageFlag: PAGE_2M,
    },
    {
      name: "32-bit, 4 KiB",
      kind: "32-bit",
      va: VA32,
      levels: [
        { at: ROOT + index32(VA32, 22), target: table(1), reserved: 0n },
        { at: Number(table(1)) + index32(VA32, 12), target: page4k, reserved: 0n },
      ],
      large: false,
      pageFlag: 0,
    },
    {
      name: "32-bit, 4 MiB",
      kind: "32-bit",
      va: VA32,
      levels: [{ at: ROOT + index32(VA32, 22), target: 0n, reserved: 1n << 21n }],
      large: true,
      pageFlag: PAGE_4M,
    },
  ];
}

type Kind = "read" | "write" | "fetch";
interface Access {
  readonly kind: Kind;
  readonly user: boolean;
  readonly implicit: boolean;
}
const ACCESSES: readonly Access[] = [
  ...(["read", "write", "fetch"] as const).flatMap((kind) => [
    { kind, user: true, implicit: false },
    { kind, user: false, implicit: false },
  ]),
  { kind: "read", user: false, implicit: true },
  { kind: "write", user: false, implicit: true },
];
interface Controls {
  readonly wp: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly nxe: boolean;
  readonly ac: boolean;
}
const CONTROLS: readonly Controls[] = Array.from({ length: 32 }, (_, i) => ({
  wp: (i & 1) !== 0,
  smep: (i & 2) !== 0,
  smap: (i & 4) !== 0,
  nxe: (i & 8) !== 0,
  ac: (i & 16) !== 0,
}));

/** 4.6.1: whether the rights of the entries allow an access. */
function allows(mode: Mode, entries: readonly bigint[], c: Controls, access: Access): boolean {
  const every = (bit: bigint): boolean => entries.every((e) => (e & bit) !== 0n);
  const userAddress = every(US);
  const writable = every(RW);
  const executable = mode.kind === "32-bit" || !c.nxe || entries.every((e) => (e & XD) === 0n);
  if (access.user) {
    if (!userAddress) return false;
    if (access.kind === "read") return true;
    return access.kind === "write" ? writable : executable;
  }
  if (access.kind === "fetch") return userAddress && c.smep ? false : executable;
  if (userAddress && c.smap && !(c.ac && !access.implicit)) return false;
  return access.kind === "read" || !c.wp || writable;
}

interface Outcome {
  /** Undefined: the access succeeds. */
  readonly error: number | undefined;
  /** The entries afterwards. */
  readonly entries: readonly bigint[];
}

function expected(mode: Mode, entries: readonly bigint[], c: Controls, access: Access): Outcome {
  const paging64 = mode.kind !== "32-bit";
  const code = (access.kind === "write" ? 2 : 0) | (access.user ? 4 : 0);
  const fetch = access.kind === "fetch" && ((paging64 && c.nxe) || c.smep) ? 16 : 0;
  for (const [i, entry] of entries.entries()) {
    if ((entry & P) === 0n) return { error: code | fetch, entries };
    const reserved = (mode.levels[i]?.reserved ?? 0n) | (paging64 && !c.nxe ? XD : 0n);
    if ((entry & reserved) !== 0n) return { error: code | fetch | 1 | 8, entries };
  }
  if (!allows(mode, entries, c, access)) return { error: code | fetch | 1, entries };
  const last = entries.length - 1;
  const after = entries.map((e, i) => e | A | (i === last && access.kind === "write" ? D : 0n));
  return { error: undefined, entries: after };
}

class Subject {
  readonly bench: TranslationBench;
  constructor(tier: "compiled" | "evaluated") {
    this.bench = new TranslationBench(tier);
  }

  setMode(mode: Mode): void {
    const { bench } = this;
    bench.put(L.CR3, ROOT);
    for (let i = 0; i < 4; i++) bench.put(L.pdpte(i), table(2) | P);
    bench.put(L.MODE, mode.kind === "4-level" ? L.MODE_64 : L.MODE_PROTECTED | L.MODE_32);
    bench.put(L.DR7, 0);
  }

  setControls(mode: Mode, c: Controls, access: Access): void {
    const { bench } = this;
    bench.put(L.CR0, 0x80000001n | (c.wp ? CR0_WP : 0n));
    const kind = mode.kind === "32-bit" ? CR4_PSE : CR4_PAE;
    bench.put(L.CR4, kind | (c.smep ? CR4_SMEP : 0n) | (c.smap ? CR4_SMAP : 0n));
    bench.put(L.EFER, (c.nxe ? EFER_NXE : 0n) | (mode.kind === "4-level" ? EFER_LONG : 0n));
    bench.put(L.SYSTEM_FLAGS, c.ac ? RF_AC : 0);
    bench.put(L.CPL, access.user ? 3 : 0);
    bench.call.update_tlb_set();
    if (access.implicit) bench.put(L.TLB_CURRENT, L.TLB_SUPERVISOR);
  }

  write(mode: Mode, entries: readonly bigint[]): void {
    for (const [i, entry] of entries.entries()) {
      const at = mode.levels[i]?.at ?? 0;
      if (mode.kind === "32-bit") this.bench.ram.setUint32(at, Number(entry), true);
      else this.bench.ram.setBigUint64(at, entry, true);
    }
  }
  read(mode: Mode): bigint[] {
    return mode.levels.map(({ at }) =>
      mode.kind === "32-bit" ? BigInt(this.bench.ram.getUint32(at, true)) : this.bench.ram.getBigUint64(at, true),
    );
  }

  /** What translation does, as `expected` says it. */
  translate(mode: Mode, access: Access): Outcome & { readonly cr2: bigint; readonly phys: bigint } {
    const { bench } = this;
    bench.put(L.CR2, 0x1234);
    const asked = { read: 0, write: 2, fetch: 16 }[access.kind] | (access.user ? 4 : 0);
    const found = bench.call.translate(BigInt.asIntN(64, mode.va), asked);
    return {
      error: found ? undefined : Number(bench.get(L.EXC_ERROR)),
      entries: this.read(mode),
      cr2: bench.get(L.CR2),
      phys: bench.get(L.XLATE_PHYS),
    };
  }

  /** Enters the translation into the TLB: which tags match; takes it out again. */
  tags(mode: Mode): { read: boolean; write: boolean; fetch: boolean } {
    const { bench } = this;
    const va = BigInt.asIntN(64, mode.va);
    bench.call.fill_tlb(va);
    const entry = bench.call.entry_of(va);
    const vpn = BigInt.asUintN(64, mode.va) >> 12n;
    const has = (tag: number): boolean => bench.view.getBigUint64(entry + tag, true) === vpn;
    const tags = { read: has(L.TLB_READ), write: has(L.TLB_WRITE), fetch: has(L.TLB_EXECUTE) };
    for (const tag of [L.TLB_READ, L.TLB_WRITE, L.TLB_EXECUTE]) bench.view.setBigInt64(entry + tag, -1n, true);
    bench.view.setInt32(L.TLB_LOG, 0, true);
    return tags;
  }
}

/** Which entries lack a right: none, one of them, all. */
function* placesOf(levels: number): Iterable<(level: number) => boolean> {
  yield () => false;
  for (let n = 0; n < levels; n++) yield (level) => level === n;
  if (levels > 1) yield () => true;
}

/** Entries with every combination of U/S, R/W and XD; A and D differ from case to case. */
function* rightsOf(mode: Mode): Iterable<bigint[]> {
  const n = mode.levels.length;
  let count = 0;
  for (const supervisor of placesOf(n))
    for (const readOnly of placesOf(n))
      for (const noExecute of mode.kind === "32-bit" ? [() => false] : placesOf(n)) {
        const mix = Math.imul(count++, 0x9e3779b1) >>> 16;
        yield mode.levels.map(({ target }, i) => {
          let entry = target | P;
          if (!supervisor(i)) entry |= US;
          if (!readOnly(i)) entry |= RW;
          if (noExecute(i)) entry |= XD;
          if ((mix >> i) & 1) entry |= A;
          if (i === n - 1 && (mix >> 5) & 1) entry |= D;
          if (i === n - 1 && mode.large) entry |= PS;
          return entry;
        });
      }
}

/** One case; undefined if it is as the model says. */
function failure(subject: Subject, mode: Mode, entries: bigint[], c: Controls, access: Access): string | undefined {
  subject.write(mode, entries);
  subject.setControls(mode, c, access);
  const want = expected(mode, entries, c, access);
  const got = subject.translate(mode, access);
  const hex = (list: readonly bigint[]): string => list.map((e) => e.toString(16)).join();
  const text = `${mode.name} ${hex(entries)} ${JSON.stringify(c)} ${JSON.stringify(access)}`;
  if (got.error !== want.error) return `${text}: error code ${got.error}, not ${want.error}`;
  if (hex(got.entries) !== hex(want.entries)) return `${text}: entries ${hex(got.entries)}, not ${hex(want.entries)}`;
  if (want.error !== undefined) return got.cr2 === mode.va ? undefined : `${text}: CR2 ${got.cr2.toString(16)}`;
  if (got.cr2 !== 0x1234n) return `${text}: CR2 written`;
  if (got.phys !== LOW) return `${text}: physical address ${got.phys.toString(16)}`;
  const flag = Number(subject.bench.get(L.XLATE_FLAGS)) & (PAGE_1G | PAGE_2M | PAGE_4M);
  if (flag !== mode.pageFlag) return `${text}: page size ${flag}`;
  const tags = subject.tags(mode);
  for (const kind of ["read", "write", "fetch"] as const) {
    const isDirty = ((want.entries.at(-1) ?? 0n) & D) !== 0n;
    const may = allows(mode, entries, c, { ...access, kind }) && (kind !== "write" || isDirty);
    if (tags[kind] !== may) return `${text}: the TLB ${may ? "lacks" : "has"} a tag for ${kind}`;
  }
  return undefined;
}

const TIERS = [
  ["compiled", 1],
  ["evaluated", 211],
] as const;

describe.each(TIERS)("address translation, %s", (tier, step) => {
  const subject = new Subject(tier);

  it.each(modes().map((mode) => [mode.name, mode] as const))("gives rights and error codes: %s", (_, mode) => {
    subject.setMode(mode);
    const failures: string[] = [];
    let count = 0;
    for (const entries of rightsOf(mode))
      for (const c of CONTROLS)
        for (const access of ACCESSES) {
          if (count++ % step || failures.length > 5) continue;
          const found = failure(subject, mode, entries, c, access);
          if (found) failures.push(found);
        }
    expect(failures).toEqual([]);
    expect(count).toBeGreaterThan(1000);
  });

  it.each(modes().map((mode) => [mode.name, mode] as const))("finds every reserved bit and absence: %s", (_, mode) => {
    subject.setMode(mode);
    const failures: string[] = [];
    let count = 0;
    const width = mode.kind === "32-bit" ? 32 : 64;
    for (let level = 0; level < mode.levels.length; level++)
      for (let bit = 0; bit < width; bit++) {
        const isLeaf = level === mode.levels.length - 1;
        // The bits of the address and of the page's size lead elsewhere.
        const frame = bits(
          39,
          mode.large && isLeaf ? { [PAGE_1G]: 30, [PAGE_2M]: 21, [PAGE_4M]: 22 }[mode.pageFlag]! : 12,
        );
        const isAddress =
          mode.kind === "32-bit" ? bit >= 12 && !(mode.large && bit === 21) : ((frame >> BigInt(bit)) & 1n) !== 0n;
        const leads = 1n << BigInt(bit) === PS && !((mode.levels[level]?.reserved ?? 0n) & PS);
        if (isAddress || leads) continue;
        const entries = [...rightsOf(mode)][0] ?? [];
        entries[level] = (entries[level] ?? 0n) ^ (1n << BigInt(bit));
        for (const c of CONTROLS)
          for (const access of ACCESSES) {
            if (count++ % step || failures.length > 5) continue;
            const found = failure(subject, mode, entries, c, access);
            if (found) failures.push(found);
          }
      }
    expect(failures).toEqual([]);
    expect(count).toBeGreaterThan(1000);
  });
});
