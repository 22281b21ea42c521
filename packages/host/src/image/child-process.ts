/**
 * Runs the few programs that image assembly may use (apt, xz, gpgv): never with a terminal or standard input, in a
 * process group of its own so that all of it can be ended, with bounded output.
 */

import { spawn } from "node:child_process";
import type { Readable } from "node:stream";

export interface ProgramOptions {
  readonly signal: AbortSignal | undefined;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Receives the lines that the program writes to descriptor 3. */
  readonly onStatusLine?: (line: string) => void;
}

export interface ProgramResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const MAX_OUTPUT_BYTES = 32 * 1024 * 1024;
const KILL_AFTER_MS = 3000;

/** Rejects with the signal's reason when aborted, after the program has ended, and with ENOENT if there is none. */
export function runProgram(program: string, args: readonly string[], options: ProgramOptions): Promise<ProgramResult> {
  const { signal, onStatusLine } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...(options.env ?? process.env), LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "pipe", "pipe", onStatusLine === undefined ? "ignore" : "pipe"],
      detached: process.platform !== "win32",
    });
    const stdout = collect(child.stdout as Readable);
    const stderr = collect(child.stderr as Readable);
    if (onStatusLine !== undefined) splitLines(child.stdio[3] as Readable, onStatusLine);
    let killTimer: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      killGroup(child.pid, "SIGTERM");
      killTimer = setTimeout(() => killGroup(child.pid, "SIGKILL"), KILL_AFTER_MS);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    const settle = (finish: () => void): void => {
      signal?.removeEventListener("abort", onAbort);
      clearTimeout(killTimer);
      if (signal?.aborted) reject(signal.reason);
      else finish();
    };
    child.on("error", (error) => settle(() => reject(error)));
    child.on("close", (code) => settle(() => resolve({ status: code ?? 255, stdout: stdout(), stderr: stderr() })));
  });
}

export function isMissingProgram(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === "ENOENT";
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === "win32" ? pid : -pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // It has ended in the meantime.
  }
}

function collect(stream: Readable): () => string {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  stream.on("data", (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes <= MAX_OUTPUT_BYTES) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

function splitLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("error", () => {}); // The program's end is reported by its exit.
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = (lines.pop() ?? "").slice(-MAX_LINE);
    for (const line of lines) onLine(line);
  });
}

const MAX_LINE = 8192;
