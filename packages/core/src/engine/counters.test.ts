import { expect, it } from "vitest";
import { ACTIVITY_NAMES } from "../cpu/activity.ts";
import { bareMachine, CODE } from "../interp/bare-machine.ts";

const counter = (m: ReturnType<typeof bareMachine>, name: string): number => m.engine.stats()[name] ?? Number.NaN;

it("counts walks of the page tables, not hits of the TLB", () => {
  const m = bareMachine();
  // L: mov rax, [rsi]; mov rax, [rsi]; add rsi, 4096; dec rcx; jnz L; hlt
  m.load([0x48, 0x8b, 0x06, 0x48, 0x8b, 0x06, 0x48, 0x81, 0xc6, 0, 0x10, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xee, 0xf4]);
  m.change((s) => {
    s.gpr[6] = 0x200000n;
    s.gpr[1] = 50n;
  });
  const before = counter(m, "tlbMisses");
  expect(m.vcpu.run(100_000).reason).toBe("halt");
  expect(counter(m, "tlbMisses") - before).toBe(51); // 50 pages of data and the one of the code
});

it("counts flushes by CR3 and by INVLPG", () => {
  const m = bareMachine();
  m.load([0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x0f, 0x01, 0x3e, 0xf4]); // mov rax, cr3; mov cr3, rax; invlpg [rsi]; hlt
  m.change((s) => {
    s.gpr[6] = 0x200000n;
  });
  const before = [counter(m, "tlbFlushes"), counter(m, "tlbPageFlushes")];
  expect(m.vcpu.run(100).reason).toBe("halt");
  expect([counter(m, "tlbFlushes") - before[0]!, counter(m, "tlbPageFlushes") - before[1]!]).toEqual([1, 1]);
});

it("counts pages of code that a store drops", () => {
  const m = bareMachine();
  m.load([0xc6, 0x05, 0, 0, 0, 0, 0x90, 0xcc, 0xf4]); // mov byte [rip], 0x90; int3, which becomes a nop; hlt
  const before = counter(m, "codeDrops");
  expect(m.vcpu.run(100).reason).toBe("halt");
  expect(counter(m, "codeDrops") - before).toBe(1);
  m.memory.write8(CODE + 6, 0x91);
  expect(counter(m, "codeDrops") - before).toBe(2);
});

it("tells another thread what its own does: nothing, while nobody runs it", () => {
  const m = bareMachine();
  m.load([0xf4]);
  m.vcpu.run(10);
  expect(m.engine.activity && ACTIVITY_NAMES[m.engine.activity[0]!]).toBe("machine");
});
