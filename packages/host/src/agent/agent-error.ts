/** The errors of the host's end of a guest's agent. `code` is stable and meant for programs. */

export type AgentErrorCode =
  | "AGENT_TIMEOUT"
  | "AGENT_LOST"
  | "AGENT_VERSION"
  | "AGENT_REFUSED"
  | "AGENT_PROTOCOL"
  | "AGENT_BAD_ARGUMENT"
  | "AGENT_FILE"
  | "AGENT_TOO_LARGE"
  /** This guest's agent does not do that, or not as it is set up. */
  | "AGENT_UNSUPPORTED";

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

/** GUEST-CONTROLLED text, made harmless for a terminal. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
