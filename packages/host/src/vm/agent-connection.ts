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
    const { agent, requireRunning } = this.#options;
    requireRunning();
    signal?.throwIfAborted();
    await agent.connect({ timeoutMs: agentTimeoutMs, ...(signal && { signal }) });
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
