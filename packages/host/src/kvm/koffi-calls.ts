/**
 * The system calls through koffi, a package that is optional: without it, or on other systems, there is no kvm engine.
 * All go through libc's `syscall`, which glibc and musl both have, with the numbers of x86-64 (arch/x86/entry/syscalls).
 * Each function names what must hold for its call to be safe (SAFETY).
 */
import { createRequire } from "node:module";
import { type IoctlArgument, type LinuxCalls, LinuxError, succeeded } from "./linux-calls.ts";

const SYS = {
  mmap: 9,
  munmap: 11,
  madvise: 28,
  rt_sigprocmask: 14,
  ioctl: 16,
  rt_sigtimedwait: 128,
  gettid: 186,
  timer_create: 222,
  timer_settime: 223,
  timer_delete: 226,
  tgkill: 234,
  open: 2,
  close: 3,
} as const;

/** A constant of its own becomes part of the compiled code. */
const SYS_IOCTL = SYS.ioctl;

const O_RDWR_CLOEXEC = 0o2 | 0o2000000;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MADV_DONTNEED = 4;
const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
const SIGSET_BYTES = 8;
const SIGEV_THREAD_ID = 4;
const CLOCK_MONOTONIC = 1;
const NS_PER_SECOND = 1_000_000_000;

type Syscall = (...args: (number | bigint | Uint8Array | null)[]) => number;

/** What is used of koffi's interface. */
export interface Koffi {
  load(path: null): { func(name: string, result: string, parameters: string[]): Syscall };
  errno(): number;
  address(bytes: Uint8Array): bigint;
  view(address: bigint, bytes: number): ArrayBuffer;
}

/** Why there are no system calls here. */
export interface NoCalls {
  readonly code: "not-linux" | "not-x64" | "no-koffi";
  readonly detail: string;
}

let known: LinuxCalls | NoCalls | undefined;

/** The calls, loaded once for each thread, or why there are none. Never throws. */
export function linuxCalls(): LinuxCalls | NoCalls {
  known ??= load();
  return known;
}

export function isNoCalls(calls: LinuxCalls | NoCalls): calls is NoCalls {
  return "detail" in calls;
}

function load(): LinuxCalls | NoCalls {
  const koffi = loadKoffi();
  return "detail" in koffi ? koffi : new KoffiCalls(koffi);
}

/** What `loadKoffi` looks at; for tests. */
export interface KoffiPlace {
  readonly platform: string;
  readonly arch: string;
  readonly require: (name: string) => unknown;
}

/** For files of this folder. Never throws. */
export function loadKoffi(place: Partial<KoffiPlace> = {}): Koffi | NoCalls {
  const { platform = process.platform, arch = process.arch, require = createRequire(import.meta.url) } = place;
  if (platform !== "linux") return { code: "not-linux", detail: platform };
  if (arch !== "x64") return { code: "not-x64", detail: arch };
  try {
    return require("koffi") as Koffi;
  } catch (error) {
    return { code: "no-koffi", detail: (error as Error).message.split("\n", 1)[0] ?? "" };
  }
}

