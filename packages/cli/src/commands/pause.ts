/** `twinmetal pause NAME`: a VM stands still; its clock, too. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG } from "../named-vms.ts";

export const PAUSE = defineCommand({
  name: "pause",
  summary: "let running VMs stand still",
  usage: "NAME... [--json]",
  text: [
    "The guest's time stands still as well. It keeps its memory; `twinmetal resume` lets it go on.",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: JSON_FLAG },
  examples: [["twinmetal pause box", "until: twinmetal resume box"]],
  execute: (io, line) => forEachVm(io, line, (vms, name) => vms.pause(name)),
});
