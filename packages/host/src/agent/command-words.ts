/** A command as the words of an `exec` request (docs/reference/agent-protocol.md). */
import { AgentError } from "./agent-error.ts";
import type { Bytes, ExecOptions } from "./guest-agent.ts";
import { encodeWord } from "./word-encoding.ts";

/** All arguments and variables of one command together; Linux takes about twice that. */
const MAX_COMMAND_BYTES = 1024 * 1024;
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Throws AGENT_BAD_ARGUMENT for what no agent can run. */
export function checkCommand(command: readonly Bytes[], env: ExecOptions["env"] = {}): void {
  if (command.length === 0 || command[0]!.length === 0) {
    throw new AgentError("AGENT_BAD_ARGUMENT", "There is no command to run: its first word is missing or empty.");
  }
  for (const name of Object.keys(env)) {
    if (VARIABLE_NAME.test(name)) continue;
    throw new AgentError("AGENT_BAD_ARGUMENT", `${JSON.stringify(name)} is no name for an environment variable.`);
  }
}

export function encodeCommand(command: readonly Bytes[], options: ExecOptions): (string | number)[] {
  checkCommand(command, options.env);
  const variables = Object.entries(options.env ?? {}).map(([name, value]) => {
    return encodeWord(Buffer.concat([Buffer.from(`${name}=`), toBytes(value)]), `The variable ${name}`);
  });
  const cwd = encodeWord(options.cwd ?? "/", "The directory");
  const words = command.map((word, index) => encodeWord(word, index === 0 ? "The command" : `Argument ${index}`));
  const sizeBytes = [...variables, ...words].reduce((sum, word) => sum + word.length, 0);
  if (sizeBytes > MAX_COMMAND_BYTES) {
    throw new AgentError(
      "AGENT_BAD_ARGUMENT",
      `The arguments and variables take ${sizeBytes} encoded bytes; at most ${MAX_COMMAND_BYTES} can be sent. ` +
        "Send the data on standard input or as a file.",
    );
  }
  return [cwd, variables.length, ...variables, ...words];
}

export function toBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? Buffer.from(value, "utf8") : value;
}

/** For a protocol of JSON: what a program is given has to be text there. */
export function jsonText(word: Bytes, what: string): string {
  const bytes = toBytes(word);
  if (bytes.includes(0)) throw new AgentError("AGENT_BAD_ARGUMENT", `${what} contains a NUL byte.`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new AgentError(
      "AGENT_UNSUPPORTED",
      `${what} is no text in UTF-8, and QEMU's guest agent takes nothing else.`,
    );
  }
}
