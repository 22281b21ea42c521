/** `twinmetal save NAME [FILE]`: the state of a VM that stays, to go on from there later. */
import { resolve } from "node:path";
import { defineCommand } from "../command.ts";
import { JSON_FLAG, namedVms, vmNames, whileStarting } from "../named-vms.ts";
import { UsageError } from "../usage-error.ts";

export const SAVE = defineCommand({
  name: "save",
  summary: "save a running VM, to go on from there",
  usage: "NAME [FILE] [--json]",
  text: [
    "Without FILE the VM's memory and devices are kept in its folder, its process ends, and the next `twinmetal start` goes on from there; `twinmetal kill` throws the state away. With FILE its state is written there, and it runs on, for a new VM: twinmetal restore FILE. That is refused for a VM that writes to disks, with which FILE would not agree any more: clone it instead. A VM in its sandbox is saved, too.",
    "Status: 0 it is saved, 125 it is not, and runs on (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: JSON_FLAG },
  examples: [
    ["twinmetal save box", "then, perhaps after a restart of this host: twinmetal start box"],
    ["twinmetal save box box.state", "a copy of its state"],
  ],
  execute: async (io, line) => {
    const [name, file, extra] = vmNames(line) as [string, string?, string?];
    if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many: save takes one NAME and one FILE.`);
    const path = file === undefined ? undefined : resolve(file);
    const seen = await whileStarting(io, (options) => namedVms(io).save(name, path, options));
    io.stdout.write(line.values.json ? `${JSON.stringify(seen)}\n` : `${seen.name}: ${seen.state}\n`);
    return 0;
  },
});
