/**
 * QEMU's guest agent, version 2.12 and later (qemu-ga; QEMU's "Guest Agent Protocol Reference"), on its port
 * org.qemu.guest_agent.0. It runs one request at a time and tells of a command's output when that has ended: no streams, no
 * terminals, at most 16 MiB of each. Commands are started by the guest's /bin/sh, in a session of their own where there is
 * a setsid; a Windows guest's are started as they are.
 */
import { randomInt } from "node:crypto";
import { AgentError, printable } from "./agent-error.ts";
import type { AgentPort } from "./agent-port.ts";
import type { AgentProcess } from "./agent-process.ts";
import { checkCommand } from "./command-words.ts";
import { withDeadline } from "./deadline.ts";
import type {
  AgentCall,
  AgentInfo,
  Bytes,
  ExecOptions,
  FileReadOptions,
  FileWriteOptions,
  GuestAgent,
  GuestInterface,
  GuestOsInfo,
  RunOptions,
  RunResult,
} from "./guest-agent.ts";
import { QemuAgentLink } from "./qemu-agent-link.ts";
import { readFreezeState, readInfo, readInterfaces, readOsInfo, readWhole } from "./qemu-answers.ts";
import { readGuestFile, writeGuestFile } from "./qemu-files.ts";
import { QemuProcesses } from "./qemu-processes.ts";
import { checkHostname, checkUnixMs } from "./request-checks.ts";
import { DEFAULT_MAX_OUTPUT_BYTES, runAndCollect } from "./run-command.ts";
import { collectInput } from "./stream-ends.ts";

export const QEMU_AGENT_PORT = "org.qemu.guest_agent.0";

const CONNECT_TIMEOUT_MS = 60_000;
/** A guest writes all it holds to its disks first. */
const FREEZE_TIMEOUT_MS = 300_000;
/** The agent answers only what fails. */
const SHUTDOWN_SILENCE_MS = 3000;
const MAX_INPUT_BYTES = 4 * 1024 * 1024;
const NS_PER_MS = 1_000_000;

export interface QemuAgentClientOptions {
  /** Numbers below 2^31, different each time. */
  readonly createId?: () => number;
}

export class QemuAgentClient implements GuestAgent {
  readonly #link: QemuAgentLink;
  readonly #processes: QemuProcesses;
  #info: AgentInfo | undefined;
  #commands: ReadonlySet<string> = new Set();
  #connecting: Promise<AgentInfo> | undefined;
  #looking = new AbortController();

  constructor(port: AgentPort, options: QemuAgentClientOptions = {}) {
    this.#link = new QemuAgentLink(port, options.createId ?? (() => randomInt(2 ** 31)));
    this.#link.onLost = () => this.#forget();
    this.#processes = new QemuProcesses(this.#link);
  }

  get isBusy(): boolean {
    return this.#processes.areRunning;
  }

  get isConnected(): boolean {
    return this.#info !== undefined;
  }

  /** Asks no more whether an agent is there: whoever waits for it is told so. */
  stopLooking(): void {
    this.#looking.abort(new AgentError("AGENT_LOST", "The guest has another agent."));
    this.#looking = new AbortController();
  }

