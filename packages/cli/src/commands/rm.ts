/** `twinmetal rm NAME`: a VM that stays is removed. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG } from "../named-vms.ts";
import { flag } from "../options.ts";

export const RM = defineCommand({
  name: "rm",
  summary: "remove VMs that stay",
  usage: "NAME... [--force] [--json]",
  text: [
    "The VM's folder is removed, with its spec, its logs, what it has written over its image, and what UEFI has kept. Disk images elsewhere stay as they are.",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: { force: flag("force", "Kill it first, if it runs.", "f"), json: JSON_FLAG },
  examples: [
    ["twinmetal rm box", "one that is off"],
    ["twinmetal rm --force box", "or runs"],
  ],
  execute: (io, line) =>
    forEachVm(io, line, async (vms, name) => {
      await vms.remove(name, { force: line.values.force ?? false });
      return { name, state: "removed" };
    }),
});
