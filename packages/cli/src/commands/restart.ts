/** `twinmetal restart NAME`: stop and start, in a new process. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG, whileStarting } from "../named-vms.ts";
import { DEFAULT_STOP_MS, STOP_OPTIONS } from "../stop-options.ts";

export const RESTART = defineCommand({
  name: "restart",
  summary: "stop and start VMs that stay",
  usage: "NAME... [--timeout TIME] [--force] [--json]",
  text: [
    "The guest is asked to turn off, as by `twinmetal stop`, and the VM is started in a new process, with what its spec file says now.",
    "Status: 0 it runs again, 125 it does not (the reason is on standard error), 2 bad usage.",
  ],
  options: { ...STOP_OPTIONS, json: JSON_FLAG },
  examples: [["twinmetal restart box --force", "without its consent, where it does not turn off within a minute"]],
  execute: (io, line) =>
    forEachVm(io, line, (vms, name) =>
      whileStarting(io, (options) => {
        const { timeout: timeoutMs = DEFAULT_STOP_MS, force = false } = line.values;
        return vms.restart(name, { ...options, timeoutMs, force });
      }),
    ),
});
