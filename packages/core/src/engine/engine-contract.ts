/**
 * What every engine keeps of engine.ts, as checks that any test runner can run on any engine:
 *
 *   for (const { name, run } of engineContract(create)) it(name, run);
 *
 * The guest is contract-guest.ts. Counts of instructions are not compared: engines on hardware have none that is exact.
 * The checks throw plain errors.
 */
import type { VcpuState } from "../cpu/state.ts";
import { entryState32 } from "../firmware/linux-entry.ts";
import {
  BUDGET,
  CODE,
  ContractGuest,
  checkWith,
  DATA,
  type EngineCheck,
  type EngineFactory,
  GPR,
  HANDLERS,
  MMIO,
  RFLAGS_IF,
  requireEqual,
  STACK,
} from "./contract-guest.ts";
import { stateChecks } from "./state-contract.ts";

export type { EngineCheck, EngineFactory, EngineOptions, EngineUnderTest } from "./contract-guest.ts";

export function engineContract(create: EngineFactory): EngineCheck[] {
  return [...stateChecks(create), ...runChecks(create)];
}

const HLT = 0xf4;
const MAX_ATTEMPTS = 100;
/** "TwinmetalVM": unknown to guests, so they assume nothing. */
const NO_HYPERVISOR = "6e697754 6174656d 4d566c";
const VECTOR = { DE: 0, NMI: 2, UD: 6, GP: 13, PF: 14, EXTERNAL: 0x40 } as const;
const handlerEnd = (vector: number): number => HANDLERS + vector * 16 + 1;

function runChecks(create: EngineFactory): EngineCheck[] {
  const check = (name: string, run: (guest: ContractGuest) => void): EngineCheck => checkWith(create, name, run);
  return [
    check("HLT ends a run, behind the instruction", (guest) => {
      guest.load([0x90, HLT]);
      requireEqual(guest.runToHalt(), CODE + 2, "RIP");
      requireEqual(guest.state().halted, true, "halted");
      requireEqual(guest.vcpu.run(BUDGET).reason, "halt", "a second run");
    }),
    check("port accesses of 1, 2 and 4 bytes reach the bus", checkPorts),
    check("string port accesses reach it one by one, and memory in order", checkStringPorts),
    check("MMIO reaches the bus; 8 bytes come as two halves, the low one first", checkMmio),
    check("an instruction that reads, changes and writes MMIO does each once", checkReadModifyWrite),
    check("string moves between MMIO and memory", checkMmioStrings),
    check("an endless loop comes back when its budget is spent", checkBudget),
    check("the state after a port access is the one behind the instruction", checkStateBehindExit),
    check("a kick from the bus ends the run after the current instruction", checkKick),
    check("a kick before a run ends the run", (guest) => {
      guest.load([0xeb, 0xfe]);
      guest.vcpu.kick();
      requireEqual(guest.vcpu.run(BUDGET).reason, "kick", "exit");
      requireEqual(guest.vcpu.run(BUDGET).reason, "budget", "the next run's");
    }),
    check(
      "CPUID offers no paravirtual interface, so no clock of one engine's: KVM's signature and its clock's MSR",
      (guest) => {
        guest.load([0xb8, 0, 0, 0, 0x40, 0x0f, 0xa2, HLT]); // mov $0x40000000,%eax; cpuid; hlt
        guest.runToHalt();
        const { gpr } = guest.state();
        requireEqual(gpr[GPR.rax], 0x4000_0000n, "the highest leaf");
        requireEqual(
          [GPR.rbx, GPR.rcx, GPR.rdx].map((register) => gpr[register]!.toString(16)).join(" "),
          NO_HYPERVISOR,
          "the signature",
        );
      },
    ),
    check("an interrupt waits for IF and for STI's shadow", checkInterruptWindow),
    check("an interrupt ends HLT, and its handler returns behind it", checkInterruptEndsHalt),
    check("an interrupt that is taken back is not delivered", (guest) => {
      guest.load([0xfb, 0x90, 0x90, HLT]); // sti; nop; nop; hlt
      guest.vcpu.requestInterrupt(true);
      guest.vcpu.requestInterrupt(false);
      requireEqual(guest.runToHalt(), CODE + 4, "RIP");
    }),
    check("an NMI is delivered whatever IF is, and no second one before IRET", checkNmi),
    check("exceptions go to the guest's handlers", checkExceptions),
    check("a page fault has address and error code", checkPageFault),
    check("a triple fault is a shutdown, and stays one", (guest) => {
      guest.change((state) => {
        state.idtr = { base: 0n, limit: 0 };
      });
      guest.load([0x0f, 0x0b]);
      requireEqual(guest.run().reason, "shutdown", "exit");
      requireEqual(guest.vcpu.run(BUDGET).reason, "shutdown", "the next run's");
    }),
    check("code that the host rewrites is run as it is now", checkRewrittenCode),
    check("code that the guest rewrites is run as it is now, behind a jump", (guest) => {
      // mov byte [rip+2], 90h; jmp to the next: seto [rax-12] becomes two nops
      guest.load([0xc6, 0x05, 0x02, 0x00, 0x00, 0x00, 0x90, 0xeb, 0x00, 0x0f, 0x90, HLT]);
      requireEqual(guest.runToHalt(), CODE + 12, "RIP");
    }),
    check("code that the guest rewrites is run as it is now, even the next instruction", (guest) => {
      // mov byte [rip], 90h: the same
      guest.load([0xc6, 0x05, 0x00, 0x00, 0x00, 0x00, 0x90, 0x0f, 0x90, HLT]);
      requireEqual(guest.runToHalt(), CODE + 10, "RIP");
    }),
    check("registers of x87 and SSE survive exits", checkFloat),
    check("CR8 is the task priority on both sides", (guest) => {
      guest.vcpu.setTaskPriority(5);
      guest.load([0x44, 0x0f, 0x20, 0xc0, 0xb9, 9, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc1, HLT]); // mov rax, cr8; mov cr8, 9
      guest.runToHalt();
      requireEqual([guest.gpr("rax"), guest.state().cr8], [5n, 9n], "CR8 read and written");
    }),
    check("MSRs of the local APIC are the bus's; unknown ones are #GP", () => checkMsrs(create)),
    check("32-bit protected mode without paging runs", checkProtectedMode),
    check("a ROM runs from the reset vector and loses stores", () => checkRom(create)),
    check("protected shadow RAM is read, runs code and leaves stores to the bus, until it is opened", checkShadow),
    check("engines do not share anything", () => checkApart(create)),
  ];
}

