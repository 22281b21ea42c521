/** `exec` of the VM object: a command's output taken by callbacks that may wait, or collected. */
import type { Readable } from "node:stream";
import { type CommandStarter, collect, runCommand } from "../agent/index.ts";
import type { ExecOptions, ExecResult } from "./vm.ts";

const MAX_COLLECTED_BYTES = 64 * 1024 * 1024;
const NOTHING: Uint8Array = new Uint8Array(0);

export async function execInGuest(
  agent: CommandStarter,
  command: readonly string[],
  { stdin, env, cwd, signal, onStdout, onStderr }: ExecOptions,
): Promise<ExecResult> {
  return await runCommand<Uint8Array>(agent, command, {
    env,
    cwd,
    signal,
    input: typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin,
    takeStdout: (stream) => take(stream, onStdout),
    takeStderr: (stream) => take(stream, onStderr),
  });
}

async function take(stream: Readable, onBytes: ExecOptions["onStdout"]): Promise<Uint8Array> {
  if (!onBytes) return await collect(stream, MAX_COLLECTED_BYTES);
  for await (const chunk of stream as AsyncIterable<Uint8Array>) await onBytes(chunk);
  return NOTHING;
}
