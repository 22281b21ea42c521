import { describe, expect, it } from "vitest";
import { resetState } from "../../cpu/reset-state.ts";
import { JitEngine } from "../../engine/jit-engine.ts";
import { createCore } from "../../interp/core.ts";
import { createEvaluatorCore } from "../../interp/evaluator-cpu.ts";

const CODE = 0x1000;
const GDT = 0x2000;
const DATA = 0x3000;
const FLAT_CODE = { selector: 8, base: 0n, limit: 0xffff_ffff, attributes: 0xc09b };
const FLAT_DATA = { selector: 16, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 };
const CF = 1n;
const AF = 1n << 4n;
const ZF = 1n << 6n;
/** Null, flat code (execute only), flat data, 16-bit available TSS of 68h bytes, data of 1000h bytes at DPL 3. */
const DESCRIPTORS = [
  0n,
  0x00cf_9900_0000_ffffn,
  0x00cf_9300_0000_ffffn,
  0x0000_8100_0000_0067n,
  0x0040_f300_0000_0fffn,
];

const TIERS = { interpreter: createCore, evaluator: createEvaluatorCore };

describe.each(Object.entries(TIERS))("32-bit protected mode, %s", (_, create) => {
  /** Runs one instruction without paging: EAX, EBX, flags; "fault" if it raised something (there is no IDT). */
  function run(code: number[], state: { eax?: number; ebx?: number; rflags?: bigint; data?: number[] }) {
    const engine = new JitEngine({
      memoryBytes: 1 << 20,
      tscFrequencyHz: 1e9,
      sharedMemory: false,
      createCore: create,
    });
    engine.memory.write(CODE, Uint8Array.from(code));
    engine.memory.write(DATA, Uint8Array.from(state.data ?? []));
    for (const [i, descriptor] of DESCRIPTORS.entries()) engine.memory.write64(GDT + 8 * i, descriptor);
    const none = (): undefined => undefined;
    const vcpu = engine.createVcpu(0, {
      ...{
        readPort: () => 0,
        writePort: none,
        readMmio: () => 0,
        writeMmio: none,
        readMsr: none,
        writeMsr: () => false,
      },
      readTsc: () => 0n,
      randomBits: () => 0n,
    });
    const reset = resetState(0);
    vcpu.setState({
      ...reset,
      gpr: reset.gpr.map((_, i) => BigInt([state.eax ?? 0, 0, 0, state.ebx ?? 0][i] ?? 0)),
      rip: BigInt(CODE),
      rflags: (state.rflags ?? 0n) | 2n,
      cr0: 0x11n,
      cs: FLAT_CODE,
      ...{ ss: FLAT_DATA, ds: FLAT_DATA, es: FLAT_DATA },
      gdtr: { base: BigInt(GDT), limit: 8 * DESCRIPTORS.length - 1 },
      idtr: { base: 0n, limit: 0 },
    });
    if (vcpu.run(1).reason === "shutdown") return "fault";
    const { gpr, rflags, es } = vcpu.getState();
    return { eax: Number(gpr[0]), ebx: Number(gpr[3]), rflags, es };
  }

  it("adjusts decimal digits as the manual's examples", () => {
    expect(run([0x37], { eax: 0x000f })).toMatchObject({ eax: 0x0105 });
    expect(run([0x3f], { eax: 0x0205, rflags: AF })).toMatchObject({ eax: 0x000f });
    expect(run([0x27], { eax: 0xae })).toMatchObject({ eax: 0x14, rflags: 2n | CF | AF | (1n << 2n) });
    expect(run([0x2f], { eax: 0xee, rflags: CF | AF })).toMatchObject({ eax: 0x88, rflags: 0x97n });
    expect(run([0xd4, 10], { eax: 63 })).toMatchObject({ eax: 0x0603 });
    expect(run([0xd5, 10], { eax: 0x0603 })).toMatchObject({ eax: 63 });
    expect(run([0xd4, 0], { eax: 63 })).toBe("fault");
    expect(run([0xd6], { eax: 0x1200, rflags: CF })).toMatchObject({ eax: 0x12ff });
  });

  it("answers what descriptors say", () => {
    const zf = (code: number[], ebx: number): boolean => {
      const after = run(code, { ebx });
      return after !== "fault" && (after.rflags & ZF) !== 0n;
    };
    const VERR_EBX = [0x0f, 0x00, 0xe3];
    const VERW_EBX = [0x0f, 0x00, 0xeb];
    expect([0, 8, 16, 24, 32, 40].map((selector) => zf(VERR_EBX, selector))).toEqual([
      false,
      false,
      true,
      false,
      true,
      false,
    ]);
    expect([0, 8, 16, 24, 35].map((selector) => zf(VERW_EBX, selector))).toEqual([false, false, true, false, true]);
    // RPL 3 may not see DPL 0.
    expect(zf(VERR_EBX, 16 | 3)).toBe(false);
    expect(run([0x0f, 0x02, 0xc3], { ebx: 16 })).toMatchObject({ eax: 0xcf9300 & 0xf0ff00, rflags: 2n | ZF });
    expect(run([0x0f, 0x03, 0xc3], { ebx: 16 })).toMatchObject({ eax: 0xffff_ffff, rflags: 2n | ZF });
    expect(run([0x0f, 0x03, 0xc3], { ebx: 24 })).toMatchObject({ eax: 0x67, rflags: 2n | ZF });
    expect(run([0x0f, 0x02, 0xc3], { eax: 7, ebx: 0 })).toMatchObject({ eax: 7, rflags: 2n });
  });

  it("raises a selector's RPL, checks bounds, loads far pointers", () => {
    expect(run([0x63, 0xd8], { eax: 0x10, ebx: 3 })).toMatchObject({ eax: 0x13, rflags: 2n | ZF });
    expect(run([0x63, 0xd8], { eax: 0x13, ebx: 0 })).toMatchObject({ eax: 0x13, rflags: 2n });
    const bounds = [0xff, 0xff, 0xff, 0xff, 5, 0, 0, 0];
    const BOUND_EAX = [0x62, 0x05, 0x00, 0x30, 0x00, 0x00];
    expect(run(BOUND_EAX, { eax: 5, data: bounds })).toMatchObject({ eax: 5 });
    expect(run(BOUND_EAX, { eax: 6, data: bounds })).toBe("fault");
    const LES_EBX = [0xc4, 0x1d, 0x00, 0x30, 0x00, 0x00];
    const loaded = run(LES_EBX, { data: [0x78, 0x56, 0x34, 0x12, 35, 0] });
    expect(loaded).toMatchObject({ ebx: 0x12345678, es: { selector: 35, limit: 0xfff } });
    expect(run(LES_EBX, { data: [0, 0, 0, 0, 8, 0] })).toBe("fault");
  });
});
