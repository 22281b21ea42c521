/**
 * Commands run by QEMU's guest agent: guest-exec starts one, guest-exec-status is asked until it has ended, and then gives
 * its output. One that is aborted is killed; whether it has ended is asked for a while longer, so that the agent forgets it.
 */
import { Readable } from "node:stream";
import { AgentError } from "./agent-error.ts";
import type { AgentProcess } from "./agent-process.ts";
import { jsonText } from "./command-words.ts";
import type { Bytes, ExecOptions } from "./guest-agent.ts";
import type { QemuAgentLink } from "./qemu-agent-link.ts";
import { type ExecStatus, readExecStatus, readPid } from "./qemu-answers.ts";

/** The agent's own limit for each stream, as it is sent (base64), and what is around it. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
const MAX_STATUS_BYTES = 2 * Math.ceil((MAX_OUTPUT_BYTES * 4) / 3) + 4096;
const POLL_MS = { first: 5, last: 250 } as const;
/** Of an agent whose guest has much to do: the command goes on meanwhile, and its end must not be lost. */
const STATUS_TIMEOUT_MS = 300_000;
/** For one that was aborted. */
const REAP_MS = 10_000;
const SIGNAL_NAME = /^[A-Z][A-Z0-9]{1,9}$/;
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  USER: "root",
  LOGNAME: "root",
  SHELL: "/bin/sh",
} as const;

/** Its first argument is the directory; the rest, the command. */
const START_SCRIPT = [
  'cd -- "$1" || exit 126',
  "shift",
  'command -v -- "$1" >/dev/null || { echo "$1: not found" >&2; exit 127; }',
  'if command -v setsid >/dev/null; then exec setsid -- "$@"; fi',
  'exec "$@"',
].join("\n");
const KILL_SCRIPT = 'kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2"';

export class QemuProcesses {
  readonly #link: QemuAgentLink;
  #running = 0;
  isWindows = false;

  constructor(link: QemuAgentLink) {
    this.#link = link;
  }

  get areRunning(): boolean {
    return this.#running > 0;
  }

  async start(command: readonly Bytes[], options: ExecOptions): Promise<AgentProcess> {
    const { signal, stdin } = options;
    signal?.throwIfAborted();
    const pid = readPid(await this.#link.request("guest-exec", this.#arguments(command, options, stdin), { signal }));
    return this.#follow(pid, signal);
  }

  #arguments(command: readonly Bytes[], { cwd = "/", env }: ExecOptions, stdin: ExecOptions["stdin"]): object {
    const words = command.map((word) => jsonText(word, "An argument"));
    const shell = ["/bin/sh", "-c", START_SCRIPT, "sh", jsonText(cwd, "The directory"), ...words];
    const [path = "", ...arg] = this.isWindows ? words : shell;
    const variables = this.isWindows ? env && Object.entries(env) : Object.entries({ ...ENVIRONMENT, ...env });
    return {
      path,
      arg,
      ...(variables && { env: variables.map(([name, value]) => `${name}=${jsonText(value, `The variable ${name}`)}`) }),
      ...(stdin instanceof Uint8Array && { "input-data": Buffer.from(stdin).toString("base64") }),
      "capture-output": true,
    };
  }

  #follow(pid: number, signal: AbortSignal | undefined): AgentProcess {
    this.#running++;
    const end = this.#end(pid, signal).finally(() => this.#running--);
    const output = (take: (status: ExecStatus) => Buffer): Readable =>
      Readable.from(once(end.then(take)), { objectMode: false });
    const exited = end.then(({ exitCode }) => exitCode);
    let hasEnded = false;
    const note = (): void => {
      hasEnded = true;
    };
    exited.then(note, note);
    return {
      pid,
      stdin: undefined,
      stdout: output(({ stdout }) => stdout),
      stderr: output(({ stderr }) => stderr),
      exited,
      kill: async (name) => {
        const word = name.replace(/^SIG/, "");
        if (!SIGNAL_NAME.test(word)) throw new AgentError("AGENT_BAD_ARGUMENT", `${name} is no signal's name.`);
        if (hasEnded) return false;
        await this.#kill(pid, word);
        return true;
      },
    };
  }

  async #end(pid: number, signal: AbortSignal | undefined): Promise<ExecStatus> {
    try {
      const status = await this.#poll(pid, signal);
      if (!status.isCut) return status;
    } catch (error) {
      if (signal?.aborted) void this.#reap(pid).catch(() => {}); // The agent may be gone, and the command with it.
      throw error;
    }
    const most = MAX_OUTPUT_BYTES / 1024 / 1024;
    throw new AgentError(
      "AGENT_TOO_LARGE",
      `The command's output is over the ${most} MiB that QEMU's guest agent keeps. Let it write to a file, and read that.`,
    );
  }

  async #poll(pid: number, signal: AbortSignal | undefined): Promise<ExecStatus> {
    for (let waitMs: number = POLL_MS.first; ; waitMs = Math.min(2 * waitMs, POLL_MS.last)) {
      const options = { signal, maxAnswerBytes: MAX_STATUS_BYTES, timeoutMs: STATUS_TIMEOUT_MS };
      const answer = await this.#link.request("guest-exec-status", { pid }, options);
      const status = readExecStatus(answer, MAX_OUTPUT_BYTES);
      if (status !== undefined) return status;
      await pause(waitMs, signal);
    }
  }

  async #kill(pid: number, name: string): Promise<void> {
    const kill = this.isWindows
      ? { path: "taskkill", arg: ["/f", "/t", "/pid", String(pid)] }
      : { path: "/bin/sh", arg: ["-c", KILL_SCRIPT, "sh", name, String(pid)] };
    await this.#link.request("guest-exec", kill);
  }

  async #reap(pid: number): Promise<void> {
    await this.#kill(pid, "KILL");
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), REAP_MS).unref();
    await this.#poll(pid, limit.signal).finally(() => clearTimeout(timer));
  }
}

async function* once(bytes: Promise<Buffer>): AsyncGenerator<Buffer> {
  const all = await bytes.catch(() => Buffer.alloc(0)); // `exited` tells why.
  if (all.length > 0) yield all;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}
