/**
 * The system calls of Linux that the kvm engine makes, as a narrow typed interface: everything above it is tested with a
 * stand-in. x86-64 only, as what it is for. koffi-calls.ts carries them out; nothing else of Twinmetal calls native code.
 */

/** What `ioctl` takes: a plain number or address, or memory that the kernel reads and writes during the call. */
export type IoctlArgument = number | bigint | Uint8Array;

export interface LinuxCalls {
  /** Opens for reading and writing, closed on exec. Throws LinuxError. */
  open(path: string): number;
  close(fd: number): void;
  /** The call's own result, or -errno: no exception, for it is made hundred thousand times a second. */
  ioctl(fd: number, request: number, argument: IoctlArgument): number;
  /** An ioctl without an argument, as a function: for KVM_RUN, where each step that is left out counts. */
  bound(fd: number, request: number): () => number;
  /** Maps `bytes` of `fd`, shared, for reading and writing. Throws LinuxError. */
  map(fd: number, bytes: number): bigint;
  unmap(address: bigint, bytes: number): void;
  /**
   * Whole pages become zeros and take no memory until somebody touches them. False: that cannot be, and they stay. Precondition:
   * they are a WebAssembly.Memory's.
   */
  discard(bytes: Uint8Array): boolean;
  /**
   * The bytes at an address, not copied. Preconditions: they are mapped, and stay so while the result is in use; at most
   * 4 GiB.
   */
  viewAt(address: bigint, bytes: number): DataView;
  /** Where the bytes lie. Precondition: they do not move, as those of a WebAssembly.Memory that does not grow. */
  addressOf(bytes: Uint8Array): bigint;
  /** Of the calling thread. */
  threadId(): number;
  /** Sends a signal to a thread of this process. False: there is none. */
  signalThread(threadId: number, signal: number): boolean;
  /** Blocks or admits a signal in the calling thread. Answers whether it was blocked before. */
  blockSignal(signal: number, isBlocked: boolean): boolean;
  /** Takes a pending signal of the calling thread away. False: none was. Precondition: it is blocked. */
  takeSignal(signal: number): boolean;
  /** A timer that sends `signal` to the thread when it runs out. Throws LinuxError. */
  createTimer(threadId: number, signal: number): number;
  /** Runs out once, after so long; 0 stops it. */
  setTimer(timer: number, afterNs: number): void;
  deleteTimer(timer: number): void;
}

export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EMFILE: 24,
  ENOTTY: 25,
  ENOSYS: 38,
} as const;

const WORDS: Readonly<Record<number, string>> = {
  [ERRNO.ENOMEM]: "the host has no memory left for it",
  [ERRNO.EMFILE]: "the process has too many files open",
  [ERRNO.EPERM]: "not permitted",
  [ERRNO.EACCES]: "no permission",
};

export function errnoName(errno: number): string {
  return Object.entries(ERRNO).find(([, value]) => value === errno)?.[0] ?? `error ${errno}`;
}

/** A system call that failed: `code` as errno names it. */
export class LinuxError extends Error {
  override readonly name = "LinuxError";
  readonly errno: number;
  readonly code: string;

  constructor(what: string, errno: number) {
    const words = WORDS[errno];
    super(`${what}: ${errnoName(errno)}${words === undefined ? "" : ` (${words})`}`);
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** Of a call whose failure nobody expects. Throws LinuxError for results below 0. */
export function succeeded(what: string, result: number): number {
  if (result < 0) throw new LinuxError(what, -result);
  return result;
}
