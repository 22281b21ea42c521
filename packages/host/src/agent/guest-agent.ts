/**
 * What an agent in the guest does for the host, whichever it is: Twinmetal's own in the tiny image (agent-client.ts), or
 * QEMU's guest agent in a full system (qemu-agent.ts). What one of them cannot do rejects with AGENT_UNSUPPORTED. All that
 * comes from the guest is bounded in size and checked for its form; that it is true nobody can check.
 */
import type { AgentProcess } from "./agent-process.ts";

export type AgentKind = "twinmetal" | "qemu";

export interface AgentInfo {
  readonly kind: AgentKind;
  /** Of the protocol ("1") or, with QEMU's, of the program ("7.2.22"). */
  readonly version: string;
  readonly kernelRelease?: string | undefined;
}

export type Bytes = string | Uint8Array;

export interface TerminalOptions {
  readonly rows: number;
  readonly columns: number;
  /** TERM. Default "vt102". */
  readonly name?: string;
}

export interface ExecOptions {
  /** Variables beside PATH, HOME, USER and SHELL. Names as a shell can set them. */
  readonly env?: Readonly<Record<string, Bytes>>;
  /** Default "/". */
  readonly cwd?: Bytes;
  /** "none" (default): /dev/null. "pipe": the process object has a `stdin`; not with QEMU's agent. Bytes: those. */
  readonly stdin?: "none" | "pipe" | Uint8Array;
  /** A terminal (PTY) of the command's own is its input, output and errors; `stdin` is then "pipe". Not with QEMU's agent. */
  readonly terminal?: TerminalOptions;
  /** Kills the command. */
  readonly signal?: AbortSignal;
}

export interface RunOptions extends Omit<ExecOptions, "stdin" | "terminal"> {
  /** QEMU's agent takes at most 4 MiB, which are read before the command starts. */
  readonly input?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Of stdout and stderr each; default 64 MiB, with QEMU's agent at most 16 MiB. More ends the command with an error. */
  readonly maxOutputBytes?: number;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface FileReadOptions {
  /** Default 64 MiB; more is AGENT_TOO_LARGE. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

export interface FileWriteOptions {
  /** Permissions; default 0o644. */
  readonly mode?: number;
  readonly signal?: AbortSignal;
}

/** One address of a network card, as the guest says. */
export interface GuestAddress {
  readonly family: "ipv4" | "ipv6";
  readonly address: string;
  readonly prefixLength: number;
}

export interface GuestInterface {
  /** As the guest calls it: "eth0". */
  readonly name: string;
  readonly mac: string | undefined;
  readonly addresses: readonly GuestAddress[];
}

/** What the guest says it runs; fields that it does not tell are missing. */
export interface GuestOsInfo {
  /** A short word: "debian", "mswindows", "twinmetal". */
  readonly id?: string;
  readonly name?: string;
  readonly version?: string;
  readonly kernelRelease?: string;
  readonly machine?: string;
}

export interface AgentCall {
  readonly signal?: AbortSignal;
}

export interface GuestAgent {
  /** A command of this side runs in the guest. */
  readonly isBusy: boolean;
  /** Waits for the agent (default 60 s), and brings both sides to the same place. Every other method does so by itself. */
  connect(options?: AgentCall & { timeoutMs?: number }): Promise<AgentInfo>;
  /** Starts a command. Resolves when it is about to run, so not being found is an exit status (127), no rejection. */
  exec(command: readonly Bytes[], options?: ExecOptions): Promise<AgentProcess>;
  /** Runs a command to its end and collects its output. */
  run(command: readonly Bytes[], options?: RunOptions): Promise<RunResult>;
  /** Writes a file in the guest: all of it or, when something fails, nothing. */
  putFile(path: Bytes, content: Uint8Array | AsyncIterable<Uint8Array>, options?: FileWriteOptions): Promise<void>;
  getFile(path: Bytes, options?: FileReadOptions): Promise<Buffer>;
  /** Its network cards and their addresses, the loopback among them. */
  interfaces(options?: AgentCall): Promise<readonly GuestInterface[]>;
  osInfo(options?: AgentCall): Promise<GuestOsInfo>;
  /** The guest's clock, in milliseconds since 1970 UTC. */
  time(options?: AgentCall): Promise<number>;
  /** To the millisecond with QEMU's agent, to the second with Twinmetal's. */
  setTime(unixMs: number, options?: AgentCall): Promise<void>;
  /**
   * Brings the file systems on disks to a state in which a copy of the disks is whole, and holds every write to them until
   * `thaw`. Resolves with their number. Whoever freezes thaws: nothing else does.
   */
  freeze(options?: AgentCall): Promise<number>;
  /** Resolves with the number of file systems that go on. That none was frozen is no error. */
  thaw(options?: AgentCall): Promise<number>;
  isFrozen(options?: AgentCall): Promise<boolean>;
  /** Resolve when the guest has begun to turn itself off, or to start again. */
  powerOff(options?: AgentCall): Promise<void>;
  reboot(options?: AgentCall): Promise<void>;
  setHostname(name: string, options?: AgentCall): Promise<void>;
  /** Mixes bytes into the guest's random pool; the kernel draws from it at its next reseeding. Not with QEMU's agent. */
  addEntropy(bytes: Uint8Array, options?: AgentCall): Promise<void>;
  /** Of the tiny image's serial console. Not with QEMU's agent. */
  setWindowSize(rows: number, columns: number, options?: AgentCall): Promise<void>;
}
