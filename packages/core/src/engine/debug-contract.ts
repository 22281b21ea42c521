/**
 * What every engine keeps of debugging.ts, as checks for any test runner (engine-contract.ts): steps, breakpoints and
 * watchpoints stop where they should and nowhere else, and the guest does not notice.
 */
import {
  CODE,
  type ContractGuest,
  checkWith,
  DATA,
  type EngineCheck,
  type EngineFactory,
  GPR,
  HANDLERS,
  MMIO,
  RFLAGS_IF,
  requireEqual,
} from "./contract-guest.ts";
import type { Breakpoint, DebugRequest, DebugStop } from "./debugging.ts";

const HLT = 0xf4;
const BP = 3;
const EXTERNAL = 0x40;
const at = (offset: number): bigint => BigInt(CODE + offset);
const STEP: DebugStop = { kind: "step" };
const breakpoint = (offset: number): DebugStop => ({ kind: "breakpoint", address: at(offset) });
const onInstruction = (offset: number): Breakpoint => ({ on: "instruction", address: at(offset) });

export function debugContract(create: EngineFactory): EngineCheck[] {
  const check = (name: string, run: (guest: ContractGuest) => void): EngineCheck => checkWith(create, name, run);
  return [
    check("single steps are one instruction each, and an access is done once", checkSteps),
    check("while it steps, interrupts wait", checkStepsWithInterrupt),
    check("a hardware breakpoint stops in front of its instruction, each time", (guest) =>
      checkBreakpoint(guest, { hardware: [onInstruction(2)] }),
    ),
    check("a software breakpoint does, too", (guest) => checkBreakpoint(guest, { software: [at(2)] })),
    check("one of many software breakpoints does, too", (guest) =>
      checkBreakpoint(guest, { software: [at(2), ...Array.from({ length: 20 }, (_, i) => at(0x100 + i))] }),
    ),
    check("a breakpoint where a run begins stops it at once", (guest) => {
      guest.load([0xff, 0xc0, HLT], { rax: 0 }); // inc eax
      guest.vcpu.debug({ hardware: [onInstruction(0)] });
      requireStop(guest, breakpoint(0), "stop");
      requireEqual(guest.gpr("rax"), 0n, "RAX");
      guest.runToHalt();
      requireEqual(guest.gpr("rax"), 1n, "RAX at the end");
    }),
    check("memory shows no software breakpoint between runs", (guest) => {
      guest.load([0x90, 0x90, HLT]);
      guest.vcpu.debug({ software: [at(1)] });
      requireStop(guest, breakpoint(1), "stop");
      requireEqual(guest.read(CODE, 3), [0x90, 0x90, HLT], "code");
    }),
    check("watchpoints stop behind the access", checkWatchpoints),
    check("breakpoints and watchpoints on the same way stop one after the other", checkBoth),
    check("an INT3 of the guest's goes to its handler", (guest) => {
      guest.load([0xcc, HLT]);
      guest.vcpu.debug({ software: [at(0x100)], hardware: [onInstruction(0x200)] });
      requireEqual(guest.runToHalt(), HANDLERS + BP * 16 + 1, "RIP");
      requireEqual(guest.engine.memory.read64(Number(guest.gpr("rsp"))), at(1), "the return address");
    }),
    check("the guest's debug registers read as it has left them", checkDebugRegisters),
    check("accesses to devices go on as without", checkDevices),
    check("nothing stops any more when it is switched off", (guest) => {
      guest.load([0x90, 0x90, 0x89, 0x07, HLT], { rdi: DATA });
      guest.vcpu.debug({ hardware: [onInstruction(1), { on: "write", address: BigInt(DATA) }], singleStep: true });
      requireStop(guest, STEP, "stop");
      guest.vcpu.debug(undefined);
      requireEqual(guest.runToHalt(), CODE + 5, "RIP");
    }),
    check("what cannot be is refused", (guest) => {
      const five = Array.from({ length: 5 }, (_, i) => onInstruction(i));
      for (const request of [{ hardware: five }, { hardware: [{ on: "write", address: at(1), bytes: 4 }] }] as const) {
        let refused = "";
        try {
          guest.vcpu.debug(request);
        } catch (error) {
          refused = (error as Error).name;
        }
        requireEqual(refused, "RangeError", "error");
      }
      guest.load([0x90, HLT]);
      guest.runToHalt();
    }),
  ];
}

function requireStop(guest: ContractGuest, stop: DebugStop, what: string): void {
  const exit = guest.run();
  requireEqual(exit, { reason: "debug", stop }, what);
}

const rip = (guest: ContractGuest): number => Number(guest.state().rip) - CODE;

function checkSteps(guest: ContractGuest): void {
  // nop; inc eax; out 10h, al; mov [rdi], eax; jmp +1; hlt; hlt
  guest.load([0x90, 0xff, 0xc0, 0xe6, 0x10, 0x89, 0x07, 0xeb, 0x01, HLT, HLT], { rax: 0, rdi: MMIO });
  guest.vcpu.debug({ singleStep: true });
  for (const offset of [1, 3, 5, 7, 10]) {
    requireStop(guest, STEP, `the step to ${offset}`);
    requireEqual(rip(guest), offset, "RIP");
  }
  const told = guest.accesses.map(({ kind, value }) => [kind, value]);
  requireEqual(
    told,
    [
      ["out", 1],
      ["write", 1],
    ],
    "accesses",
  );
  requireEqual(guest.run().reason, "halt", "the last step");
  requireEqual(guest.state().rflags & 0x100n, 0n, "TF");
}

