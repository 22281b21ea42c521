/** `twinmetal shell VM`: a shell in a running VM, on this terminal. */
import { defineCommand } from "../command.ts";
import { execInTerminal } from "../terminal-exec.ts";
import { UsageError } from "../usage-error.ts";

export const SHELL = defineCommand({
  name: "shell",
  summary: "a shell in a running VM, on this terminal",
  usage: "VM",
  text: [
    "VM is a name of `twinmetal ls`, or a control socket's path. The guest needs Twinmetal's agent, which the tiny image has. The shell has a terminal of its own in the guest, beside the console; exit or Ctrl-] leaves, and the VM goes on. One command: twinmetal exec -t VM -- CMD.",
    "Status: the shell's own; 125 Twinmetal failed, 2 bad usage.",
  ],
  options: {},
  examples: [["twinmetal shell box", "as many at the same time as you like"]],
  execute: async (io, { operands: [vm, extra], rest }) => {
    if (vm === undefined) throw new UsageError("which VM? Give its name; see: twinmetal ls");
    if (extra !== undefined || rest !== undefined)
      throw new UsageError(`"${extra ?? "--"}" is one word too many. A command: twinmetal exec -t ${vm} -- CMD`);
    return await execInTerminal(io, vm, ["sh"]);
  },
});
