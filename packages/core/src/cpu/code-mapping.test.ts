/** Where `codeHost` knows a page's place, a fetch finds the same place, and changes nothing. */
import { expect, it } from "vitest";
import { CR4_SMEP, EFER_LMA, EFER_NXE } from "./control-bits.ts";
import * as L from "./layout.ts";
import { PF_I, PF_U, XLATE_RAM } from "./page-fault.ts";
import { TranslationBench } from "./translation-bench.ts";

const bench = new TranslationBench("compiled");
const VA = 0xffff_9000_c020_3123n;
const SHIFTS = [39n, 30n, 21n, 12n] as const;
const ROOT = 0x10000;
const PAGE = 0x200000n;
const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const ACCESSED = 0x20n;
const LARGE = 0x80n;
const XD = 1n << 63n;
/** What an entry may have changed, one at a time: address bits that are reserved, too. */
const CHANGES = [0n, PRESENT, WRITABLE, USER, ACCESSED, LARGE, XD, 1n << 45n, 1n << 52n, 1n << 14n];

const slot = (level: number): number => ROOT + level * 0x1000 + Number((VA >> SHIFTS[level]!) & 0x1ffn) * 8;
const tables = (): Buffer => Buffer.from(bench.ram.buffer, bench.ram.byteOffset + ROOT, 0x4000);

function prepare(levels: number, change: bigint, at: number, isUserPage: boolean): void {
  for (let level = 0; level < levels; level++) {
    const isLast = level === levels - 1;
    const target = isLast ? PAGE : BigInt(ROOT + (level + 1) * 0x1000);
    const large = isLast && levels < 4 ? LARGE : 0n;
    const entry = target | PRESENT | WRITABLE | ACCESSED | large | (isUserPage ? USER : 0n);
    bench.ram.setBigUint64(slot(level), level === at ? entry ^ change : entry, true);
  }
}

it("knows what a fetch finds, with every change of an entry, for both privileges", () => {
  let known = 0;
  bench.put(L.CR3, BigInt(ROOT));
  for (const levels of [3, 4])
    for (const isUserPage of [false, true])
      for (const [cpl, smep, nxe] of [0, 3].flatMap((cpl) =>
        [0, CR4_SMEP].flatMap((smep) => [0, EFER_NXE].map((nxe) => [cpl, smep, nxe] as const)),
      ))
        for (let at = 0; at < levels; at++)
          for (const change of CHANGES) {
            bench.put(L.CPL, cpl);
            bench.put(L.CR4, BigInt(smep) | 0x20n);
            bench.put(L.EFER, BigInt(EFER_LMA | nxe) | 0x100n);
            prepare(levels, change, at, isUserPage);
            bench.call.update_tlb_set();
            bench.call.flush_tlb_all();
            const before = Buffer.from(tables());
            const host = bench.call.code_host(VA) >>> 0;
            const kind = bench.call.translate(VA, PF_I | (cpl === 3 ? PF_U : 0));
            if (host === 0) continue;
            known++;
            expect(kind).toBe(XLATE_RAM);
            expect(host).toBe(Number(bench.get(L.XLATE_HOST)));
            expect(before.equals(tables())).toBe(true);
          }
  // All of those that are not changed in what is looked at, at least.
  expect(known).toBeGreaterThan(100);
});

it("knows what the TLB has", () => {
  bench.put(L.CPL, 0);
  bench.put(L.CR4, 0x20n);
  prepare(4, 0n, 0, false);
  bench.call.update_tlb_set();
  bench.call.flush_tlb_all();
  expect(bench.call.translate(VA, PF_I)).toBe(XLATE_RAM);
  bench.call.fill_tlb(VA);
  bench.ram.setBigUint64(slot(3), 0n, true);
  expect(bench.call.code_host(VA) >>> 0).toBe(Number(bench.get(L.XLATE_HOST)));
  bench.call.flush_page(VA);
  expect(bench.call.code_host(VA)).toBe(0);
});
