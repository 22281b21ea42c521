/** The part of the engine contract about a vCPU's architectural state: it goes in and comes out whole, in every mode. */
import type { SegmentRegister, VcpuState } from "../cpu/state.ts";
import { entryState, entryState32 } from "../firmware/linux-entry.ts";
import {
  CODE,
  ContractGuest,
  checkWith,
  DATA,
  type EngineCheck,
  type EngineFactory,
  GPR,
  MEMORY_BYTES,
  requireEqual,
  STACK,
} from "./contract-guest.ts";

const UNUSABLE = 1 << 16;
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"] as const;
/** Behind these, FXSAVE's image is reserved. */
const FXSAVE_USED_BYTES = 416;
const MSR = {
  SYSENTER_CS: 0x174,
  SYSENTER_ESP: 0x175,
  SYSENTER_EIP: 0x176,
  PAT: 0x277,
  STAR: 0xc000_0081,
  LSTAR: 0xc000_0082,
  CSTAR: 0xc000_0083,
  FMASK: 0xc000_0084,
  KERNEL_GS_BASE: 0xc000_0102,
} as const;

export function stateChecks(create: EngineFactory): EngineCheck[] {
  const check = (name: string, run: (guest: ContractGuest) => void): EngineCheck => checkWith(create, name, run);
  const roundTrips = Object.entries(states()).map(([name, state]) =>
    check(`state goes in and comes out: ${name}`, (guest) => {
      guest.vcpu.setState(state);
      requireState(guest.state(), state, "");
      guest.vcpu.setState(guest.state());
      requireState(guest.state(), state, " the second time");
    }),
  );
  return [
    ...roundTrips,
    check("a vCPU after reset is in the architectural reset state", (guest) => {
      guest.vcpu.reset();
      const { rip, rflags, cs, cr0, gpr } = guest.state();
      requireEqual([rip, rflags, cs.selector, cs.base], [0xfff0n, 2n, 0xf000, 0xffff_0000n], "RIP, RFLAGS, CS");
      requireEqual([cr0, gpr[GPR.rax], gpr[GPR.rsp]], [0x6000_0010n, 0n, 0n], "CR0, RAX, RSP");
    }),
    check("what is read is a copy", (guest) => {
      const state = guest.state();
      state.gpr[GPR.rbx] = 99n;
      state.fxsave[32] = 99;
      requireEqual([guest.gpr("rbx"), guest.state().fxsave[32]], [0n, 0], "RBX and ST0");
    }),
    {
      name: "a run goes on in another engine of the same kind from the state of the first",
      run: () => checkHandOver(create, create),
    },
  ];
}

/** The same between engines of different kinds: what `from` has begun, `to` ends. */
export function handOverContract(from: EngineFactory, to: EngineFactory): EngineCheck[] {
  return [
    { name: "a run goes on in the other engine from its state", run: () => checkHandOver(from, to) },
    ...Object.entries(states()).map(([name, state]) => ({
      name: `state passes through both: ${name}`,
      run: () => checkPassing(from, to, state),
    })),
  ];
}

/** Mixes registers, memory and answers of a port for a while, and counts in EBX how often it has come by the port. */
const MIXER = [
  ...[0x31, 0x07, 0x69, 0xc0, 0x0d, 0x66, 0x19, 0x00, 0x05, 0x5f, 0xf3, 0x6e, 0x3c], // xor [rdi], eax; imul; add
  ...[0x31, 0x47, 0x04, 0xe5, 0x10, 0x01, 0x47, 0x08], // xor [rdi+4], eax; in eax, 10h; add [rdi+8], eax
  ...[0xff, 0xc3, 0x81, 0xfb, 0xc8, 0x00, 0x00, 0x00, 0x75, 0xe1, 0xf4], // inc ebx; cmp ebx, 200; jne; hlt
];
const MIXER_ROUNDS = 200;

function checkHandOver(from: EngineFactory, to: EngineFactory): void {
  const straight = mixed(from, undefined, from);
  for (const round of [1, 57, MIXER_ROUNDS - 1])
    requireEqual(mixed(from, round, to), straight, `what a run comes to that is handed over at round ${round}`);
}

function mixed(from: EngineFactory, round: number | undefined, to: EngineFactory): unknown {
  let guest = new ContractGuest(from);
  const answer = (target: ContractGuest): void => {
    target.answer = () => {
      if (target.answered === round) target.vcpu.kick();
      return (target.answered++ * 0x9e37_79b1) >>> 0;
    };
  };
  try {
    answer(guest);
    guest.load(MIXER, { rdi: DATA, rax: 1, rbx: 0 });
    if (round !== undefined) {
      requireEqual(guest.run().reason, "kick", "exit for the hand-over");
      const next = new ContractGuest(to);
      const bytes = new Uint8Array(MEMORY_BYTES);
      guest.engine.memory.read(0, bytes);
      next.engine.memory.write(0, bytes);
      next.vcpu.setState(guest.state());
      next.answered = guest.answered;
      answer(next);
      guest.close();
      guest = next;
    }
    guest.runToHalt();
    const { gpr, rip, rflags } = guest.state();
    return [gpr, rip, rflags & 0xcd5n, guest.read(DATA, 12)];
  } finally {
    guest.close();
  }
}

function checkPassing(from: EngineFactory, to: EngineFactory, state: VcpuState): void {
  const [first, second] = [new ContractGuest(from), new ContractGuest(to)];
  try {
    first.vcpu.setState(state);
    second.vcpu.setState(first.state());
    requireState(second.state(), state, " behind the second");
    first.vcpu.setState(second.state());
    requireState(first.state(), state, " back in the first");
  } finally {
    first.close();
    second.close();
  }
}

