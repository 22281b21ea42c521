/** `twinmetal create`: a VM that stays, not started yet. What the options mean is run's. */
import { ensureAutostart } from "../autostart.ts";
import { defineCommand } from "../command.ts";
import { RUN_FOREIGN } from "../foreign-words.ts";
import { keepVm } from "../kept-vm.ts";
import { namedVms } from "../named-vms.ts";
import { underPolicy } from "../policy-choice.ts";
import { checkSandbox } from "../sandbox.ts";
import { RUN_OPTIONS, runPlan } from "./run.ts";

const { detach: _detach, ...OPTIONS } = RUN_OPTIONS;

export const CREATE = defineCommand({
  name: "create",
  summary: "make a VM that stays, without starting it",
  usage: "[IMAGE] --name NAME [options]",
  text: [
    "The options are those of `twinmetal run`, and are kept in the VM's folder as they are given, in vm.json; files are looked at when it starts. `twinmetal run -d` is create and start.",
    "Status: 0 it is there, 125 it is not (the name is in use, or the folder cannot be written), 2 bad usage.",
  ],
  options: OPTIONS,
  hints: { foreign: RUN_FOREIGN },
  examples: [
    ["twinmetal create --name box -m 1G --disk box.qcow2 --net user", "a VM named box"],
    ["twinmetal start box", "runs it in the background"],
    ["twinmetal show box", "what it is made of, and where its files are"],
  ],
  execute: async (io, given) => {
    const { line } = await underPolicy(io, given, true);
    checkSandbox(line.values);
    const name = await keepVm(io, line, (kept) => void runPlan(io, line, kept));
    if (line.values.autostart) await ensureAutostart(io);
    io.stdout.write(line.values.json ? `${JSON.stringify(await namedVms(io).observe(name))}\n` : `${name}\n`);
    return 0;
  },
});
