/** A command from its start to its end, with any agent: input in, output into whatever takes it, and the status. */
import type { Readable } from "node:stream";
import type { AgentProcess } from "./agent-process.ts";
import type { Bytes, ExecOptions, RunOptions, RunResult } from "./guest-agent.ts";
import { collect, pump } from "./stream-ends.ts";

export const DEFAULT_MAX_OUTPUT_BYTES: number = 64 * 1024 * 1024;

/** What starts it; `takeInput` turns input into what this agent's commands can have. */
export interface CommandStarter {
  exec(command: readonly Bytes[], options: ExecOptions): Promise<AgentProcess>;
  takeInput(input: Uint8Array | AsyncIterable<Uint8Array>): Promise<ExecOptions["stdin"]>;
}

export interface CommandPlan<T> extends Omit<ExecOptions, "stdin"> {
  readonly input?: Uint8Array | AsyncIterable<Uint8Array> | undefined;
  takeStdout(stream: Readable): Promise<T>;
  takeStderr(stream: Readable): Promise<T>;
}

/** What fails kills the command. */
export async function runCommand<T>(
  agent: CommandStarter,
  command: readonly Bytes[],
  { input, takeStdout, takeStderr, ...options }: CommandPlan<T>,
): Promise<{ exitCode: number; stdout: T; stderr: T }> {
  const abort = new AbortController();
  const signal = options.signal === undefined ? abort.signal : AbortSignal.any([abort.signal, options.signal]);
  const stdin = input === undefined ? "none" : await agent.takeInput(input);
  const process = await agent.exec(command, { ...options, signal, stdin });
  const parts = [
    process.exited,
    takeStdout(process.stdout),
    takeStderr(process.stderr),
    process.stdin === undefined || input === undefined ? undefined : pump(input, process.stdin),
  ] as const;
  try {
    const [exitCode, stdout, stderr] = await Promise.all(parts);
    return { exitCode, stdout, stderr };
  } catch (error) {
    abort.abort(error);
    const [exited] = await Promise.allSettled(parts);
    options.signal?.throwIfAborted();
    throw exited.status === "rejected" && exited.reason !== undefined ? exited.reason : error;
  }
}

export async function runAndCollect(
  agent: CommandStarter,
  command: readonly Bytes[],
  { maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES, ...options }: RunOptions,
): Promise<RunResult> {
  const take = (stream: Readable): Promise<Buffer> => collect(stream, maxOutputBytes);
  return await runCommand(agent, command, { ...options, takeStdout: take, takeStderr: take });
}
