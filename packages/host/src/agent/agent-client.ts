/**
 * The host's end of the agent protocol (docs/reference/agent-protocol.md): runs commands in the guest with separate,
 * binary-safe streams, signals them, moves files, and sets identity. Up to four commands run at once, more wait.
 * The guest is not trusted: it can make its own commands fail, nothing else.
 */

import { randomBytes } from "node:crypto";
import { startCommand } from "./agent-command.ts";
import { AgentError, printable } from "./agent-error.ts";
import { AgentLink } from "./agent-link.ts";
import { AGENT_SLOTS, type AgentPorts, CONTROL_PORT, errPort, outPort } from "./agent-port.ts";
import type { AgentProcess } from "./agent-process.ts";
import { encodeCommand, toBytes } from "./command-words.ts";
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
import { checkHostname, checkUnixMs, checkWindow } from "./request-checks.ts";
import { runAndCollect } from "./run-command.ts";
import { pump } from "./stream-ends.ts";
import { startInTerminal } from "./terminal-command.ts";
import {
  countOf,
  FREEZE_SCRIPT,
  FROZEN_SCRIPT,
  INTERFACES_SCRIPT,
  parseInterfaces,
  THAW_SCRIPT,
} from "./tiny-scripts.ts";
import { encodeWord } from "./word-encoding.ts";

export const AGENT_PROTOCOL_VERSION = 1;

export interface AgentClientOptions {
  /** 32 hexadecimal digits, different each time. */
  readonly createNonce?: () => string;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 60_000;
const HELLO_REPEAT_MS = 500;
/** Of what the agent answers at once. */
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_SEED_BYTES = 512;
const MAX_SCRIPT_BYTES = 256 * 1024;

interface Waiter {
  take(slot: number): void;
  fail(error: unknown): void;
}

export class AgentClient implements GuestAgent {
  readonly #ports: AgentPorts;
  readonly #link: AgentLink;
  readonly #createNonce: () => string;
  readonly #freeSlots: number[] = [];
  readonly #waiters: Waiter[] = [];
  #session = 0;
  #slotCount = 0;
  #info: Promise<AgentInfo> | undefined;
  #looking: AbortController | undefined;
  #isConnected = false;

  constructor(ports: AgentPorts, options: AgentClientOptions = {}) {
    this.#ports = ports;
    this.#createNonce = options.createNonce ?? (() => randomBytes(16).toString("hex"));
    this.#link = new AgentLink(ports.port(CONTROL_PORT));
    this.#link.onLost = (error) => this.#endSession(error);
  }

  /** A command of this side runs in the guest. */
  get isBusy(): boolean {
    return this.#info !== undefined && this.#freeSlots.length < this.#slotCount;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Asks no more whether an agent is there: whoever waits for it is told so. */
  stopLooking(): void {
    this.#looking?.abort(new AgentError("AGENT_LOST", "The guest has another agent."));
  }

  /** Waits for the agent, ends what an earlier host session had started, and tells what the guest is. */
  async connect(options: AgentCall & { timeoutMs?: number } = {}): Promise<AgentInfo> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
    if (this.#info === undefined) {
      const info = this.#hello();
      this.#info = info;
      info.catch(() => {
        if (this.#info === info) this.#info = undefined;
      });
    }
    return await withDeadline(this.#info, timeoutMs, options.signal, () => {
      return new AgentError(
        "AGENT_TIMEOUT",
        `The guest's agent did not answer within ${timeoutMs / 1000} s: the guest has no agent, or is still starting. ` +
          "Look at its serial console, or wait longer.",
      );
    });
  }

  async #hello(): Promise<AgentInfo> {
    for (let slot = 0; slot < AGENT_SLOTS; slot++) {
      for (const name of [outPort(slot), errPort(slot)]) {
        const port = this.#ports.port(name);
        port.onData = undefined;
        port.open();
        port.setFlow(true);
      }
    }
    const words = [AGENT_PROTOCOL_VERSION, this.#createNonce()];
    this.#looking = new AbortController();
    const { signal } = this.#looking;
    const answer = await this.#link.request("hello", words, { repeatMs: HELLO_REPEAT_MS, signal });
    const [version = "", slots = "", kernelRelease = ""] = answer.words;
    if (version !== String(AGENT_PROTOCOL_VERSION)) {
      throw new AgentError(
        "AGENT_VERSION",
        `The guest's agent speaks protocol version ${printable(version)}, this program ${AGENT_PROTOCOL_VERSION}. ` +
          "Start the guest from an image made by this version of Twinmetal.",
      );
    }
    this.#session++;
    this.#freeSlots.length = 0;
    const count = Math.min(AGENT_SLOTS, Math.max(1, Math.trunc(Number(slots)) || 0));
    this.#slotCount = count;
    for (let slot = 0; slot < count; slot++) this.#returnSlot(slot, this.#session);
    this.#isConnected = true;
    return { kind: "twinmetal", version, kernelRelease: printable(kernelRelease) };
  }

