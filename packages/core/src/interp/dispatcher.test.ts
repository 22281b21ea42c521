import { describe, expect, it } from "vitest";
import { bareMachine, CODE, HANDLERS, STACK } from "./bare-machine.ts";

const RAX = 0;
const RCX = 1;
const RSP = 4;
const RDI = 7;
const RF = 0x10000n;
const HLT = 0xf4;

/** inc rax; dec rcx; jnz back; hlt */
const LOOP = [0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf8, HLT];

describe("counting", () => {
  it("retires exactly the budget, however it is cut", () => {
    for (const slice of [1, 2, 3, 7, 64, 1000]) {
      const m = bareMachine();
      m.load(LOOP);
      m.change((s) => {
        s.gpr[RCX] = 1000n;
      });
      const target = 1501;
      while (m.vcpu.retired < target) {
        const before = m.vcpu.retired;
        const exit = m.vcpu.run(Math.min(slice, target - before));
        expect(exit.reason).toBe("budget");
        expect(m.vcpu.retired).toBeGreaterThan(before);
      }
      expect(m.vcpu.retired).toBe(target);
      expect(m.state().gpr[RAX]).toBe(501n);
      expect(m.state().rip).toBe(BigInt(CODE + 3));
    }
  });

  it("counts HLT, and a halted vCPU stays halted", () => {
    const m = bareMachine();
    m.load([0x90, HLT]);
    expect(m.vcpu.run(100).reason).toBe("halt");
    expect(m.vcpu.retired).toBe(2);
    expect(m.vcpu.run(100).reason).toBe("halt");
    expect(m.vcpu.retired).toBe(2);
  });

  it("is exact inside a device access", () => {
    const m = bareMachine();
    m.load([0x90, 0x90, 0xe6, 0x80, 0x90, 0xe6, 0x81, HLT]);
    m.vcpu.run(100);
    expect(m.writes.map((w) => [w.port, w.retired])).toEqual([
      [0x80, 3],
      [0x81, 5],
    ]);
  });

  it("is exact inside an MMIO access in the middle of a block", () => {
    const seen: number[] = [];
    const m = bareMachine({ writeMmio: () => void seen.push(m.vcpu.retired) });
    // nop; mov [0xfed00000], eax (moffs through rbx); nop; nop; hlt
    m.load([0x90, 0x89, 0x03, 0x90, 0x90, HLT]);
    m.change((s) => {
      s.gpr[3] = 0xfed00000n;
    });
    m.vcpu.run(100);
    expect(seen).toEqual([2]);
    expect(m.vcpu.retired).toBe(5);
  });

  it("counts an exception's delivery as one, so that no fault loop runs for ever", () => {
    const m = bareMachine();
    m.load([0x0f, 0x0b]);
    // The #UD handler is itself #UD.
    m.memory.write(HANDLERS + 6 * 16, Uint8Array.of(0x0f, 0x0b));
    m.change((s) => {
      s.gpr[4] = 0xf00000n;
    });
    expect(m.vcpu.run(50).reason).toBe("budget");
    expect(m.vcpu.retired).toBe(50);
  });
});

