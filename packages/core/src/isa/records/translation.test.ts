import { describe, expect, it } from "vitest";
import { type BareMachine, bareMachine, CODE } from "../../interp/bare-machine.ts";
import { createCore } from "../../interp/core.ts";
import { createEvaluatorCore } from "../../interp/evaluator-cpu.ts";
import { legacyMachine, outcome } from "../../interp/legacy-machine.ts";

const HLT = 0xf4;
const PAE = 0x20n;
const PCIDE = 1n << 17n;
const SMAP = 1n << 21n;
const UMIP = 1n << 11n;
const AC = 1n << 18n;
const GP = { vector: 13, error: 0 };
const UD = 6;
const PF = 14;
/** Tables for the 2 MiB at USER: user pages onto themselves. */
const TABLES = 0x700000;
const USER = 0x800000;
const STAC = [0x0f, 0x01, 0xcb];
const CLAC = [0x0f, 0x01, 0xca];
/** mov eax, [rbx]; mov [rbx], ecx */
const LOAD = [0x8b, 0x03];
const STORE = [0x89, 0x0b];

const TIERS = { interpreter: createCore, evaluator: createEvaluatorCore };

describe.each(Object.entries(TIERS))("translation, %s", (_, create) => {
  const options = { createCore: create };

  /** Long mode with user pages at USER and SMAP; RBX points there. */
  function withUserPages(features: readonly string[] = []): BareMachine {
    const m = bareMachine({}, { ...options, cpuFeatures: [...features, "smap", "umip"] });
    const root = Number(m.state().cr3);
    const pdpt = Number((m.memory.read64(root) ?? 0n) & ~0xfffn);
    const directory = Number((m.memory.read64(pdpt) ?? 0n) & ~0xfffn);
    for (const [table, index] of [
      [root, 0],
      [pdpt, 0],
    ] as const)
      m.memory.write64(table + index * 8, (m.memory.read64(table + index * 8) ?? 0n) | 4n);
    m.memory.write64(directory + (USER / 0x200000) * 8, BigInt(TABLES) | 7n);
    for (let i = 0; i < 512; i++) m.memory.write64(TABLES + i * 8, BigInt(USER + i * 4096) | 7n);
    m.change((s) => {
      s.cr4 = PAE | SMAP;
      s.gpr[3] = BigInt(USER);
    });
    return m;
  }
  function run(m: BareMachine, code: readonly number[]): ReturnType<typeof outcome> {
    m.load([...code, HLT]);
    m.change((s) => {
      s.halted = false;
    });
    return outcome(m);
  }
  const stopsAt = (m: BareMachine, code: readonly number[], change: (s: ReturnType<BareMachine["state"]>) => void) => {
    m.change(change);
    return run(m, code);
  };

  it("SMAP keeps the kernel out of user pages until STAC, and again after CLAC", () => {
    const m = withUserPages();
    const denied = (error: number) => ({ vector: PF, error });
    expect(run(m, LOAD)).toEqual(denied(1));
    expect(m.state().cr2).toBe(BigInt(USER));
    expect(run(m, STORE)).toEqual(denied(3));
    expect(run(m, [...STAC, ...LOAD, ...STORE])).toBe("done");
    expect(m.state().rflags & AC).toBe(AC);
    expect(run(m, [...STAC, ...LOAD, ...STORE, ...CLAC, ...LOAD])).toEqual(denied(1));
    expect(run(m, [...STAC, ...LOAD, ...CLAC, ...STORE])).toEqual(denied(3));
    // POPF: the pushed image without AC, with it.
    const popf = (image: number) => [0x68, image & 255, (image >> 8) & 255, image >> 16, 0, 0x9d];
    expect(run(m, [...popf(0x40002), ...LOAD, ...popf(2), ...LOAD])).toEqual(denied(1));
    m.change((s) => {
      s.rflags = 2n;
      s.cr4 = PAE;
    });
    expect(run(m, LOAD)).toBe("done");
  });

  it("IRETQ sets and clears AC, too", () => {
    const m = withUserPages();
    // mov rsi, rsp; push ss's selector, rsi, flags, cs, the address behind IRETQ
    const iretq = (flags: number, at: number): number[] => {
      const bytes = [
        0x48,
        0x89,
        0xe6,
        0x6a,
        0x18,
        0x56,
        0x68,
        flags & 255,
        (flags >> 8) & 255,
        flags >> 16,
        0,
        0x6a,
        0x10,
      ];
      const next = CODE + at + bytes.length + 7;
      return [...bytes, 0x68, next & 255, (next >> 8) & 255, next >> 16, 0, 0x48, 0xcf];
    };
    const open = iretq(0x40002, 0);
    expect(run(m, [...open, ...LOAD, ...STORE])).toBe("done");
    const close = iretq(2, open.length + LOAD.length);
    expect(run(m, [...open, ...LOAD, ...close, ...LOAD])).toEqual({ vector: PF, error: 1 });
  });

  it("AC does not help accesses that the processor makes by itself", () => {
    const m = withUserPages();
    const { gdtr } = m.state();
    const copy = new Uint8Array(gdtr.limit + 1);
    m.memory.read(Number(gdtr.base), copy);
    m.memory.write(USER, copy);
    // mov eax, 18h; mov ds, eax
    const load = [0xb8, 0x18, 0, 0, 0, 0x8e, 0xd8];
    m.load([...STAC, ...LOAD, ...load, HLT]);
    m.change((s) => {
      s.gdtr = { base: BigInt(USER), limit: gdtr.limit };
    });
    // Not even the handler's code segment can be read: a triple fault.
    expect(m.vcpu.run(100).reason).toBe("shutdown");
    expect(m.state().cr2).toBeGreaterThanOrEqual(BigInt(USER));
    expect(m.state().cr2).toBeLessThan(BigInt(USER + 0x30));
  });

  it("data breakpoints change nothing of that", () => {
    const m = withUserPages();
    m.change((s) => {
      s.dr[0] = 0x5000n;
      s.dr[5] = 0x30401n;
    });
    expect(run(m, LOAD)).toEqual({ vector: PF, error: 1 });
    expect(run(m, [...STAC, ...LOAD, ...STORE])).toBe("done");
  });

  it("an interrupt's stack is an explicit access", () => {
    // int 20h onto a user page as stack.
    const m = withUserPages();
    const use = (rflags: bigint) =>
      stopsAt(m, [0xcd, 0x20], (s) => {
        s.rflags = rflags;
        s.gpr[4] = BigInt(USER + 0x1000);
      });
    expect(use(2n | AC)).toEqual({ vector: 0x20, error: CODE + 2 });
    m.load([0xcd, 0x20]);
    m.change((s) => {
      s.rflags = 2n;
      s.gpr[4] = BigInt(USER + 0x1000);
      s.halted = false;
    });
    expect(m.vcpu.run(100).reason).toBe("shutdown");
  });

  it("code that is changed under AC is seen", () => {
    const m = withUserPages();
    const at = USER + 0x3000;
    // mov eax, 1; ret
    m.memory.write(at, Uint8Array.of(0xb8, 1, 0, 0, 0, 0xc3));
    m.change((s) => {
      s.gpr[3] = BigInt(at);
    });
    const call = [0xff, 0xd3];
    // Stores 1, runs it, stores 2, runs it: mov byte [rbx + 1], n
    const code = [...STAC, 0xc6, 0x43, 1, 1, ...call, 0xc6, 0x43, 1, 2, ...call];
    expect(run(m, code)).toBe("done");
    expect(m.state().gpr[0]).toBe(2n);
    expect(run(m, [...CLAC, ...call])).toBe("done");
    expect(m.state().gpr[0]).toBe(2n);
  });

  it("STAC and CLAC are #UD outside CPL 0 and with a prefix", () => {
    const m = withUserPages();
    for (const code of [STAC, CLAC]) {
      expect(run(m, [0x66, ...code])).toMatchObject({ vector: UD });
      expect(atCpl3(code)).toBe(UD);
    }
  });

  /** The vector that an instruction raises at CPL 3 in 32-bit code without paging; undefined: none. */
  function atCpl3(code: readonly number[], change: (s: ReturnType<BareMachine["state"]>) => void = () => {}) {
    const m = legacyMachine({}, { ...options, cpuFeatures: ["invpcid"] });
    // The handlers' stack: a TSS with SS0:ESP0.
    m.memory.write32(0x70004, 0x90000);
    m.memory.write32(0x70008, 16);
    m.load([...code, 0xfa]);
    m.change((s) => {
      s.cs = { ...s.cs, selector: 11, attributes: 0xc0fb };
      for (const name of ["ss", "ds", "es"] as const) s[name] = { ...s[name], selector: 19, attributes: 0xc0f3 };
      s.tr = { selector: 0x28, base: 0x70000n, limit: 0x67, attributes: 0x8b };
      s.gpr[3] = 0x500000n;
      change(s);
    });
    const result = outcome(m);
    if (result === "done") throw new Error("CLI at CPL 3 did not fault");
    // CLI's own #GP: the instruction before it was let through.
    const eip = m.memory.read32(Number(m.state().gpr[4]) + (result.vector === UD ? 0 : 4));
    return eip === CODE + code.length ? undefined : result.vector;
  }

  it("UMIP hides SGDT, SIDT, SLDT, STR and SMSW from CPL 3", () => {
    const stores = [
      [0x0f, 0x01, 0x03],
      [0x0f, 0x01, 0x0b],
      [0x0f, 0x00, 0xc0],
      [0x0f, 0x00, 0xc8],
      [0x0f, 0x01, 0xe0],
      [0x0f, 0x01, 0x23],
    ];
    for (const code of stores) {
      expect(atCpl3(code)).toBeUndefined();
      expect(
        atCpl3(code, (s) => {
          s.cr4 = UMIP;
        }),
      ).toBe(13);
      const m = legacyMachine({}, options);
      m.change((s) => {
        s.cr4 = UMIP;
        s.gpr[3] = 0x500000n;
      });
      expect(run(m, code)).toBe("done");
    }
  });

  it("RDPMC has no counters", () => {
    expect(run(bareMachine({}, options), [0x0f, 0x33])).toEqual(GP);
  });

  describe("INVPCID", () => {
    /** invpcid rcx, [rdx] */
    const CODE_BYTES = [0x66, 0x0f, 0x38, 0x82, 0x0a];
    const DESCRIPTOR = 0x600000;
    function invpcid(m: BareMachine, type: bigint, pcid: bigint, linear: bigint) {
      m.memory.write64(DESCRIPTOR, pcid);
      m.memory.write64(DESCRIPTOR + 8, linear);
      m.change((s) => {
        s.gpr[1] = type;
        s.gpr[2] = BigInt(DESCRIPTOR);
      });
      return run(m, CODE_BYTES);
    }
    const NOT_CANONICAL = 0x8000_0000_0000n;

    it("is #UD unless the machine was given it", () => {
      expect(invpcid(withUserPages(), 2n, 0n, 0n)).toMatchObject({ vector: UD });
    });

    it("refuses reserved bits, types, addresses and PCIDs that are not there", () => {
      const m = withUserPages(["invpcid", "pcid"]);
      for (const type of [0n, 1n, 2n, 3n]) {
        expect(invpcid(m, type, 0n, 0n)).toBe("done");
        expect(invpcid(m, type, 0x1000n, 0n)).toEqual(GP);
        expect(invpcid(m, type, 1n << 63n, 0n)).toEqual(GP);
        expect(invpcid(m, type, 5n, 0n)).toEqual(type < 2n ? GP : "done");
        expect(invpcid(m, type, 0n, NOT_CANONICAL)).toEqual(type === 0n ? GP : "done");
      }
      expect(invpcid(m, 4n, 0n, 0n)).toEqual(GP);
      expect(invpcid(m, 1n << 32n, 0n, 0n)).toEqual(GP);
      m.change((s) => {
        s.cr4 |= PCIDE;
      });
      for (const type of [0n, 1n, 2n, 3n]) expect(invpcid(m, type, 0xfffn, 0n)).toBe("done");
    });

    it("drops translations of every type", () => {
      const m = withUserPages(["invpcid"]);
      m.memory.write32(USER, 111);
      m.memory.write32(USER + 0x1000, 222);
      for (const type of [0n, 1n, 2n, 3n]) {
        m.memory.write64(TABLES, BigInt(USER) | 7n);
        m.memory.write64(DESCRIPTOR, 0n);
        m.memory.write64(DESCRIPTOR + 8, BigInt(USER));
        m.change((s) => {
          s.gpr[1] = type;
          s.gpr[2] = BigInt(DESCRIPTOR);
          s.gpr[3] = BigInt(USER);
          s.gpr[6] = BigInt(TABLES);
        });
        // Load; remap (byte 1 of the entry); the old translation may last until INVPCID; load.
        const code = [...STAC, ...LOAD, 0x80, 0x4e, 0x01, 0x10, ...CODE_BYTES, ...LOAD];
        expect(run(m, code)).toBe("done");
        expect(m.state().gpr[0]).toBe(222n);
      }
    });

    it("is #GP(0) at CPL 3", () => {
      expect(atCpl3(CODE_BYTES)).toBe(13);
    });
  });

  it("INVLPG drops a changed translation; at CPL 3 it is #GP(0)", () => {
    const m = withUserPages();
    m.memory.write32(USER + 0x1000, 222);
    m.change((s) => {
      s.gpr[6] = BigInt(TABLES);
    });
    expect(run(m, [...STAC, ...LOAD, 0x80, 0x4e, 0x01, 0x10, 0x0f, 0x01, 0x3b, ...LOAD])).toBe("done");
    expect(m.state().gpr[0]).toBe(222n);
    expect(atCpl3([0x0f, 0x01, 0x3b])).toBe(13);
  });

  it("a page fault in 32-bit code reports its access, and the next one succeeds", () => {
    const m = legacyMachine({}, options);
    for (let i = 0; i < 1024; i++) m.memory.write32(0x201000 + 4 * i, (i * 0x1000) | 3);
    m.memory.write32(0x200000, 0x201003);
    m.memory.write32(0x200004, 0);
    m.change((s) => {
      s.cr3 = 0x200000n;
      s.cr0 = 0x80000011n;
      s.cr4 = 0x10n;
      s.gpr[3] = 0x654320n;
    });
    expect(run(m, STORE)).toEqual({ vector: PF, error: 2 });
    expect(m.state().cr2).toBe(0x654320n);
    m.memory.write32(0x200004, 0x400083);
    m.change((s) => {
      s.gpr[1] = 0x12345678n;
    });
    expect(run(m, STORE)).toBe("done");
    expect(m.memory.read32(0x654320)).toBe(0x12345678);
    expect(m.memory.read32(0x200004)).toBe(0x4000e3);
    // Across the end of the page, the second one's address.
    m.memory.write32(0x200008, 0);
    m.change((s) => {
      s.gpr[3] = 0x7ffffen;
    });
    expect(run(m, LOAD)).toEqual({ vector: PF, error: 0 });
    expect(m.state().cr2).toBe(0x800000n);
  });
});