  async exec(command: readonly Bytes[], options: ExecOptions = {}): Promise<AgentProcess> {
    if (options.terminal) {
      return await startInTerminal((words, others) => this.exec(words, others), command, options, options.terminal);
    }
    const words = encodeCommand(command, options);
    const { signal, stdin = "none" } = options;
    signal?.throwIfAborted();
    await this.connect({ signal });
    const slot = await this.#takeSlot(signal);
    const session = this.#session;
    const process = await startCommand(this.#link, this.#ports, {
      slot,
      nonce: this.#createNonce(),
      hasStdin: stdin !== "none",
      words,
      signal,
      onFreed: () => this.#returnSlot(slot, session),
    });
    if (typeof stdin === "string") return process;
    void pump(stdin, process.stdin!).catch(() => {}); // A command that reads no more has ended, and says so itself.
    return { ...process, stdin: undefined };
  }

  async takeInput(): Promise<"pipe"> {
    return "pipe";
  }

  async run(command: readonly Bytes[], options: RunOptions = {}): Promise<RunResult> {
    return await runAndCollect(this, command, options);
  }

  async putFile(
    path: Bytes,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    { mode = 0o644, signal }: FileWriteOptions = {},
  ): Promise<void> {
    const script =
      'umask 077; t="$1.$$.part"; cat >"$t" && chmod "$2" "$t" && mv -f "$t" "$1" || { rm -f "$t"; exit 1; }';
    const command = ["sh", "-c", script, "put", path, (mode & 0o7777).toString(8)];
    checkFileResult("written", path, await this.run(command, { input: content, signal }));
  }

  /** For a large one start `cat` with exec and take its stdout. */
  async getFile(path: Bytes, options: FileReadOptions = {}): Promise<Buffer> {
    const result = await this.run(["cat", "--", path], { maxOutputBytes: options.maxBytes, signal: options.signal });
    checkFileResult("read", path, result);
    return result.stdout;
  }

