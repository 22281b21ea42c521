import { expect, it } from "vitest";
import type { Tier } from "../engine/jit-engine.ts";
import { type BareMachine, bareMachine, CODE } from "../interp/bare-machine.ts";

const TIERS: readonly Tier[] = ["interp", "jit", "auto"];
const TABLE = 0x200000;
const PROGRAM = 0x201000;
const [RAX, RBX, RCX, RDX, RSI] = [0, 3, 1, 2, 6];

function onEveryTier(prepare: (m: BareMachine) => void): readonly BareMachine[] {
  const machines = TIERS.map((tier) => {
    const m = bareMachine({}, { tier });
    prepare(m);
    for (let i = 0; m.vcpu.run(20_000).reason === "budget"; i++) if (i > 5000) throw new Error("no end");
    return m;
  });
  for (const m of machines) {
    expect(m.state()).toEqual(machines[0]?.state());
    expect(m.vcpu.retired).toBe(machines[0]?.vcpu.retired);
  }
  return machines;
}

/** next: movzx eax, byte [rsi]; inc rsi; jmp (or call) [rbx + rax * 8] */
const DISPATCH = [0x0f, 0xb6, 0x06, 0x48, 0xff, 0xc6];
const JUMP = [...DISPATCH, 0xff, 0x24, 0xc3];

/** Handlers at CODE + 16 i: each does its own sum, and goes on by a jump of its own (threaded) or back to the first. */
function interpreter(isThreaded: boolean): { code: number[]; handlers: number[] } {
  const code: number[] = [...JUMP];
  const handlers: number[] = [];
  for (let i = 0; i < 20; i++) {
    while (code.length % 16) code.push(0x90);
    handlers.push(CODE + code.length);
    // imul edx, edx, 3; add edx, i; (dec ecx; jz out)
    code.push(0x6b, 0xd2, 3, 0x83, 0xc2, i, 0xff, 0xc9, 0x74, isThreaded ? 9 : 2);
    if (isThreaded) code.push(...JUMP, 0xf4);
    else code.push(0xeb, (-code.length - 2) & 0xff, 0xf4);
    if (!isThreaded && code.length > 100) break;
  }
  return { code, handlers };
}

function load(m: BareMachine, { code, handlers }: ReturnType<typeof interpreter>, rounds: number): void {
  m.load(code);
  for (const [i, handler] of handlers.entries()) m.memory.write64(TABLE + 8 * i, BigInt(handler));
  let seed = 1;
  const program = Uint8Array.from({ length: rounds }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 16) % handlers.length;
  });
  m.memory.write(PROGRAM, program);
  m.change((s) => {
    for (const [n, value] of [
      [RAX, 0],
      [RBX, TABLE],
      [RCX, rounds],
      [RDX, 1],
      [RSI, PROGRAM],
    ] as const)
      s.gpr[n] = BigInt(value);
  });
}

it.each([true, false])(
  "an interpreter whose handlers jump on (each by itself: %s) stays in its region",
  (isThreaded) => {
    const [, , auto] = onEveryTier((m) => load(m, interpreter(isThreaded), 300_000));
    const { instructionsInRegions = 0, regionEntries = 0 } = auto?.engine.stats() ?? {};
    expect(instructionsInRegions).toBeGreaterThan(1_000_000);
    expect(instructionsInRegions / regionEntries).toBeGreaterThan(100);
  },
);

it("indirect calls of small functions, some seen early, some late", () => {
  // 0: movzx eax, [rsi]; inc rsi; call [rbx + rax * 8]; dec ecx; jnz 0; hlt
  const main = [...DISPATCH, 0xff, 0x14, 0xc3, 0xff, 0xc9, 0x75, 0xf3, 0xf4];
  const handlers: number[] = [];
  const code = [...main];
  for (let i = 0; i < 12; i++) {
    while (code.length % 16) code.push(0x90);
    handlers.push(CODE + code.length);
    // imul edx, edx, 3; add edx, i; ret
    code.push(0x6b, 0xd2, 3, 0x83, 0xc2, i, 0xc3);
  }
  onEveryTier((m) => {
    load(m, { code, handlers }, 100_000);
    // The first half calls four of them only.
    const program = Uint8Array.from({ length: 100_000 }, (_, i) => (i < 50_000 ? i % 4 : (i * 7) % 12));
    m.memory.write(PROGRAM, program);
  });
});
