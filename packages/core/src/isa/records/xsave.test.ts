import { describe, expect, it } from "vitest";
import { type BareMachine, bareMachine, HANDLERS } from "../../interp/bare-machine.ts";

const CR0_TS = 8n;
const CR4_OSFXSR = 0x200n;
const CR4_OSXSAVE = 0x40000n;
const AREA = 0x200000;
const XSTATE_BV = AREA + 512;
const XCOMP_BV = AREA + 520;
const MXCSR = AREA + 24;
const XMM1 = AREA + 160 + 16;
const EXC_UD = 6;
const EXC_NM = 7;
const EXC_GP = 13;

const XSAVE = [0x0f, 0xae, 0x27];
const XSAVE64 = [0x48, 0x0f, 0xae, 0x27];
const XRSTOR = [0x0f, 0xae, 0x2f];
const XGETBV = [0x0f, 0x01, 0xd0];
const XSETBV = [0x0f, 0x01, 0xd1];
const FLD1 = [0xd9, 0xe8];
const HLT = 0xf4;

function machine(): BareMachine {
  const m = bareMachine();
  m.change((s) => {
    s.cr4 |= CR4_OSXSAVE | CR4_OSFXSR;
    s.xcr0 = 3n;
  });
  return m;
}

/** Runs code to its HLT, with EDX:EAX and RDI set; the vector of the exception that came instead, or null. */
function run(m: BareMachine, code: readonly number[], mask: number, rdi = AREA, ecx = 0): number | null {
  m.load([...code, HLT]);
  m.change((s) => {
    s.gpr[0] = BigInt(mask);
    s.gpr[1] = BigInt(ecx);
    s.gpr[2] = 0n;
    s.gpr[7] = BigInt(rdi);
  });
  expect(m.vcpu.run(100).reason).toBe("halt");
  const handler = Number(m.state().rip) - 1 - HANDLERS;
  m.change((s) => {
    s.halted = false;
  });
  return handler >= 0 && handler < 32 * 16 ? handler >> 4 : null;
}

function setXmm1(m: BareMachine, value: bigint): void {
  m.change((s) => new DataView(s.fxsave.buffer, s.fxsave.byteOffset).setBigUint64(176, value, true));
}
const xmm1 = (m: BareMachine): bigint => {
  const { fxsave } = m.state();
  return new DataView(fxsave.buffer, fxsave.byteOffset).getBigUint64(176, true);
};

describe("XSAVE and XRSTOR", () => {
  it("save and restore what EDX:EAX and XCR0 both name", () => {
    const m = machine();
    setXmm1(m, 0x1122334455667788n);
    m.memory.write64(XSTATE_BV, 0n);
    m.memory.write64(XMM1, 5n);
    expect(run(m, [...FLD1, ...XSAVE], 1)).toBeNull();
    expect(m.memory.read64(XMM1)).toBe(5n);
    expect(m.memory.read64(XSTATE_BV)).toBe(1n);
    expect(run(m, XSAVE64, 0x7f)).toBeNull();
    expect(m.memory.read64(XMM1)).toBe(0x1122334455667788n);
    expect(m.memory.read64(XSTATE_BV)).toBe(3n);
    setXmm1(m, 0n);
    expect(run(m, XRSTOR, 2)).toBeNull();
    expect(xmm1(m)).toBe(0x1122334455667788n);
  });

  it("leave the bits of XSTATE_BV that were not asked for, and the rest of the header", () => {
    const m = machine();
    m.memory.write64(XSTATE_BV, 2n);
    m.memory.write64(XCOMP_BV, 77n);
    expect(run(m, XSAVE, 1)).toBeNull();
    expect(m.memory.read64(XSTATE_BV)).toBe(3n);
    expect(m.memory.read64(XCOMP_BV)).toBe(77n);
  });

  it("XRSTOR puts a component that is not in XSTATE_BV into its initial state, and loads MXCSR all the same", () => {
    const m = machine();
    setXmm1(m, 9n);
    run(m, [...FLD1, ...XSAVE], 3);
    m.memory.write64(XSTATE_BV, 0n);
    m.memory.write32(MXCSR, 0x1fa0);
    expect(run(m, XRSTOR, 3)).toBeNull();
    expect(xmm1(m)).toBe(0n);
    const { fxsave } = m.state();
    const view = new DataView(fxsave.buffer, fxsave.byteOffset);
    expect([view.getUint16(0, true), view.getUint16(2, true), fxsave[4]]).toEqual([0x37f, 0, 0]);
    expect(view.getUint32(24, true)).toBe(0x1fa0);
    expect(view.getBigUint64(32 + 16 * 7, true)).toBe(0n);
  });

  it("refuse areas and headers that the manual refuses", () => {
    const m = machine();
    run(m, XSAVE, 3);
    expect(run(m, XSAVE, 3, AREA + 32)).toBe(EXC_GP);
    expect(run(m, XRSTOR, 3, AREA + 16)).toBe(EXC_GP);
    m.memory.write64(XSTATE_BV, 4n);
    expect(run(m, XRSTOR, 3)).toBe(EXC_GP);
    m.memory.write64(XSTATE_BV, 3n);
    m.memory.write64(XCOMP_BV, 1n << 63n);
    expect(run(m, XRSTOR, 3)).toBe(EXC_GP);
    m.memory.write64(XCOMP_BV, 0n);
    m.memory.write32(MXCSR, 0x10000);
    expect(run(m, XRSTOR, 3)).toBe(EXC_GP);
    expect(run(m, XRSTOR, 1)).toBeNull();
  });

  it("need CR4.OSXSAVE and a clear CR0.TS", () => {
    const m = machine();
    m.change((s) => {
      s.cr0 |= CR0_TS;
    });
    expect(run(m, XSAVE, 3)).toBe(EXC_NM);
    expect(run(m, XRSTOR, 3)).toBe(EXC_NM);
    m.change((s) => {
      s.cr4 &= ~CR4_OSXSAVE;
    });
    for (const code of [XSAVE, XRSTOR, XGETBV, XSETBV]) expect(run(m, code, 3)).toBe(EXC_UD);
  });
});

describe("XCR0", () => {
  it("can be read and set to what the CPU has, x87 always", () => {
    const m = machine();
    expect(run(m, XSETBV, 1)).toBeNull();
    expect(run(m, XGETBV, 0)).toBeNull();
    expect(m.state().gpr[0]).toBe(1n);
    for (const bad of [0, 2, 7]) expect(run(m, XSETBV, bad)).toBe(EXC_GP);
    expect(run(m, XSETBV, 3, AREA, 1)).toBe(EXC_GP);
    expect(run(m, XGETBV, 0, AREA, 1)).toBe(EXC_GP);
    expect(m.state().xcr0).toBe(1n);
  });
});