describe("code that changes", () => {
  it("sees a store into the next instruction of its own block", () => {
    const m = bareMachine();
    // mov byte [rip+1], 5 ; the immediate of: mov eax, 1 -> mov eax, 5 ; hlt
    m.load([0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x05, 0xb8, 0x01, 0x00, 0x00, 0x00, HLT]);
    m.vcpu.run(100);
    expect(m.state().gpr[RAX]).toBe(5n);
  });

  it("sees code that ran before and was changed, by a store and by DMA", () => {
    const m = bareMachine();
    m.load([0xb8, 1, 0, 0, 0, HLT]);
    m.vcpu.run(100);
    m.memory.write8(CODE + 1, 7);
    m.load([0xb8, 7, 0, 0, 0, HLT]);
    m.change((s) => {
      s.halted = false;
    });
    m.vcpu.run(100);
    expect(m.state().gpr[RAX]).toBe(7n);
  });

  it("sees a change in the second page of an instruction that crosses", () => {
    const m = bareMachine();
    const at = CODE + 0x1000 - 2;
    const again = (): bigint => {
      m.change((s) => {
        s.rip = BigInt(at);
        s.halted = false;
      });
      m.vcpu.run(100);
      return m.state().gpr[RAX] ?? 0n;
    };
    m.load([0xb8, 0x11, 0x22, 0x33, 0x44, HLT], at);
    expect(again()).toBe(0x44332211n);
    m.memory.write8(CODE + 0x1000 + 2, 0x55);
    expect(again()).toBe(0x55332211n);
  });

  it("goes where the code goes, whatever ran behind a block before", () => {
    const m = bareMachine();
    const ROUTINES = CODE + 0x100;
    const END = CODE + 0x200;
    /** shl rdx, 4; add rdx, number; dec rcx; jz END; inc rdi; and rdi, 3; jmp CODE */
    const routine = (number: number, at: number): number[] => {
      const near = (target: number, next: number): number[] => [...Uint8Array.of(target - next, (target - next) >> 8)];
      const code = [0x48, 0xc1, 0xe2, 0x04, 0x48, 0x83, 0xc2, number, 0x48, 0xff, 0xc9, 0x0f, 0x84];
      code.push(...near(END, at + 17), 0, 0, 0x48, 0xff, 0xc7, 0x48, 0x83, 0xe7, 0x03, 0xe9);
      return [...code, ...near(CODE, at + 29), 0xff, 0xff];
    };
    const run = (): bigint => {
      // mov rax, rdi; shl rax, 5; add rax, rbx; jmp rax
      m.load([0x48, 0x89, 0xf8, 0x48, 0xc1, 0xe0, 0x05, 0x48, 0x01, 0xd8, 0xff, 0xe0]);
      m.change((s) => {
        s.gpr.fill(0n, 1, 3);
        s.gpr[RCX] = 11n;
        s.gpr[3] = BigInt(ROUTINES);
        s.gpr[RDI] = 0n;
        s.halted = false;
      });
      expect(m.vcpu.run(1000).reason).toBe("halt");
      return m.state().gpr[2] ?? 0n;
    };
    m.memory.write8(END, HLT);
    for (const i of [0, 1, 2, 3]) m.memory.write(ROUTINES + 32 * i, Uint8Array.from(routine(i + 1, ROUTINES + 32 * i)));
    expect(run()).toBe(0x12341234123n);
    m.memory.write8(ROUTINES + 32 * 2 + 7, 7);
    expect(run()).toBe(0x12741274127n);
  });

  it("stores data beside code on one page without dropping the code", () => {
    const m = bareMachine();
    // loop: inc qword [rip+0x800]; dec rcx; jnz loop; hlt
    m.load([0x48, 0xff, 0x05, 0x00, 0x08, 0x00, 0x00, 0x48, 0xff, 0xc9, 0x75, 0xf4, HLT]);
    m.change((s) => {
      s.gpr[RCX] = 5000n;
    });
    expect(m.vcpu.run(100000).reason).toBe("halt");
    expect(m.memory.read64(CODE + 7 + 0x800)).toBe(5000n);
    expect(m.engine.stats().blocksDecoded).toBeLessThan(20);
  });
});