function checkPorts(guest: ContractGuest): void {
  // mov edx, 3f8h; mov eax, 44332211h; out dx, al; out dx, ax; out dx, eax; out 80h, al
  guest.load([
    ...[0xba, 0xf8, 0x03, 0, 0, 0xb8, 0x11, 0x22, 0x33, 0x44, 0xee, 0x66, 0xef, 0xef, 0xe6, 0x80],
    ...[0xec, 0x89, 0xc3, 0x66, 0xed, 0x89, 0xc1, 0xed, HLT], // in al, dx; mov ebx, eax; in ax, dx; mov ecx, eax; in eax, dx
  ]);
  guest.answer = (_at, size) => [0, 0xa1, 0xb2b2, 0, 0xc3c3c3c3][size]!;
  guest.runToHalt();
  requireEqual(
    guest.accesses,
    [
      { kind: "out", at: 0x3f8, size: 1, value: 0x11 },
      { kind: "out", at: 0x3f8, size: 2, value: 0x2211 },
      { kind: "out", at: 0x3f8, size: 4, value: 0x44332211 },
      { kind: "out", at: 0x80, size: 1, value: 0x11 },
      { kind: "in", at: 0x3f8, size: 1, value: 0xa1 },
      { kind: "in", at: 0x3f8, size: 2, value: 0xb2b2 },
      { kind: "in", at: 0x3f8, size: 4, value: 0xc3c3c3c3 },
    ],
    "accesses",
  );
  const values = [guest.gpr("rbx"), guest.gpr("rcx"), guest.gpr("rax")];
  requireEqual(values, [0x443322a1n, 0x4433b2b2n, 0xc3c3c3c3n], "what was read");
}

