/**
 * Functions that are part of the regions that call them, and regions that call themselves: what the interpreter, code
 * translated before it first runs, and code translated when it is hot come to.
 */
import { expect, it } from "vitest";
import type { Tier } from "../engine/jit-engine.ts";
import { type BareMachine, bareMachine, CODE, STACK } from "../interp/bare-machine.ts";

const [RAX, RCX, RSP, RDI] = [0, 1, 4, 7];
const HLT = 0xf4;
const TIERS: readonly Tier[] = ["interp", "jit", "auto"];

const le32 = (value: number): number[] => [...new Uint8Array(Int32Array.of(value).buffer)];
/** call from `at` to `target` */
const call = (at: number, target: number): number[] => [0xe8, ...le32(target - at - 5)];

function onEveryTier(code: readonly number[], registers: Readonly<Record<number, number>>): BareMachine {
  const machines = TIERS.map((tier) => {
    const m = bareMachine({}, { tier });
    m.load(code);
    m.change((s) => {
      for (const [n, value] of Object.entries(registers)) s.gpr[Number(n)] = BigInt(value);
    });
    for (let i = 0; m.vcpu.run(20_000).reason === "budget"; i++) if (i > 5000) throw new Error("no end");
    return m;
  });
  const [reference] = machines as [BareMachine];
  for (const m of machines) {
    expect(m.state()).toEqual(reference.state());
    expect(m.vcpu.retired).toBe(reference.vcpu.retired);
  }
  expect(machines[1]?.engine.stats()["instructionsInRegions"]).toBeGreaterThan(0);
  return reference;
}
const gpr = (m: BareMachine, n: number): number => Number(m.state().gpr[n]);

/** fib(edi) in eax, at 16: twice recursive. */
const FIB = [
  // 16: cmp edi, 2; 19: jb 49; 21: push rdi; 22: dec edi; 24: call 16; 29: pop rdi; 30: push rax; 31: sub edi, 2
  ...[0x83, 0xff, 2, 0x72, 28, 0x57, 0xff, 0xcf, ...call(24, 16), 0x5f, 0x50, 0x83, 0xef, 2],
  // 34: call 16; 39: pop rcx; 40: add eax, ecx; 42: ret; nops; 49: mov eax, edi; ret
  ...[...call(34, 16), 0x59, 0x01, 0xc8, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x89, 0xf8, 0xc3],
];
const padded = (code: readonly number[], to: number): number[] => [
  ...code,
  ...Array<number>(to - code.length).fill(0x90),
];

it("a function that calls itself twice", () => {
  const m = onEveryTier([...padded([...call(0, 16), HLT], 16), ...FIB], { [RDI]: 21 });
  expect(gpr(m, RAX)).toBe(10946);
});

it("recursion deeper than the host's stack has room for", () => {
  // 16: test edi, edi; 18: jz 30; 20: dec edi; 22: call 16; 27: add eax, 3; 30: ret
  const down = [0x85, 0xff, 0x74, 10, 0xff, 0xcf, ...call(22, 16), 0x83, 0xc0, 3, 0xc3];
  // Three times, so that it gets hot: 0: push rdi; 1: call 16; 6: pop rdi; 7: dec ecx; 9: jnz 0; hlt
  const code = [...padded([0x57, ...call(1, 16), 0x5f, 0xff, 0xc9, 0x75, 0xf5, HLT], 16), ...down];
  const m = onEveryTier(code, { [RAX]: 0, [RCX]: 3, [RDI]: 20_000, [RSP]: 0x400000 });
  expect(gpr(m, RAX)).toBe(180_000);
});

it("a small function returns elsewhere: it changed its return address, or took it away", () => {
  // 0: call 32; 5: inc eax; 7: inc eax; 9: call 48; 14: hlt; 16 (where the second goes): dec ecx; jnz 0; hlt
  const main = [...call(0, 32), 0xff, 0xc0, 0xff, 0xc0, ...call(9, 48), HLT, 0x90, 0xff, 0xc9, 0x75, 0xec, HLT];
  // 32: add qword [rsp], 2; ret
  const skips = [0x48, 0x83, 0x04, 0x24, 2, 0xc3];
  // 48: add rsp, 8; push CODE + 16; ret
  const leaves = [0x48, 0x83, 0xc4, 8, 0x68, ...le32(CODE + 16), 0xc3];
  const m = onEveryTier(padded([...padded(main, 32), ...padded(skips, 16), ...leaves], 80), {
    [RAX]: 0,
    [RCX]: 10_000,
  });
  expect(gpr(m, RAX)).toBe(10_000);
  expect(gpr(m, RSP)).toBe(STACK);
});

it("the stack of a small function's return is not there", () => {
  // 0: call 16; 5: dec ecx; 7: jnz 0; hlt; 16: cmp ecx, 1; 19: jne 26; 21: mov rsp, rdi; 26: ret
  const code = [
    ...padded([...call(0, 16), 0xff, 0xc9, 0x75, 0xf7, HLT], 16),
    0x83,
    0xf9,
    1,
    0x75,
    3,
    0x48,
    0x89,
    0xfc,
    0xc3,
  ];
  const m = onEveryTier(code, { [RCX]: 9000, [RDI]: 0xdead0000 });
  expect(gpr(m, RCX)).toBe(1);
});
