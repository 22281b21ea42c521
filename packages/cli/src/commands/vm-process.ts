/** The process of a VM that is kept: started by `twinmetal start`, it runs the VM to its end. No people's command. */
import { defineCommand, type Io } from "../command.ts";
import { runKept } from "../kept-run.ts";
import { VM_PROCESS_NAME } from "../named-vms.ts";
import { parseLine } from "../options.ts";
import { underPolicy } from "../policy-choice.ts";
import { withSavedState } from "../saved-run.ts";
import { UsageError } from "../usage-error.ts";
import { specWords, VmStore } from "../vm-library.ts";
import { RUN_OPTIONS, runPlan } from "./run.ts";

export const VM_PROCESS = defineCommand({
  name: VM_PROCESS_NAME,
  summary: "run a VM that is kept, in this process",
  usage: "NAME",
  isInternal: true,
  text: [],
  options: {},
  examples: [],
  execute: async (io, { operands: [name, extra] }) => {
    if (name === undefined || extra !== undefined) throw new UsageError("one name of a VM is needed.");
    const store = new VmStore();
    const folder = store.folder(name);
    const spec = await store.read(name);
    const presence = await io.library.VmPresence.enter(folder);
    const log = { write: (text: string) => presence.log.write(Buffer.from(text)) };
    const quiet = { ...io, stdin: io.stdin, stdout: log, stderr: log } as unknown as Io;
    let trouble: unknown;
    try {
      const { line, policy } = await underPolicy(io, parseLine(RUN_OPTIONS, specWords(spec)), true);
      const plan = runPlan(quiet, line, { folder, console: { kind: "log", log: presence.console } }, policy);
      const end = await runKept(quiet, {
        plan: withSavedState(quiet, plan, line.values, folder),
        actions: line.values,
        expiresAtMs: spec.expiresAt === undefined ? undefined : Date.parse(spec.expiresAt),
        onRestart: (count, reason) => presence.restarts(count, reason),
      });
      await presence.leave(end.kind, end.reason, codeOf(end.error));
      if (end.error === undefined) return end.status;
      trouble = end.error;
    } catch (error) {
      await presence.leave("failed", (error as Error).message, codeOf(error));
      throw error;
    }
    throw trouble;
  },
});

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}