function checkStringPorts(guest: ContractGuest): void {
  const out = [1, 2, 3, 4, 5];
  const crossing = DATA + 0x1000 - 3;
  guest.write(DATA, out);
  // mov edx, 1f0h; rep outsb; mov ecx, 3; rep insw; hlt
  guest.load([0xba, 0xf0, 0x01, 0, 0, 0xf3, 0x6e, 0xb9, 3, 0, 0, 0, 0xf3, 0x66, 0x6d, HLT], {
    rcx: out.length,
    rsi: DATA,
    rdi: crossing,
  });
  let next = 0x1000;
  guest.answer = () => next++;
  guest.runToHalt();
  const written = guest.accesses.filter(({ kind }) => kind === "out").map(({ size, value }) => [size, value]);
  requireEqual(
    written,
    out.map((value) => [1, value]),
    "REP OUTSB",
  );
  requireEqual(guest.accesses.filter(({ kind }) => kind === "in").length, 3, "reads of REP INSW");
  requireEqual(guest.read(crossing, 6), [0x00, 0x10, 0x01, 0x10, 0x02, 0x10], "what REP INSW stored");
  const registers = [guest.gpr("rcx"), guest.gpr("rsi"), guest.gpr("rdi")];
  requireEqual(registers, [0n, BigInt(DATA + 5), BigInt(crossing + 6)], "RCX, RSI, RDI");
}

function checkMmio(guest: ContractGuest): void {
  // mov [rdi], al; mov [rdi+2], ax; mov [rdi+4], eax; mov [rdi+8], rax; movzx ebx, byte [rdi]; mov ecx, [rdi+4]; mov rdx, [rdi+8]
  guest.load(
    [
      ...[0x88, 0x07, 0x66, 0x89, 0x47, 0x02, 0x89, 0x47, 0x04, 0x48, 0x89, 0x47, 0x08],
      ...[0x0f, 0xb6, 0x1f, 0x8b, 0x4f, 0x04, 0x48, 0x8b, 0x57, 0x08, HLT],
    ],
    { rdi: MMIO, rax: 0x8877665544332211n },
  );
  guest.answer = (at, size) => (size === 1 ? 0x5a : at === MMIO + 8 ? 0x01020304 : 0xfffefdfc);
  guest.runToHalt();
  const write = (offset: number, size: number, value: number) => ({ kind: "write", at: MMIO + offset, size, value });
  requireEqual(
    guest.accesses.filter(({ kind }) => kind === "write"),
    [
      write(0, 1, 0x11),
      write(2, 2, 0x2211),
      write(4, 4, 0x44332211),
      write(8, 4, 0x44332211),
      write(12, 4, 0x88776655),
    ],
    "writes",
  );
  const reads = guest.accesses.filter(({ kind }) => kind === "read").map(({ at, size }) => [at - MMIO, size]);
  requireEqual(
    reads,
    [
      [0, 1],
      [4, 4],
      [8, 4],
      [12, 4],
    ],
    "reads",
  );
  const values = [guest.gpr("rbx"), guest.gpr("rcx"), guest.gpr("rdx")];
  requireEqual(values, [0x5an, 0xfffefdfcn, 0xfffefdfc01020304n], "what was read");
}

function checkReadModifyWrite(guest: ContractGuest): void {
  guest.load([0x01, 0x07, HLT], { rdi: MMIO + 0x100, rax: 5 }); // add [rdi], eax
  guest.answer = () => 37;
  guest.runToHalt();
  const told = guest.accesses.map(({ kind, size, value }) => [kind, size, value]);
  requireEqual(
    told,
    [
      ["read", 4, 37],
      ["write", 4, 42],
    ],
    "accesses",
  );
}

