/**
 * What a /dev/kvm is good for, found out in at most about 50 ms where guests begin at once: one of 75 bytes in 32-bit
 * protected mode at ring 0 counts until it is kicked, returns from a software interrupt by IRET, takes an external interrupt
 * out of HLT, and leaves by OUT sixteen times. Some hosts interpret guest kernels instead of running them, or cannot do all of it.
 */
import { EXIT, KVM, REGS_BYTES, REGS_RFLAGS, REGS_RIP, RUN, SEGMENT, SREGS, SREGS_BYTES } from "./abi.ts";
import { describeError } from "./internal-error.ts";
import { ERRNO, errnoName, type LinuxCalls } from "./linux-calls.ts";
import { KICK_SIGNAL, type VcpuHandle } from "./vcpu-handle.ts";
import { VmHandle } from "./vm-handle.ts";

export type SelfTestStep = "iret" | "interrupt" | "exits" | "loop";

export interface SelfTestFailure {
  readonly step: SelfTestStep;
  readonly detail: string;
}

export interface SelfTestResult {
  readonly failure: SelfTestFailure | undefined;
  /** Rounds of a loop of two instructions in ring 0; 0 where the test did not get so far. */
  readonly loopsPerSecond: number;
  /** The quickest way out of the guest by OUT, and in again; 0 likewise. */
  readonly exitNs: number;
  readonly tookMs: number;
}

const CODE = 0x1000;
const GDT = 0x100;
const IDT = 0x200;
const STACK = 0x3000;
/**
 *       int $0x20 ; out %al,$0x11 ; sti ; hlt ; out %al,$0x13 ; mov $16,%ecx
 *   1:  out %al,$0x14 ; dec %ecx ; jnz 1b ; xor %eax,%eax
 *   2:  inc %eax ; jmp 2b
 */
const LOOP = CODE + 0x12;
const MAIN = [
  0xcd, 0x20, 0xe6, 0x11, 0xfb, 0xf4, 0xe6, 0x13, 0xb9, 0x10, 0, 0, 0, 0xe6, 0x14, 0x49, 0x75, 0xfb, 0x31, 0xc0, 0x40,
  0xeb, 0xfd,
];
const SOFT = CODE + 0x40;
/** inc %ebx ; iret */
const SOFT_HANDLER = [0x43, 0xcf];
const HARD = CODE + 0x48;
/** out %al,$0x12 ; iret */
const HARD_HANDLER = [0xe6, 0x12, 0xcf];
const SOFT_VECTOR = 0x20;
const HARD_VECTOR = 0x21;
const EXITS = 16;
const LOOP_NS = [4_000_000, 16_000_000, 64_000_000] as const;
/** Any other step is over in microseconds. */
const STEP_NS = 10_000_000;

/** Throws LinuxError where the requests before the first KVM_RUN fail. */
export function selfTest(calls: LinuxCalls, path: string): SelfTestResult {
  const startMs = performance.now();
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const vm = new VmHandle(calls, path);
  const threadId = calls.threadId();
  const wasBlocked = calls.blockSignal(KICK_SIGNAL, true);
  const timer = calls.createTimer(threadId, KICK_SIGNAL);
  try {
    const bytes = new Uint8Array(memory.buffer);
    writeGuest(bytes);
    vm.setSlot({ slot: 0, flags: 0, guestAddress: 0, sizeBytes: bytes.length, hostAddress: calls.addressOf(bytes) });
    vm.first.admitKicks();
    setSegments(vm.first);
    const result = new Steps(vm.first, timer).run();
    return { ...result, tookMs: performance.now() - startMs };
  } finally {
    calls.deleteTimer(timer);
    while (calls.takeSignal(KICK_SIGNAL)) {}
    if (!wasBlocked) calls.blockSignal(KICK_SIGNAL, false);
    vm.close();
  }
}

class Failed extends Error {}

class Steps {
  readonly #vm: VcpuHandle;
  readonly #timer: number;
  #exitNs = 0;
  #loopsPerSecond = 0;

  constructor(vm: VcpuHandle, timer: number) {
    this.#vm = vm;
    this.#timer = timer;
  }

