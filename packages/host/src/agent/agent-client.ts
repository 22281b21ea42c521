/**
 * The host's end of the agent protocol (docs/reference/agent-protocol.md): runs commands in the guest with separate,
 * binary-safe streams, signals them, moves files, and sets identity. Up to four commands run at once, more wait.
 * The guest is not trusted: it can make its own commands fail, nothing else.
 */

import { randomBytes } from "node:crypto";
import { startCommand } from "./agent-command.ts";
import { AgentError } from "./agent-error.ts";
import { AgentLink } from "./agent-link.ts";
import { AGENT_SLOTS, type AgentPorts, CONTROL_PORT, errPort, outPort } from "./agent-port.ts";
import type { AgentProcess } from "./agent-process.ts";
import { type Collected, collect, pump } from "./stream-ends.ts";
import { encodeWord } from "./word-encoding.ts";

export const AGENT_PROTOCOL_VERSION = 1;

export interface AgentInfo {
  readonly protocolVersion: number;
  readonly slots: number;
  readonly kernelRelease: string;
}

export interface ExecOptions {
  /** Variables beside the agent's own PATH, HOME, USER and SHELL. Names as a shell can set them. */
  readonly env?: Readonly<Record<string, string | Uint8Array>>;
  /** Default "/". */
  readonly cwd?: string | Uint8Array;
  /** "none" (default): /dev/null. "pipe": the process object has a `stdin`. */
  readonly stdin?: "none" | "pipe";
  /** Kills the command. */
  readonly signal?: AbortSignal;
}

export interface RunOptions extends Omit<ExecOptions, "stdin"> {
  readonly input?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Of stdout and stderr each; default 64 MiB. More ends the command with an error. */
  readonly maxOutputBytes?: number;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface AgentClientOptions {
  /** 32 hexadecimal digits, different each time. */
  readonly createNonce?: () => string;
}

/** All arguments and variables of one command together; Linux takes about twice that. */
const MAX_COMMAND_BYTES = 1024 * 1024;
const DEFAULT_MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const DEFAULT_CONNECT_TIMEOUT_MS = 60_000;
const HELLO_REPEAT_MS = 500;
const MAX_SEED_BYTES = 512;

interface Waiter {
  take(slot: number): void;
  fail(error: unknown): void;
}

export class AgentClient {
  readonly #ports: AgentPorts;
  readonly #link: AgentLink;
  readonly #createNonce: () => string;
  readonly #freeSlots: number[] = [];
  readonly #waiters: Waiter[] = [];
  #session = 0;
  #slotCount = 0;
  #info: Promise<AgentInfo> | undefined;

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

  /** Waits for the agent, ends what an earlier host session had started, and tells what the guest is. */
  async connect(options: { signal?: AbortSignal; timeoutMs?: number } = {}): Promise<AgentInfo> {
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
    const answer = await this.#link.request("hello", words, { repeatMs: HELLO_REPEAT_MS });
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
    return { protocolVersion: AGENT_PROTOCOL_VERSION, slots: count, kernelRelease: printable(kernelRelease) };
  }

  /** Starts a command. Resolves when it is about to run, so not being found is an exit status (127), no rejection. */
  async exec(command: readonly (string | Uint8Array)[], options: ExecOptions = {}): Promise<AgentProcess> {
    const words = encodeCommand(command, options);
    const { signal } = options;
    signal?.throwIfAborted();
    await this.connect({ signal });
    const slot = await this.#takeSlot(signal);
    const session = this.#session;
    return await startCommand(this.#link, this.#ports, {
      slot,
      nonce: this.#createNonce(),
      hasStdin: options.stdin === "pipe",
      words,
      signal,
      onFreed: () => this.#returnSlot(slot, session),
    });
  }

  /** Runs a command to its end and collects its output. */
  async run(command: readonly (string | Uint8Array)[], options: RunOptions = {}): Promise<RunResult> {
    const { input, maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES } = options;
    const abort = new AbortController();
    const signal = options.signal === undefined ? abort.signal : AbortSignal.any([abort.signal, options.signal]);
    const process = await this.exec(command, { ...options, signal, stdin: input === undefined ? "none" : "pipe" });
    const parts: [Promise<Collected>, Promise<Collected>, Promise<number>, Promise<void>] = [
      collect(process.stdout, maxOutputBytes),
      collect(process.stderr, maxOutputBytes),
      process.exited,
      process.stdin === undefined || input === undefined ? Promise.resolve() : pump(input, process.stdin),
    ];
    try {
      const [stdout, stderr, exitCode] = await Promise.all(parts);
      return { exitCode, stdout, stderr };
    } catch (error) {
      abort.abort(error);
      const exit = (await Promise.allSettled(parts))[2];
      throw exit.status === "rejected" ? exit.reason : error;
    }
  }

  /** Writes a file in the guest: all of it or, when something fails, nothing. */
  async putFile(
    path: string | Uint8Array,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: { mode?: number; signal?: AbortSignal } = {},
  ): Promise<void> {
    const mode = ((options.mode ?? 0o644) & 0o7777).toString(8);
    const script =
      'umask 077; t="$1.$$.part"; cat >"$t" && chmod "$2" "$t" && mv -f "$t" "$1" || { rm -f "$t"; exit 1; }';
    const result = await this.run(["sh", "-c", script, "put", path, mode], { input: content, signal: options.signal });
    checkFileResult("written", path, result);
  }

