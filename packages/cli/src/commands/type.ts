/** `twinmetal type VM TEXT`: keys for the keyboard of a running VM. */
import { KEYBOARD_LAYOUTS } from "@twinmetal/core";
import { defineCommand } from "../command.ts";
import { choice, flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";

const OPTIONS = {
  layout: choice("layout", KEYBOARD_LAYOUTS, "What the guest takes its keyboard for: us (default), or kr with Hangul."),
  keys: flag("keys", "TEXT is the names of keys to press, such as enter, f2 or ctrl-alt-delete, with blanks between."),
};

export const TYPE = defineCommand({
  name: "type",
  summary: "type on the keyboard of a running VM",
  usage: "VM TEXT [--layout us|kr] | VM --keys NAMES",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET. It has a keyboard with --vga std, which is the default with --firmware.",
    "At most 1000 characters at a time; in TEXT, a line feed is Enter. Korean: runs of Hangul are typed between two presses of the Hangul key.",
    "Status: 0 the keys are on their way, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal type vm.sock 'ls -l' && twinmetal type vm.sock --keys enter", "a command and Enter"],
    ["twinmetal type vm.sock --keys 'down down enter'", "chooses in a menu"],
    ["twinmetal type vm.sock --keys ctrl-alt-delete", "three keys at once"],
  ],
  execute: async (io, { values, operands: [socket, text, extra], rest }) => {
    if (socket === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (text === undefined) throw new UsageError("what? Give a text, or names of keys with --keys.");
    if (extra !== undefined || rest !== undefined)
      throw new UsageError(`"${extra ?? "--"}" is one word too many: put the text in quotes.`);
    if (!values.keys) {
      const layout = values.layout ?? "us";
      await io.library.askVm(socket, { command: "type", text, layout });
      return 0;
    }
    for (const keys of text.split(/\s+/).filter((name) => name !== ""))
      await io.library.askVm(socket, { command: "press", keys });
    return 0;
  },
});
