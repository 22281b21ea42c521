/**
 * For tests: a bare machine in flat 32-bit protected mode without paging, with an IDT like the bare machine's. Tests
 * switch paging on by setting CR0, CR3 and CR4.
 */
import { type BareMachine, bareMachine, HANDLERS } from "./bare-machine.ts";

const GDT = 0x60000;
const IDT = 0x61000;
export const CODE32 = 8;
export const DATA32 = 16;
const DESCRIPTORS = [0n, 0x00cf_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn];

/** Leaves the mode of `machine` for this one. */
export function toLegacy(machine: BareMachine): BareMachine {
  const { memory } = machine;
  for (const [i, descriptor] of DESCRIPTORS.entries()) memory.write64(GDT + 8 * i, descriptor);
  for (let vector = 0; vector < 256; vector++) {
    const handler = BigInt(HANDLERS + 16 * vector);
    const gate = (handler & 0xffffn) | (BigInt(CODE32) << 16n) | (0x8en << 40n) | ((handler >> 16n) << 48n);
    memory.write64(IDT + 8 * vector, gate);
  }
  machine.change((s) => {
    s.cs = { selector: CODE32, base: 0n, limit: 0xffffffff, attributes: 0xc09b };
    for (const name of ["ss", "ds", "es", "fs", "gs"] as const)
      s[name] = { selector: DATA32, base: 0n, limit: 0xffffffff, attributes: 0xc093 };
    s.gdtr = { base: BigInt(GDT), limit: 8 * DESCRIPTORS.length - 1 };
    s.idtr = { base: BigInt(IDT), limit: 8 * 256 - 1 };
    s.cr0 = 0x11n;
    s.cr3 = 0n;
    s.cr4 = 0n;
    s.msrs = { ...s.msrs, [String(0xc0000080)]: 0n };
  });
  return machine;
}

export function legacyMachine(...options: Parameters<typeof bareMachine>): BareMachine {
  return toLegacy(bareMachine(...options));
}

/** What a machine that ran to a HLT came to: the exception whose handler that is, "done" if none. */
export function outcome(machine: BareMachine): { vector: number; error: number } | "done" {
  machine.vcpu.run(1000);
  const s = machine.state();
  const at = Number(s.rip) - 1 - HANDLERS;
  if (at < 0 || at >= 256 * 16 || at % 16) return "done";
  return { vector: at / 16, error: machine.memory.read32(Number(s.gpr[4])) ?? -1 };
}
