import { expect, it } from "vitest";
import { type BareMachine, bareMachine, CODE } from "./bare-machine.ts";

/** inc rax; dec rcx; jnz back; jmp to itself */
const LOOP = [0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf8, 0xeb, 0xfe];
const ROUNDS = 100;
const STRAIGHT = 0x200000;
/** More blocks of 32 instructions than the arena has room for. */
const STRAIGHT_BYTES = 750_000;

function machine(): BareMachine {
  const m = bareMachine({}, { tier: "interp" });
  m.memory.write(STRAIGHT, new Uint8Array(STRAIGHT_BYTES).fill(0x90));
  m.load(LOOP);
  runLoop(m);
  return m;
}

function runLoop(m: BareMachine): void {
  m.change((s) => {
    s.rip = BigInt(CODE);
    s.gpr[1] = BigInt(ROUNDS);
  });
  m.vcpu.run(3 * ROUNDS);
}

function fillArena(m: BareMachine): void {
  const flushes = m.engine.stats()["blockFlushes"] ?? 0;
  m.change((s) => {
    s.rip = BigInt(STRAIGHT);
  });
  const target = m.vcpu.retired + STRAIGHT_BYTES;
  while (m.vcpu.retired < target) m.vcpu.run(target - m.vcpu.retired);
  expect(m.state().rip).toBe(BigInt(STRAIGHT + STRAIGHT_BYTES));
  expect(m.engine.stats()["blockFlushes"]).toBe(flushes + 1);
}

const decoded = (m: BareMachine): number => m.engine.stats()["blocksDecoded"] ?? 0;

it("a block that ran a few times outlives a full arena, and one that has not run since does not outlive the next", () => {
  const m = machine();
  fillArena(m);
  const before = decoded(m);
  runLoop(m);
  expect(m.state().gpr[0]).toBe(BigInt(2 * ROUNDS));
  expect(decoded(m)).toBe(before);

  fillArena(m);
  fillArena(m);
  const later = decoded(m);
  runLoop(m);
  expect(m.state().gpr[0]).toBe(BigInt(3 * ROUNDS));
  expect(decoded(m)).toBeGreaterThan(later);
});

it("a store into the code of a block that outlived others is seen", () => {
  const m = machine();
  fillArena(m);
  // mov [rdi], eax: REX.W INC RAX becomes REX.W DEC RAX
  m.load([0x89, 0x07], STRAIGHT);
  m.change((s) => {
    s.gpr[0] = 0x48c8ff48n;
    s.gpr[7] = BigInt(CODE);
  });
  m.vcpu.run(1);
  runLoop(m);
  expect(m.state().gpr[0]).toBe(0x48c8ff48n - BigInt(ROUNDS));
});
