/**
 * The way to the guest's agent: waits for it, also while the guest starts again, and sets a restored guest right before the first
 * call. Its own clock stood still, and its random pool may have been restored before.
 */
import { randomBytes } from "node:crypto";
import { type AgentCall, AgentError, type AgentOfVm } from "../agent/index.ts";

const AGENT_TIMEOUT_MS = 180_000;

export interface AgentConnectionOptions {
  readonly agent: AgentOfVm;
  /** The guest was restored, and its calendar follows the host's. */
  readonly needsFreshening: boolean;
  /** Throws VmError where the guest has ended, or does not run. */
  readonly requireRunning: () => void;
  readonly hasEnded: () => boolean;
  readonly calendarSeconds: () => Promise<number>;
}

export class AgentConnection {
  readonly #options: AgentConnectionOptions;
  #freshening: Promise<void> | undefined;

  constructor(options: AgentConnectionOptions) {
    this.#options = options;
  }

  /** Rejects with VmError, AgentError, and what `action` rejects with. */
  async call<T>(options: AgentCall & { agentTimeoutMs?: number }, action: () => Promise<T>): Promise<T> {
    await this.#connect(options);
    this.#freshening ??= this.#freshen();
    await this.#freshening;
    return await action();
  }

  async #connect({
    signal,
    agentTimeoutMs = AGENT_TIMEOUT_MS,
  }: AgentCall & { agentTimeoutMs?: number }): Promise<void> {
    const { agent, requireRunning, hasEnded } = this.#options;
    requireRunning();
    signal?.throwIfAborted();
    const deadlineMs = performance.now() + agentTimeoutMs;
    for (let isConnected = false; !isConnected; ) {
      const timeoutMs = Math.max(1, deadlineMs - performance.now());
      isConnected = await agent.connect({ signal, timeoutMs }).then(
        () => true,
        (error: unknown) => {
          // A guest that starts again closes its end first.
          if (!(error instanceof AgentError) || error.code !== "AGENT_LOST" || hasEnded()) throw error;
          return false;
        },
      );
    }
  }

  async #freshen(): Promise<void> {
    const { agent, needsFreshening, calendarSeconds } = this.#options;
    if (!needsFreshening) return;
    try {
      await agent.setTime(1000 * (await calendarSeconds()));
      await agent.addEntropy(randomBytes(64));
    } catch (error) {
      if (!(error instanceof AgentError)) throw error; // A guest that cannot is as it was.
    }
  }
}