  /** Reads a file from the guest. For a large one start `cat` with exec and take its stdout. */
  async getFile(path: string | Uint8Array, options: { maxBytes?: number; signal?: AbortSignal } = {}): Promise<Buffer> {
    const result = await this.run(["cat", "--", path], { maxOutputBytes: options.maxBytes, signal: options.signal });
    checkFileResult("read", path, result);
    return result.stdout;
  }

  async setHostname(name: string, signal?: AbortSignal): Promise<void> {
    if (!/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62})$/.test(name)) {
      throw new AgentError(
        "AGENT_BAD_ARGUMENT",
        `${JSON.stringify(name)} is no host name: use letters, digits, "-" and ".".`,
      );
    }
    await this.#request("hostname", [encodeWord(name, "The host name")], signal);
  }

  /** Mixes bytes into the guest's random pool; the kernel draws from it at its next reseeding. */
  async addEntropy(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (bytes.length === 0 || bytes.length > MAX_SEED_BYTES) {
      throw new AgentError("AGENT_BAD_ARGUMENT", `A seed has 1 to ${MAX_SEED_BYTES} bytes, not ${bytes.length}.`);
    }
    await this.#request("seed", [Buffer.from(bytes).toString("base64")], signal);
  }

  /** Sets the guest's clock, in whole seconds since 1970 UTC. */
  async setClock(unixSeconds: number, signal?: AbortSignal): Promise<void> {
    if (!Number.isInteger(unixSeconds) || unixSeconds < 0 || unixSeconds > 0xffff_ffff) {
      throw new AgentError("AGENT_BAD_ARGUMENT", `${unixSeconds} is not a whole number of seconds from 1970 to 2106.`);
    }
    await this.#request("clock", [unixSeconds], signal);
  }

  /** Of the serial console. */
  async setWindowSize(rows: number, columns: number, signal?: AbortSignal): Promise<void> {
    if (![rows, columns].every((value) => Number.isInteger(value) && value > 0 && value <= 0xffff)) {
      throw new AgentError("AGENT_BAD_ARGUMENT", `A terminal cannot have ${rows} rows and ${columns} columns.`);
    }
    await this.#request("winsize", [rows, columns], signal);
  }

  /** TERM of the shells that start from now on. */
  async setTerminal(name: string, signal?: AbortSignal): Promise<void> {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$/.test(name)) {
      throw new AgentError("AGENT_BAD_ARGUMENT", `${JSON.stringify(name)} is no terminal's name.`);
    }
    await this.#request("term", [encodeWord(name, "The terminal's name")], signal);
  }

  async sync(signal?: AbortSignal): Promise<void> {
    await this.#request("sync", [], signal);
  }

  /** Resolves when the guest has begun to turn itself off. */
  async powerOff(signal?: AbortSignal): Promise<void> {
    await this.#request("poweroff", [], signal);
  }

  async reboot(signal?: AbortSignal): Promise<void> {
    await this.#request("reboot", [], signal);
  }

  /** The machine has ended: everything under way fails with AGENT_LOST. */
  shut(why: string): void {
    const error = new AgentError("AGENT_LOST", why);
    this.#endSession(error);
    this.#link.shut(error);
  }

  #endSession(error: AgentError): void {
    this.#info = undefined;
    this.#session++;
    this.#freeSlots.length = 0;
    for (const waiter of this.#waiters.splice(0)) waiter.fail(error);
  }

  async #request(verb: string, words: readonly (string | number)[], signal?: AbortSignal): Promise<void> {
    await this.connect({ signal });
    await this.#link.request(verb, words, { signal });
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

function encodeCommand(command: readonly (string | Uint8Array)[], options: ExecOptions): (string | number)[] {
  if (command.length === 0 || command[0]!.length === 0) {
    throw new AgentError("AGENT_BAD_ARGUMENT", "There is no command to run: its first word is missing or empty.");
  }
  const variables = Object.entries(options.env ?? {}).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new AgentError("AGENT_BAD_ARGUMENT", `${JSON.stringify(name)} is no name for an environment variable.`);
    }
    return encodeWord(Buffer.concat([Buffer.from(`${name}=`), toBytes(value)]), `The variable ${name}`);
  });
  const cwd = encodeWord(options.cwd ?? "/", "The directory");
  const words = command.map((word, index) => encodeWord(word, index === 0 ? "The command" : `Argument ${index}`));
  const sizeBytes = [...variables, ...words].reduce((sum, word) => sum + word.length, 0);
  if (sizeBytes > MAX_COMMAND_BYTES) {
    throw new AgentError(
      "AGENT_BAD_ARGUMENT",
      `The arguments and variables take ${sizeBytes} encoded bytes; at most ${MAX_COMMAND_BYTES} can be sent. ` +
        "Send the data on standard input or as a file.",
    );
  }
  return [cwd, variables.length, ...variables, ...words];
}

function checkFileResult(what: string, path: string | Uint8Array, result: RunResult): void {
  if (result.exitCode === 0) return;
  const name = printable(Buffer.from(toBytes(path)).toString("utf8"));
  const why = printable(result.stderr.subarray(0, 400).toString("utf8").trim()) || `status ${result.exitCode}`;
  throw new AgentError("AGENT_FILE", `${name} in the guest could not be ${what}: ${why}.`);
}

function toBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? Buffer.from(value, "utf8") : value;
}

/** GUEST-CONTROLLED text, made harmless for a terminal. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}

async function withDeadline<T>(
  promise: Promise<T>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  createError: () => Error,
): Promise<T> {
  signal?.throwIfAborted();
  let stop = (): void => {};
  const interrupted = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(createError()), timeoutMs);
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
  });
  try {
    return await Promise.race([promise, interrupted]);
  } finally {
    stop();
  }
}
