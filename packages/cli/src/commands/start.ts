/** `twinmetal start NAME`: a VM that stays is turned on, in a process of its own. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG, whileStarting } from "../named-vms.ts";

export const START = defineCommand({
  name: "start",
  summary: "start VMs that stay",
  usage: "NAME... [--json]",
  text: [
    "Each runs in a process of its own, which goes on when this terminal is closed. What the guest writes on its serial console is kept in its folder, in console.log (the last MiB).",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: JSON_FLAG },
  examples: [
    ["twinmetal start box", "in the background"],
    ["twinmetal start box --json", "its process and its engine"],
  ],
  execute: (io, line) => forEachVm(io, line, (vms, name) => whileStarting(io, (options) => vms.start(name, options))),
});
