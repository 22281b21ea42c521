/** `twinmetal screenshot VM FILE.png`: what the screen of a running VM shows, as a picture or as text. */
import { writeFile } from "node:fs/promises";
import { defineCommand } from "../command.ts";
import { flag } from "../options.ts";
import { CommandError, UsageError } from "../usage-error.ts";
import type { ScreenAnswer } from "../vm-library.ts";

const OPTIONS = {
  text: flag("text", "Print the text of a text mode on standard output instead."),
};

export const SCREENSHOT = defineCommand({
  name: "screenshot",
  summary: "write the screen of a running VM to a PNG file",
  usage: "VM FILE.png | VM --text",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET. It has a screen with --vga std, which is the default with --firmware.",
    "Status: 0 done, 125 it failed (the reason is on standard error; a graphics mode has no text), 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal run --firmware bios --migration-socket vm.sock", "a VM with a screen"],
    ["twinmetal screenshot vm.sock screen.png", "in another terminal: its picture"],
    ["twinmetal screenshot vm.sock --text", "its text"],
  ],
  execute: async (io, { values, operands: [socket, path, extra], rest }) => {
    if (socket === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    if ((path === undefined) !== (values.text === true))
      throw new UsageError("where to? Give one of both: the name of a PNG file, or --text.");
    const { text, pngBase64 } = (await io.library.askVm(socket, { command: "screen" })) as ScreenAnswer;
    if (path !== undefined) {
      await writePicture(path, Buffer.from(pngBase64, "base64"));
      return 0;
    }
    if (text === null)
      throw new CommandError("The screen is off or shows graphics, which have no text. Give the name of a PNG file.");
    io.stdout.write(`${text.join("\n").trimEnd()}\n`);
    return 0;
  },
});

async function writePicture(path: string, picture: Uint8Array): Promise<void> {
  try {
    await writeFile(path, picture);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandError(`The picture cannot be written to ${path} (${code}). Name another file.`, undefined, {
      cause: error,
    });
  }
}
