/** `twinmetal version`, also as --version. */
import { libraryVersion } from "@twinmetal/host";
import { defineCommand } from "../command.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";

export const VERSION = defineCommand({
  name: "version",
  summary: "print the version",
  usage: "[--json]",
  text: [],
  options: { json: flag("json", "As JSON, with the versions of Node and V8 and the host's platform.") },
  examples: [["twinmetal version", ""]],
  execute: async (io, { values, operands, rest }) => {
    const extra = operands[0] ?? rest?.[0];
    if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many.`);
    const { node, v8 } = process.versions;
    const all = { version: libraryVersion(), node, v8, platform: `${process.platform}-${process.arch}` };
    io.stdout.write(values.json ? `${JSON.stringify(all)}\n` : `twinmetal ${all.version}\n`);
    return 0;
  },
});