  async interfaces(options: AgentCall = {}): Promise<readonly GuestInterface[]> {
    return parseInterfaces(await this.#script(INTERFACES_SCRIPT, options));
  }

  async osInfo(options: AgentCall = {}): Promise<GuestOsInfo> {
    const [kernelRelease = "", machine = ""] = printable(await this.#script("uname -r -m", options)).split(" ");
    return { id: "twinmetal", name: "Twinmetal's tiny image", kernelRelease, machine };
  }

  async time(options: AgentCall = {}): Promise<number> {
    return 1000 * countOf(await this.#script("date +%s", options));
  }

  async setTime(unixMs: number, options: AgentCall = {}): Promise<void> {
    checkUnixMs(unixMs);
    await this.#request("clock", [Math.round(unixMs / 1000)], options);
  }

  async freeze(options: AgentCall = {}): Promise<number> {
    return countOf(await this.#script(FREEZE_SCRIPT, options));
  }

  async thaw(options: AgentCall = {}): Promise<number> {
    return countOf(await this.#script(THAW_SCRIPT, options));
  }

  async isFrozen(options: AgentCall = {}): Promise<boolean> {
    return countOf(await this.#script(FROZEN_SCRIPT, options)) > 0;
  }

  async setHostname(name: string, options: AgentCall = {}): Promise<void> {
    checkHostname(name);
    await this.#request("hostname", [encodeWord(name, "The host name")], options);
  }

  async addEntropy(bytes: Uint8Array, options: AgentCall = {}): Promise<void> {
    if (bytes.length === 0 || bytes.length > MAX_SEED_BYTES) {
      throw new AgentError("AGENT_BAD_ARGUMENT", `A seed has 1 to ${MAX_SEED_BYTES} bytes, not ${bytes.length}.`);
    }
    await this.#request("seed", [Buffer.from(bytes).toString("base64")], options);
  }

  async setWindowSize(rows: number, columns: number, options: AgentCall = {}): Promise<void> {
    checkWindow(rows, columns);
    await this.#request("winsize", [rows, columns], options);
  }

  /** TERM of the shells that start from now on. */
  async setTerminal(name: string, options: AgentCall = {}): Promise<void> {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$/.test(name)) {
      throw new AgentError("AGENT_BAD_ARGUMENT", `${JSON.stringify(name)} is no terminal's name.`);
    }
    await this.#request("term", [encodeWord(name, "The terminal's name")], options);
  }

  async sync(options: AgentCall = {}): Promise<void> {
    await this.#request("sync", [], options);
  }

  async powerOff(options: AgentCall = {}): Promise<void> {
    await this.#request("poweroff", [], options);
  }

  async reboot(options: AgentCall = {}): Promise<void> {
    await this.#request("reboot", [], options);
  }

  /** The guest starts anew: what was under way fails with AGENT_LOST. */
  restarts(): void {
    this.#link.lose();
  }

  /** The machine has ended: everything under way fails with AGENT_LOST. */
  shut(why: string): void {
    const error = new AgentError("AGENT_LOST", why);
    this.#endSession(error);
    this.#link.shut(error);
  }

  #endSession(error: AgentError): void {
    this.#info = undefined;
    this.#isConnected = false;
    this.#session++;
    this.#freeSlots.length = 0;
    for (const waiter of this.#waiters.splice(0)) waiter.fail(error);
  }

  async #request(verb: string, words: readonly (string | number)[], { signal }: AgentCall): Promise<void> {
    await this.connect({ signal });
    const end = new AbortController();
    const answer = this.#link.request(verb, words, { signal: end.signal });
    try {
      await withDeadline(answer, REQUEST_TIMEOUT_MS, signal, () => notAnswered(verb));
    } finally {
      end.abort();
    }
  }

  async #script(script: string, { signal }: AgentCall): Promise<string> {
    const end = new AbortController();
    const run = this.run(["sh", "-c", script], { signal: end.signal, maxOutputBytes: MAX_SCRIPT_BYTES });
    try {
      const { exitCode, stdout, stderr } = await withDeadline(run, REQUEST_TIMEOUT_MS, signal, () =>
        notAnswered("that"),
      );
      if (exitCode === 0) return stdout.toString("latin1").trim();
      const why = printable(stderr.subarray(0, 400).toString("latin1").trim()) || `status ${exitCode}`;
      throw new AgentError("AGENT_REFUSED", `The guest could not do that: ${why}.`, { reason: "failed" });
    } finally {
      end.abort();
    }
  }

  async #takeSlot(signal: AbortSignal | undefined): Promise<number> {
    signal?.throwIfAborted();
    if (this.#info === undefined) throw new AgentError("AGENT_LOST", "The guest's agent ended. Try once more.");
    const slot = this.#freeSlots.shift();
    if (slot !== undefined) return slot;
    return await new Promise((resolve, reject) => {
      const settle = (): void => {
        signal?.removeEventListener("abort", onAbort);
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) this.#waiters.splice(index, 1);
      };
      const waiter: Waiter = {
        take: (free) => {
          settle();
          resolve(free);
        },
        fail: (error) => {
          settle();
          reject(error);
        },
      };
      const onAbort = (): void => waiter.fail(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  #returnSlot(slot: number, session: number): void {
    if (session !== this.#session) return;
    const waiter = this.#waiters[0];
    if (waiter === undefined) this.#freeSlots.push(slot);
    else waiter.take(slot);
  }
}

function notAnswered(what: string): AgentError {
  const seconds = REQUEST_TIMEOUT_MS / 1000;
  return new AgentError("AGENT_TIMEOUT", `The guest's agent did not answer ${what} within ${seconds} s.`);
}

function checkFileResult(what: string, path: string | Uint8Array, result: RunResult): void {
  if (result.exitCode === 0) return;
  const name = printable(Buffer.from(toBytes(path)).toString("utf8"));
  const why = printable(result.stderr.subarray(0, 400).toString("utf8").trim()) || `status ${result.exitCode}`;
  throw new AgentError("AGENT_FILE", `${name} in the guest could not be ${what}: ${why}.`);
}
