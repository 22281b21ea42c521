import { SIGNATURE } from "./cpuid-table.ts";
import { MXCSR_VALID, type SegmentRegister, type VcpuState } from "./state.ts";

/** The state after power-on (SDM vol. 3, table 9-1). */
export function resetState(retired: number): VcpuState {
  const segment = (attributes: number): SegmentRegister => ({ selector: 0, base: 0n, limit: 0xffff, attributes });
  const fxsave = new Uint8Array(512);
  const v = new DataView(fxsave.buffer);
  v.setUint16(0, 0x0040, true);
  v.setUint32(24, 0x1f80, true);
  v.setUint32(28, MXCSR_VALID, true);
  const gpr = new Array<bigint>(16).fill(0n);
  gpr[2] = BigInt(SIGNATURE);
  return {
    gpr,
    rip: 0xfff0n,
    rflags: 2n,
    es: segment(0x93),
    cs: { selector: 0xf000, base: 0xffff0000n, limit: 0xffff, attributes: 0x9b },
    ss: segment(0x93),
    ds: segment(0x93),
    fs: segment(0x93),
    gs: segment(0x93),
    ldtr: segment(0x82),
    tr: segment(0x8b),
    gdtr: { base: 0n, limit: 0xffff },
    idtr: { base: 0n, limit: 0xffff },
    cr0: 0x60000010n,
    cr2: 0n,
    cr3: 0n,
    cr4: 0n,
    cr8: 0n,
    xcr0: 1n,
    pdptes: [0n, 0n, 0n, 0n],
    dr: [0n, 0n, 0n, 0n, 0xffff0ff0n, 0x400n],
    fxsave,
    msrs: { [String(0x277)]: 0x0007040600070406n },
    halted: false,
    interruptShadow: "none",
    nmiPending: false,
    nmiMasked: false,
    retired,
  };
}
