/**
 * One conversation with QEMU's guest agent: a request, its answer, one at a time (QEMU's "Guest Agent Protocol Reference"; JSON,
 * a line each). Answers carry no number, so after a time-out, an abort or a lost agent the two sides are brought in step again
 * by guest-sync-delimited: what came before its byte 0xFF belongs to nobody.
 *
 * GUEST-CONTROLLED: all that comes. A line is bounded by what its request can be answered with, the bytes that are
 * waited through by a limit, JSON by its number of parts; and while nothing is asked, the port is stopped and the guest waits.
 */
import { AgentError, printable } from "./agent-error.ts";
import type { AgentPort } from "./agent-port.ts";

/** As in QMP, an answer is one of the two. */
interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly class?: unknown; readonly desc?: unknown };
}

export interface QemuRequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default 30 s. */
  readonly timeoutMs?: number;
  /** Of the answer's line, default 1 MiB. */
  readonly maxAnswerBytes?: number;
  /** So long nothing but an error is an answer; then it counts as done, for what an agent does not answer otherwise. */
  readonly silenceMs?: number;
}

interface Waiting {
  readonly maxLineBytes: number;
  onLine(line: Buffer): void;
  fail(error: unknown): void;
}

const NEWLINE = 0x0a;
const SENTINEL = 0xff;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_ANSWER_BYTES = 1024 * 1024;
const SYNC_LINE_BYTES = 4096;
/** What an agent that is asked again may still have had to say: the longest answer, and a little. */
const MAX_PASSED_BYTES = 64 * 1024 * 1024;
const MAX_PASSED_LINES = 10_000;
const NOTHING: Buffer = Buffer.alloc(0);
/** Commas, braces and brackets of an answer: a small text could become a large object otherwise. */
const MAX_PARTS = 100_000;
const SYNC_REPEAT_MS = { first: 1000, last: 16_000 } as const;
const MAX_SYNC_ID = 2 ** 31;

export class QemuAgentLink {
  readonly #port: AgentPort;
  readonly #createId: () => number;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting: Waiting | undefined;
  #line: Buffer = NOTHING;
  #lineBytes = 0;
  #passedBytes = 0;
  #passedLines = 0;
  #isSkipping = false;
  #isInStep = false;
  #isSyncing = false;
  #lost: AgentError | undefined;
  /** The agent has ended, or its guest has. */
  onLost: (() => void) | undefined;

  /** `createId` gives numbers below 2^31 that an agent cannot guess. */
  constructor(port: AgentPort, createId: () => number) {
    this.#port = port;
    this.#createId = createId;
    port.onData = (bytes) => this.#onData(bytes);
    port.onGuestClose = () => this.lose();
    port.setFlow(false);
    port.open();
  }