function checkMmioStrings(guest: ContractGuest): void {
  // rep movsd from MMIO to memory; then four bytes by movsb the other way
  guest.load(
    [0xf3, 0xa5, 0xb9, 4, 0, 0, 0, 0xbe, 0x00, 0x00, 0x12, 0x00, 0xbf, 0x00, 0x00, 0x00, 0xd0, 0xf3, 0xa4, HLT],
    {
      rcx: 3,
      rsi: MMIO,
      rdi: DATA,
    },
  );
  let next = 1;
  guest.answer = () => next++;
  guest.runToHalt();
  requireEqual(guest.read(DATA, 12), [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0], "what was moved to memory");
  const written = guest.accesses
    .filter(({ kind }) => kind === "write")
    .map(({ at, size, value }) => [at - MMIO, size, value]);
  requireEqual(
    written,
    [
      [0, 1, 1],
      [1, 1, 0],
      [2, 1, 0],
      [3, 1, 0],
    ],
    "what was moved from it",
  );
}

function checkBudget(guest: ContractGuest): void {
  guest.load([0xff, 0xc0, 0xeb, 0xfc]); // inc eax; jmp
  const { retired } = guest.vcpu;
  let rounds = 0n;
  for (const run of ["first", "second", "third"]) {
    // A host that is busy elsewhere may let a budget of time pass without a single instruction.
    for (let attempt = 0; guest.gpr("rax") <= rounds; attempt++) {
      requireEqual(guest.vcpu.run(BUDGET).reason, "budget", `exit of the ${run} run`);
      if (attempt > MAX_ATTEMPTS) throw new Error(`nothing ran in the budget of the ${run} run`);
    }
    rounds = guest.gpr("rax");
  }
  if (!(guest.vcpu.retired > retired)) throw new Error("the count of instructions stood still");
}

function checkStateBehindExit(guest: ContractGuest): void {
  guest.load([0xe5, 0x10, 0xe7, 0x11, HLT], { rax: 1 }); // in eax, 10h; out 11h, eax; hlt
  guest.answer = () => {
    guest.vcpu.kick();
    return 0x1234_5678;
  };
  requireEqual(guest.run().reason, "kick", "exit");
  requireEqual([guest.state().rip, guest.gpr("rax")], [BigInt(CODE + 2), 0x1234_5678n], "RIP and RAX");
  requireEqual(guest.accesses.length, 1, "accesses before the kick");
  // A state that is put back goes on with the next instruction, and the access is not done again.
  guest.change(() => {});
  guest.answer = () => 0;
  guest.runToHalt();
  const told = guest.accesses.map(({ kind, at, value }) => [kind, at, value]);
  requireEqual(
    told,
    [
      ["in", 0x10, 0x1234_5678],
      ["out", 0x11, 0x1234_5678],
    ],
    "accesses",
  );
}

function checkKick(guest: ContractGuest): void {
  guest.load([0x8b, 0x07, 0xff, 0xc3, 0xeb, 0xfe], { rdi: MMIO, rbx: 0 }); // mov eax, [rdi]; inc ebx; jmp $
  guest.answer = () => {
    guest.vcpu.kick();
    return 7;
  };
  requireEqual(guest.run().reason, "kick", "exit");
  requireEqual([guest.gpr("rax"), guest.gpr("rbx")], [7n, 0n], "RAX and RBX");
}

function checkInterruptWindow(guest: ContractGuest): void {
  const { vcpu } = guest;
  guest.load([0x90, 0xeb, 0xfd]); // nop; jmp
  vcpu.requestInterrupt(true);
  requireEqual(vcpu.run(BUDGET).reason, "budget", "exit with IF clear");
  guest.load([0xfb, 0xff, 0xc0, 0xff, 0xc0, HLT], { rax: 0 }); // sti; inc eax; inc eax; hlt
  requireEqual(guest.run().reason, "interrupt-window", "exit behind STI");
  requireEqual(
    [guest.gpr("rax"), guest.state().rip],
    [1n, BigInt(CODE + 3)],
    "RAX and RIP: one instruction behind STI",
  );
  vcpu.requestInterrupt(false);
  vcpu.interrupt(VECTOR.EXTERNAL);
  requireEqual(guest.runToHalt(), handlerEnd(VECTOR.EXTERNAL), "RIP in the handler");
  const { gpr, rflags } = guest.state();
  requireEqual(rflags & RFLAGS_IF, 0n, "IF in the handler");
  const frame = Number(gpr[GPR.rsp]);
  requireEqual(guest.engine.memory.read64(frame), BigInt(CODE + 3), "the return address");
}

