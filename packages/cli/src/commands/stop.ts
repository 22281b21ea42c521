/** `twinmetal stop VM...`: running VMs are asked to turn themselves off, as by their power buttons. */
import { defineCommand } from "../command.ts";
import { forEachVm, JSON_FLAG } from "../named-vms.ts";
import { DEFAULT_STOP_MS, STOP_OPTIONS } from "../stop-options.ts";

export const STOP = defineCommand({
  name: "stop",
  summary: "ask running VMs to turn off",
  usage: "VM... [--timeout TIME] [--force] [--json]",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET. Its power button is pressed, by ACPI, and again every few seconds; most operating systems then shut down.",
    "Status: 0 the VM is off, 125 it is not (the reason is on standard error), 2 bad usage.",
  ],
  options: { ...STOP_OPTIONS, json: JSON_FLAG },
  examples: [
    ["twinmetal stop box", "as by its power button; waits for up to a minute"],
    ["twinmetal stop vm.sock --timeout 5m --force", "after five minutes without asking"],
  ],
  execute: async (io, line) => {
    const { timeout: timeoutMs = DEFAULT_STOP_MS, force = false } = line.values;
    return await forEachVm(io, line, async (vms, vm) => {
      if (await vms.store.has(vm)) return await vms.stop(vm, { timeoutMs, force });
      await io.library.askVm(vm, { command: "stop", timeoutMs, force });
      return { name: vm, state: "off" };
    });
  },
});
