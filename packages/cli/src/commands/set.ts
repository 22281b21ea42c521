/** `twinmetal set VM KEY=VALUE...`: what a running VM may use of its host, and what follows the end of one that stays. */
import { defineCommand } from "../command.ts";
import { END_KEYS } from "../end-actions.ts";
import { changeKept, parseKept } from "../kept-settings.ts";
import { parseChange, SET_KEYS } from "../limit-choice.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import { limitRows } from "../usage-text.ts";
import { VmStore, type VmUsage } from "../vm-library.ts";

export const SET = defineCommand({
  name: "set",
  summary: "change what a running VM may use, and what follows its end",
  usage: "VM KEY=VALUE... [--json]",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET.",
    `Keys: ${SET_KEYS.join(", ")}. disk0. and net0. are the first disk and card, disk. and net. all of them. The value none takes a limit away.`,
    "memory= is all that the VM shall have: more than it started with by virtio-mem, up to the max= of its -m, less by its balloon (--balloon). balloon=auto: idle memory goes to a host that is short of it, and back.",
    "All of it is checked before any of it is done. Limits hold within 200 ms; memory when the guest has followed, which is waited for, 30 seconds at most. All of it is for this run of the VM.",
    "Of a VM that stays, running or not, and for good: on-crash=, on-poweroff=, on-reboot= as the options of `twinmetal create`; ttl=TIME from now, or none; autostart=on|off.",
    "Status: 0 done, 125 the VM cannot (the reason is on standard error), 2 bad usage.",
  ],
  options: { json: flag("json", "Print what holds now, and what it uses, as one JSON object.") },
  examples: [
    ["twinmetal set box cpu=25%", "a quarter of a processor"],
    ["twinmetal set box weight=300 disk0.iops=500 disk0.rate=20M", ""],
    ["twinmetal set vm.sock net.latency=50 net.loss=2%", "a bad line, both ways"],
    ["twinmetal set box memory=1536M", ""],
    ["twinmetal set vm.sock cpu=none balloon=auto", ""],
    ["twinmetal set box on-crash=restart ttl=7d", "it starts again by itself, and lives a week from now"],
  ],
  execute: async (io, { values, operands: [vm, ...words], rest }) => {
    if (vm === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (rest !== undefined) throw new UsageError('"--" is one word too many.');
    if (words.length === 0) throw new UsageError(`what shall be set? Give KEY=VALUE, such as cpu=25%.`);
    const isKept = (word: string): boolean => END_KEYS.includes(word.split("=", 1).join());
    const [forGood, forNow] = [words.filter(isKept), words.filter((word) => !isKept(word))];
    const kept = parseKept(forGood);
    const change = parseChange(forNow);
    if (forGood.length > 0 && !(await new VmStore().has(vm)))
      throw new UsageError(
        `there is no VM ${vm} that stays, and ${forGood[0]} is for one that does. See: twinmetal ls`,
      );
    const usage =
      forNow.length === 0 ? undefined : ((await io.library.askVm(vm, { command: "set", change })) as VmUsage);
    const held = forGood.length === 0 ? undefined : await changeKept(io, vm, kept);
    if (values.json) io.stdout.write(`${JSON.stringify({ ...usage, ...(held && { kept: held }) })}\n`);
    else {
      if (usage) io.stdout.write(limitRows(usage));
      for (const [key, value] of Object.entries(held ?? {})) io.stdout.write(`${key.padEnd(16)} ${value}\n`);
    }
    return 0;
  },
});