function checkInterruptEndsHalt(guest: ContractGuest): void {
  const { vcpu } = guest;
  guest.gate(VECTOR.EXTERNAL, DATA);
  guest.write(DATA, [0xff, 0xc3, 0x48, 0xcf]); // inc ebx; iretq
  guest.load([0xfb, HLT, 0xfa, 0xff, 0xc3, HLT], { rbx: 0 }); // sti; hlt; cli; inc ebx; hlt
  requireEqual(guest.runToHalt(), CODE + 2, "RIP at the first HLT");
  vcpu.requestInterrupt(true);
  requireEqual(guest.run().reason, "interrupt-window", "exit");
  vcpu.requestInterrupt(false);
  vcpu.interrupt(VECTOR.EXTERNAL);
  requireEqual([guest.runToHalt(), Number(guest.gpr("rbx"))], [CODE + 6, 2], "RIP and RBX at the second HLT");
}

function checkNmi(guest: ContractGuest): void {
  const { vcpu } = guest;
  guest.gate(VECTOR.NMI, DATA);
  guest.write(DATA, [0xff, 0xc3, 0xe7, 0x20, 0x48, 0xcf]); // inc ebx; out 20h, eax; iretq
  guest.load([0x90, 0xeb, 0xfd], { rbx: 0 });
  let inside = 0;
  guest.accesses.push = (...accesses) => {
    if (inside++ === 0) vcpu.nmi();
    vcpu.kick();
    return accesses.length;
  };
  vcpu.nmi();
  requireEqual(guest.run().reason, "kick", "exit out of the first handler");
  requireEqual([guest.gpr("rbx"), guest.state().nmiMasked], [1n, true], "handlers entered, and NMIs masked");
  requireEqual(guest.run().reason, "kick", "exit out of the second handler");
  requireEqual(guest.gpr("rbx"), 2n, "handlers entered");
  requireEqual(vcpu.run(BUDGET).reason, "budget", "exit afterwards");
  requireEqual(
    [guest.gpr("rbx"), guest.state().nmiMasked],
    [2n, false],
    "handlers entered, and NMIs masked, at the end",
  );
}

function checkExceptions(guest: ContractGuest): void {
  const cases: [name: string, code: number[], vector: number, errorCode: bigint | undefined][] = [
    ["UD2", [0x0f, 0x0b], VECTOR.UD, undefined],
    ["DIV by 0", [0x31, 0xc9, 0xf7, 0xf1], VECTOR.DE, undefined],
    ["a non-canonical address", [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x70, 0x8b, 0x00], VECTOR.GP, 0n],
    ["a selector beyond the GDT", [0xb8, 0xf0, 0, 0, 0, 0x8e, 0xd8], VECTOR.GP, 0xf0n],
  ];
  for (const [name, code, vector, errorCode] of cases) {
    guest.load([...code, HLT], { rsp: STACK });
    requireEqual(guest.runToHalt(), handlerEnd(vector), `RIP after ${name}`);
    if (errorCode === undefined) continue;
    requireEqual(guest.engine.memory.read64(Number(guest.gpr("rsp"))), errorCode, `error code of ${name}`);
  }
}

function checkPageFault(guest: ContractGuest): void {
  const beyond = 0x40_0000_1234n; // no PML4 entry
  guest.load([0x48, 0x89, 0x07, HLT], { rdi: beyond }); // mov [rdi], rax
  requireEqual(guest.runToHalt(), handlerEnd(VECTOR.PF), "RIP");
  requireEqual(guest.state().cr2, beyond, "CR2");
  requireEqual(guest.engine.memory.read64(Number(guest.gpr("rsp"))), 2n, "error code: a write, not present");
}

function checkRewrittenCode(guest: ContractGuest): void {
  for (const value of [1, 2, 3]) {
    guest.load([0xb8, value, 0, 0, 0, HLT]); // mov eax, value
    guest.runToHalt();
    requireEqual(guest.gpr("rax"), BigInt(value), "RAX");
  }
}

