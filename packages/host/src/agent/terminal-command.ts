/**
 * A command with a terminal of its own in the tiny image. busybox's telnetd, with the agent's pipes in place of a
 * connection, opens the pseudo-terminal and runs one program in it: a script that runs the command and keeps its status.
 */
import { pipeline, Transform, type TransformCallback } from "node:stream";
import { AgentError } from "./agent-error.ts";
import type { AgentProcess } from "./agent-process.ts";
import { checkCommand, toBytes } from "./command-words.ts";
import type { Bytes, ExecOptions, TerminalOptions } from "./guest-agent.ts";
import { checkWindow } from "./request-checks.ts";
import { encodeTelnet, encodeWindowSize, TelnetDecoder } from "./telnet.ts";

const DEFAULT_TERMINAL = "vt102";
/** telnetd begins a line for the text in front of a login, of which there is none. */
const GREETING = Buffer.from("\r\r\n");

/** Its argument is the script for telnetd. A terminal that was closed from outside leaves no status: 129, hung up. */
const TERMINAL_SCRIPT = `
d=/run/twinmetal/terminal.$$
mkdir "$d" || exit 126
trap 'rm -rf "$d"' EXIT
printf '%s\\n' "$1" >"$d/run" && chmod 700 "$d/run" || exit 126
busybox telnetd -i -l "$d/run" 2>/dev/null
status=129
read -r status <"$d/status"
exit $status`;

type Start = (command: readonly Bytes[], options: ExecOptions) => Promise<AgentProcess>;

export async function startInTerminal(
  start: Start,
  command: readonly Bytes[],
  { terminal: _, ...options }: ExecOptions,
  { rows, columns, name = DEFAULT_TERMINAL }: TerminalOptions,
): Promise<AgentProcess> {
  checkWindow(rows, columns);
  checkCommand(command, options.env);
  const words = command.map((word) => quoted(toBytes(word)));
  // Signals from the keyboard are the command's; a shell that had them ignored would pass that on.
  const script = Buffer.concat([
    Buffer.from("#!/bin/sh\ntrap : INT QUIT\n"),
    ...words.flatMap((word) => [word, Buffer.from(" ")]),
    Buffer.from(`\necho $? >"\${0%/*}/status"`),
  ]);
  const env = { TERM: name, ...options.env };
  const process = await start(["sh", "-c", TERMINAL_SCRIPT, "terminal", script], { ...options, env, stdin: "pipe" });
  return inTerminal(process, rows, columns);
}

function inTerminal(process: AgentProcess, rows: number, columns: number): AgentProcess {
  const { stdin, stderr } = process;
  if (!stdin) throw new AgentError("AGENT_PROTOCOL", "A command with a terminal has no input.");
  const stdout = new TerminalOutput();
  pipeline(process.stdout, stdout, () => {}); // An error is that of `exited`; whoever reads sees the stream end.
  const encoder = new Transform({ transform: (chunk: Buffer, _, done) => done(null, encodeTelnet(chunk)) });
  encoder.pipe(stdin);
  stdin.once("close", () => encoder.destroy());
  stderr.resume(); // A terminal has one output.
  stdin.write(encodeWindowSize(rows, columns));
  return {
    ...process,
    stdin: encoder,
    stdout,
    stderr,
    resize: (newRows, newColumns) => {
      checkWindow(newRows, newColumns);
      if (!stdin.destroyed) stdin.write(encodeWindowSize(newRows, newColumns));
    },
  };
}

class TerminalOutput extends Transform {
  readonly #decoder = new TelnetDecoder();
  #head: Buffer | undefined = Buffer.alloc(0);

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    const bytes = this.#decoder.decode(chunk);
    if (this.#head === undefined) this.push(bytes);
    else {
      this.#head = Buffer.concat([this.#head, bytes]);
      if (this.#head.length >= GREETING.length) this.#passHead();
    }
    done();
  }

  override _flush(done: TransformCallback): void {
    this.#passHead();
    done();
  }

  #passHead(): void {
    const head = this.#head ?? Buffer.alloc(0);
    this.#head = undefined;
    const isGreeting = head.subarray(0, GREETING.length).equals(GREETING);
    this.push(isGreeting ? head.subarray(GREETING.length) : head);
  }
}

/** As a shell reads it as one word. */
function quoted(word: Uint8Array): Buffer {
  return Buffer.from(`'${Buffer.from(word).toString("latin1").replaceAll("'", "'\\''")}'`, "latin1");
}
