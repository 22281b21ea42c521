/**
 * Code that changes under translated code. Each guest runs on the interpreter, with every block translated before it
 * first runs, and with translation of what is hot; all three must come to the same state.
 */
import { describe, expect, it } from "vitest";
import type { Tier } from "../engine/jit-engine.ts";
import { type BareMachine, bareMachine, CODE, STACK } from "../interp/bare-machine.ts";

const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7];
const HLT = 0xf4;
const PAGE = 4096;
const CR4_PGE = 0x80n;
/** The page tables of the bare machine map 2 MiB pages; a test that remaps puts a table of 4 KiB pages here. */
const TABLE = 0x300000;
const TIERS: readonly Tier[] = ["interp", "jit", "auto"];
/** More than what makes a block hot. */
const ROUNDS = 40_000;

const le32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
/** call or jmp at `at` to `target` */
const call = (at: number, target: number): number[] => [0xe8, ...le32(target - (at + 5))];
const jump = (at: number, target: number): number[] => [0xe9, ...le32(target - (at + 5))];

function runToHalt(m: BareMachine, slice = 10_000): void {
  for (let i = 0; i < 5000; i++) if (m.vcpu.run(slice).reason !== "budget") return;
  throw new Error("the guest does not end");
}

/** What the guest came to on each tier; the interpreter's answer after it was found equal on all of them. */
function onEveryTier(prepare: (m: BareMachine) => void, drive: (m: BareMachine) => void = runToHalt): BareMachine {
  const machines = TIERS.map((tier) => {
    const m = bareMachine({}, { tier });
    prepare(m);
    drive(m);
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
const set = (m: BareMachine, registers: Readonly<Record<number, number>>): void =>
  m.change((s) => {
    for (const [n, value] of Object.entries(registers)) s.gpr[Number(n)] = BigInt(value);
  });

/** f: add rax, IMM; ret. The immediate is at f + 2, sign-extended from 8 bits at f + 3. */
const ADD = (value: number): number[] => [0x48, 0x83, 0xc0, value, 0xc3];

describe("code that its own CPU changes", () => {
  it("in the running region: the immediate of an instruction behind the store, counted up each round", () => {
    const m = onEveryTier((machine) => {
      // 0: inc byte [rip+3] (the immediate of the next); 6: add rax, 0; 10: dec rcx; 13: jnz 0; hlt
      machine.load([0xfe, 0x05, 3, 0, 0, 0, 0x48, 0x83, 0xc0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf1, HLT]);
      set(machine, { [RAX]: 0, [RCX]: 1000 });
    });
    let sum = 0;
    for (let i = 1; i <= 1000; i++) sum += (i << 24) >> 24;
    expect(m.state().gpr[RAX]).toBe(BigInt.asUintN(64, BigInt(sum)));
  });

  it("ahead in the same block, by a push", () => {
    const m = onEveryTier((machine) => {
      // push rdx; 7 nop; add rax, 1; 4 nop; hlt
      machine.load([0x52, ...Array(7).fill(0x90), 0x48, 0x83, 0xc0, 1, 0x90, 0x90, 0x90, 0x90, HLT]);
      machine.change((s) => {
        s.gpr[RAX] = 0n;
        s.gpr[RSP] = BigInt(CODE + 16);
        // add rax, 7; 4 nop
        s.gpr[RDX] = 0x9090_9090_07c0_8348n;
      });
    });
    expect(m.state().gpr[RAX]).toBe(7n);
  });

  for (const [name, place] of [
    ["in another region of its page", CODE + 0x200],
    ["in the page behind", CODE + PAGE + 0x20],
    ["in the page before", CODE - PAGE + 0x20],
    ["far away", CODE + 16 * PAGE],
  ] as const)
    it(`in a callee ${name}, after it became hot`, () => {
      const m = onEveryTier((machine) => {
        machine.load(ADD(1), place);
        // outer: rcx rounds of call f; then the immediate of f is counted up; rdx times
        const body = [
          ...[0xb9, ...le32(ROUNDS)],
          ...call(CODE + 5, place),
          ...[0x48, 0xff, 0xc9, 0x75, 0xf6], // dec rcx; jnz to the call
          ...[0xfe, 0x03], // inc byte [rbx]
          ...[0x48, 0xff, 0xca, 0x75, 0xea, HLT], // dec rdx; jnz to the start
        ];
        machine.load(body);
        set(machine, { [RAX]: 0, [RDX]: 3, [RBX]: place + 3 });
      });
      expect(m.state().gpr[RAX]).toBe(BigInt(ROUNDS * 6));
    });

  it("inside a callee: it changes its caller behind the call, and itself", () => {
    const callee = CODE + 0x400;
    const m = onEveryTier((machine) => {
      // callee: inc byte [rbx]; inc byte [rsi] (own immediate); add rdi, IMM; ret
      machine.load([0xfe, 0x03, 0xfe, 0x06, 0x48, 0x83, 0xc7, 0, 0xc3], callee);
      // caller: call; add rax, IMM; dec rcx; jnz; hlt
      machine.load([...call(CODE, callee), 0x48, 0x83, 0xc0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf2, HLT]);
      set(machine, { [RAX]: 0, [RDI]: 0, [RCX]: 300, [RBX]: CODE + 8, [RSI]: callee + 7 });
    });
    expect(m.state().gpr[RAX]).toBe(m.state().gpr[RDI]);
  });

  it("through another linear mapping of the same page", () => {
    const m = onEveryTier((machine) => {
      const alias = mapAlias(machine, CODE + PAGE);
      machine.load(ADD(1), CODE + PAGE);
      machine.load([
        ...[0xb9, ...le32(ROUNDS)],
        ...call(CODE + 5, CODE + PAGE),
        ...[0x48, 0xff, 0xc9, 0x75, 0xf6],
        ...[0xfe, 0x03, 0x48, 0xff, 0xca, 0x75, 0xea, HLT],
      ]);
      set(machine, { [RAX]: 0, [RDX]: 3, [RBX]: alias + 3 });
    });
    expect(m.state().gpr[RAX]).toBe(BigInt(ROUNDS * 6));
  });

  it("written and run alternately, for ever other code", () => {
    const place = CODE + 0x800;
    const m = onEveryTier((machine) => {
      machine.load(ADD(0), place);
      // mov [rbx], cl; call f; dec rcx; jnz; hlt
      machine.load([0x88, 0x0b, ...call(CODE + 2, place), 0x48, 0xff, 0xc9, 0x75, 0xf4, HLT]);
      set(machine, { [RAX]: 0, [RCX]: 600, [RBX]: place + 3 });
    });
    expect(m.state().rip).toBe(BigInt(CODE + 13));
  });
});

/** A 2 MiB page of linear space whose first 4 KiB show the page at `physical`; the address. */
function mapAlias(m: BareMachine, physical: number): number {
  const linear = 0x40000000 - 0x200000;
  const pdpt = Number((m.memory.read64(Number(m.state().cr3)) ?? 0n) & 0xffffff000n);
  const directory = Number((m.memory.read64(pdpt) ?? 0n) & 0xffffff000n);
  m.memory.write64(TABLE, BigInt(physical) | 3n);
  m.memory.write64(directory + 8 * (linear >> 21), BigInt(TABLE) | 3n);
  m.change(() => {});
  return linear;
}

describe("code that changes from outside", () => {
  const hot = (m: BareMachine): void => {
    m.load(ADD(1), CODE + PAGE - 2);
    m.load([...call(CODE, CODE + PAGE - 2), 0x48, 0xff, 0xc9, 0x75, 0xf6, HLT]);
    set(m, { [RAX]: 0, [RCX]: 3 * ROUNDS });
  };
  const until = (m: BareMachine, count: number): void => {
    while (m.vcpu.retired < count) m.vcpu.run(Math.min(10_000, count - m.vcpu.retired));
  };

  it("by DMA, in the second page of a region", () => {
    const m = onEveryTier(hot, (machine) => {
      until(machine, 4 * ROUNDS);
      machine.memory.write8(CODE + PAGE + 1, 5);
      runToHalt(machine);
    });
    expect(m.state().gpr[RAX]).toBeGreaterThan(BigInt(10 * ROUNDS));
  });

  it("with a state that is restored, and the memory that belongs to it", () => {
    onEveryTier(hot, (machine) => {
      until(machine, 4 * ROUNDS);
      const state = machine.state();
      until(machine, 8 * ROUNDS);
      machine.memory.write(CODE + PAGE - 2, Uint8Array.from(ADD(9)));
      machine.vcpu.setState(state);
      runToHalt(machine);
    });
  });
});

describe("pages that change places under a region", () => {
  it.each([
    ["not global", 0, 0],
    ["global", 0x100, 0x100],
    ["of which the first is global", 0x100, 0],
    ["of which the second is global", 0, 0x100],
  ])("the second page of a function, by INVLPG and by MOV to CR3: pages %s", (_, first, second) => {
    const invlpg = [0x0f, 0x01, 0x3f]; // invlpg [rdi]
    for (const flush of [
      invlpg,
      [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8], // mov rax, cr3; mov cr3, rax
    ]) {
      const m = onEveryTier((machine) => {
        const linear = mapAlias(machine, CODE + 4 * PAGE);
        machine.change((s) => {
          s.cr4 |= CR4_PGE;
        });
        machine.memory.write64(TABLE, BigInt(CODE + 4 * PAGE + first) | 3n);
        machine.memory.write64(TABLE + 8, BigInt(CODE + 5 * PAGE + second) | 3n);
        // f: at the end of the first page: add r8, 1 (4 bytes); then in the second page: add r8, IMM; ret
        machine.memory.write(CODE + 5 * PAGE - 4, Uint8Array.of(0x49, 0x83, 0xc0, 1));
        machine.memory.write(CODE + 5 * PAGE, Uint8Array.of(0x49, 0x83, 0xc0, 2, 0xc3));
        machine.memory.write(CODE + 6 * PAGE, Uint8Array.of(0x49, 0x83, 0xc0, 100, 0xc3));
        const body = [
          ...[0xb9, ...le32(ROUNDS)],
          ...[0xff, 0xd3], // call rbx
          ...[0x48, 0xff, 0xc9, 0x75, 0xf9],
          ...[0x48, 0x87, 0x16], // xchg [rsi], rdx: the entry of the second page
          ...flush,
          ...[0x48, 0xff, 0xcd], // dec rbp
        ];
        machine.load([...body, 0x75, -(body.length + 2) & 0xff, HLT]);
        set(machine, {
          [RDX]: (CODE + 6 * PAGE) | second | 3,
          [RBX]: linear + PAGE - 4,
          [RBP]: 4,
          [RSI]: TABLE + 8,
          [RDI]: linear + PAGE,
          8: 0,
        });
      });
      // A new CR3 leaves a global page as it was.
      const isKept = second !== 0 && flush !== invlpg;
      expect(m.state().gpr[8]).toBe(BigInt(isKept ? ROUNDS * 4 * 3 : ROUNDS * 2 * (3 + 101)));
    }
  });

  it("the stack's page, in a callee", () => {
    const m = onEveryTier((machine) => {
      const linear = mapAlias(machine, CODE + 4 * PAGE);
      const g = CODE + 64;
      // mov rax, [rsp]; xchg [rsi], rdx; invlpg [rdi]; mov [rsp], rax; ret
      const swap = [0x48, 0x8b, 0x04, 0x24, 0x48, 0x87, 0x16, 0x0f, 0x01, 0x3f, 0x48, 0x89, 0x04, 0x24, 0xc3];
      // push rcx; call g; pop rax; add r8, rax; dec rcx; jnz; hlt
      const body = [0x51, ...call(CODE + 1, g), 0x58, 0x49, 0x01, 0xc0, 0x48, 0xff, 0xc9];
      machine.memory.write(g, Uint8Array.from(swap));
      machine.load([...body, 0x75, -(body.length + 2) & 0xff, HLT]);
      machine.memory.write64(CODE + 6 * PAGE - 8, 7n);
      const registers = { [RDX]: (CODE + 5 * PAGE) | 3, [RCX]: ROUNDS, [RSP]: linear + PAGE };
      set(machine, { ...registers, [RSI]: TABLE, [RDI]: linear, 8: 0 });
    });
    // What was pushed a round before: onto the page that is there now.
    expect(m.state().gpr[8]).toBe(BigInt(7 + (ROUNDS * (ROUNDS + 1)) / 2 - 1));
  });
});

describe("data on a page of code", () => {
  it("is stored in the region, and the code stays", () => {
    for (const tier of TIERS) {
      const m = bareMachine({}, { tier });
      // inc qword [rip+0x800]; dec rcx; jnz; hlt
      m.load([0x48, 0xff, 0x05, 0, 8, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf4, HLT]);
      set(m, { [RCX]: 5 * ROUNDS });
      runToHalt(m);
      expect(m.memory.read64(CODE + 7 + 0x800)).toBe(BigInt(5 * ROUNDS));
      const stats = m.engine.stats();
      expect(stats["blocksDecoded"]).toBeLessThan(20);
      if (tier !== "interp") expect(stats["instructionsInRegions"]).toBeGreaterThan(9 * ROUNDS);
      if (tier !== "interp") expect(stats["regionEntries"]).toBeLessThan(2 * ROUNDS);
    }
  });
});

describe("calls and returns that do not pair", () => {
  it("a callee that returns elsewhere, drops a frame, or has another stack", () => {
    const callee = CODE + 0x400;
    for (const code of [
      [0x48, 0x83, 0x04, 0x24, 4, 0xc3], // add qword [rsp], 4: skips add rax, 1; ret
      [0x48, 0x83, 0xc4, 8, ...jump(callee + 4, CODE + 9)], // add rsp, 8; jmp behind
      [0x48, 0x8b, 0x14, 0x24, 0x48, 0x89, 0x13, 0x48, 0x89, 0xdc, 0xc3], // mov rdx,[rsp]; mov [rbx],rdx; mov rsp,rbx; ret
    ]) {
      onEveryTier((machine) => {
        machine.load(code, callee);
        // call; add rax, 1; dec rcx; jnz; hlt
        machine.load([...call(CODE, callee), 0x48, 0x83, 0xc0, 1, 0x48, 0xff, 0xc9, 0x75, 0xf2, HLT]);
        set(machine, { [RAX]: 0, [RCX]: ROUNDS, [RBX]: STACK - 0x800, [RSP]: STACK });
      });
    }
  });

  it("recursion as deep as the guest likes does not reach the end of the host's stack", () => {
    const frames = {
      small: [],
      "add [rbx], rax": Array.from({ length: 280 }, (_, i) => [0x48, 0x01, 0x83, ...le32(8 * i)]).flat(),
      "dpps xmm0, [rbx]": Array.from({ length: 280 }, (_, i) => [
        ...[0x66, 0x0f, 0x3a, 0x40, 0x83, ...le32(16 * i)],
        0xff,
      ]).flat(),
    };
    for (const body of Object.values(frames)) {
      // f: dec rcx; jz ret; ...; call f; ret
      const end = 9 + body.length + 5;
      const f = [0x48, 0xff, 0xc9, 0x0f, 0x84, ...le32(end - 9), ...body, ...call(end - 5, 0), 0xc3];
      onEveryTier((machine) => {
        machine.load(f, CODE + 0x2000);
        machine.load([...call(CODE, CODE + 0x2000), HLT]);
        set(machine, { [RCX]: 3000, [RBX]: 0x200000, [RSP]: 0x280000 });
        machine.change((s) => {
          s.cr0 = (s.cr0 | 2n) & ~0xcn;
          s.cr4 |= 0x600n;
        });
      });
    }
  });
});

describe("interrupts", () => {
  it("come between two slices in a loop that only regions run, at the same count on every tier", () => {
    onEveryTier(
      (machine) => {
        machine.load([0xfb, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf8, HLT]);
        set(machine, { [RAX]: 0, [RCX]: 10 * ROUNDS });
      },
      (machine) => {
        while (machine.vcpu.retired < 777_777) machine.vcpu.run(Math.min(10_000, 777_777 - machine.vcpu.retired));
        machine.vcpu.requestInterrupt(true);
        expect(machine.vcpu.run(10_000).reason).toBe("interrupt-window");
        machine.vcpu.requestInterrupt(false);
        machine.vcpu.interrupt(0x40);
      },
    );
  });
});
