/** `twinmetal resume NAME`: a VM that was paused goes on. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG } from "../named-vms.ts";

export const RESUME = defineCommand({
  name: "resume",
  summary: "let paused VMs go on",
  usage: "NAME... [--json]",
  text: [
    "The guest goes on where it was.",
    "Status: 0 done, 125 it failed (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: JSON_FLAG },
  examples: [["twinmetal resume box", "after: twinmetal pause box"]],
  execute: (io, line) => forEachVm(io, line, (vms, name) => vms.resume(name)),
});
