/**
 * How other threads reach a vCPU that is inside KVM_RUN, and what there is to close when its thread is gone: words in
 * shared memory that the vCPU's thread fills in (VcpuCells), read by the thread that started it (VcpuKicker). Of several
 * vCPUs that take turns in one thread, immediate_exit is set in the first one's kvm_run: the signal ends whichever runs.
 * Those that run in parallel have a THREAD and a KICKED each, and are all stopped by one STOPPED.
 *
 *   kick   KICKED becomes 1, immediate_exit is set, one signal is sent; while KICKED is 1 no other one is. The vCPU
 *          leaves KVM_RUN, takes the signal away, clears both, and only then looks for what it was kicked for.
 *          Threads that neither start nor end the vCPU's one send the signal only (VcpuSignal).
 *   stop   STOPPED becomes 1, and a kick: the vCPU looks for it behind each signal, and when it announces itself, and then
 *          never enters the guest again, so its thread can be terminated. Not before each entry: what an exit touches is
 *          what it costs where the processor forgets its address translations at each one, as QEMU's does.
 *
 * A thread inside KVM_RUN cannot be terminated, and a process that exits waits for it: therefore the hook on "exit".
 */
import { RUN } from "./abi.ts";
import { isNoCalls, linuxCalls } from "./koffi-calls.ts";
import type { LinuxCalls } from "./linux-calls.ts";
import { KICK_SIGNAL } from "./vcpu-handle.ts";

const CELL = { STOPPED: 0, TIMER: 1, KVM_FD: 2, VM_FD: 3, RUN_BYTES: 4, VCPUS: 5 } as const;
/** Of each vCPU, behind those. */
const EACH = { THREAD: 0, KICKED: 1, VCPU_FD: 2 } as const;
const EACH_AT = 6;
const EACH_WORDS = 3;
/** As many as a machine can have; core is not loaded for it in threads that do without. */
const MAX_VCPUS = 8;
/** Of each vCPU's kvm_run, behind all words. */
const RUN_ADDRESS_AT = Math.ceil((EACH_AT + EACH_WORDS * MAX_VCPUS) / 2) * 8;
const CELLS_BYTES = RUN_ADDRESS_AT + 8 * MAX_VCPUS;

const cellOf = (vcpu: number, word: keyof typeof EACH): number => EACH_AT + EACH_WORDS * vcpu + EACH[word];

/** For `VcpuCells`, to be handed to the vCPU's thread. */
export function createCells(): SharedArrayBuffer {
  return new SharedArrayBuffer(CELLS_BYTES);
}

export interface VcpuResources {
  readonly threadId: number;
  readonly timer: number;
  readonly kvmFd: number;
  readonly vmFd: number;
  readonly runBytes: number;
  readonly vcpus: readonly { readonly vcpuFd: number; readonly runAddress: bigint }[];
}

/** The vCPU's side: of the first one, and of all that take turns in its thread, or of another with a thread of its own. */
export class VcpuCells {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #addresses: BigUint64Array;
  readonly #kicked: number;
  readonly #thread: number;

  constructor(cells: SharedArrayBuffer = createCells(), vcpu = 0) {
    this.buffer = cells;
    this.#cells = new Int32Array(cells, 0, RUN_ADDRESS_AT / 4);
    this.#addresses = new BigUint64Array(cells, RUN_ADDRESS_AT, MAX_VCPUS);
    this.#kicked = cellOf(vcpu, "KICKED");
    this.#thread = cellOf(vcpu, "THREAD");
  }

  /** From here on the first vCPU can be kicked. One that was stopped before that waits here. */
  announce(resources: VcpuResources): void {
    const cells = this.#cells;
    for (const [index, { vcpuFd, runAddress }] of resources.vcpus.entries()) {
      cells[cellOf(index, "VCPU_FD")] = vcpuFd;
      this.#addresses[index] = runAddress;
    }
    cells[CELL.VCPUS] = resources.vcpus.length;
    cells[CELL.RUN_BYTES] = resources.runBytes;
    cells[CELL.TIMER] = resources.timer + 1;
    cells[CELL.KVM_FD] = resources.kvmFd;
    cells[CELL.VM_FD] = resources.vmFd;
    this.join(resources.threadId);
  }