function checkFloat(guest: ContractGuest): void {
  // fldpi; movq xmm7, rax; out 10h, al; fstp qword [rdi]; movq [rdi+8], xmm7
  guest.load(
    [...[0xd9, 0xeb, 0x66, 0x48, 0x0f, 0x6e, 0xf8, 0xe6, 0x10], ...[0xdd, 0x1f, 0x66, 0x0f, 0xd6, 0x7f, 0x08, HLT]],
    { rdi: DATA, rax: 0x0123456789abcdefn },
  );
  guest.change((state) => {
    state.cr4 |= 0x200n; // OSFXSR
  });
  guest.runToHalt();
  const bytes = new DataView(Uint8Array.from(guest.read(DATA, 16)).buffer);
  requireEqual([bytes.getFloat64(0, true), bytes.getBigUint64(8, true)], [Math.PI, 0x0123456789abcdefn], "stored");
}

const IA32_TSC_DEADLINE = 0x6e0;

function checkMsrs(create: EngineFactory): void {
  const told: unknown[] = [];
  const bus = {
    readMsr: (index: number) => (index === IA32_TSC_DEADLINE ? 0x1234_5678_9abcn : undefined),
    writeMsr: (index: number, value: bigint) => {
      told.push([index, value]);
      return index === IA32_TSC_DEADLINE;
    },
  };
  const { name: _, run } = checkWith(
    create,
    "",
    (guest) => {
      // mov ecx, 6e0h; rdmsr; mov ebx, eax; mov esi, edx; mov eax, 7; mov edx, 8; wrmsr; hlt
      const code = [
        0xb9, 0xe0, 0x06, 0, 0, 0x0f, 0x32, 0x89, 0xc3, 0x89, 0xd6, 0xb8, 7, 0, 0, 0, 0xba, 8, 0, 0, 0, 0x0f, 0x30,
      ];
      guest.load([...code, HLT]);
      guest.runToHalt();
      requireEqual([guest.gpr("rbx"), guest.gpr("rsi")], [0x5678_9abcn, 0x1234n], "EAX and EDX of RDMSR");
      requireEqual(told, [[IA32_TSC_DEADLINE, 0x8_0000_0007n]], "what WRMSR told the bus");
      guest.load([0xb9, 0x55, 0x55, 0x55, 0x55, 0x0f, 0x32, HLT]); // mov ecx, 55555555h; rdmsr
      requireEqual(guest.runToHalt(), handlerEnd(VECTOR.GP), "RIP after RDMSR of nothing");
    },
    bus,
  );
  run();
}

function checkProtectedMode(guest: ContractGuest): void {
  // push 12345678h; pop ebx; mov [120000h], ebx; out 10h, al; hlt
  guest.write(CODE, [0x68, 0x78, 0x56, 0x34, 0x12, 0x5b, 0x89, 0x1d, 0x00, 0x00, 0x12, 0x00, 0xe6, 0x10, HLT]);
  const state: VcpuState = entryState32(CODE);
  state.gpr[GPR.rsp] = BigInt(STACK);
  guest.vcpu.setState(state);
  guest.runToHalt();
  requireEqual(guest.read(DATA, 4), [0x78, 0x56, 0x34, 0x12], "what was stored");
  requireEqual(guest.accesses.length, 1, "accesses");
}

function checkRom(create: EngineFactory): void {
  const rom = new Uint8Array(0x2_0000).fill(HLT);
  rom.set([0xe9, 0x0d, 0x00], 0x1_fff0); // jmp to offset 0 of the last 64 KiB
  // mov cs:[100h], ax into the ROM, in real mode: #GP, CS cannot be written; so by DS: mov ax, f000h; mov ds, ax; mov [100h], al; mov al, [100h]; out 10h, al
  rom.set([0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xa2, 0x00, 0x01, 0xe6, 0x10, HLT], 0x1_0000);
  const guest = new ContractGuest(create, {}, { rom });
  try {
    guest.vcpu.reset();
    requireEqual(guest.state().cs.base, 0xffff_0000n, "CS's base after reset");
    guest.runToHalt();
    requireEqual(
      guest.accesses.map(({ kind, at, value }) => [kind, at, value]),
      [["out", 0x10, 0x00]],
      "accesses",
    );
    const last = 2 ** 32 - 0x1_0000;
    guest.vcpu.setState({ ...entryState32(CODE) });
    guest.load([0x89, 0x07, 0x8b, 0x1f, HLT], { rdi: last + 0x100, rax: 0x1234_5678 }); // mov [edi], eax; mov ebx, [edi]
    guest.runToHalt();
    requireEqual(guest.gpr("rbx"), 0xf4f4_f4f4n, "what is read where the store went");
    requireEqual(guest.engine.memory.write8(last, 0), false, "a store of the host's");
  } finally {
    guest.close();
  }
}

