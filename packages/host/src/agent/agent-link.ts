/**
 * The control port of the agent protocol: numbered request lines out, answer lines in. Answers come from the guest
 * and are untrusted: lines are bounded in length, unknown ones ignored.
 */

import { AgentError } from "./agent-error.ts";
import type { AgentPort } from "./agent-port.ts";

export interface AgentAnswer {
  readonly verb: string;
  readonly words: readonly string[];
}

type AnswerListener = (answer: AgentAnswer) => void;

interface Pending {
  onAnswer: AnswerListener;
  onLost: (error: AgentError) => void;
}

const MAX_LINE_BYTES = 4096;
const FIRST_SEQUENCE = 1;
const LAST_SEQUENCE = 999_999_999;

export class AgentLink {
  readonly #port: AgentPort;
  readonly #pending = new Map<number, Pending>();
  #line: Buffer = Buffer.alloc(0);
  #isSkipping = false;
  #sequence = FIRST_SEQUENCE;
  #lost: AgentError | undefined;
  /** Called when the agent closes the control port: what it was doing is over. */
  onLost: ((error: AgentError) => void) | undefined;

  constructor(port: AgentPort) {
    this.#port = port;
    port.onData = (bytes) => this.#onData(bytes);
    port.onGuestClose = () => this.lose();
    port.open();
  }

  /** The agent is gone, and another may come. */
  lose(): void {
    const error = new AgentError("AGENT_LOST", "The guest's agent ended. It starts again by itself; try once more.");
    this.fail(error);
    this.onLost?.(error);
  }

  /** Registers a request; the caller sends it with `send` and ends it with `forget`. */
  begin(onAnswer: AnswerListener, onLost: (error: AgentError) => void): number {
    const sequence = this.#sequence;
    this.#sequence = sequence === LAST_SEQUENCE ? FIRST_SEQUENCE : sequence + 1;
    this.#pending.set(sequence, { onAnswer, onLost });
    return sequence;
  }

  forget(sequence: number): void {
    this.#pending.delete(sequence);
  }

  async send(verb: string, sequence: number, ...words: readonly (string | number)[]): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    await this.#port.write(Buffer.from(`${[verb, sequence, ...words].join(" ")}\n`, "latin1"));
  }

  /**
   * One request with one answer. `repeatMs` sends it again while there is no answer, for a request that may be lost
   * because no agent listens yet and that does no harm when heard twice.
   */
  request(
    verb: string,
    words: readonly (string | number)[],
    options: { signal?: AbortSignal; repeatMs?: number } = {},
  ): Promise<AgentAnswer> {
    const { signal, repeatMs } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      let timer: NodeJS.Timeout | undefined;
      const finish = (settle: () => void): void => {
        this.forget(sequence);
        signal?.removeEventListener("abort", onAbort);
        clearTimeout(timer);
        settle();
      };
      const send = (): void => {
        this.send(verb, sequence, ...words).then(
          () => {
            if (repeatMs !== undefined && this.#pending.has(sequence)) timer = setTimeout(send, repeatMs).unref();
          },
          (error: unknown) => finish(() => reject(error)),
        );
      };
      const onAbort = (): void => finish(() => reject(signal?.reason));
      const sequence = this.begin(
        (answer) => {
          if (answer.verb === "error") finish(() => reject(refusal(verb, answer)));
          else if (answer.verb === (verb === "hello" ? "hello" : "ok")) finish(() => resolve(answer));
        },
        (error) => finish(() => reject(error)),
      );
      signal?.addEventListener("abort", onAbort, { once: true });
      send();
    });
  }

  /** Ends every request under way. */
  fail(error: AgentError): void {
    for (const { onLost } of [...this.#pending.values()]) onLost(error);
    this.#pending.clear();
    this.#line = Buffer.alloc(0);
  }

  /** The machine is gone for good. */
  shut(error: AgentError): void {
    this.#lost = error;
    this.fail(error);
    this.#port.close("now");
  }

  // GUEST-CONTROLLED: the bytes and their grouping.
  #onData(bytes: Uint8Array): void {
    let rest = Buffer.concat([this.#line, bytes]);
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      const line = rest.subarray(0, end);
      rest = rest.subarray(end + 1);
      if (!this.#isSkipping && line.length <= MAX_LINE_BYTES) this.#onLine(line.toString("utf8"));
      this.#isSkipping = false;
    }
    if (rest.length > MAX_LINE_BYTES) {
      this.#isSkipping = true;
      rest = Buffer.alloc(0);
    }
    this.#line = Buffer.from(rest);
  }

  #onLine(line: string): void {
    const [verb = "", sequence = "", ...words] = line.split(" ");
    if (!/^[1-9][0-9]{0,8}$/.test(sequence)) return;
    this.#pending.get(Number(sequence))?.onAnswer({ verb, words });
  }
}

/** The error for an `error` answer: its code word, then its text in the agent's words. */
export function refusal(verb: string, answer: AgentAnswer): AgentError {
  const [reason = "unknown", ...text] = answer.words.map((word) => word.replace(/[^\x20-\x7e]/g, "?"));
  return new AgentError("AGENT_REFUSED", `The guest's agent refused ${verb}: ${text.join(" ") || reason}.`, { reason });
}
