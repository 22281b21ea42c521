/** The errors of the host's end of the agent protocol. `code` is stable and meant for programs. */

export type AgentErrorCode =
  | "AGENT_TIMEOUT"
  | "AGENT_LOST"
  | "AGENT_VERSION"
  | "AGENT_REFUSED"
  | "AGENT_PROTOCOL"
  | "AGENT_BAD_ARGUMENT"
  | "AGENT_FILE"
  | "AGENT_TOO_LARGE";

export class AgentError extends Error {
  readonly code: AgentErrorCode;
  /** The agent's own word for a refusal, such as "busy" or "gone". */
  readonly reason: string | undefined;

  constructor(code: AgentErrorCode, message: string, options?: { cause?: unknown; reason?: string }) {
    super(message, options);
    this.name = "AgentError";
    this.code = code;
    this.reason = options?.reason;
  }
}