  /** The agent is gone, and another may come. */
  lose(): void {
    this.#isInStep = false;
    if (!this.#isSyncing) this.#waiting?.fail(lost());
    this.onLost?.();
  }

  /** Waits until an agent answers, for as long as the signal lets it. */
  async connect(signal: AbortSignal): Promise<void> {
    await this.#inTurn(signal, () => this.#sync(signal));
  }

  /**
   * Rejects with AGENT_TIMEOUT, AGENT_LOST, AGENT_PROTOCOL and AGENT_TOO_LARGE for an agent that does not do its part,
   * AGENT_UNSUPPORTED for a command that it does not have, AGENT_REFUSED for one that failed.
   */
  async request(command: string, args: object = {}, options: QemuRequestOptions = {}): Promise<unknown> {
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS, maxAnswerBytes = DEFAULT_ANSWER_BYTES, silenceMs } = options;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(notAnswered(command, timeoutMs)), timeoutMs);
    const ending = signal === undefined ? limit.signal : AbortSignal.any([limit.signal, signal]);
    try {
      return await this.#inTurn(ending, () => this.#ask(command, args, maxAnswerBytes, silenceMs, ending));
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(
    command: string,
    args: object,
    maxAnswerBytes: number,
    silenceMs: number | undefined,
    signal: AbortSignal,
  ): Promise<unknown> {
    if (!this.#isInStep) await this.#sync(signal);
    const pause = silenceMs === undefined ? undefined : silence(silenceMs);
    try {
      const answered = this.#nextLine(maxAnswerBytes, signal);
      this.#send(Buffer.from(`${JSON.stringify({ execute: command, arguments: args })}\n`));
      const line = await Promise.race(pause === undefined ? [answered] : [answered, pause.passed]);
      if (line !== undefined) return result(command, line);
      this.#waiting?.fail(lost());
      this.#isInStep = false;
      return undefined;
    } catch (error) {
      if (!isAnswer(error)) this.#fallOutOfStep();
      throw error;
    } finally {
      pause?.stop();
    }
  }

  /** The machine is gone for good. */
  shut(error: AgentError): void {
    this.#lost = error;
    this.#waiting?.fail(error);
    this.#port.close("now");
  }

  /** What the agent has not taken yet is dropped with it. */
  #fallOutOfStep(): void {
    if (this.#lost !== undefined) return;
    this.#isInStep = false;
    this.#port.close("now");
    this.#port.open();
  }

  async #inTurn<T>(signal: AbortSignal, action: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const turn = this.#queue.then(() => {
      if (this.#lost !== undefined) throw this.#lost;
      signal.throwIfAborted();
      return action();
    });
    this.#queue = turn.catch(() => {});
    return await aborted(turn, signal);
  }

