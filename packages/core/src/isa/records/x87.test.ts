import { describe, expect, it } from "vitest";
import { type BareMachine, bareMachine, HANDLERS } from "../../interp/bare-machine.ts";

const CR0_NE = 0x20n;
const RFLAGS_IF = 0x200n;
const CR0_MP = 2n;
const CR0_EM = 4n;
const CR0_TS = 8n;
const EXC_NM = 7;
const EXC_MF = 16;
const EXC_UD = 6;
const HLT = 0xf4;

const FLD1 = [0xd9, 0xe8];
const FLDZ = [0xd9, 0xee];
const FDIVP = [0xde, 0xf9];
const FWAIT = [0x9b];
const FNINIT = [0xdb, 0xe3];
const FNCLEX = [0xdb, 0xe2];
/** fldcw [rdi] */
const FLDCW = [0xd9, 0x2f];
const FNSTSW_AX = [0xdf, 0xe0];
/** movq mm1, [rdi]; movq [rdi+8], mm1 */
const MMX_MOVES = [0x0f, 0x6f, 0x0f, 0x0f, 0x7f, 0x4f, 0x08];
const EMMS = [0x0f, 0x77];
const DATA = 0x200000;

function run(m: BareMachine, ...code: readonly (readonly number[])[]): number | null {
  m.load([...code.flat(), HLT]);
  m.change((s) => {
    s.gpr[7] = BigInt(DATA);
  });
  expect(m.vcpu.run(1000).reason).toBe("halt");
  const handler = Number(m.state().rip) - 1 - HANDLERS;
  m.change((s) => {
    s.halted = false;
  });
  return handler >= 0 && handler < 32 * 16 ? handler >> 4 : null;
}

function setCr0(m: BareMachine, bits: bigint): void {
  m.change((s) => {
    s.cr0 = (s.cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | bits;
  });
}

describe("x87", () => {
  it("raises an unmasked exception at the next waiting instruction", () => {
    const m = bareMachine();
    m.change((s) => {
      s.cr0 |= CR0_NE;
    });
    // Divide by zero is not masked.
    m.memory.write16(DATA, 0x37b);
    expect(run(m, FNINIT, FLDCW, FLD1, FLDZ, FDIVP, FNSTSW_AX)).toBeNull();
    expect(Number(m.state().gpr[0]! & 0xffffn)).toBe(0xb084);
    expect(run(m, FWAIT)).toBe(EXC_MF);
    expect(run(m, FLD1)).toBe(EXC_MF);
    expect(run(m, EMMS)).toBe(EXC_MF);
    expect(run(m, FNCLEX, FWAIT)).toBeNull();
  });

  it("is not there with CR0.EM or CR0.TS; FWAIT asks MP and TS", () => {
    const m = bareMachine();
    setCr0(m, CR0_TS);
    expect(run(m, FLD1)).toBe(EXC_NM);
    expect(run(m, FWAIT)).toBeNull();
    expect(run(m, EMMS)).toBe(EXC_NM);
    setCr0(m, CR0_TS | CR0_MP);
    expect(run(m, FWAIT)).toBe(EXC_NM);
    setCr0(m, CR0_EM);
    expect(run(m, FNINIT)).toBe(EXC_NM);
    expect(run(m, MMX_MOVES)).toBe(EXC_UD);
    setCr0(m, CR0_MP);
    expect(run(m, FNINIT, FLD1, FWAIT)).toBeNull();
  });

  it("shares its registers with MMX, whose state EMMS ends", () => {
    const m = bareMachine();
    m.memory.write64(DATA, 0x0123456789abcdefn);
    expect(run(m, FNINIT, FLD1, MMX_MOVES)).toBeNull();
    expect(m.memory.read64(DATA + 8)).toBe(0x0123456789abcdefn);
    let { fxsave } = m.state();
    expect([fxsave[3]! & 0x38, fxsave[4]]).toEqual([0, 0xff]);
    expect(Array.from(fxsave.subarray(48 + 8, 48 + 10))).toEqual([0xff, 0xff]);
    expect(run(m, EMMS)).toBeNull();
    fxsave = m.state().fxsave;
    expect(fxsave[4]).toBe(0);
  });

  it("asserts FERR# and waits for an interrupt where CR0.NE is clear, until IGNNE# or the error's end", () => {
    const pin: boolean[] = [];
    let isIgnored = false;
    const m = bareMachine({
      floatError: (asserted) => {
        pin.push(asserted);
        return isIgnored;
      },
    });
    m.memory.write16(DATA, 0x37b);
    m.load([FNINIT, FLDCW, FLD1, FLDZ, FDIVP, FNSTSW_AX, FLD1, [HLT]].flat());
    const begin = Number(m.state().rip);
    m.change((s) => {
      s.cr0 &= ~CR0_NE;
      s.rflags |= RFLAGS_IF;
      s.gpr[7] = BigInt(DATA);
    });
    expect(m.vcpu.run(20).reason).toBe("budget");
    expect(m.state().rip).toBe(BigInt(begin + 12));
    expect(new Set(pin)).toEqual(new Set([true]));
    m.vcpu.requestInterrupt(true);
    expect(m.vcpu.run(20).reason).toBe("interrupt-window");
    expect(m.state().rip).toBe(BigInt(begin + 12));
    m.vcpu.requestInterrupt(false);
    isIgnored = true;
    expect(m.vcpu.run(20).reason).toBe("halt");
    expect(m.state().rip).toBe(BigInt(begin + 15));
    m.change((s) => {
      s.halted = false;
    });
    expect(run(m, FNCLEX, FWAIT)).toBeNull();
    expect(pin.at(-1)).toBe(false);
    expect(pin.filter((asserted) => !asserted)).toHaveLength(1);
    expect(run(m, FNCLEX, FNINIT, FWAIT)).toBeNull();
    expect(pin.filter((asserted) => !asserted)).toHaveLength(1);
  });
});
