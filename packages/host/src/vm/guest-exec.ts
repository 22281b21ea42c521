/** `exec` of the VM object, over the agent's processes: output taken by callbacks that may wait, or collected. */
import type { Readable, Writable } from "node:stream";
import type { AgentClient } from "../agent/index.ts";
import { collect, pump } from "../agent/stream-ends.ts";
import type { ExecOptions, ExecResult } from "./vm.ts";

const MAX_COLLECTED_BYTES = 64 * 1024 * 1024;
const NOTHING: Uint8Array = new Uint8Array(0);

export async function execInGuest(
  agent: AgentClient,
  command: readonly string[],
  options: ExecOptions,
): Promise<ExecResult> {
  const { stdin, env, cwd, onStdout, onStderr } = options;
  const abort = new AbortController();
  const signal = options.signal ? AbortSignal.any([abort.signal, options.signal]) : abort.signal;
  const process = await agent.exec(command, { env, cwd, signal, stdin: stdin === undefined ? "none" : "pipe" });
  const parts = [
    process.exited,
    take(process.stdout, onStdout),
    take(process.stderr, onStderr),
    feed(stdin, process.stdin),
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

async function take(stream: Readable, onBytes: ExecOptions["onStdout"]): Promise<Uint8Array> {
  if (!onBytes) return await collect(stream, MAX_COLLECTED_BYTES);
  for await (const chunk of stream as AsyncIterable<Uint8Array>) await onBytes(chunk);
  return NOTHING;
}

async function feed(source: ExecOptions["stdin"], sink: Writable | undefined): Promise<void> {
  if (source === undefined || !sink) return;
  await pump(typeof source === "string" ? new TextEncoder().encode(source) : source, sink);
}
