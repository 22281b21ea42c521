/**
 * The agent of a VM's guest, whichever answers first: Twinmetal's own or QEMU's, each on its ports. A guest that starts again
 * may have another one.
 */
import type { AgentClient } from "./agent-client.ts";
import { AgentError } from "./agent-error.ts";
import type { AgentProcess } from "./agent-process.ts";
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
import type { QemuAgentClient } from "./qemu-agent.ts";
import type { CommandStarter } from "./run-command.ts";

const CONNECT_TIMEOUT_MS = 60_000;
/** Whoever waits has a limit of his own. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

type Found = AgentClient | QemuAgentClient;

export class AgentOfVm implements GuestAgent, CommandStarter {
  readonly #candidates: readonly Found[];
  #found: Found | undefined;
  #looking: Promise<Found> | undefined;
  #isShut = false;

  constructor(candidates: readonly Found[]) {
    this.#candidates = candidates;
  }

  get isBusy(): boolean {
    return this.#candidates.some(({ isBusy }) => isBusy);
  }

  async connect(options: AgentCall & { timeoutMs?: number } = {}): Promise<AgentInfo> {
    const { timeoutMs = CONNECT_TIMEOUT_MS, signal } = options;
    for (const deadlineMs = performance.now() + timeoutMs; ; ) {
      const leftMs = deadlineMs - performance.now();
      try {
        return await this.#connect(timeoutMs, Math.max(1, leftMs), signal);
      } catch (error) {
        // A guest that starts again closes its end first.
        const isLost = error instanceof AgentError && error.code === "AGENT_LOST";
        if (!isLost || this.#isShut || leftMs <= 0) throw error;
      }
    }
  }

  async #connect(timeoutMs: number, leftMs: number, signal: AbortSignal | undefined): Promise<AgentInfo> {
    if (!this.#found?.isConnected) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
      });
      this.#found = await withDeadline(this.#looking, leftMs, signal, () => noAgent(timeoutMs));
    }
    return await this.#found.connect({ timeoutMs: leftMs, ...(signal && { signal }) });
  }

  async #look(): Promise<Found> {
    const [only, ...others] = this.#candidates;
    if (only === undefined) {
      throw new AgentError("AGENT_UNSUPPORTED", "This VM was made without ports for a guest's agent.");
    }
    if (others.length === 0) return await answering(only);
    const found = await Promise.race(this.#candidates.map(answering));
    for (const other of this.#candidates) if (other !== found) other.stopLooking();
    return found;
  }

  async #agent(options: AgentCall | undefined): Promise<Found> {
    await this.connect({ signal: options?.signal });
    return this.#found!;
  }

  async exec(command: readonly Bytes[], options?: ExecOptions): Promise<AgentProcess> {
    return await (await this.#agent(options)).exec(command, options);
  }

  async takeInput(input: Uint8Array | AsyncIterable<Uint8Array>): Promise<ExecOptions["stdin"]> {
    return await (await this.#agent(undefined)).takeInput(input);
  }

  async run(command: readonly Bytes[], options?: RunOptions): Promise<RunResult> {
    return await (await this.#agent(options)).run(command, options);
  }

  async putFile(
    path: Bytes,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: FileWriteOptions,
  ): Promise<void> {
    await (await this.#agent(options)).putFile(path, content, options);
  }

  async getFile(path: Bytes, options?: FileReadOptions): Promise<Buffer> {
    return await (await this.#agent(options)).getFile(path, options);
  }

  async interfaces(options?: AgentCall): Promise<readonly GuestInterface[]> {
    return await (await this.#agent(options)).interfaces(options);
  }

  async osInfo(options?: AgentCall): Promise<GuestOsInfo> {
    return await (await this.#agent(options)).osInfo(options);
  }

  async time(options?: AgentCall): Promise<number> {
    return await (await this.#agent(options)).time(options);
  }

  async setTime(unixMs: number, options?: AgentCall): Promise<void> {
    await (await this.#agent(options)).setTime(unixMs, options);
  }

  async freeze(options?: AgentCall): Promise<number> {
    return await (await this.#agent(options)).freeze(options);
  }

  async thaw(options?: AgentCall): Promise<number> {
    return await (await this.#agent(options)).thaw(options);
  }

  async isFrozen(options?: AgentCall): Promise<boolean> {
    return await (await this.#agent(options)).isFrozen(options);
  }

  async powerOff(options?: AgentCall): Promise<void> {
    await (await this.#agent(options)).powerOff(options);
  }

  async reboot(options?: AgentCall): Promise<void> {
    await (await this.#agent(options)).reboot(options);
  }

  async setHostname(name: string, options?: AgentCall): Promise<void> {
    await (await this.#agent(options)).setHostname(name, options);
  }

  async addEntropy(bytes: Uint8Array, options?: AgentCall): Promise<void> {
    const agent = await this.#agent(options);
    await agent.addEntropy(bytes, options);
  }

  async setWindowSize(rows: number, columns: number, options?: AgentCall): Promise<void> {
    const agent = await this.#agent(options);
    await agent.setWindowSize(rows, columns, options);
  }

  /** The guest starts anew: what was under way fails with AGENT_LOST, what comes waits for its agent. */
  restarts(): void {
    for (const agent of this.#candidates) agent.restarts();
  }

  /** The machine has ended: everything under way fails with AGENT_LOST. */
  shut(why: string): void {
    this.#isShut = true;
    for (const agent of this.#candidates) agent.shut(why);
  }
}

async function answering(agent: Found): Promise<Found> {
  await agent.connect({ timeoutMs: NO_TIMEOUT_MS });
  return agent;
}

function noAgent(timeoutMs: number): AgentError {
  return new AgentError(
    "AGENT_TIMEOUT",
    `The guest's agent did not answer within ${timeoutMs / 1000} s: the guest has no agent (qemu-guest-agent), or is still starting. ` +
      "Look at its console, or wait longer.",
  );
}