  /** From here on this vCPU can be kicked, whose descriptors the first one's thread has announced. As `announce`. */
  join(threadId: number): void {
    Atomics.store(this.#cells, this.#thread, threadId);
    this.waitWhileStopped();
  }

  get isKicked(): boolean {
    return Atomics.load(this.#cells, this.#kicked) !== 0;
  }

  /** Precondition: the signal has been taken, and immediate_exit cleared. */
  clearKick(): boolean {
    return Atomics.exchange(this.#cells, this.#kicked, 0) !== 0;
  }

  /** Behind each signal: a stopped vCPU waits for its thread's end. */
  waitWhileStopped(): void {
    while (Atomics.load(this.#cells, CELL.STOPPED) !== 0) Atomics.wait(this.#cells, CELL.STOPPED, 1);
  }
}

/** Claims the one kick that is under way. Answers the thread to signal; 0: there is none, or somebody has kicked already. */
function claimKick(cells: Int32Array, vcpu: number): number {
  const thread = Atomics.load(cells, cellOf(vcpu, "THREAD"));
  return thread === 0 || Atomics.exchange(cells, cellOf(vcpu, "KICKED"), 1) !== 0 ? 0 : thread;
}

/**
 * A third side: of a thread that has something for the vCPU, and no part in its life. kvm_run may be unmapped at any time, so
 * immediate_exit stays as it is: a signal that is pending when KVM_RUN begins ends it as one that comes later does.
 */
export class VcpuSignal {
  readonly #calls: LinuxCalls;
  readonly #cells: Int32Array;
  readonly #vcpu: number;

  constructor(calls: LinuxCalls, cells: SharedArrayBuffer, vcpu = 0) {
    this.#calls = calls;
    this.#cells = new Int32Array(cells, 0, RUN_ADDRESS_AT / 4);
    this.#vcpu = vcpu;
  }

  /** As VcpuKicker's. */
  kick(): void {
    const thread = claimKick(this.#cells, this.#vcpu);
    if (thread !== 0) this.#calls.signalThread(thread, KICK_SIGNAL);
  }

  /** It leaves the guest, too, and was not kicked: for what it looks at each time. */
  signal(): void {
    const thread = Atomics.load(this.#cells, cellOf(this.#vcpu, "THREAD"));
    if (thread !== 0) this.#calls.signalThread(thread, KICK_SIGNAL);
  }
}

/** Undefined where KVM cannot be called: there is no vCPU then. */
export function createSignal(cells: SharedArrayBuffer): VcpuSignal | undefined {
  const calls = linuxCalls();
  return isNoCalls(calls) ? undefined : new VcpuSignal(calls, cells);
}

/** Undefined where KVM cannot be called: the vCPU's thread then finds that out, too. */
export function createKicker(cells: SharedArrayBuffer): VcpuKicker | undefined {
  const calls = linuxCalls();
  return isNoCalls(calls) ? undefined : new VcpuKicker(calls, cells);
}

const running = new Set<VcpuKicker>();
let hasHook = false;

/** The other side: of the thread that has started the vCPU's one. */
export class VcpuKicker {
  readonly #calls: LinuxCalls;
  readonly #cells: Int32Array;
  readonly #addresses: BigUint64Array;
  #run: DataView | undefined;

  constructor(calls: LinuxCalls, cells: SharedArrayBuffer) {
    this.#calls = calls;
    this.#cells = new Int32Array(cells, 0, RUN_ADDRESS_AT / 4);
    this.#addresses = new BigUint64Array(cells, RUN_ADDRESS_AT, MAX_VCPUS);
    running.add(this);
    if (hasHook) return;
    hasHook = true;
    process.on("exit", () => {
      for (const kicker of running) kicker.stop();
    });
  }

  /** The vCPU leaves the guest soon. One that has no thread yet, or none any more, does not notice. */
  kick(): void {
    const thread = claimKick(this.#cells, 0);
    if (thread === 0) return;
    this.#run ??= this.#calls.viewAt(this.#addresses[0]!, this.#cells[CELL.RUN_BYTES]!);
    this.#run.setUint8(RUN.immediate_exit, 1);
    this.#calls.signalThread(thread, KICK_SIGNAL);
  }

  /** Before the thread is terminated. */
  stop(): void {
    Atomics.store(this.#cells, CELL.STOPPED, 1);
    // A kick that is on its way already may have been sent before STOPPED was set, and be taken as an ordinary one.
    for (let vcpu = 0; vcpu < MAX_VCPUS; vcpu++) Atomics.store(this.#cells, cellOf(vcpu, "KICKED"), 0);
    this.kick();
    for (let vcpu = 1; vcpu < MAX_VCPUS; vcpu++)
      new VcpuSignal(this.#calls, this.#cells.buffer as SharedArrayBuffer, vcpu).kick();
  }

  /** Closes what the vCPU's thread has opened. Precondition: it has ended. */
  release(): void {
    running.delete(this);
    if (Atomics.exchange(this.#cells, cellOf(0, "THREAD"), 0) === 0) return;
    this.#run = undefined;
    const [calls, cells] = [this.#calls, this.#cells];
    calls.deleteTimer(cells[CELL.TIMER]! - 1);
    for (let index = 0; index < cells[CELL.VCPUS]!; index++) {
      calls.unmap(this.#addresses[index]!, cells[CELL.RUN_BYTES]!);
      calls.close(cells[cellOf(index, "VCPU_FD")]!);
    }
    for (const cell of [CELL.VM_FD, CELL.KVM_FD]) calls.close(cells[cell]!);
  }
}