function checkStepsWithInterrupt(guest: ContractGuest): void {
  const { vcpu } = guest;
  guest.load([0x90, 0x90, 0x90, 0x90, HLT]);
  guest.change((state) => {
    state.rflags |= RFLAGS_IF;
  });
  vcpu.debug({ singleStep: true });
  vcpu.requestInterrupt(true);
  for (const offset of [1, 2, 3]) {
    requireStop(guest, STEP, `the step to ${offset}`);
    requireEqual(rip(guest), offset, "RIP");
  }
  vcpu.debug(undefined);
  requireEqual(guest.run().reason, "interrupt-window", "exit behind the steps");
  vcpu.requestInterrupt(false);
  vcpu.interrupt(EXTERNAL);
  requireEqual(guest.runToHalt(), HANDLERS + EXTERNAL * 16 + 1, "RIP in the handler");
}

function checkBreakpoint(guest: ContractGuest, request: DebugRequest): void {
  guest.load([0xff, 0xc0, 0xff, 0xc1, 0xff, 0xcb, 0x75, 0xf8, HLT], { rax: 0, rcx: 0, rbx: 3 }); // inc eax; inc ecx; dec ebx; jnz
  guest.vcpu.debug(request);
  for (const round of [1n, 2n, 3n]) {
    requireStop(guest, breakpoint(2), `stop ${round}`);
    requireEqual([rip(guest), guest.gpr("rax"), guest.gpr("rcx")], [2, round, round - 1n], "RIP, RAX and RCX");
  }
  requireEqual(guest.runToHalt(), CODE + 9, "RIP");
  requireEqual([guest.gpr("rax"), guest.gpr("rcx")], [3n, 3n], "RAX and RCX");
}

function checkWatchpoints(guest: ContractGuest): void {
  // mov [rdi+8], eax; mov [rdi], eax; mov ecx, [rdi]; mov ecx, [rdi+4]; mov [rdi+4], cl
  guest.load([0x89, 0x47, 0x08, 0x89, 0x07, 0x8b, 0x0f, 0x8b, 0x4f, 0x04, 0x88, 0x4f, 0x04, HLT], { rdi: DATA });
  const written: Breakpoint = { on: "write", address: BigInt(DATA), bytes: 4 };
  const touched: Breakpoint = { on: "access", address: BigInt(DATA + 4), bytes: 4 };
  guest.vcpu.debug({ hardware: [written, touched] });
  for (const [offset, { address }] of [
    [5, written],
    [10, touched],
    [13, touched],
  ] as const) {
    requireStop(guest, { kind: "watchpoint", address }, `the stop at ${offset}`);
    requireEqual(rip(guest), offset, "RIP");
  }
  guest.runToHalt();
}

function checkBoth(guest: ContractGuest): void {
  guest.load([0x90, 0x89, 0x07, 0x90, HLT], { rdi: DATA }); // nop; mov [rdi], eax; nop
  guest.vcpu.debug({
    hardware: [onInstruction(1), { on: "write", address: BigInt(DATA), bytes: 8 }],
    software: [at(4)],
  });
  requireStop(guest, breakpoint(1), "the first stop");
  requireStop(guest, { kind: "watchpoint", address: BigInt(DATA) }, "the second");
  requireEqual(rip(guest), 3, "RIP");
  requireStop(guest, breakpoint(4), "the third");
  guest.runToHalt();
}

function checkDebugRegisters(guest: ContractGuest): void {
  // mov dr0, rax; mov dr7, rcx; mov rbx, dr0; mov rsi, dr7; mov [rdi], eax; hlt
  guest.load(
    [0x0f, 0x23, 0xc0, 0x0f, 0x23, 0xf9, 0x0f, 0x21, 0xc3, 0x0f, 0x21, 0xfe, 0x89, 0x07, HLT],
    { rax: 0x1234, rcx: 0x500, rdi: DATA }, // DR7: nothing enabled
  );
  guest.vcpu.debug({ hardware: [{ on: "write", address: BigInt(DATA) }, onInstruction(9)] });
  requireStop(guest, breakpoint(9), "stop");
  requireStop(guest, { kind: "watchpoint", address: BigInt(DATA) }, "stop");
  requireEqual([guest.gpr("rbx"), guest.gpr("rsi")], [0x1234n, 0x500n], "DR0 and DR7 as the guest reads them");
  const { dr } = guest.state();
  requireEqual([dr[0], dr[4]! & 0xfn, dr[5]], [0x1234n, 0n, 0x500n], "DR0, DR6's hits and DR7");
  guest.vcpu.debug(undefined);
  guest.runToHalt();
  requireEqual([guest.state().dr[0], guest.state().dr[5]], [0x1234n, 0x500n], "DR0 and DR7 afterwards");
}

function checkDevices(guest: ContractGuest): void {
  guest.load([0xe5, 0x10, 0x89, 0x07, 0x8b, 0x1f, 0xe7, 0x11, HLT], { rdi: MMIO }); // in eax, 10h; mov [rdi], eax; mov ebx, [rdi]; out 11h, eax
  guest.vcpu.debug({ hardware: [onInstruction(2), onInstruction(6)], software: [at(4)] });
  guest.answer = () => 0x1234;
  for (const offset of [2, 4, 6]) requireStop(guest, breakpoint(offset), `the stop at ${offset}`);
  guest.runToHalt();
  const told = guest.accesses.map(({ kind, value }) => [kind, value]);
  requireEqual(
    told,
    [
      ["in", 0x1234],
      ["write", 0x1234],
      ["read", 0x1234],
      ["out", 0x1234],
    ],
    "accesses",
  );
  requireEqual(guest.state().gpr[GPR.rbx], 0x1234n, "RBX");
}
