/** The host's end of the guest's agents: everything another part of Twinmetal may use of it. */

export { AGENT_PROTOCOL_VERSION, AgentClient, type AgentClientOptions } from "./agent-client.ts";
export { AgentError, type AgentErrorCode } from "./agent-error.ts";
export { AgentOfVm } from "./agent-of-vm.ts";
export { AGENT_PORT_NAMES, AGENT_SLOTS, type AgentPort, type AgentPorts, CONTROL_PORT } from "./agent-port.ts";
export type { AgentProcess } from "./agent-process.ts";
export { type ConsoleBackend, type ConsoleCommand, ConsolePorts, type ConsoleReport } from "./console-ports.ts";
export type {
  AgentCall,
  AgentInfo,
  AgentKind,
  ExecOptions,
  FileReadOptions,
  FileWriteOptions,
  GuestAddress,
  GuestAgent,
  GuestInterface,
  GuestOsInfo,
  RunOptions,
  RunResult,
  TerminalOptions,
} from "./guest-agent.ts";
export { QEMU_AGENT_PORT, QemuAgentClient } from "./qemu-agent.ts";
export { type CommandStarter, runCommand } from "./run-command.ts";
export { collect } from "./stream-ends.ts";
