/** `twinmetal exec VM -- CMD`: a command in a running VM, through its agent. */
import { constants } from "node:os";
import { ByteOutput } from "../byte-output.ts";
import { defineCommand } from "../command.ts";
import { EXIT } from "../exit-status.ts";
import { flag } from "../options.ts";
import { ProgressLine } from "../progress-line.ts";
import { execInTerminal } from "../terminal-exec.ts";
import { UsageError } from "../usage-error.ts";

/** How long the VM's process may take to answer that the command was ended. */
const GIVE_UP_MS = 2000;

export const EXEC = defineCommand({
  name: "exec",
  summary: "run a command in a running VM",
  usage: "VM [-t] -- CMD [ARG...]",
  text: [
    "VM is a name of `twinmetal ls`, or a control socket's path. The guest needs an agent: Twinmetal's, which the tiny image has, or QEMU's, which takes input from a file or a pipe, and not from a terminal. Standard input, output and errors are the command's own. A guest that is still starting is waited for.",
    "Status: CMD's own; 125 Twinmetal failed, 126 CMD cannot be run, 127 not found, 128+n ended by signal n, 2 bad usage.",
  ],
  options: {
    terminal: flag(
      "terminal",
      "The command has a terminal of its own, which is this one: for shells, editors and the like. Ctrl-] ends it.",
      "t",
    ),
  },
  hints: {
    foreign: { "-it": "Here it is: -t, for a command with a terminal.", "-i": "Input is always the command's." },
    endsWithCommand: true,
  },
  examples: [
    ["twinmetal exec box -- uname -a", ""],
    ["twinmetal exec -t box -- vi /etc/profile", "on this terminal; also: twinmetal shell box"],
    ["tar c src | twinmetal exec box -- tar x -C /tmp", "input and output are the command's"],
  ],
  execute: async (io, { values, operands: [vm, extra], rest }) => {
    if (vm === undefined) throw new UsageError("which VM? Give its name; see: twinmetal ls");
    if (rest === undefined || !rest[0] || extra !== undefined)
      throw new UsageError(`a command comes after --: twinmetal exec ${vm} -- ${extra ?? "uname -a"}`);
    if (values.terminal) return await execInTerminal(io, vm, rest);
    const stdout = new ByteOutput(io.stdout);
    const stderr = new ByteOutput(io.stderr);
    const ends = new AbortController();
    let endedBy: number | undefined;
    const end = (name: NodeJS.Signals): void => {
      endedBy = constants.signals[name];
      ends.abort();
    };
    stdout.onGone = () => end("SIGPIPE");
    const stops = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((name) => io.onSignal(name, () => end(name)));
    const line = new ProgressLine(io);
    try {
      const status = await io.library.askVm(
        vm,
        { command: "exec", words: rest, ...(io.stdin.isTTY && { isTyped: true }) },
        {
          signal: ends.signal,
          giveUpMs: GIVE_UP_MS,
          onSaving: (progress) => line.reportOfVm(progress),
          streams: {
            input: io.stdin as AsyncIterable<Uint8Array>,
            onStdout: async (bytes) => void (await stdout.write(bytes)),
            onStderr: async (bytes) => void (await stderr.write(bytes)),
          },
        },
      );
      return typeof status === "number" ? status : EXIT.FAILED;
    } catch (error) {
      if (endedBy !== undefined) return 128 + endedBy;
      throw error;
    } finally {
      line.clear();
      await Promise.all([stdout.flush(), stderr.flush()]);
      stdout.dispose();
      stderr.dispose();
      for (const stop of stops) stop();
    }
  },
});