  async #sync(signal: AbortSignal): Promise<void> {
    this.#isSyncing = true;
    try {
      for (let repeatMs: number = SYNC_REPEAT_MS.first; ; repeatMs = Math.min(2 * repeatMs, SYNC_REPEAT_MS.last)) {
        const id = this.#createId() % MAX_SYNC_ID;
        const answered = this.#syncAnswer(id, signal);
        const request = JSON.stringify({ execute: "guest-sync-delimited", arguments: { id } });
        this.#send(Buffer.concat([Buffer.of(SENTINEL), Buffer.from(`${request}\n`)]));
        const pause = silence(repeatMs);
        const isThere = await Promise.race([answered.then(() => true), pause.passed.then(() => false)]);
        pause.stop();
        if (isThere) {
          this.#isInStep = true;
          return;
        }
        this.#waiting?.fail(lost());
        await answered.catch(() => {});
      }
    } finally {
      this.#isSyncing = false;
    }
  }

  #syncAnswer(id: number, signal: AbortSignal): Promise<void> {
    return this.#wait(SYNC_LINE_BYTES, signal, (line, done) => {
      const at = line.lastIndexOf(SENTINEL);
      if (at < 0) return;
      const answer = parse(line.subarray(at + 1));
      if (answer?.return === id) done();
    });
  }

  #nextLine(maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    return this.#wait(maxBytes, signal, (line, done) => done(line));
  }

  /** Only one waits at a time: its turn. */
  #wait<T>(
    maxLineBytes: number,
    signal: AbortSignal,
    look: (line: Buffer, done: (value: T) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void): void => {
        if (this.#waiting !== waiting) return;
        this.#waiting = undefined;
        this.#clearLine();
        signal.removeEventListener("abort", onAbort);
        this.#port.setFlow(false);
        action();
      };
      const onAbort = (): void => settle(() => reject(signal.reason));
      signal.throwIfAborted();
      const waiting: Waiting = {
        maxLineBytes,
        onLine: (line) => look(line, (value) => settle(() => resolve(value))),
        fail: (error) => settle(() => reject(error)),
      };
      this.#waiting = waiting;
      this.#passedBytes = 0;
      this.#passedLines = 0;
      signal.addEventListener("abort", onAbort, { once: true });
      this.#port.setFlow(true);
    });
  }

  #send(bytes: Buffer): void {
    this.#port.write(bytes).catch(() => {}); // A port that is closed does not answer, which is noticed.
  }

  // GUEST-CONTROLLED: the bytes and their grouping.
  #onData(bytes: Uint8Array): void {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#passedBytes += chunk.length;
    for (let at = 0; at < chunk.length && this.#waiting !== undefined; ) {
      const end = chunk.indexOf(NEWLINE, at);
      this.#take(chunk.subarray(at, end < 0 ? chunk.length : end));
      if (end < 0) break;
      const line = this.#line.subarray(0, this.#lineBytes);
      const isWhole = !this.#isSkipping;
      this.#clearLine();
      this.#passedLines++;
      if (isWhole && line.length > 0) this.#waiting?.onLine(line);
      if (this.#passedLines > MAX_PASSED_LINES) break;
      at = end + 1;
    }
    if (this.#passedBytes > MAX_PASSED_BYTES || this.#passedLines > MAX_PASSED_LINES) {
      this.#waiting?.fail(new AgentError("AGENT_PROTOCOL", "The guest's agent sends without end and answers nothing."));
    }
  }

  #take(part: Buffer): void {
    const waiting = this.#waiting!;
    const sizeBytes = this.#lineBytes + part.length;
    if (this.#isSkipping || sizeBytes > waiting.maxLineBytes) {
      this.#clearLine();
      this.#isSkipping = true;
      if (this.#isSyncing) return;
      const most = waiting.maxLineBytes;
      waiting.fail(new AgentError("AGENT_TOO_LARGE", `The answer of the guest's agent is over ${most} bytes.`));
      return;
    }
    if (sizeBytes > this.#line.length) {
      const room = Buffer.alloc(Math.max(2 * this.#line.length, sizeBytes));
      this.#line.copy(room, 0, 0, this.#lineBytes);
      this.#line = room;
    }
    part.copy(this.#line, this.#lineBytes);
    this.#lineBytes = sizeBytes;
  }

  #clearLine(): void {
    this.#line = NOTHING;
    this.#lineBytes = 0;
    this.#isSkipping = false;
  }
}

function result(command: string, line: Buffer): unknown {
  const answer = parse(line);
  if (answer === undefined) {
    throw new AgentError("AGENT_PROTOCOL", `The guest's agent answered ${command} with something that is no answer.`);
  }
  if (answer.error === undefined) return answer.return;
  const { class: kind, desc } = answer.error ?? {};
  const why = printable(String(typeof desc === "string" ? desc : "no reason given").slice(0, 400)).replace(/\.$/, "");
  if (kind === "CommandNotFound") {
    throw new AgentError("AGENT_UNSUPPORTED", `The guest's agent does not do ${command}: ${why}.`, { reason: kind });
  }
  const reason = typeof kind === "string" ? printable(kind.slice(0, 64)) : "failed";
  throw new AgentError("AGENT_REFUSED", `The guest's agent refused ${command}: ${why}.`, { reason });
}

function isAnswer(error: unknown): boolean {
  return error instanceof AgentError && ["AGENT_REFUSED", "AGENT_UNSUPPORTED"].includes(error.code);
}

/** Undefined for what is no answer. */
function parse(line: Buffer): Answer | undefined {
  let parts = 0;
  for (const byte of line) {
    if (byte === 0x2c || byte === 0x5b || byte === 0x7b) parts++;
  }
  if (parts > MAX_PARTS) return undefined;
  try {
    const value: unknown = JSON.parse(line.toString("utf8"));
    const isObject = typeof value === "object" && value !== null;
    return isObject && ("return" in value || "error" in value) ? (value as Answer) : undefined;
  } catch {
    return undefined;
  }
}

function lost(): AgentError {
  return new AgentError("AGENT_LOST", "The guest's agent ended. Try once more when it runs again.");
}

function notAnswered(command: string, timeoutMs: number): AgentError {
  return new AgentError(
    "AGENT_TIMEOUT",
    `The guest's agent did not answer ${command} within ${timeoutMs / 1000} s: it is not running, or busy.`,
  );
}

function silence(ms: number): { readonly passed: Promise<undefined>; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  return { passed, stop: () => clearTimeout(timer) };
}

/** The end of `promise`, or the signal's before it. */
function aborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
