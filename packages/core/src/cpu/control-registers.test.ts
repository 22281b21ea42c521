import { describe, expect, it } from "vitest";
import { type BareMachine, bareMachine } from "../interp/bare-machine.ts";
import { createCore } from "../interp/core.ts";
import { createEvaluatorCore } from "../interp/evaluator-cpu.ts";
import { legacyMachine, outcome, toLegacy } from "../interp/legacy-machine.ts";

const MORE = ["smap", "umip"];
const WITH_PCID = ["pcid", ...MORE];

const HLT = 0xf4;
const EFER = String(0xc0000080);
const GP = { vector: 13, error: 0 };
const PE = 1n;
const PG = 0x80000000n;
const PAE = 0x20n;
const PCIDE = 1n << 17n;
const LME = 0x100n;
const LMA = 0x400n;
const POINTERS = 0x300000;

const TIERS = { interpreter: createCore, evaluator: createEvaluatorCore };

describe.each(Object.entries(TIERS))("control registers, %s", (_, create) => {
  const options = { createCore: create };
  const long = (cpuFeatures = MORE): BareMachine => bareMachine({}, { ...options, cpuFeatures });
  const legacy = (cpuFeatures = MORE): BareMachine => legacyMachine({}, { ...options, cpuFeatures });

  /** MOV CRn, RAX. */
  function write(m: BareMachine, number: number, value: bigint): ReturnType<typeof outcome> {
    m.load(number === 8 ? [0x44, 0x0f, 0x22, 0xc0, HLT] : [0x0f, 0x22, 0xc0 | (number << 3), HLT]);
    m.change((s) => {
      s.gpr[0] = value;
      s.halted = false;
    });
    return outcome(m);
  }
  function wrmsr(m: BareMachine, index: number, value: bigint): ReturnType<typeof outcome> {
    m.load([0x0f, 0x30, HLT]);
    m.change((s) => {
      s.gpr[0] = value & 0xffffffffn;
      s.gpr[2] = value >> 32n;
      s.gpr[1] = BigInt(index);
      s.halted = false;
    });
    return outcome(m);
  }
  /** Tries a write on a machine of its own; what was written if it was taken. */
  function tried(m: BareMachine, number: 0 | 3 | 4 | 8, value: bigint): bigint | typeof GP | object {
    const before = m.state();
    const result = write(m, number, value);
    const after = m.state();
    const name = `cr${number}` as const;
    if (result === "done") return after[name];
    expect([after.cr0, after.cr3, after.cr4, after.cr8, after.pdptes]).toEqual([
      before.cr0,
      before.cr3,
      before.cr4,
      before.cr8,
      before.pdptes,
    ]);
    expect(after.msrs[EFER]).toBe(before.msrs[EFER]);
    return result;
  }
  /** The four entries of a PAE table. */
  function pointers(m: BareMachine, ...entries: bigint[]): void {
    for (let i = 0; i < 4; i++) m.memory.write64(POINTERS + 8 * i, entries[i] ?? 0n);
  }
  /** Page directories for PAE that map the first 4 MiB to themselves. */
  function paeTables(m: BareMachine): void {
    pointers(m, 0x301001n, 0n, 0n, 0n);
    m.memory.write64(0x301000, 0x83n);
    m.memory.write64(0x301008, 0x200083n);
  }

  it("CR0 refuses what cannot be and ignores what is not there", () => {
    expect(tried(long(), 0, PG | PE | (1n << 32n))).toEqual(GP);
    expect(tried(long(), 0, PG)).toEqual(GP);
    expect(tried(long(), 0, PE)).toEqual(GP);
    expect(tried(long(), 0, PG | PE | 0x20000000n)).toEqual(GP);
    expect(tried(long(), 0, PG | PE | 0x60000000n)).toBe(PG | PE | 0x60000010n);
    expect(tried(long(), 0, PG | PE | 0x1ffaffc0n)).toBe(PG | PE | 0x10n);
    expect(tried(legacy(), 0, 0x10000n)).toBe(0x10010n);
  });

  it("CR3 has 40 bits of address in long mode, and keeps its ignored ones", () => {
    expect(tried(long(), 3, 0x9000n | 0xfffn)).toEqual(0x9fffn);
    for (const bit of [40n, 51n, 52n, 62n, 63n]) expect(tried(long(), 3, 0x9000n | (1n << bit))).toEqual(GP);
  });

  it("CR4 refuses every bit that this CPU does not have", () => {
    const valid = [2, 3, 4, 6, 7, 8, 9, 10, 11, 16, 18, 20, 21];
    for (let bit = 0; bit < 64; bit++) {
      if (bit === 5) continue;
      const value = PAE | (1n << BigInt(bit));
      expect([bit, tried(long(), 4, value)]).toEqual([bit, valid.includes(bit) ? value : GP]);
    }
    expect(tried(long(), 4, 0n)).toEqual(GP);
    expect(tried(legacy(), 4, 0n)).toBe(0n);
  });

  it("CR8 has four bits", () => {
    expect(tried(long(), 8, 15n)).toBe(15n);
    expect(tried(long(), 8, 16n)).toEqual(GP);
  });

  it("CR4.PCIDE needs its feature, long mode and PCID 0, and holds CR0.PG", () => {
    const set = PAE | PCIDE;
    expect(tried(long(), 4, set)).toEqual(GP);
    expect(tried(legacy(WITH_PCID), 4, set)).toEqual(GP);
    const m = long(WITH_PCID);
    const root = m.state().cr3;
    m.change((s) => {
      s.cr3 = root | 1n;
    });
    expect(tried(m, 4, set)).toEqual(GP);
    m.change((s) => {
      s.cr3 = root;
    });
    expect(tried(m, 4, set)).toBe(set);
    // The PCID, and bit 63, which is not kept.
    expect(tried(m, 3, root | 0x123n | (1n << 63n))).toBe(root | 0x123n);
    expect(tried(m, 3, root | (1n << 62n))).toEqual(GP);
    const compatibility = (): void =>
      m.change((s) => {
        s.cs.attributes = 0xc09b;
      });
    compatibility();
    expect(tried(m, 0, PE)).toEqual(GP);
    expect(tried(m, 4, PAE)).toBe(PAE);
    compatibility();
    expect(tried(m, 0, PE)).toBe(PE | 0x10n);
  });

  it("enters and leaves long mode by CR0.PG", () => {
    /** In legacy mode, everything prepared. */
    const ready = (change?: Parameters<BareMachine["change"]>[0]): BareMachine => {
      const m = long();
      const { cr3 } = m.state();
      toLegacy(m).change((s) => {
        s.cr3 = cr3;
        s.cr4 = PAE;
        s.msrs = { ...s.msrs, [EFER]: LME };
        change?.(s);
      });
      return m;
    };
    const without = (change: Parameters<BareMachine["change"]>[0]) => tried(ready(change), 0, PG | PE);
    expect(
      without((s) => {
        s.cr4 = 0n;
      }),
    ).toEqual(GP);
    expect(
      without((s) => {
        s.cs.attributes = 0xe09b;
      }),
    ).toEqual(GP);
    expect(
      without((s) => {
        s.tr.attributes = 0x83;
      }),
    ).toEqual(GP);
    const m = ready();
    expect(tried(m, 0, PG | PE)).toBe(PG | PE | 0x10n);
    expect(m.state().msrs[EFER]).toBe(LME | LMA);
    expect(tried(m, 0, PE)).toBe(PE | 0x10n);
    expect(m.state().msrs[EFER]).toBe(LME);
  });

  it("CR0.PG without EFER.LME switches on 32-bit and PAE paging", () => {
    const m = legacy();
    m.memory.write32(0x200000, 0x201007);
    for (let i = 0; i < 1024; i++) m.memory.write32(0x201000 + 4 * i, i * 0x1000 + 3);
    expect(write(m, 3, 0x200000n)).toBe("done");
    expect(tried(m, 0, PG | PE)).toBe(PG | PE | 0x10n);
    expect(m.state().msrs[EFER]).toBe(0n);
    expect(m.memory.read32(0x200000)).toBe(0x201027);

    const pae = legacy();
    paeTables(pae);
    expect(write(pae, 4, PAE)).toBe("done");
    expect(write(pae, 3, BigInt(POINTERS))).toBe("done");
    expect(pae.state().pdptes[0]).toBe(0n);
    expect(tried(pae, 0, PG | PE)).toBe(PG | PE | 0x10n);
    expect(pae.state().pdptes).toEqual([0x301001n, 0n, 0n, 0n]);
    expect(pae.memory.read64(0x301000)).toBe(0xa3n);
  });

  it("PAE paging loads four registers, when the manual says, or nothing", () => {
    const m = legacy();
    paeTables(m);
    m.change((s) => {
      s.cr0 = PG | PE | 0x10n;
      s.cr4 = PAE;
      s.cr3 = BigInt(POINTERS);
      s.pdptes = [0x301001n, 0n, 0n, 0n];
    });
    // Without P nothing is looked at; CR3's low five bits are ignored.
    pointers(m, 0x301001n, 0xffff_ffff_ffff_fffen, 0n, 0n);
    expect(tried(m, 3, BigInt(POINTERS) | 0x1fn)).toBe(BigInt(POINTERS) | 0x1fn);
    expect(m.state().pdptes[1]).toBe(0xffff_ffff_ffff_fffen);
    for (const bit of [1n, 2n, 5n, 6n, 7n, 8n, 40n, 52n, 62n, 63n])
      for (const entry of [0, 3]) {
        paeTables(m);
        m.memory.write64(POINTERS + 8 * entry, 0x301001n | (1n << bit));
        expect(tried(m, 3, BigInt(POINTERS))).toEqual(GP);
      }
    // Free bits: PWT, PCD, 9 to 11. Memory is not looked at again until a register is written.
    pointers(m, 0x301e19n, 0n, 0n, 0n);
    expect(tried(m, 4, PAE | 0x40n)).toBe(PAE | 0x40n);
    expect(m.state().pdptes[0]).toBe(0x301001n);
    for (const bit of [0x10n, 0x80n, 0x100000n]) {
      pointers(m, 0x301001n, 0x302001n | (bit << 16n), 0n, 0n);
      expect(write(m, 4, m.state().cr4 ^ bit)).toBe("done");
      expect(m.state().pdptes[1]).toBe(0x302001n | (bit << 16n));
    }
    pointers(m, 0x301001n, 0x305001n, 0n, 0n);
    expect(write(m, 0, m.state().cr0 | 0x40000000n)).toBe("done");
    expect(m.state().pdptes[1]).toBe(0x305001n);
    pointers(m, 0x301003n, 0n, 0n, 0n);
    expect(tried(m, 0, m.state().cr0 & ~0x40000000n)).toEqual(GP);
    expect(tried(m, 4, m.state().cr4 ^ 0x10n)).toEqual(GP);
  });

  it("LMSW sets PE and does not clear it; CLTS clears TS", () => {
    const m = long();
    m.load([0x0f, 0x01, 0xf0, 0x0f, 0x20, 0xc3, 0x0f, 0x06, HLT]);
    m.change((s) => {
      s.gpr[0] = 0xfffen;
    });
    expect(outcome(m)).toBe("done");
    expect(m.state().gpr[3]).toBe(PG | PE | 0x1en);
    expect(m.state().cr0).toBe(PG | PE | 0x16n);
  });

  it("EFER has SCE, LME, LMA and NXE; LMA is not written, LME not under paging", () => {
    for (let bit = 0n; bit < 64n; bit++) {
      const m = long();
      const value = (LME | LMA) ^ (1n << bit);
      const valid = [0n, 10n, 11n].includes(bit);
      expect([bit, wrmsr(m, 0xc0000080, value)]).toEqual([bit, valid ? "done" : GP]);
      expect(m.state().msrs[EFER]).toBe(valid ? value | LMA : LME | LMA);
    }
    const m = legacy();
    expect(wrmsr(m, 0xc0000080, LME | LMA)).toBe("done");
    expect(m.state().msrs[EFER]).toBe(LME);
  });

  it("PAT takes six memory types", () => {
    const m = long();
    for (let type = 0; type < 256; type++) {
      const value = (0x0007040600070406n & ~(0xffn << 24n)) | (BigInt(type) << 24n);
      expect([type, wrmsr(m, 0x277, value)]).toEqual([type, [0, 1, 4, 5, 6, 7].includes(type) ? "done" : GP]);
      m.change((s) => {
        s.gpr[4] = 0x80000n;
      });
    }
  });

  it("MSRs that hold addresses take canonical ones, others what fits", () => {
    const addresses = [0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102, 0x175, 0x176];
    for (const index of addresses) {
      expect(wrmsr(long(), index, 0x7fff_ffff_ffffn)).toBe("done");
      expect(wrmsr(long(), index, 0xffff_8000_0000_0000n)).toBe("done");
      expect(wrmsr(long(), index, 0x8000_0000_0000n)).toEqual(GP);
    }
    for (const index of [0xc0000084, 0xc0000103]) {
      expect(wrmsr(long(), index, 0xffff_ffffn)).toBe("done");
      expect(wrmsr(long(), index, 0x1_0000_0000n)).toEqual(GP);
    }
  });
});
