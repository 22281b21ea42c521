/** The host's end of the guest agent: everything another part of Twinmetal may use of it. */

export {
  AGENT_PROTOCOL_VERSION,
  AgentClient,
  type AgentClientOptions,
  type AgentInfo,
  type ExecOptions,
  type RunOptions,
  type RunResult,
} from "./agent-client.ts";
export { AgentError, type AgentErrorCode } from "./agent-error.ts";
export { AGENT_PORT_NAMES, AGENT_SLOTS, type AgentPort, type AgentPorts, CONTROL_PORT } from "./agent-port.ts";
export type { AgentProcess } from "./agent-process.ts";
export { type ConsoleBackend, type ConsoleCommand, ConsolePorts, type ConsoleReport } from "./console-ports.ts";
