/** `twinmetal reset NAME`: as by a PC's reset button. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG } from "../named-vms.ts";

export const RESET = defineCommand({
  name: "reset",
  summary: "start guests anew, as by the reset button",
  usage: "NAME... [--json]",
  text: [
    "The guest is not asked: what it has not written to its disks is lost. `twinmetal restart` asks it.",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: JSON_FLAG },
  examples: [["twinmetal reset box", ""]],
  execute: (io, line) => forEachVm(io, line, (vms, name) => vms.reset(name)),
});