describe("events", () => {
  it("takes an interrupt only after the instruction behind STI", () => {
    const m = bareMachine();
    m.load([0xfb, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, HLT]);
    m.vcpu.requestInterrupt(true);
    expect(m.vcpu.run(100).reason).toBe("interrupt-window");
    expect(m.state().gpr[RAX]).toBe(1n);
    m.vcpu.requestInterrupt(false);
    m.vcpu.interrupt(0x40);
    expect(m.state().rip).toBe(BigInt(HANDLERS + 0x400));
    // RIP, CS, RFLAGS, RSP, SS on the stack
    expect(m.memory.read64(STACK - 40)).toBe(BigInt(CODE + 4));
    expect(m.state().rflags & 0x200n).toBe(0n);
  });

  it("shows RF to an interrupt in the midst of a repeated instruction, and not to one behind it", () => {
    const m = bareMachine();
    m.load([0xfb, 0x90, 0xf3, 0xaa, 0x90, HLT]); // sti; nop; rep stosb
    m.change((s) => {
      s.gpr[RCX] = 2n * 4096n;
      s.gpr[RDI] = 0x200000n;
    });
    const pushedFlags = (): bigint => {
      m.vcpu.requestInterrupt(true);
      expect(m.vcpu.run(1).reason).toBe("interrupt-window");
      m.vcpu.requestInterrupt(false);
      m.vcpu.interrupt(0x40);
      return m.memory.read64(STACK - 24) ?? 0n;
    };
    m.vcpu.run(3);
    expect(m.state().gpr[RCX]).toBe(4096n);
    expect(pushedFlags() & RF).toBe(RF);
    m.change((s) => {
      s.rip = BigInt(CODE + 2);
      s.rflags = 0x202n;
      s.gpr[RSP] = BigInt(STACK);
    });
    m.vcpu.run(1);
    expect(m.state().gpr[RCX]).toBe(0n);
    expect(pushedFlags() & RF).toBe(0n);
  });

  it("holds an interrupt while IF is clear", () => {
    const m = bareMachine();
    m.load([0x90, 0x90, HLT]);
    m.vcpu.requestInterrupt(true);
    expect(m.vcpu.run(100).reason).toBe("halt");
  });

  it("traps after each instruction with TF set", () => {
    const m = bareMachine();
    // #DB handler: inc rax; iretq
    m.memory.write(HANDLERS + 16, Uint8Array.of(0x48, 0xff, 0xc0, 0x48, 0xcf));
    m.load([0x90, 0x90, 0x90, HLT]);
    m.change((s) => {
      s.rflags |= 0x100n;
    });
    m.vcpu.run(13);
    expect(m.state().gpr[RAX]).toBe(3n);
    expect(m.state().dr[4]! & 0x4000n).toBe(0x4000n);
  });

  it("delivers an NMI in front of the #DB handler's first instruction, wherever the slice ends", () => {
    for (const slice of [1, 100]) {
      const m = bareMachine();
      m.memory.write(HANDLERS + 16, Uint8Array.of(0x50, 0x90, 0x90, HLT)); // push rax; nop; nop; hlt
      m.load([0x90, 0x90, HLT]);
      m.change((s) => {
        s.rflags |= 0x100n;
      });
      m.vcpu.run(1);
      m.vcpu.nmi();
      while (m.vcpu.run(slice).reason === "budget");
      expect(m.state().rip).toBe(BigInt(HANDLERS + 32 + 1));
      expect(m.memory.read64(Number(m.state().gpr[RSP]))).toBe(BigInt(HANDLERS + 16));
    }
  });

  it("stops before an instruction breakpoint, once with RF", () => {
    const m = bareMachine();
    m.load([0x90, 0x90, 0x90, HLT]);
    m.change((s) => {
      s.dr[0] = BigInt(CODE + 2);
      s.dr[5] = 0x401n;
    });
    m.vcpu.run(100);
    expect(m.state().rip).toBe(BigInt(HANDLERS + 16 + 1));
    expect(m.memory.read64(STACK - 40)).toBe(BigInt(CODE + 2));
    expect(m.state().dr[4]! & 1n).toBe(1n);
  });

  it("delivers an NMI, and not a second one before IRET", () => {
    const m = bareMachine();
    m.load([0x90, HLT]);
    m.vcpu.nmi();
    expect(m.vcpu.run(100).reason).toBe("halt");
    expect(m.state().rip).toBe(BigInt(HANDLERS + 2 * 16 + 1));
    m.vcpu.nmi();
    m.vcpu.run(100);
    expect(m.state().nmiPending).toBe(true);
  });

  it("shuts down on a triple fault, with the last branch targets", () => {
    const m = bareMachine();
    m.load([0xeb, 0x02, 0x90, 0x90, 0x0f, 0x0b]);
    m.change((s) => {
      s.idtr = { base: 0n, limit: 0 };
    });
    expect(m.vcpu.run(100).reason).toBe("shutdown");
    expect(m.vcpu.recentBranches?.().at(-1)).toBe(BigInt(CODE + 4));
  });

  it("does not read MMIO twice, nor outside RAM", () => {
    const reads: number[] = [];
    const m = bareMachine({
      readMmio: (gpa) => {
        reads.push(gpa);
        return 0x1234;
      },
    });
    m.load([0x8b, 0x03, HLT]);
    m.change((s) => {
      s.gpr[3] = 16n << 20n;
    });
    m.vcpu.run(100);
    expect(reads).toEqual([16 << 20]);
    expect(m.state().gpr[RAX]).toBe(0x1234n);
  });
});

describe("data breakpoints", () => {
  const watched = (rw: number, length: number): ReturnType<typeof bareMachine> => {
    const m = bareMachine();
    m.change((s) => {
      s.dr[0] = 0x200000n;
      s.dr[5] = BigInt(0x401 | (rw << 16) | (length << 18));
      s.gpr[3] = 0x200000n;
    });
    return m;
  };

  it("trap after the store that hits, and not on one beside it", () => {
    const m = watched(1, 3);
    // mov [rbx+4], eax; mov eax, [rbx]; mov [rbx+3], al; nop; hlt
    m.load([0x89, 0x43, 0x04, 0x8b, 0x03, 0x88, 0x43, 0x03, 0x90, HLT]);
    m.vcpu.run(100);
    expect(m.memory.read64(STACK - 40)).toBe(BigInt(CODE + 8));
    expect(m.state().dr[4]! & 0xfn).toBe(1n);
  });

  it("trap after a load when they watch both", () => {
    const m = watched(3, 0);
    m.load([0x8b, 0x03, 0x90, HLT]);
    m.vcpu.run(100);
    expect(m.memory.read64(STACK - 40)).toBe(BigInt(CODE + 2));
  });

  it("are dropped when the instruction faults", () => {
    const m = watched(3, 0);
    // add [rbx], rax is fine; then: load through a non-canonical address
    m.load([0x48, 0x8b, 0x01, HLT]);
    m.change((s) => {
      s.gpr[RCX] = 1n << 62n;
    });
    m.vcpu.run(100);
    expect(m.state().rip).toBe(BigInt(HANDLERS + 13 * 16 + 1));
    expect(m.state().dr[4]! & 0xfn).toBe(0n);
  });

  it("watch a port with CR4.DE", () => {
    const m = watched(2, 0);
    m.change((s) => {
      s.dr[0] = 0x80n;
      s.cr4 |= 8n;
    });
    m.load([0xe6, 0x81, 0xe6, 0x80, 0x90, HLT]);
    m.vcpu.run(100);
    expect(m.memory.read64(STACK - 40)).toBe(BigInt(CODE + 4));
    expect(m.writes.map((w) => w.port)).toEqual([0x81, 0x80]);
  });
});