const SHADOW = 0xc_8000;

function checkShadow(guest: ContractGuest): void {
  const { engine } = guest;
  // mov [rdi], eax; add [rdi+8], eax; lock xadd [rdi+10h], ebx; mov [rdi+3eh], eax
  // lea rbp, [rdi+1300h]; rep stosd; xchg rsp, rbp; push rax; xchg rsp, rbp; call rdx
  const stores = [
    ...[0x89, 0x07, 0x01, 0x47, 0x08, 0xf0, 0x0f, 0xc1, 0x5f, 0x10, 0x89, 0x47, 0x3e],
    ...[0x48, 0x8d, 0xaf, 0, 0x13, 0, 0, 0xf3, 0xab, 0x48, 0x87, 0xe5, 0x50, 0x48, 0x87, 0xe5, 0xff, 0xd2, HLT],
  ];
  const before = Array.from({ length: 0x3000 }, (_, i) => (i * 7) & 0xff);
  before.splice(0x2000, 3, 0xb1, 0x2a, 0xc3); // mov cl, 2ah; ret
  const registers = { rdi: SHADOW + 0xfc0, rax: 0x5a5a_5a5a, rcx: 0x20, rdx: SHADOW + 0x2000, rbx: 1 };
  const run = (): number[] => {
    guest.load(stores, registers);
    guest.runToHalt();
    requireEqual(guest.gpr("rcx"), 0x2an, "what code there does");
    return guest.read(SHADOW, before.length);
  };
  // Stored to first, so that the engine knows a way there.
  guest.write(SHADOW, before);
  requireEqual(run().slice(0xfc0, 0xfc4), [0x5a, 0x5a, 0x5a, 0x5a], "open memory");
  engine.protectShadow(0b1100);
  guest.write(SHADOW, before);
  guest.accesses.length = 0;
  requireEqual(run(), before, "protected memory");
  const stored = guest.accesses.filter(({ kind }) => kind === "write").map(({ at, size, value }) => [at, size, value]);
  requireEqual(stored[0], [SHADOW + 0xfc0, 4, 0x5a5a_5a5a], "the first store that comes to the bus");
  const bytes = stored.reduce((sum, [, size = 0]) => sum + size, 0);
  requireEqual(bytes, 4 + 4 + 4 + 4 + 0x80 + 8, "bytes that come to the bus");
  engine.protectShadow(0b0001);
  const after = run();
  requireEqual([after[0xfc0], after[0x103f], after[0x1040]], [0x5a, 0x5a, before[0x1040]], "opened memory");
  guest.load([0xc7, 0x07, 0xb1, 0x2b, 0xc3, 0x90, 0xff, 0xd7, HLT], { rdi: SHADOW + 0x2000 }); // mov dword [rdi], code; call rdi
  guest.runToHalt();
  requireEqual(guest.gpr("rcx") & 0xffn, 0x2bn, "code that is rewritten in opened memory");
}

function checkApart(create: EngineFactory): void {
  const guests = [1, 2].map(() => new ContractGuest(create));
  try {
    for (const [index, guest] of guests.entries()) guest.load([0xff, 0x07, 0x8b, 0x07, HLT], { rdi: DATA, rax: index }); // inc [rdi]
    for (const guest of guests) guest.runToHalt();
    guests[0]!.load([0xff, 0x07, 0x8b, 0x07, HLT], { rdi: DATA });
    guests[0]!.runToHalt();
    requireEqual(
      guests.map((guest) => guest.gpr("rax")),
      [2n, 1n],
      "counts",
    );
  } finally {
    for (const guest of guests) guest.close();
  }
}
