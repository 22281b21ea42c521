import { expect, it } from "vitest";
import { JitEngine } from "../engine/jit-engine.ts";
import { createCore } from "../interp/core.ts";

const GDT = 0x3000;
const NEW_TSS = 0x5000;
const PAGE_DIRECTORY = 0x10000;
/** In the page of the page directory, so that every store there goes the slow way. */
const CODE = 0x10800;
/** EAX is saved over the directory's first entry. */
const OLD_TSS = PAGE_DIRECTORY - 0x28;
const CODE_SELECTOR = 8;
const DATA_SELECTOR = 0x10;
const OLD_SELECTOR = 0x18;
const NEW_SELECTOR = 0x20;

it("a task switch that saves over its own page tables stores nothing outside RAM", () => {
  let memory: ArrayBufferLike | undefined;
  const engine = new JitEngine({
    memoryBytes: 1 << 20,
    tscFrequencyHz: 1e9,
    createCore: (...args) => {
      const core = createCore(...args);
      memory = core.memory.buffer;
      return core;
    },
  });
  const none = (): undefined => undefined;
  const vcpu = engine.createVcpu(0, {
    ...{ readPort: () => 0, writePort: none, readMmio: () => 0, writeMmio: none, readMsr: none, writeMsr: () => false },
    readTsc: () => 0n,
    randomBits: () => 0n,
  });
  const tss = (base: number, type: bigint): bigint => 0x67n | (BigInt(base) << 16n) | (type << 40n);
  engine.memory.write64(GDT + CODE_SELECTOR, 0x00cf_9b00_0000_ffffn);
  engine.memory.write64(GDT + DATA_SELECTOR, 0x00cf_9300_0000_ffffn);
  engine.memory.write64(GDT + OLD_SELECTOR, tss(OLD_TSS, 0x8bn));
  engine.memory.write64(GDT + NEW_SELECTOR, tss(NEW_TSS, 0x89n));
  engine.memory.write64(PAGE_DIRECTORY, 0x87n);
  engine.memory.write(CODE, Uint8Array.of(0xea, 0, 0, 0, 0, NEW_SELECTOR, 0)); // jmp NEW_SELECTOR:0
  const data = { selector: DATA_SELECTOR, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 };
  const before = vcpu.getState();
  vcpu.setState({
    ...before,
    ...{ cr0: 0x8000_0011n, cr3: BigInt(PAGE_DIRECTORY), cr4: 0x10n, rip: BigInt(CODE), ss: data, ds: data, es: data },
    cs: { ...data, selector: CODE_SELECTOR, attributes: 0xc09b },
    tr: { selector: OLD_SELECTOR, base: BigInt(OLD_TSS), limit: 0x67, attributes: 0x8b },
    gdtr: { base: BigInt(GDT), limit: 0x27 },
    idtr: { base: 0n, limit: 0 },
    gpr: before.gpr.map((_, i) => (i === 0 ? 0n : 0xdead_beefn)),
  });
  expect(vcpu.run(100).reason).toBe("shutdown");
  // EAX was saved: the directory's entry is gone, and what follows it was lost.
  expect(engine.memory.read64(PAGE_DIRECTORY)).toBe(0n);
  expect(new Uint8Array(memory as ArrayBuffer, 0, 64)).toEqual(new Uint8Array(64));
});