  async connect(options: AgentCall & { timeoutMs?: number } = {}): Promise<AgentInfo> {
    const { timeoutMs = CONNECT_TIMEOUT_MS, signal } = options;
    if (this.#info !== undefined) return this.#info;
    this.#connecting ??= this.#look().finally(() => {
      this.#connecting = undefined;
    });
    return await withDeadline(this.#connecting, timeoutMs, signal, () => {
      return new AgentError(
        "AGENT_TIMEOUT",
        `The guest's agent did not answer within ${timeoutMs / 1000} s: qemu-guest-agent is not installed in the guest, or the guest is still starting.`,
      );
    });
  }

  async #look(): Promise<AgentInfo> {
    const { signal } = this.#looking;
    await this.#link.connect(signal);
    const { version, commands } = readInfo(await this.#link.request("guest-info", {}, { signal }));
    this.#commands = commands;
    const osInfo = await this.#osInfoAtFirst(signal);
    this.#processes.isWindows = osInfo.id === "mswindows";
    this.#info = { kind: "qemu", version, kernelRelease: osInfo.kernelRelease };
    return this.#info;
  }

  /** An agent whose file systems are frozen tells nothing; it is taken for one that has /bin/sh. */
  async #osInfoAtFirst(signal: AbortSignal): Promise<GuestOsInfo> {
    try {
      return readOsInfo(await this.#link.request("guest-get-osinfo", {}, { signal }));
    } catch (error) {
      if (error instanceof AgentError && ["AGENT_UNSUPPORTED", "AGENT_REFUSED"].includes(error.code)) return {};
      throw error;
    }
  }

  async exec(command: readonly Bytes[], options: ExecOptions = {}): Promise<AgentProcess> {
    if (options.terminal) {
      throw unsupported("gives a command no terminal. Use the guest's console, or ssh through its network");
    }
    if (options.stdin === "pipe") {
      throw unsupported("takes a command's input only before it starts: give it as bytes");
    }
    checkCommand(command, options.env);
    await this.connect({ signal: options.signal });
    this.#require("guest-exec");
    return await this.#processes.start(command, options);
  }

  /** All of it, before the command starts. */
  async takeInput(input: Uint8Array | AsyncIterable<Uint8Array>): Promise<Uint8Array> {
    return await collectInput(input, MAX_INPUT_BYTES);
  }

  async run(command: readonly Bytes[], options: RunOptions = {}): Promise<RunResult> {
    return await runAndCollect(this, command, options);
  }

  async putFile(
    path: Bytes,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    { mode = 0o644, signal }: FileWriteOptions = {},
  ): Promise<void> {
    await this.connect({ signal });
    this.#require("guest-file-open");
    await writeGuestFile(
      { link: this.#link, run: (words, call) => this.run(words, call) },
      path,
      content,
      mode,
      signal,
    );
  }

  async getFile(path: Bytes, options: FileReadOptions = {}): Promise<Buffer> {
    const { maxBytes = DEFAULT_MAX_OUTPUT_BYTES, signal } = options;
    await this.connect({ signal });
    this.#require("guest-file-open");
    return await readGuestFile(this.#link, path, maxBytes, signal);
  }

  async interfaces(options: AgentCall = {}): Promise<readonly GuestInterface[]> {
    return readInterfaces(await this.#request("guest-network-get-interfaces", options));
  }

  async osInfo(options: AgentCall = {}): Promise<GuestOsInfo> {
    return readOsInfo(await this.#request("guest-get-osinfo", options));
  }

  async time(options: AgentCall = {}): Promise<number> {
    const ns = await this.#request("guest-get-time", options);
    return Math.round(readWhole(Math.round(Number(ns) / NS_PER_MS), "guest-get-time"));
  }

  async setTime(unixMs: number, options: AgentCall = {}): Promise<void> {
    checkUnixMs(unixMs);
    await this.#request("guest-set-time", options, { time: Math.round(unixMs) * NS_PER_MS });
  }

  async freeze(options: AgentCall = {}): Promise<number> {
    const count = await this.#request("guest-fsfreeze-freeze", options, {}, FREEZE_TIMEOUT_MS);
    return readWhole(count, "guest-fsfreeze-freeze");
  }

  async thaw(options: AgentCall = {}): Promise<number> {
    const count = await this.#request("guest-fsfreeze-thaw", options, {}, FREEZE_TIMEOUT_MS);
    return readWhole(count, "guest-fsfreeze-thaw");
  }

  async isFrozen(options: AgentCall = {}): Promise<boolean> {
    return readFreezeState(await this.#request("guest-fsfreeze-status", options));
  }

  async powerOff(options: AgentCall = {}): Promise<void> {
    await this.#shutdown("powerdown", options);
  }

  async reboot(options: AgentCall = {}): Promise<void> {
    await this.#shutdown("reboot", options);
  }

  /** By the guest's own `hostnamectl`, or `hostname` where there is none. */
  async setHostname(name: string, options: AgentCall = {}): Promise<void> {
    checkHostname(name);
    const script = 'hostnamectl set-hostname "$1" 2>/dev/null || hostname "$1"';
    const { exitCode, stderr } = await this.run(["/bin/sh", "-c", script, "hostname", name], options);
    if (exitCode === 0) return;
    const why = printable(stderr.toString("utf8").trim().slice(0, 400));
    throw new AgentError("AGENT_REFUSED", `The guest did not take its name: ${why}.`, { reason: "failed" });
  }

  async addEntropy(): Promise<void> {
    throw unsupported("has no request for random bytes; a guest notices by its VM generation ID that it is a copy");
  }

  async setWindowSize(): Promise<void> {
    throw unsupported("does not know the size of the console's window");
  }

  /** The guest starts anew: what was under way fails with AGENT_LOST. */
  restarts(): void {
    this.#link.lose();
  }

  /** The machine has ended: everything under way fails with AGENT_LOST. */
  shut(why: string): void {
    this.#forget();
    this.#link.shut(new AgentError("AGENT_LOST", why));
  }

  #forget(): void {
    this.#info = undefined;
  }

  #require(command: string): void {
    if (this.#commands.has(command)) return;
    throw unsupported(`has no ${command}`);
  }

  async #request(command: string, { signal }: AgentCall, args: object = {}, timeoutMs?: number): Promise<unknown> {
    await this.connect({ signal });
    this.#require(command);
    return await this.#link.request(command, args, { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  }

  async #shutdown(mode: "powerdown" | "reboot", { signal }: AgentCall): Promise<void> {
    await this.connect({ signal });
    this.#require("guest-shutdown");
    try {
      await this.#link.request("guest-shutdown", { mode }, { signal, silenceMs: SHUTDOWN_SILENCE_MS });
    } catch (error) {
      // Its end is what was asked for.
      if (!(error instanceof AgentError) || error.code !== "AGENT_LOST") throw error;
    }
  }
}

function unsupported(what: string): AgentError {
  return new AgentError("AGENT_UNSUPPORTED", `QEMU's guest agent ${what}.`);
}
