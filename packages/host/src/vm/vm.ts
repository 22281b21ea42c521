/**
 * The VM object: what a library user holds. The machine runs in a worker thread of its own (vm-worker.ts); this side
 * stays responsive, whatever the guest does.
 */
export type VmState = "created" | "running" | "paused" | "off" | "crashed";

export interface VmOptions {
  /** "tiny" (default), or nothing when `kernel` is given. */
  readonly image?: string;
  /** Path of a bzImage, and of an initrd, instead of the image's. */
  readonly kernel?: string;
  readonly initrd?: string;
  /** Added to the kernel's command line. */
  readonly append?: string;
  /** Default 512 MiB; 16 MiB to 3072 MiB. */
  readonly memoryBytes?: number;
  readonly name?: string;
  /** "wall" (default): guest time follows the host's. "virtual": a function of the instructions alone. */
  readonly clock?: "wall" | "virtual";
  /** Hexadecimal digits: the source of the guest's random numbers. Default: from the host. */
  readonly seed?: string;
  /** Seconds since 1970 at power-on. Default: now. */
  readonly epochSeconds?: number;
  /** Records everything that enters, to this file, for `replay`. */
  readonly record?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VmProgress) => void;
}

/** Something that takes longer than a moment. */
export interface VmProgress {
  readonly phase: string;
  readonly done: number;
  /** Undefined while the end is not known. */
  readonly total: number | undefined;
}

export interface VmEvents {
  state: [state: VmState];
  /** The guest is off ("off": powered off) or crashed, with the report. */
  exit: [result: VmExit];
}

export type VmExit =
  | { readonly kind: "off"; readonly reason: string }
  | { readonly kind: "crashed"; readonly reason: string; readonly report: string };

export interface SerialPort {
  /** Bytes that the guest writes. */
  readonly output: AsyncIterable<Uint8Array>;
  onData(listener: (bytes: Uint8Array) => void): () => void;
  write(bytes: Uint8Array | string): void;
  /** Resolves with the text up to and with the match; rejects on time-out, abort, or when the guest ends. */
  waitFor(pattern: string | RegExp, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<string>;
}

export interface ExecOptions {
  readonly stdin?: Uint8Array | string | AsyncIterable<Uint8Array>;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly onStdout?: (bytes: Uint8Array) => void;
  readonly onStderr?: (bytes: Uint8Array) => void;
  readonly signal?: AbortSignal;
}

export interface ExecResult {
  /** The command's own; 126 cannot run, 127 not found, 128 + n killed by signal n. */
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

export interface Vm {
  readonly name: string;
  readonly state: VmState;
  readonly serial: SerialPort;
  on<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): () => void;
  /** Powers on. Resolves when the machine runs. */
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  /** Asks the guest by the power button, waits `timeoutMs` (default 10 s), then ends it when `force` (default true). */
  stop(options?: { timeoutMs?: number; force?: boolean }): Promise<void>;
  /** Ends the machine at once. */
  kill(): Promise<void>;
  /** Writes the whole machine to a file; it goes on afterwards as it was. */
  save(path: string, options?: { signal?: AbortSignal; onProgress?: (p: VmProgress) => void }): Promise<void>;
  /** Runs a command in the guest through its agent. */
  exec(command: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  writeFile(path: string, data: Uint8Array): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
  /** Resolves when the machine is off or crashed. */
  wait(): Promise<VmExit>;
  /** SHA-256 over the whole state, as hexadecimal digits. The machine is paused for it. */
  stateHash(): Promise<string>;
  stats(): Promise<Readonly<Record<string, number>>>;
  /** Ends the worker and frees everything. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
