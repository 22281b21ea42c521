/** `twinmetal set VM KEY=VALUE...`: what a running VM may use of its host is changed. */
import { defineCommand } from "../command.ts";
import { parseChange, SET_KEYS } from "../limit-choice.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import { limitRows } from "../usage-text.ts";
import type { VmUsage } from "../vm-library.ts";

export const SET = defineCommand({
  name: "set",
  summary: "change what a running VM may use",
  usage: "VM KEY=VALUE... [--json]",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET.",
    `Keys: ${SET_KEYS.join(", ")}. disk0. and net0. are the first disk and card, disk. and net. all of them. The value none takes a limit away.`,
    "memory= is all that the VM shall have: more than it started with by virtio-mem, up to the max= of its -m, less by its balloon (--balloon). balloon=auto: idle memory goes to a host that is short of it, and back.",
    "All of it is checked before any of it is done. Limits hold within 200 ms; memory when the guest has followed, which is waited for, 30 seconds at most. All of it is for this run of the VM.",
    "Status: 0 done, 125 the VM cannot (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: flag("json", "Print what holds now, and what it uses, as one JSON object.") },
  examples: [
    ["twinmetal set box cpu=25%", "a quarter of a processor"],
    ["twinmetal set box weight=300 disk0.iops=500 disk0.rate=20M", ""],
    ["twinmetal set vm.sock net.latency=50 net.loss=2%", "a bad line, both ways"],
    ["twinmetal set box memory=1536M", ""],
    ["twinmetal set vm.sock cpu=none balloon=auto", ""],
  ],
  execute: async (io, { values, operands: [vm, ...words], rest }) => {
    if (vm === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (rest !== undefined) throw new UsageError('"--" is one word too many.');
    if (words.length === 0) throw new UsageError(`what shall be set? Give KEY=VALUE, such as cpu=25%.`);
    const change = parseChange(words);
    const usage = (await io.library.askVm(vm, { command: "set", change })) as VmUsage;
    io.stdout.write(values.json ? `${JSON.stringify(usage)}\n` : limitRows(usage));
    return 0;
  },
});