  run(): Omit<SelfTestResult, "tookMs"> {
    let step: SelfTestStep = "loop";
    try {
      setInstruction(this.#vm, LOOP);
      this.#loopsPerSecond = this.#loop();
      step = "iret";
      setInstruction(this.#vm, CODE);
      this.#expectPort(0x11);
      step = "interrupt";
      this.#expect(EXIT.HLT);
      this.#interrupt();
      this.#expectPort(0x12);
      this.#expectPort(0x13);
      step = "exits";
      this.#exitNs = this.#exits();
      return this.#result(undefined);
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      return this.#result({ step, detail: error.message });
    }
  }

  #result(failure: SelfTestFailure | undefined): Omit<SelfTestResult, "tookMs"> {
    return { failure, loopsPerSecond: this.#loopsPerSecond, exitNs: this.#exitNs };
  }

  /** The exit's reason; undefined: the time was up. */
  #step(limitNs: number): number | undefined {
    const { calls } = this.#vm;
    calls.setTimer(this.#timer, limitNs);
    const result = calls.ioctl(this.#vm.vcpuFd, KVM.RUN, 0);
    if (result === -ERRNO.EINTR) {
      while (calls.takeSignal(KICK_SIGNAL)) {}
      return undefined;
    }
    if (result < 0) throw new Failed(`KVM_RUN answered ${errnoName(-result)}`);
    return this.#vm.run.getUint32(RUN.exit_reason, true);
  }

  #expect(reason: number): void {
    const is = this.#step(STEP_NS);
    if (is === undefined) throw new Failed(`nothing happened for ${STEP_NS / 1e6} ms`);
    if (is === EXIT.SHUTDOWN) throw new Failed("the guest's processor shut down");
    if (is !== reason) throw new Failed(describeError(this.#vm.run));
  }

  #expectPort(port: number): void {
    this.#expect(EXIT.IO);
    const is = this.#vm.run.getUint16(RUN.io_port, true);
    if (is !== port) throw new Failed(`the guest came to port 0x${is.toString(16)} instead of 0x${port.toString(16)}`);
  }

  #interrupt(): void {
    if (this.#vm.run.getUint8(RUN.ready_for_interrupt_injection) === 0)
      throw new Failed("KVM takes no interrupt for a guest that waits for one");
    const vector = new Uint8Array(4);
    vector[0] = HARD_VECTOR;
    const result = this.#vm.calls.ioctl(this.#vm.vcpuFd, KVM.INTERRUPT, vector);
    if (result < 0) throw new Failed(`KVM_INTERRUPT answered ${errnoName(-result)}`);
  }

  #exits(): number {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < EXITS; i++) {
      const startMs = performance.now();
      this.#expectPort(0x14);
      least = Math.min(least, (performance.now() - startMs) * 1e6);
    }
    return Math.round(least);
  }

  /** A host may be so slow that the first time is up before the guest has begun: then it gets more. */
  #loop(): number {
    const regs = new Uint8Array(REGS_BYTES);
    for (const limitNs of LOOP_NS) {
      const startMs = performance.now();
      const reason = this.#step(limitNs);
      const seconds = (performance.now() - startMs) / 1000;
      if (reason !== undefined) throw new Failed(describeError(this.#vm.run));
      this.#vm.onVcpu("KVM_GET_REGS", KVM.GET_REGS, regs);
      const rounds = Number(new DataView(regs.buffer).getBigUint64(0, true));
      if (rounds > 0) return Math.round(rounds / seconds);
    }
    return 0;
  }
}

function writeGuest(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer);
  bytes.set(MAIN, CODE);
  bytes.set(SOFT_HANDLER, SOFT);
  bytes.set(HARD_HANDLER, HARD);
  // Flat 4 GiB segments: code at selector 8, data at 16.
  view.setBigUint64(GDT + 8, 0x00cf9b000000ffffn, true);
  view.setBigUint64(GDT + 16, 0x00cf93000000ffffn, true);
  for (const [vector, handler] of [
    [SOFT_VECTOR, SOFT],
    [HARD_VECTOR, HARD],
  ] as const) {
    view.setUint16(IDT + vector * 8, handler, true);
    view.setUint16(IDT + vector * 8 + 2, 8, true);
    view.setUint16(IDT + vector * 8 + 4, 0x8e00, true);
  }
}

function setSegments(vm: VcpuHandle): void {
  const bytes = new Uint8Array(SREGS_BYTES);
  vm.onVcpu("KVM_GET_SREGS", KVM.GET_SREGS, bytes);
  const sregs = new DataView(bytes.buffer);
  const flat = (at: number, selector: number, type: number): void => {
    sregs.setBigUint64(at + SEGMENT.base, 0n, true);
    sregs.setUint32(at + SEGMENT.limit, 0xffff_ffff, true);
    sregs.setUint16(at + SEGMENT.selector, selector, true);
    sregs.setUint8(at + SEGMENT.type, type);
    for (const field of [SEGMENT.present, SEGMENT.db, SEGMENT.s, SEGMENT.g]) sregs.setUint8(at + field, 1);
    for (const field of [SEGMENT.dpl, SEGMENT.l, SEGMENT.unusable]) sregs.setUint8(at + field, 0);
  };
  flat(SREGS.cs, 8, 11);
  for (const name of ["ds", "es", "fs", "gs", "ss"] as const) flat(SREGS[name], 16, 3);
  sregs.setBigUint64(SREGS.gdt, BigInt(GDT), true);
  sregs.setUint16(SREGS.gdt + 8, 23, true);
  sregs.setBigUint64(SREGS.idt, BigInt(IDT), true);
  sregs.setUint16(SREGS.idt + 8, 0x22 * 8 - 1, true);
  sregs.setBigUint64(SREGS.cr0, 0x11n, true);
  vm.onVcpu("KVM_SET_SREGS", KVM.SET_SREGS, bytes);
}

function setInstruction(vm: VcpuHandle, rip: number): void {
  const regs = new DataView(new ArrayBuffer(REGS_BYTES));
  regs.setBigUint64(48, BigInt(STACK), true);
  regs.setBigUint64(REGS_RIP, BigInt(rip), true);
  regs.setBigUint64(REGS_RFLAGS, 2n, true);
  vm.onVcpu("KVM_SET_REGS", KVM.SET_REGS, new Uint8Array(regs.buffer));
}
