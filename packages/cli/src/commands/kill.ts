/** `twinmetal kill NAME`: as by pulling the plug. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG } from "../named-vms.ts";

export const KILL = defineCommand({
  name: "kill",
  summary: "end VMs at once, as by pulling the plug",
  usage: "NAME... [--json]",
  text: [
    "The guest is not asked: what it has not written to its disks is lost. `twinmetal stop` asks it. A process that does not answer is ended all the same.",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: JSON_FLAG },
  examples: [["twinmetal kill box", ""]],
  execute: (io, line) => forEachVm(io, line, (vms, name) => vms.kill(name)),
});
