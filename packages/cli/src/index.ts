/**
 * The command line's entry: `main` takes the arguments after the program's name and resolves with the exit status. It
 * binds the commands to this process: its streams, its signals, and the library.
 */
import { writeSync } from "node:fs";
import { yieldCompilerThreads } from "@twinmetal/host";
import type { Io } from "./command.ts";
import { EXIT, signalStatus } from "./exit-status.ts";
import { runProgram } from "./program.ts";
import { VM_LIBRARY } from "./vm-library.ts";

const FLUSH_MS = 1000;

/** Runs one command. Resolves once all output is written; never rejects for anything a user can cause. */
export async function main(args: readonly string[]): Promise<number> {
  const { stdout, stderr, env } = process;
  const io: Io = {
    // A getter: looking at standard input starts to open it, which most commands never need.
    get stdin() {
      return process.stdin;
    },
    stdout,
    stderr,
    env,
    onSignal: (name, listener) => {
      process.on(name, listener);
      return () => void process.off(name, listener);
    },
    stopProcess: () => process.kill(process.pid, "SIGSTOP"),
    library: VM_LIBRARY,
  };
  // A reader of standard error that went away is no reason to end.
  stderr.on("error", () => {});
  // One that went away, as head does, ends what only prints, as it ends other programs; who streams listens, too.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (stdout.listenerCount("error") > 1) return;
    if (error.code === "EPIPE") process.exit(signalStatus("SIGPIPE"));
    failed(error);
  });
  process.on("uncaughtException", failed);
  yieldCompilerThreads();
  const status = await runProgram(io, args);
  await Promise.race([Promise.all([flushed(stdout), flushed(stderr)]), delay(FLUSH_MS)]);
  return status;
}

/** A mistake of this program. The terminal is put right by the exit's listeners, before anything is printed on it. */
function failed(error: unknown): void {
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  const isDebugging = process.argv.includes("--debug");
  process.once("exit", () => {
    const detail = isDebugging && stack ? stack : "Run it again with --debug and report what it prints.";
    writeSync(2, `twinmetal: internal error: ${message}\n${detail}\n`);
  });
  process.exit(EXIT.FAILED);
}

function flushed(stream: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write("", () => resolve());
  });
}

function delay(timeMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, timeMs));
}
