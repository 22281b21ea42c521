/** `twinmetal stop VM`: a running VM is asked to turn itself off, as by its power button. */
import { defineCommand } from "../command.ts";
import { JSON_FLAG, namedVms } from "../named-vms.ts";
import { DEFAULT_STOP_MS, STOP_OPTIONS } from "../stop-options.ts";
import { UsageError } from "../usage-error.ts";
import { VmStore } from "../vm-library.ts";

export const STOP = defineCommand({
  name: "stop",
  summary: "ask a running VM to turn off",
  usage: "VM [--timeout TIME] [--force] [--json]",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET. Its power button is pressed, by ACPI, and again every few seconds; most operating systems then shut down.",
    "Status: 0 the VM is off, 125 it is not (the reason is on standard error), 2 bad usage.",
  ],
  options: { ...STOP_OPTIONS, json: JSON_FLAG },
  examples: [
    ["twinmetal stop box", "as by its power button; waits for up to a minute"],
    ["twinmetal stop vm.sock --timeout 5m --force", "after five minutes without asking"],
  ],
  execute: async (io, { values, operands: [vm, extra], rest }) => {
    if (vm === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const { timeout: timeoutMs = DEFAULT_STOP_MS, force = false, json } = values;
    if (!(await new VmStore().has(vm))) {
      await io.library.askVm(vm, { command: "stop", timeoutMs, force });
      return 0;
    }
    const seen = await namedVms(io).stop(vm, { timeoutMs, force });
    io.stdout.write(json ? `${JSON.stringify(seen)}\n` : `${seen.name}: ${seen.state}\n`);
    return 0;
  },
});
