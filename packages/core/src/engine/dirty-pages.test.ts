import { describe, expect, it } from "vitest";
import { type BareMachine, bareMachine, CODE, STACK } from "../interp/bare-machine.ts";
import { PAGE_BYTES } from "../memory/ram.ts";

const DATA = 0x200000;
const pageOf = (gpa: number): number => gpa / PAGE_BYTES;

function taken(m: BareMachine): number[] {
  const pages = new Uint8Array(m.memory.sizeBytes / PAGE_BYTES);
  const count = m.engine.dirtyTracking.take(pages);
  const numbers = [...pages.entries()].flatMap(([page, isDirty]) => (isDirty ? [page] : []));
  expect(numbers.length).toBe(count);
  return numbers;
}

/** Runs `code` again from its start, to its HLT. */
function again(m: BareMachine, gpr: Readonly<Record<number, bigint>> = {}): void {
  m.change((s) => {
    s.rip = BigInt(CODE);
    s.gpr[4] = BigInt(STACK);
    s.halted = false;
    for (const [i, value] of Object.entries(gpr)) s.gpr[Number(i)] = value;
  });
  expect(m.vcpu.run(100_000).reason).toBe("halt");
}

describe.each(["interp", "jit"] as const)("stores of %s", (tier) => {
  const machine = (code: readonly number[]): BareMachine => {
    const m = bareMachine({}, { tier });
    m.load(code);
    return m;
  };
  const at = { 6: BigInt(DATA), 7: BigInt(DATA + 0x3000) };

  it("are noted once each time they are looked for, and reads never", () => {
    const m = machine([0x48, 0x8b, 0x06, 0x48, 0x89, 0x07, 0xf4]); // mov rax, [rsi]; mov [rdi], rax; hlt
    again(m, at);
    m.engine.dirtyTracking.start();
    expect(taken(m)).toEqual([]);
    for (let i = 0; i < 3; i++) {
      again(m, at);
      again(m, at);
      expect(taken(m)).toEqual([pageOf(DATA) + 3]);
      expect(taken(m)).toEqual([]);
    }
  });

  it("through the stack, in both pages of a crossing one, and in bulk", () => {
    const m = machine([0x50, 0x48, 0x89, 0x07, 0xf4]); // push rax; mov [rdi], rax
    again(m, at);
    m.load([0x50, 0xf4]);
    m.engine.dirtyTracking.start();
    again(m);
    expect(taken(m)).toEqual([pageOf(STACK) - 1]);
    m.load([0x50, 0x50, 0x58, 0x50, 0xf4]); // push; push; pop; push
    taken(m);
    for (let i = 0; i < 2; i++) {
      again(m);
      expect(taken(m)).toEqual([pageOf(STACK) - 1]);
    }
    m.load([0x48, 0x89, 0x07, 0xf4]);
    taken(m);
    again(m, { 7: BigInt(DATA + 0x4ffc) });
    expect(taken(m)).toEqual([pageOf(DATA) + 4, pageOf(DATA) + 5]);
    m.load([0xf3, 0x48, 0xa5, 0xf3, 0x48, 0xab, 0xf4]); // rep movsq; rep stosq
    taken(m);
    again(m, { ...at, 1: 1024n });
    expect(taken(m)).toEqual([pageOf(DATA) + 3, pageOf(DATA) + 4]);
  });

  it("of read-modify-write, beside code and into it", () => {
    const m = machine([0xf0, 0x48, 0xff, 0x07, 0xf4]); // lock inc qword [rdi]
    for (const page of [DATA + 0x3000, CODE + 0x800]) again(m, { 7: BigInt(page) });
    m.engine.dirtyTracking.start();
    again(m, at);
    expect(taken(m)).toEqual([pageOf(DATA) + 3]);
    again(m, { 7: BigInt(CODE + 0x800) });
    expect(taken(m)).toEqual([pageOf(CODE)]);
    again(m, { 7: BigInt(CODE + 0x10) });
    again(m, { 7: BigInt(CODE + 0x10) });
    expect(taken(m)).toEqual([pageOf(CODE)]);
  });

  it("of devices, and of the page walk's flags", () => {
    const m = machine([0x48, 0x8b, 0x06, 0xf4]);
    m.engine.dirtyTracking.start();
    m.memory.write(DATA + 0x1fff, Uint8Array.of(1, 2));
    expect(taken(m)).toEqual([pageOf(DATA) + 1, pageOf(DATA) + 2]);
    const tables = new Set<number>();
    const { cr3 } = m.state();
    const pml4 = Number(cr3);
    const pdpt = Number(m.memory.read64(pml4)! & 0xfffff000n);
    const pd = Number(m.memory.read64(pdpt)! & 0xfffff000n);
    for (const table of [pml4, pdpt, pd]) {
      m.memory.write64(table, m.memory.read64(table)! & ~0x60n);
      tables.add(pageOf(table));
    }
    m.memory.write64(pd + 8, m.memory.read64(pd + 8)! & ~0x60n);
    taken(m);
    m.change((s) => {
      s.cr3 = cr3;
    });
    again(m, at);
    expect(taken(m)).toEqual([...tables].sort((a, b) => a - b));
  });

  it("cost nothing more when tracking has ended, and begin anew", () => {
    const m = machine([0x48, 0x89, 0x07, 0xf4]);
    m.engine.dirtyTracking.start();
    again(m, at);
    m.engine.dirtyTracking.stop();
    const before = m.engine.stats()["tlbMisses"]!;
    again(m, at);
    const misses = m.engine.stats()["tlbMisses"]! - before;
    again(m, at);
    expect(m.engine.stats()["tlbMisses"]! - before).toBe(misses * 2);
    expect(() => taken(m)).toThrow(/tracked/);
    m.engine.dirtyTracking.start();
    expect(taken(m)).toEqual([]);
    again(m, at);
    expect(taken(m)).toEqual([pageOf(DATA) + 3]);
  });
});
