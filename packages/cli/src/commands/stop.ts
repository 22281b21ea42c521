/** `twinmetal stop SOCKET`: a running VM is asked to turn itself off, as by its power button. */
import { defineCommand } from "../command.ts";
import { flag, option } from "../options.ts";
import { parseTimeout } from "../quantities.ts";
import { UsageError } from "../usage-error.ts";

const DEFAULT_TIMEOUT_MS = 60_000;

const OPTIONS = {
  timeout: option("timeout", "TIME", "How long the guest may take, in seconds (or 5m, 1h; default 60).", parseTimeout),
  force: flag("force", "Where the guest has not turned off by then, end it, as by pulling the plug."),
};

export const STOP = defineCommand({
  name: "stop",
  summary: "ask a running VM to turn off",
  usage: "SOCKET [--timeout TIME] [--force]",
  text: [
    "SOCKET is what the VM was started with: twinmetal run --migration-socket SOCKET. Its power button is pressed, by ACPI, and again every few seconds; most operating systems then shut down.",
    "Status: 0 the VM is off, 125 it is not (the reason is on standard error), 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal stop vm.sock", "as by its power button; waits for up to a minute"],
    ["twinmetal stop vm.sock --timeout 5m --force", "after five minutes without asking"],
  ],
  execute: async (io, { values, operands: [socket, extra], rest }) => {
    if (socket === undefined)
      throw new UsageError("which VM? Give the socket that it was started with: --migration-socket.");
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const timeoutMs = values.timeout ?? DEFAULT_TIMEOUT_MS;
    await io.library.askMigrationControl(socket, { command: "stop", timeoutMs, force: values.force === true });
    return 0;
  },
});
