/** `twinmetal rename NAME NEW`: another name for a VM that stays. */
import { defineCommand } from "../command.ts";
import { JSON_FLAG, namedVms } from "../named-vms.ts";
import { UsageError } from "../usage-error.ts";

export const RENAME = defineCommand({
  name: "rename",
  summary: "give a VM that stays another name",
  usage: "NAME NEW [--json]",
  text: [
    "The VM has to be off. Its folder is renamed; relative paths in its spec are seen from where it was created, as before.",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: JSON_FLAG },
  examples: [["twinmetal rename box web1", ""]],
  execute: async (io, { values, operands: [name, to, extra], rest }) => {
    if (name === undefined || to === undefined) throw new UsageError("give two names: the VM's, and its new one.");
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const seen = await namedVms(io).rename(name, to);
    io.stdout.write(values.json ? `${JSON.stringify(seen)}\n` : `${seen.name}: ${seen.state}\n`);
    return 0;
  },
});
