/** `twinmetal console VM`, also as attach: a running VM's serial console on this terminal. */
import { ByteOutput } from "../byte-output.ts";
import { defineCommand, type Io } from "../command.ts";
import { RawTerminal } from "../raw-terminal.ts";
import { TypedKeys } from "../typed-keys.ts";
import { UsageError } from "../usage-error.ts";

export const CONSOLE = defineCommand({
  name: "console",
  aliases: ["attach"],
  summary: "a running VM's serial console on this terminal; Ctrl-] leaves",
  usage: "VM",
  text: [
    "VM is a name of `twinmetal ls`, or a control socket's path. Ctrl-] leaves, and the VM goes on; every other key goes to the guest. What was written before is in the log: twinmetal logs VM. Several may look on; what all of them type goes to the guest.",
    "Status: 0 left, or the VM has ended; 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: {},
  examples: [
    ["twinmetal console box", "press Enter for a prompt, and Ctrl-] to leave"],
    ["printf 'uname -a\\n' | twinmetal console box", "types a line, and looks on until the VM ends"],
  ],
  execute: async (io, { operands: [vm, extra], rest }) => {
    if (vm === undefined) throw new UsageError("which VM? Give its name; see: twinmetal ls");
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    return await attach(io, vm);
  },
});

async function attach(io: Io, vm: string): Promise<number> {
  const output = new ByteOutput(io.stdout);
  const terminal = new RawTerminal(io);
  const left = new AbortController();
  const keys = new TypedKeys<Uint8Array>();
  const isTerminal = io.stdin.isTTY === true;
  const leave = (): void => left.abort();
  output.onGone = leave;
  const stops = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((name) => io.onSignal(name, leave));
  if (isTerminal) {
    io.stderr.write(`twinmetal: the console of ${vm}; Ctrl-] leaves.\n`);
    terminal.enter({ onInput: (bytes) => keys.push(bytes), onLeave: leave, onResize: () => {} });
  }
  const asked = io.library.askVm(
    vm,
    { command: "console" },
    {
      streams: {
        input: isTerminal ? keys : (io.stdin as AsyncIterable<Uint8Array>),
        onStdout: (bytes) => void output.write(terminal.forTerminal(bytes)),
      },
    },
  );
  const gone = new Promise<void>((resolve) => void left.signal.addEventListener("abort", () => resolve()));
  try {
    await Promise.race([asked, gone]);
    return 0;
  } finally {
    asked.catch(() => {}); // Whoever has left need not hear of it.
    await output.flush(1000);
    terminal.leave();
    output.dispose();
    for (const stop of stops) stop();
  }
}
