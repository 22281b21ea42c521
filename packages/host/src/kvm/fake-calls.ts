/** For tests: a kernel whose KVM answers what a test says. Memory that it maps is memory of its own. */
import { CAP, CPUID_ENTRY, CPUID2, KVM, KVM_API_VERSION, MSRS, RUN } from "./abi.ts";
import { ERRNO, type IoctlArgument, type LinuxCalls, LinuxError } from "./linux-calls.ts";

const RUN_ADDRESS = 0x7000_0000n;

export type IoctlAnswer = (argument: IoctlArgument) => number;

export class FakeCalls implements LinuxCalls {
  /** What KVM_RUN does, one after the other: fills kvm_run and returns the call's result. At the end: EINTR. */
  readonly runs: ((run: DataView) => number)[] = [];
  /** Requests that are answered otherwise than by 0. */
  readonly answers = new Map<number, IoctlAnswer>();
  readonly capabilities = new Set<number>(Object.values(CAP));
  readonly requests: number[] = [];
  readonly open_ = new Set<number>();
  /** Of the first vCPU. */
  readonly run = new DataView(new ArrayBuffer(8192));
  /** Of each vCPU, and what KVM_RUN was called for, in order. */
  readonly kvmRuns: DataView[] = [];
  readonly entered: number[] = [];
  /** Every feature of CPUID, or none. */
  supportsAll = true;
  openError: number | undefined;
  timers = 0;
  lastTimerNs = 0;
  pendingSignals = 0;
  mappings = 0;
  readonly signals: { threadId: number; signal: number }[] = [];
  readonly #vcpus = new Map<number, number>();
  #nextFd = 10;

  constructor() {
    this.answers.set(KVM.GET_API_VERSION, () => KVM_API_VERSION);
    this.answers.set(KVM.CREATE_VM, () => this.#open());
    this.answers.set(KVM.CREATE_VCPU, () => this.#open());
    this.answers.set(KVM.GET_VCPU_MMAP_SIZE, () => this.run.byteLength);
    this.answers.set(KVM.GET_TSC_KHZ, () => 2_000_000);
    this.answers.set(KVM.CHECK_EXTENSION, (cap) => (this.capabilities.has(Number(cap)) ? 1 : 0));
    this.answers.set(KVM.GET_SUPPORTED_CPUID, (list) => this.#supportedCpuid(list as Uint8Array));
    for (const request of [KVM.GET_MSRS, KVM.SET_MSRS])
      this.answers.set(request, (list) => viewOf(list as Uint8Array).getUint32(MSRS.nmsrs, true));
  }

  open(path: string): number {
    if (this.openError !== undefined) throw new LinuxError(`open ${path}`, this.openError);
    return this.#open();
  }

  close(fd: number): void {
    if (!this.open_.delete(fd)) throw new Error(`descriptor ${fd} is not open`);
  }

  ioctl(fd: number, request: number, argument: IoctlArgument): number {
    if (!this.open_.has(fd)) return -9;
    this.requests.push(request);
    if (request === KVM.RUN && !this.answers.has(request)) return this.#enter(fd);
    return this.answers.get(request)?.(argument) ?? 0;
  }

  bound(fd: number, request: number): () => number {
    return () => this.ioctl(fd, request, 0);
  }

  map(fd: number): bigint {
    this.mappings++;
    const index = this.kvmRuns.length;
    this.#vcpus.set(fd, index);
    this.kvmRuns.push(index === 0 ? this.run : new DataView(new ArrayBuffer(this.run.byteLength)));
    return RUN_ADDRESS + BigInt(index * this.run.byteLength);
  }

  unmap(): void {
    this.mappings--;
  }

  discard(bytes: Uint8Array): boolean {
    bytes.fill(0);
    return true;
  }

  viewAt(address: bigint): DataView {
    return this.kvmRuns[Number(address - RUN_ADDRESS) / this.run.byteLength] ?? this.run;
  }

  addressOf(): bigint {
    return 0x10_0000n;
  }

  threadId(): number {
    return 77;
  }

  signalThread(threadId: number, signal: number): boolean {
    this.signals.push({ threadId, signal });
    return true;
  }

  blockSignal(): boolean {
    return false;
  }

  takeSignal(): boolean {
    return this.pendingSignals > 0 && this.pendingSignals-- > 0;
  }

  createTimer(): number {
    return ++this.timers;
  }

  setTimer(_timer: number, afterNs: number): void {
    this.lastTimerNs = afterNs;
  }

  deleteTimer(): void {
    this.timers--;
  }

  #enter(fd: number): number {
    const vcpu = this.#vcpus.get(fd)!;
    this.entered.push(vcpu);
    return this.runs.shift()?.(this.kvmRuns[vcpu]!) ?? -ERRNO.EINTR;
  }

  #supportedCpuid(list: Uint8Array): number {
    const view = viewOf(list);
    const leaves = [1, 7, 0xd, 0x80000001];
    view.setUint32(CPUID2.nent, leaves.length, true);
    for (const [i, leaf] of leaves.entries()) {
      const at = CPUID2.entries + i * CPUID2.entryBytes;
      view.setUint32(at + CPUID_ENTRY.function, leaf, true);
      for (const register of ["eax", "ebx", "ecx", "edx"] as const)
        view.setUint32(at + CPUID_ENTRY[register], this.supportsAll ? 0xffff_ffff : 0, true);
    }
    return 0;
  }

  #open(): number {
    this.open_.add(this.#nextFd);
    return this.#nextFd++;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A step for `runs`: leaves with this reason and what `fill` puts beside it. */
export function exitWith(reason: number, fill: (run: DataView) => void = () => {}): (run: DataView) => number {
  return (run) => {
    run.setUint32(RUN.exit_reason, reason, true);
    run.setUint8(RUN.ready_for_interrupt_injection, 1);
    fill(run);
    return 0;
  };
}
