/**
 * The life of one command in one slot:
 *
 *   exec ->  started ->  exit ->  both marks seen ->  free ->  freed
 *        \-> error (slot free)
 *
 * Output streams end at the marks, `exited` settles at `exit`, the slot returns at `freed`. Aborting kills the command
 * and drops its output, but the slot still goes the whole way.
 */

import { AgentError } from "./agent-error.ts";
import { type AgentAnswer, type AgentLink, refusal } from "./agent-link.ts";
import { type AgentPorts, errPort, inPort, outPort } from "./agent-port.ts";
import { AgentInput, AgentOutput, type AgentProcess } from "./agent-process.ts";

export interface CommandRequest {
  readonly slot: number;
  readonly nonce: string;
  readonly hasStdin: boolean;
  /** The encoded words from the directory on. */
  readonly words: readonly (string | number)[];
  readonly signal: AbortSignal | undefined;
  /** The slot may be used again. Not called when the agent is lost. */
  readonly onFreed: () => void;
}

/** For the guest to begin: it has nothing to do but to start a process. */
const START_TIMEOUT_MS = 120_000;
const SIGNAL_NAME = /^[A-Z][A-Z0-9]{1,9}$/;

/** Resolves at `started`. */
export function startCommand(link: AgentLink, ports: AgentPorts, request: CommandRequest): Promise<AgentProcess> {
  return new Promise((resolve, reject) => {
    const command = new Command(link, ports, request, resolve, reject);
    command.begin();
  });
}

class Command {
  readonly #link: AgentLink;
  readonly #ports: AgentPorts;
  readonly #request: CommandRequest;
  readonly #resolve: (process: AgentProcess) => void;
  readonly #reject: (error: unknown) => void;
  readonly #stdout: AgentOutput;
  readonly #stderr: AgentOutput;
  readonly #exited: Promise<number>;
  readonly #onAbort = (): void => this.#abort();
  #settleExit: { resolve: (status: number) => void; reject: (error: unknown) => void } | undefined;
  #stdin: AgentInput | undefined;
  #sequence = 0;
  #startTimer: NodeJS.Timeout | undefined;
  #isStarted = false;
  #hasExited = false;
  #isFreeing = false;

  constructor(
    link: AgentLink,
    ports: AgentPorts,
    request: CommandRequest,
    resolve: (process: AgentProcess) => void,
    reject: (error: unknown) => void,
  ) {
    this.#link = link;
    this.#ports = ports;
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#exited = new Promise((resolveExit, rejectExit) => {
      this.#settleExit = { resolve: resolveExit, reject: rejectExit };
    });
    this.#exited.catch(() => {}); // Whoever wants the status awaits it; an aborted start is reported by #reject.
    const mark = `${request.nonce}\n`;
    const onEnd = (): void => this.#freeWhenDone();
    this.#stdout = new AgentOutput(ports.port(outPort(request.slot)), mark, onEnd);
    this.#stderr = new AgentOutput(ports.port(errPort(request.slot)), mark, onEnd);
  }

  begin(): void {
    const { slot, nonce, hasStdin, words, signal } = this.#request;
    if (hasStdin) this.#ports.port(inPort(slot)).open();
    this.#sequence = this.#link.begin(
      (answer) => this.#onAnswer(answer),
      (error) => this.#onLost(error),
    );
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#startTimer = setTimeout(() => this.#onNotStarted(), START_TIMEOUT_MS);
    this.#link
      .send("exec", this.#sequence, slot, nonce, hasStdin ? 1 : 0, ...words)
      .catch((error: unknown) => this.#onLost(error));
  }

  #onAnswer(answer: AgentAnswer): void {
    const number = Number(answer.words[0]);
    if (answer.verb === "started" && !this.#isStarted) this.#onStarted(number);
    else if (answer.verb === "exit" && !this.#hasExited) this.#onExit(number);
    else if (answer.verb === "freed" && this.#isFreeing) this.#onFreed();
    else if (answer.verb === "error" && !this.#isStarted) this.#onRefused(answer);
  }

  /** The slot is lost until the agent starts again: what the guest does with it is not known. */
  #onNotStarted(): void {
    this.#onLost(
      new AgentError("AGENT_TIMEOUT", `The guest's agent started no command within ${START_TIMEOUT_MS / 1000} s.`),
    );
  }

  #onStarted(pid: number): void {
    this.#isStarted = true;
    clearTimeout(this.#startTimer);
    const { slot, nonce, hasStdin, signal } = this.#request;
    if (hasStdin) {
      const port = this.#ports.port(inPort(slot));
      this.#stdin = new AgentInput(port);
      port.write(Buffer.from(`${nonce}\n`, "latin1")).catch(() => this.#stdin?.close());
    }
    if (signal?.aborted) {
      this.#abort();
      return;
    }
    this.#resolve({
      pid,
      stdin: this.#stdin,
      stdout: this.#stdout,
      stderr: this.#stderr,
      exited: this.#exited,
      kill: (name) => this.#kill(name),
    });
  }

  #onExit(status: number): void {
    this.#hasExited = true;
    this.#stdin?.close();
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
    const isStatus = Number.isInteger(status) && status >= 0 && status <= 255;
    if (isStatus) this.#settleExit?.resolve(status);
    else this.#fail(new AgentError("AGENT_PROTOCOL", "The guest's agent reported an exit status that is not one."));
    this.#freeWhenDone();
  }

  #freeWhenDone(): void {
    if (!this.#hasExited || this.#isFreeing || !this.#stdout.hasEnded || !this.#stderr.hasEnded) return;
    this.#isFreeing = true;
    this.#link.send("free", this.#sequence, this.#request.slot).catch((error: unknown) => this.#onLost(error));
  }

  #onFreed(): void {
    this.#link.forget(this.#sequence);
    this.#request.onFreed();
  }

  #onRefused(answer: AgentAnswer): void {
    this.#onLost(refusal("exec", answer));
    this.#request.onFreed();
  }

  /** Nothing more will come from the guest. */
  #onLost(error: unknown): void {
    clearTimeout(this.#startTimer);
    this.#link.forget(this.#sequence);
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
    this.#stdin?.close();
    if (!this.#isStarted) this.#ports.port(inPort(this.#request.slot)).close("now");
    this.#fail(error);
  }

  #abort(): void {
    this.#fail(this.#request.signal?.reason);
    if (this.#isStarted) this.#kill("KILL").catch(() => {}); // The agent may be gone, and the command with it.
  }

  #fail(error: unknown): void {
    this.#reject(error);
    this.#settleExit?.reject(error);
    // Without the cause: `exited` carries it, and a stream nobody listens to must not throw.
    if (!this.#stdout.hasEnded) this.#stdout.destroy();
    if (!this.#stderr.hasEnded) this.#stderr.destroy();
  }

  async #kill(name: string): Promise<boolean> {
    const signal = name.replace(/^SIG/, "");
    if (!SIGNAL_NAME.test(signal)) throw new AgentError("AGENT_BAD_ARGUMENT", `${name} is no signal's name.`);
    if (this.#hasExited) return false;
    try {
      await this.#link.request("kill", [this.#sequence, this.#request.slot, signal]);
      return true;
    } catch (error) {
      if (error instanceof AgentError && error.reason === "gone") return false;
      throw error;
    }
  }
}