class KoffiCalls implements LinuxCalls {
  readonly #koffi: Koffi;
  /** All arguments are numbers or addresses. */
  readonly #words: Syscall;
  /** ioctl with a number as its argument: KVM_RUN's, so with as few arguments as can be. */
  readonly #ioctlWord: Syscall;
  /** With memory. */
  readonly #ioctlMemory: Syscall;
  readonly #open: Syscall;
  readonly #mask: Syscall;
  readonly #wait: Syscall;
  readonly #timerCreate: Syscall;
  readonly #timerSet: Syscall;
  /** mmap answers an address. */
  readonly #map: (...args: (number | bigint)[]) => number | bigint;
  /** Reused for every timer_settime and sigprocmask of this thread. */
  readonly #timerSpec = new Uint8Array(32);
  readonly #timerView = new DataView(this.#timerSpec.buffer);
  readonly #set = new Uint8Array(SIGSET_BYTES);
  readonly #zeroTime = new Uint8Array(16);

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
    const libc = koffi.load(null);
    // SAFETY: `syscall` takes its arguments in integer registers, as these prototypes do; a variadic call differs on
    // x86-64 only in AL, which says how many vector registers are in use: none.
    const call = (...parameters: string[]): Syscall => libc.func("syscall", "long", ["long", ...parameters]);
    this.#words = call("long", "long", "long", "long");
    this.#ioctlWord = call("long", "long", "long");
    this.#ioctlMemory = call("long", "long", "void *");
    this.#open = call("void *", "long", "long");
    this.#mask = call("long", "void *", "void *", "long");
    this.#wait = call("void *", "long", "void *", "long");
    this.#timerCreate = call("long", "void *", "void *");
    this.#timerSet = call("long", "long", "void *", "long");
    this.#map = call("long", "long", "long", "long", "long", "long");
  }

  open(path: string): number {
    const bytes = new TextEncoder().encode(`${path}\0`);
    // SAFETY: the path ends with a zero byte and outlives the call.
    return succeeded(`open ${path}`, this.#result(this.#open(SYS.open, bytes, O_RDWR_CLOEXEC, 0)));
  }

  close(fd: number): void {
    // SAFETY: no memory is involved; the callers own what they close.
    this.#words(SYS.close, fd, 0, 0, 0);
  }

  ioctl(fd: number, request: number, argument: IoctlArgument): number {
    // SAFETY: abi.ts gives each request with memory the size that the kernel's header has, and callers pass at least
    // that much; requests with an address inside of their memory keep what it names alive (see there).
    const result =
      typeof argument === "object"
        ? this.#ioctlMemory(SYS.ioctl, fd, request, argument)
        : this.#ioctlWord(SYS.ioctl, fd, request, argument);
    return this.#result(result);
  }

  bound(fd: number, request: number): () => number {
    const [call, koffi] = [this.#ioctlWord, this.#koffi];
    // SAFETY: no memory is involved.
    return () => {
      const result = call(SYS_IOCTL, fd, request, 0);
      return result === -1 ? -koffi.errno() : result;
    };
  }

  map(fd: number, bytes: number): bigint {
    // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
    const address = this.#map(SYS.mmap, 0, bytes, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (address === -1) throw new LinuxError("mmap", this.#koffi.errno());
    return BigInt(address);
  }

  unmap(address: bigint, bytes: number): void {
    // SAFETY: the caller got the address from `map` and holds no view of it any more.
    this.#words(SYS.munmap, address, bytes, 0, 0);
  }

  discard(bytes: Uint8Array): boolean {
    // SAFETY: a WebAssembly.Memory is private and anonymous, so that its pages come back as zeros; it stays mapped.
    return this.#words(SYS.madvise, this.addressOf(bytes), bytes.length, MADV_DONTNEED, 0) === 0;
  }

  viewAt(address: bigint, bytes: number): DataView {
    // SAFETY: the interface's preconditions; koffi aborts the process for more than 4 GiB.
    if (bytes > 2 ** 32) throw new RangeError(`a view of ${bytes} bytes`);
    return new DataView(this.#koffi.view(address, bytes));
  }

  addressOf(bytes: Uint8Array): bigint {
    // SAFETY: reads the address only; its use is the caller's to justify.
    return this.#koffi.address(bytes);
  }

  threadId(): number {
    return this.#words(SYS.gettid, 0, 0, 0, 0);
  }

  signalThread(threadId: number, signal: number): boolean {
    // SAFETY: the kernel refuses threads of other processes.
    return this.#words(SYS.tgkill, process.pid, threadId, signal, 0) === 0;
  }

  blockSignal(signal: number, isBlocked: boolean): boolean {
    const old = new Uint8Array(SIGSET_BYTES);
    // SAFETY: both sets have the size that is said.
    const how = isBlocked ? SIG_BLOCK : SIG_UNBLOCK;
    succeeded("rt_sigprocmask", this.#result(this.#mask(SYS.rt_sigprocmask, how, this.#setOf(signal), old, 8)));
    const bit = signal - 1;
    return ((old[bit >> 3]! >> (bit & 7)) & 1) !== 0;
  }

  takeSignal(signal: number): boolean {
    // SAFETY: the set has the size that is said; no siginfo is asked for; the time to wait is zero.
    return this.#wait(SYS.rt_sigtimedwait, this.#setOf(signal), 0, this.#zeroTime, SIGSET_BYTES) === signal;
  }

  createTimer(threadId: number, signal: number): number {
    // struct sigevent: value, signal, kind of notification, thread; 64 bytes.
    const event = new DataView(new ArrayBuffer(64));
    event.setInt32(8, signal, true);
    event.setInt32(12, SIGEV_THREAD_ID, true);
    event.setInt32(16, threadId, true);
    const id = new Uint8Array(4);
    // SAFETY: the kernel reads a sigevent and writes an int, both as large as they are here.
    const result = this.#timerCreate(SYS.timer_create, CLOCK_MONOTONIC, new Uint8Array(event.buffer), id);
    succeeded("timer_create", this.#result(result));
    return new DataView(id.buffer).getInt32(0, true);
  }

  setTimer(timer: number, afterNs: number): void {
    const seconds = Math.floor(afterNs / NS_PER_SECOND);
    this.#timerView.setBigInt64(16, BigInt(seconds), true);
    this.#timerView.setBigInt64(24, BigInt(Math.floor(afterNs - seconds * NS_PER_SECOND)), true);
    // SAFETY: an itimerspec, 32 bytes, which the kernel only reads.
    this.#timerSet(SYS.timer_settime, timer, 0, this.#timerSpec, 0);
  }

  deleteTimer(timer: number): void {
    this.#words(SYS.timer_delete, timer, 0, 0, 0);
  }

  #setOf(signal: number): Uint8Array {
    const bit = signal - 1;
    this.#set.fill(0);
    this.#set[bit >> 3] = 1 << (bit & 7);
    return this.#set;
  }

  #result(result: number): number {
    return result === -1 ? -this.#koffi.errno() : result;
  }
}