function states(): Record<string, VcpuState> {
  const long = filled(entryState(CODE));
  const real = filled(entryState32(0x1000));
  const segment = (selector: number): SegmentRegister => ({
    selector,
    base: BigInt(selector * 16),
    limit: 0xffff,
    attributes: 0x93,
  });
  return {
    "64-bit": long,
    "32-bit without paging": filled(entryState32(CODE)),
    "real mode": {
      ...real,
      cr0: 0x10n,
      ...{ cs: { ...segment(0x100), attributes: 0x9b }, ss: segment(0x200), ds: segment(0x300), es: segment(0x400) },
      ...{ fs: segment(0x500), gs: segment(0x600) },
    },
    halted: { ...long, halted: true, rflags: 0x202n },
    "in STI's shadow": { ...long, interruptShadow: "sti", rflags: 0x202n },
    "in MOV SS's shadow": { ...long, interruptShadow: "mov-ss", rflags: 0x202n },
    "in an NMI handler, with another one waiting": { ...long, nmiMasked: true, nmiPending: true },
  };
}

/** Every register something of its own. */
function filled(state: VcpuState): VcpuState {
  const is64 = (state.cs.attributes & 0x2000) !== 0;
  const fxsave = state.fxsave.slice();
  const image = new DataView(fxsave.buffer);
  image.setUint16(0, 0x0360, true); // FCW
  image.setUint32(24, 0x1fa0, true); // MXCSR
  fxsave[4] = 0xff; // all of ST0-ST7 in use
  for (let i = 0; i < 8; i++) {
    image.setBigUint64(32 + 16 * i, 0x8000_0000_0000_0001n + BigInt(i << 8), true);
    image.setUint16(40 + 16 * i, 0x3fff + i, true);
  }
  for (let i = 0; i < 16; i++) {
    const isThere = i < 8 || is64;
    image.setBigUint64(160 + 16 * i, isThere ? 0x1111_2222_3333_0000n + BigInt(i) : 0n, true);
    image.setBigUint64(168 + 16 * i, isThere ? 0x4444_5555_6666_0000n + BigInt(i) : 0n, true);
  }
  const wide = is64 ? 0x1234_5678_0000_0000n : 0n;
  return {
    ...state,
    gpr: state.gpr.map((_value, i) =>
      i === GPR.rsp ? BigInt(STACK) : i < 8 || is64 ? wide + BigInt(i * 0x1001 + 7) : 0n,
    ),
    fs: is64 ? { ...state.fs, base: 0x7f00_1234_5000n } : state.fs,
    gs: is64 ? { ...state.gs, base: 0xffff_8880_0000_1000n } : state.gs,
    rflags: 0x46n,
    cr2: 0x1234_5678n,
    cr4: state.cr4 | 0x600n,
    cr8: 3n,
    dr: [0x1000n, 0x2000n, 0x3000n, 0x4000n, 0xffff_0ff0n, 0x400n],
    fxsave,
    msrs: {
      ...state.msrs,
      [MSR.SYSENTER_CS]: 0x10n,
      [MSR.SYSENTER_ESP]: 0xffff_8000_0000_1000n,
      [MSR.SYSENTER_EIP]: 0xffff_8000_0000_2000n,
      [MSR.PAT]: 0x0007_0406_0007_0401n,
      [MSR.STAR]: 0x0023_0010_0000_0000n,
      [MSR.LSTAR]: 0xffff_8000_0000_3000n,
      [MSR.CSTAR]: 0xffff_8000_0000_4000n,
      [MSR.FMASK]: 0x4_7700n,
      [MSR.KERNEL_GS_BASE]: 0xffff_8000_0000_5000n,
    },
  };
}

function requireState(actual: VcpuState, expected: VcpuState, when: string): void {
  const [is, should] = [comparable(actual, expected), comparable(expected, expected)];
  for (const name of Object.keys(should)) requireEqual(is[name], should[name], `${name}${when}`);
}

/**
 * What has to be equal. Not compared: reserved and unusable parts, MSRs that `asked` has not; and which of the two shadows
 * it is, for which some processors have one bit (AMD64 manual, volume 2, 15.21.5).
 */
function comparable(state: VcpuState, asked: VcpuState): Record<string, unknown> {
  const segments = SEGMENTS.map((name) => {
    const { selector, base, limit, attributes } = state[name];
    return [name, selector, ...((attributes & UNUSABLE) !== 0 ? ["unusable"] : [base, limit, attributes])];
  });
  const msrs = Object.fromEntries(
    Object.keys(asked.msrs).map((index) => [`MSR 0x${Number(index).toString(16)}`, state.msrs[index] ?? 0n]),
  );
  const { gpr, rip, rflags, gdtr, idtr, cr0, cr2, cr3, cr4, cr8, xcr0, dr, halted, interruptShadow } = state;
  const { nmiPending, nmiMasked } = state;
  const isShadowed = interruptShadow !== "none";
  const rest = { gpr, rip, rflags, gdtr, idtr, cr0, cr2, cr3, cr4, cr8, xcr0, dr, halted, isShadowed };
  return {
    ...rest,
    nmiPending,
    nmiMasked,
    ...msrs,
    segments,
    fxsave: [...state.fxsave.subarray(0, FXSAVE_USED_BYTES)],
  };
}
