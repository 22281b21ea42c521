/**
 * A piece of raw code as a guest: 64-bit mode, CPL 0, the first GiB mapped one to one, code at CODE_AT, stack below it,
 * no descriptor tables (an exception ends the guest), no devices.
 */

import { resetState } from "../cpu/reset-state.ts";
import type { Vcpu } from "../engine/engine.ts";
import type { JitEngine } from "../engine/jit-engine.ts";
import type { Execution } from "./execution.ts";

export const CODE_MEMORY_BYTES = 16 << 20;
export const CODE_AT = 0x10_0000;
const STACK_TOP = 0x8_0000n;
const PML4 = 0x1000;
const PDPT = 0x2000;
const PRESENT_WRITABLE_ACCESSED_DIRTY = 0x63n;
const LARGE = 0x80n;
const CR0_PE_MP_ET_NE_WP_PG = 0x8001_0033n;
const CR4_PAE_OSFXSR_OSXMMEXCPT = 0x620n;
const EFER_LME_LMA_NXE = 0xd00n;
const CODE_64 = { selector: 8, base: 0n, limit: 0xffff_ffff, attributes: 0xa09b };
const DATA = { selector: 16, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 };

/** `engine`: a new one, with at least CODE_MEMORY_BYTES of memory. */
export function codeExecution(name: string, engine: JitEngine, code: Uint8Array): Execution {
  const ram = ramOf(engine);
  const tables = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  tables.setBigUint64(PML4, BigInt(PDPT) | PRESENT_WRITABLE_ACCESSED_DIRTY, true);
  tables.setBigUint64(PDPT, LARGE | PRESENT_WRITABLE_ACCESSED_DIRTY, true);
  ram.set(code, CODE_AT);
  const vcpu = engine.createVcpu(0, {
    readPort: () => 0xffff_ffff,
    writePort: () => {},
    readMmio: () => 0xffff_ffff,
    writeMmio: () => {},
    readMsr: () => undefined,
    writeMsr: () => false,
    readTsc: (retired) => BigInt(retired),
    randomBits: () => 0n,
  });
  const state = resetState(0);
  vcpu.setState({
    ...state,
    rip: BigInt(CODE_AT),
    rflags: 2n,
    gpr: state.gpr.map((_, i) => (i === 4 ? STACK_TOP : 0n)),
    cr0: CR0_PE_MP_ET_NE_WP_PG,
    cr3: BigInt(PML4),
    cr4: CR4_PAE_OSFXSR_OSXMMEXCPT,
    cs: CODE_64,
    ss: DATA,
    ds: DATA,
    es: DATA,
    fs: DATA,
    gs: DATA,
    idtr: { base: 0n, limit: 0 },
    msrs: { ...state.msrs, [String(0xc0000080)]: EFER_LME_LMA_NXE },
  });
  return stepper(name, ram, vcpu);
}

/** The memory from guest-physical 0, live. */
export function ramOf(engine: JitEngine): Uint8Array {
  const low = engine.memory.regions[0]?.bytes;
  if (!low) throw new Error("an engine without memory");
  return low;
}

function stepper(name: string, ram: Uint8Array, vcpu: Vcpu): Execution {
  return {
    name,
    ram,
    get retired(): number {
      return vcpu.retired;
    },
    state: () => vcpu.getState(),
    advance(retired) {
      while (vcpu.retired < retired) {
        const { reason } = vcpu.run(retired - vcpu.retired);
        if (reason === "halt" || reason === "shutdown") return false;
      }
      return true;
    },
  };
}
